"""Finds what does not belong in a published tree: reminders that were left behind, and paths of somebody's own machine.

python tools/words.py    prints file:line for each, and fails if there is one
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNWANTED = {
    r"\b(?:TODO|FIXME|XXX|HACK)\b": "finish it or say what is absent",
    r"(?<![\w./])/(?:home|Users|work|root|tmp/w)/\w": "a path of one machine",
    r"\bprint\(f?[\"']debug": "a debugging print",
    "[\u2018\u2019\u201c\u201d]": "a typographic quote",
    "\u2014": "a long dash; write a sentence",
}
NOT_READ = {"LICENSE", "tools/words.py"}


def findings(name: str, text: str) -> list[str]:
    """One line for each unwanted word of a file."""
    return [
        f"{name}:{number}: {match.group()}: {why}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, why in UNWANTED.items()
        for match in re.finditer(pattern, line)
    ]


def tracked() -> list[str]:
    """Names of the files that git knows, generated code and binary files left out."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if name not in NOT_READ and not name.startswith("sdk/treering/v1/") and not name.endswith(".binpb")]


def main() -> int:
    """Prints what was found."""
    existing = [name for name in tracked() if (ROOT / name).is_file()]
    found = [line for name in existing for line in findings(name, (ROOT / name).read_text(errors="replace"))]
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
