"""Attacks the services as a stranger would, part by part and round after round, each round with random values of its own.

python tools/hostile.py                          one round
python tools/hostile.py --minutes 30             as many rounds as fit
python tools/hostile.py --seed 7 --part limits   one part of a round that found something, once more

A part is a set of tests, of which some draw values by chance (`tests/hostile.py`, hypothesis): few and always the same in `make test`,
many and by the seed of the round here.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random, SystemRandom

ROOT = Path(__file__).resolve().parent.parent

PARTS = {
    "inner": ("tests/inner", "tests/system/test_inner_plane.py"),
    "chain": (
        "tests/ingest/test_delivery.py",
        "tests/ingest/test_claims.py",
        "tests/query/test_chain.py",
        "tests/runtime/test_sink.py",
        "tests/runtime/test_sink_properties.py",
        "tests/cli/test_store_skip.py",
    ),
    "ids": ("tests/query/test_pattern_ids.py", "tests/embed/test_pattern_ids.py", "tests/runtime/test_pattern_ids.py"),
    "limits": (
        "tests/contract/test_request_limits.py",
        "tests/query/test_requests_hostile.py",
        "tests/query/test_tokens.py",
        "tests/query/test_answers.py",
        "tests/runtime/test_boundary.py",
        "tests/query/test_full_answers.py",
        "tests/system/test_bad_input.py",
        "tests/system/test_bad_requests.py",
    ),
    "shares": (
        "tests/query/test_admission.py",
        "tests/query/test_unread.py",
        "tests/runtime/test_caller.py",
        "tests/runtime/test_shares.py",
        "tests/runtime/test_hanging_up.py",
        "tests/system/test_monopolies.py",
    ),
    "sql": (
        "tests/query/test_sql_hostile.py",
        "tests/query/test_sql_walls.py",
        "tests/query/test_sql_scopes.py",
    ),
    "environment": (
        "tests/contract/test_proxies.py",
        "tests/runtime/test_data_dir.py",
        "tests/runtime/test_metrics_server.py",
        "tests/cli/test_escaping_properties.py",
        "tests/cli/test_spreadsheet.py",
        "tests/system/test_environment.py",
    ),
    "clock": ("tests/query/test_retention_clock.py", "tests/runtime/test_clocks.py", "tests/system/test_wrong_clock.py"),
    "records": ("tests/system/test_odd_records.py", "tests/system/test_odd_texts.py"),
}
"""What is attacked: the tests that do it."""


def attacked(part: str, seed: int) -> tuple[bool, str]:
    """Whether a part withstood one round, and the end of what pytest said."""
    environment = os.environ | {"TREERING_ALL_HOSTILE": "1", "TREERING_HOSTILE_SEED": str(seed)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", *PARTS[part]]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode == 0, ended.stdout[-4_000:] + ended.stderr[-500:]


def play_round(parts: list[str], seed: int) -> int:
    """One round over the parts; how many found something."""
    findings = 0
    for part in parts:
        began = time.monotonic()
        withstood, output = attacked(part, seed)
        said = output.strip().splitlines()[-1] if withstood else "FOUND SOMETHING"
        print(f"  {part:<12} {time.monotonic() - began:6.0f} s  {said}", flush=True)
        if not withstood:
            findings += 1
            print(f"{output}\n  once more: python tools/hostile.py --seed {seed} --part {part}", flush=True)
    return findings


def main() -> int:
    """The exit code: 1 when a part found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin rounds until this many minutes are over; at least one")
    parser.add_argument("--seed", type=int, help="of the first round; random unless given")
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; repeat it for more")
    arguments = parser.parse_args()
    seed = SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    until, rounds, findings = time.monotonic() + 60 * arguments.minutes, 0, 0
    while not rounds or time.monotonic() < until:
        print(f"round {rounds + 1}, seed {seed}", flush=True)
        findings += play_round(arguments.part or list(PARTS), seed)
        rounds, seed = rounds + 1, Random(seed).getrandbits(32)  # not the next number: rounds are to have no value in common
    print(f"{rounds} rounds, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
