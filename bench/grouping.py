"""How well and how fast messages are grouped: `python bench/grouping.py LOGS_DIR [--json]`.

LOGS_DIR holds one `*.jsonl` file a system, whose lines have `service`, `message` and `template_id`, the group that people gave them.

- GA, grouping accuracy: the share of messages whose group is right, that is, holds the same messages as the true group
  (Zhu et al. 2019, "Tools and Benchmarks for Automated Log Parsing"; Khan et al. 2022, "Guidelines for Assessing the Accuracy of Log
  Message Template Identification Techniques"). Frequent groups decide it.
- FGA, F1 of grouping accuracy: the harmonic mean of the share of found groups that are right and of true groups that are found
  (Jiang et al. 2024, "A Large-Scale Evaluation for Log Parsing Techniques: How Far Are We?"). Each group counts once.

Groups of masking are the distinct masked texts of a system; templates join these. Lines/s is for one core (process time) and batches of
1,000: *repeating* reads the samples over and over, *all different* has three random words at the end of each message, so that no text
repeats after masking either; the share of time for templates is not in it, for they are found from patterns, not from lines. A pass that
finds them is timed by itself (process time) over 100,000 distinct texts: the *first* one, and a *later* one that meets 100 new texts.
"""

import argparse
import json
import random
import string
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from treering_query.templates import PatternRow, find_templates
from treering_runtime.patterns import find_patterns

BATCH_LINES = 1_000
REPEATING_LINES = 200_000
DIFFERENT_LINES = 50_000
VOCABULARY = 5_000
PASS_TEXTS = 100_000
LATER_TEXTS = 100


@dataclass(frozen=True)
class Accuracy:
    """Grouping accuracy of one system, and the number of found and true groups."""

    ga: float
    fga: float
    found_groups: int
    true_groups: int


@dataclass(frozen=True)
class Sample:
    """The lines of one system, as columns."""

    system: str
    services: list[str]
    messages: list[str]
    template_ids: list[str]


def accuracy(found: Sequence[object], true: Sequence[object]) -> Accuracy:
    """GA and FGA of a grouping; both sequences have one group for each line."""
    found_sizes, true_sizes, both = Counter(found), Counter(true), Counter(zip(found, true, strict=True))
    right = [size for (group, truth), size in both.items() if size == found_sizes[group] == true_sizes[truth]]
    fga = 2 * len(right) / (len(found_sizes) + len(true_sizes))
    return Accuracy(sum(right) / len(found), fga, len(found_sizes), len(true_sizes))


def read_samples(folder: Path) -> Iterator[Sample]:
    """The samples of a folder, by name of the system; files with a line that does not name its group are left out."""
    names = ("service", "message", "template_id")
    for path in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        if all(name in row for row in rows for name in names):
            yield Sample(path.stem, *([row[name] for row in rows] for name in names))


def measure(sample: Sample) -> dict[str, Accuracy]:
    """Accuracy of masking alone and of masking and templates."""
    found = find_patterns(pa.array(sample.services), pa.array(sample.messages))
    texts = dict(zip(found.distinct_ids.to_pylist(), found.texts.to_pylist(), strict=True))
    templates = find_templates(PatternRow(identity, text) for identity, text in texts.items())
    ids = found.pattern_ids.to_pylist()
    return {
        "masking": accuracy([texts[identity] for identity in ids], sample.template_ids),
        "templates": accuracy([templates.template_ids[identity] for identity in ids], sample.template_ids),
    }


def speed(services: list[str], messages: list[str]) -> float:
    """Lines a second on one core, from columns to ids."""
    starts = range(0, len(messages), BATCH_LINES)
    batches = [(pa.array(services[at : at + BATCH_LINES]), pa.array(messages[at : at + BATCH_LINES])) for at in starts]
    begin = time.process_time()
    for batch in batches:
        find_patterns(*batch)
    return len(messages) / (time.process_time() - begin)


def speeds(samples: Sequence[Sample]) -> dict[str, float]:
    """Lines a second where texts repeat and where none does."""
    pa.set_cpu_count(1)
    chance = random.Random(1)
    vocabulary = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(3, 9))) for _ in range(VOCABULARY)]
    services = [service for sample in samples for service in sample.services]
    messages = [message for sample in samples for message in sample.messages]
    repeats = -(-REPEATING_LINES // len(messages))
    lines = [
        (chance.choice(services), f"{chance.choice(messages)} {' '.join(chance.choices(vocabulary, k=3))}") for _ in range(DIFFERENT_LINES)
    ]
    return {
        "repeating": speed(services * repeats, messages * repeats),
        "all_different": speed([service for service, _ in lines], [message for _, message in lines]),
    }


def passes(samples: Sequence[Sample]) -> dict[str, float]:
    """Seconds of one core that a pass takes: the first one, and one that meets a few more texts."""
    chance = random.Random(2)
    messages = [message for sample in samples for message in sample.messages]
    words = sorted({word for message in messages for word in message.split() if word.isalpha()})
    drawn = {" ".join(chance.choices(words, k=chance.randint(4, 14))) for _ in range(2 * PASS_TEXTS)}
    patterns = [PatternRow(identity, text) for identity, text in enumerate(sorted(drawn)[: PASS_TEXTS + LATER_TEXTS])]
    chance.shuffle(patterns)
    begin = time.process_time()
    former = find_templates(patterns[:PASS_TEXTS])
    first = time.process_time()
    find_templates(patterns, former)
    return {"first": first - begin, "later": time.process_time() - first}


def show(results: dict[str, dict[str, Accuracy]], lines_per_second: dict[str, float], pass_seconds: dict[str, float]) -> None:
    print(f"{'system':12} {'masking GA':>10} {'FGA':>6} {'groups':>7} {'templates GA':>13} {'FGA':>6} {'groups':>7} {'true':>6}")
    for system, result in results.items():
        masking, templates = result["masking"], result["templates"]
        print(
            f"{system:12} {masking.ga:10.3f} {masking.fga:6.3f} {masking.found_groups:7} "
            f"{templates.ga:13.3f} {templates.fga:6.3f} {templates.found_groups:7} {masking.true_groups:6}"
        )
    means = mean(results)
    print(
        f"{'mean':12} {means['masking']['ga']:10.3f} {means['masking']['fga']:6.3f} {'':7} "
        f"{means['templates']['ga']:13.3f} {means['templates']['fga']:6.3f}"
    )
    print(f"lines/s on one core: {lines_per_second['repeating']:,.0f} repeating, {lines_per_second['all_different']:,.0f} all different")
    print(f"pass over {PASS_TEXTS:,} texts: {pass_seconds['first']:.2f} s, with {LATER_TEXTS} more {pass_seconds['later']:.2f} s")


def mean(results: dict[str, dict[str, Accuracy]]) -> dict[str, dict[str, float]]:
    """The mean over systems, each system counting once."""
    return {
        stage: {
            "ga": sum(result[stage].ga for result in results.values()) / len(results),
            "fga": sum(result[stage].fga for result in results.values()) / len(results),
        }
        for stage in ("masking", "templates")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Grouping accuracy and speed of masking and templates.")
    parser.add_argument("logs", type=Path, help="folder of *.jsonl files, one a system")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    samples = list(read_samples(arguments.logs))
    if not samples:
        parser.error(f"no *.jsonl file in {arguments.logs} names groups: its lines want service, message and template_id")
    results = {sample.system: measure(sample) for sample in samples}
    lines_per_second, pass_seconds = speeds(samples), passes(samples)
    if arguments.json:
        systems = {system: {stage: asdict(value) for stage, value in result.items()} for system, result in results.items()}
        print(json.dumps({"systems": systems, "mean": mean(results), "lines_per_second": lines_per_second, "pass_seconds": pass_seconds}))
    else:
        show(results, lines_per_second, pass_seconds)


if __name__ == "__main__":
    main()
