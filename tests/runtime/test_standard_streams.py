import subprocess
import sys
from pathlib import Path

import pytest

OPENS = """
import os, sys
from pathlib import Path
from {module} import open_standard_streams
open_standard_streams()
with open(sys.argv[1], "wb") as file:
    opened = [os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)]
    sys.stdout.write("")
    print("told", file=sys.stderr, flush=True)
    os.write(2, b"what a library says")
    file.write("\\n".join([str(file.fileno() > 2), *opened]).encode())
"""
STDIO = ("/dev/null",) * 3


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("module", ["treering_runtime.standard_streams", "treering_cli.standard_streams"])
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_file_becomes_a_standard_stream_of_a_process_that_was_started_without_them(
    tmp_path: Path, module: str, closed: tuple[int] | tuple[int, int, int]
) -> None:
    # A shell closes them, as whoever starts services does: a fork of this process would have the threads of gRPC in it.
    closing = " ".join(f"{number}>&-" for number in closed)
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-c", OPENS.format(module=module), tmp_path / "file"]
    null = subprocess.DEVNULL
    done = subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text().split("\n") == ["True", *STDIO]
