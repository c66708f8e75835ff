"""Keeps this version of the contract and of the SDK: what later versions must go on serving.

python tools/freeze.py           writes protos/baseline.binpb and tests/contract/frozen/sdk.zip, once
python tools/freeze.py --anew    writes them again: only while nobody depends on the version that is kept

`buf breaking` compares the contract with the first; `tests/system/test_frozen_client.py` runs the second against today's services.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "protos" / "baseline.binpb"
SDK = ROOT / "tests" / "contract" / "frozen" / "sdk.zip"
_NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file holds: the same SDK gives the same bytes."""


def keep_sdk(target: Path) -> None:
    """Writes the package `treering` as a file that Python imports from."""
    sources = sorted((ROOT / "sdk" / "treering").rglob("*.py"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as kept:
        for source in sources:
            entry = zipfile.ZipInfo(str(source.relative_to(ROOT / "sdk")), _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            kept.writestr(entry, source.read_bytes())


def main() -> int:
    """Writes both."""
    parser = argparse.ArgumentParser(description="Keeps this version of the contract and of the SDK")
    parser.add_argument("--anew", action="store_true", help="in place of what is kept; only while nobody depends on it")
    if SDK.exists() and not parser.parse_args().anew:
        print(f"{SDK.relative_to(ROOT)} is kept already; --anew writes it again, while nobody depends on it", file=sys.stderr)
        return 1
    subprocess.run([Path(sys.executable).with_name("buf"), "build", ROOT / "protos", "-o", BASELINE], check=True)
    keep_sdk(SDK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
