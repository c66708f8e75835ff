"""The `treering` command: one module a command, loaded through `app`."""

import sys

from treering_cli.standard_streams import open_standard_streams


def main() -> int:
    """Runs the command line; 0 is done, 1 is refused, 2 is a wrong use of the command."""
    open_standard_streams()
    try:
        import rich  # noqa: F401, PLC0415 - only to see whether it is there
        import typer  # noqa: F401, PLC0415
    except ImportError:
        sys.stderr.write('the command line needs more than the SDK: pip install "treering[cli]"\n')
        return 1
    from treering_cli.app import run  # noqa: PLC0415 - after the check

    return run()
