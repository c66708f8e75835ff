"""`python -m treering_query.reconciliation`: compares log, store and index; answers one report.

It takes the options of `treering verify` that say where the services are. An error of a call is an answer as well, `{"error": {...}}`:
whoever started the program knows the words for it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

from treering.admin import AdminClient, InnerEndpoints
from treering.channels import Endpoints
from treering.client import Client
from treering.errors import TreeringError
from treering.inner.tls import TlsFiles
from treering_query.reconciliation.verification import Verification
from treering_runtime.commands import write

_SERVICES = ("ingest", "embed", "query")
_FILES = ("--inner-ca-file", "--inner-cert-file", "--inner-key-file")


def answers(arguments: Sequence[str]) -> Iterator[dict[str, object]]:
    """The report; or the error of a call."""
    given = _parser().parse_args(arguments)
    ca, cert, key = given.inner_ca_file, given.inner_cert_file, given.inner_key_file
    inner = InnerEndpoints(given.inner_ingest, given.inner_embed, given.inner_query, TlsFiles.given((ca, cert, key), _FILES))
    endpoints = Endpoints(given.ingest, given.embed, given.query)
    try:
        with Client(endpoints, timeout=given.timeout) as client, AdminClient(inner, timeout=given.timeout) as admin:
            yield Verification(client, admin).run().as_json()
    except TreeringError as error:
        yield {"error": _as_json(error)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("treering_query.reconciliation")
    parser.add_argument("--timeout", type=float, default=120.0, help="longest time of one question, seconds")
    for name in _SERVICES:
        parser.add_argument(f"--{name}", required=True, help="HOST:PORT")
        parser.add_argument(f"--inner-{name}", required=True, help="unix:PATH or HOST:PORT")
    for name in _FILES:
        parser.add_argument(name, default="", help="for HOST:PORT of inner planes, PEM")
    return parser


def _as_json(error: TreeringError) -> dict[str, object]:
    told = {"message": error.message, "reason": error.reason, "metadata": error.metadata, "retry_after_s": error.retry_after_s}
    return {"type": type(error).__name__, **told}


def main(arguments: Sequence[str]) -> int:
    """Runs the program; returns its exit code."""
    return write(answers(arguments), user="run this as the user that the services run as")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
