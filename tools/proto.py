"""Generates the Python code of the contracts, and checks that what is committed is what the contracts say.

python tools/proto.py            writes sdk/treering/v1
python tools/proto.py --check    fails if regenerating would change anything
"""

import argparse
import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("treering") / "v1"
STORY = '"""Generated from the contracts in `protos/treering/v1` by `make proto`; never edited by hand."""\n'


def generate(target: Path) -> None:
    """Writes messages, services and their typed stubs below `target`."""
    (target / PACKAGE).mkdir(parents=True, exist_ok=True)
    outputs = [f"--{kind}{target}" for kind in ("python_out=", "grpc_python_out=", "mypy_out=quiet:", "mypy_grpc_out=quiet:")]
    files = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / PACKAGE).glob("*.proto"))
    plugins = f"--plugin=protoc-gen-mypy={_tool('protoc-gen-mypy')}", f"--plugin=protoc-gen-mypy_grpc={_tool('protoc-gen-mypy_grpc')}"
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *plugins, *outputs, *files], check=True)
    (target / PACKAGE / "__init__.py").write_text(STORY)


def _tool(name: str) -> Path:
    return Path(sys.executable).parent / name


def differences(fresh: Path, committed: Path) -> list[str]:
    """Names of files that are missing, left over, or different."""
    names = {path.name for folder in (fresh, committed) for path in folder.glob("*.py*")}
    return sorted(name for name in names if not _same(fresh / name, committed / name))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def main() -> int:
    """Generates, or with --check compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the committed code instead of writing it")
    if not parser.parse_args().check:
        generate(ROOT / "sdk")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = differences(Path(folder) / PACKAGE, ROOT / "sdk" / PACKAGE)
    if stale:
        print("generated code is stale, run `make proto`: " + ", ".join(stale), file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
