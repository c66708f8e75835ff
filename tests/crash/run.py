"""Runs cycles: send, kill, let everything come back, compare."""

import threading
from collections.abc import Callable
from pathlib import Path

from tests.crash import clients, plan
from tests.crash.check import Checker, Findings, eventually
from tests.crash.journal import Journal
from tests.crash.nags import Nags
from tests.crash.plan import CLIENTS, Cycle
from tests.crash.services import Services
from treering import Client
from treering.v1.log_pb2 import Position

NAGS = 4
"""Callers that hang up, all the time."""

VERIFY_EVERY = 25
"""Cycles between two comparisons of everything."""


def run(directory: Path, cycles: int, seed: int, say: Callable[[str], None]) -> Findings:
    """Runs `cycles` cycles in an empty directory.

    Args:
        directory: Takes data, logs and the journal.
        cycles: How many.
        seed: Decides who is killed and when; the load and the machine decide the rest.
        say: Told how each cycle went.

    Raises:
        TreeringError: A client gave up, or a question had no answer in three minutes.
        RuntimeError: `treering up` did not start, or ended by itself.
    """
    services, journal = Services(directory / "data"), Journal(directory / "journal.jsonl")
    try:
        with services.client() as client:
            checker, positions = Checker(client, journal), []
            with Nags(services, seed, NAGS) as nags:
                for number in range(1, cycles + 1):
                    cycle = plan.cycle(seed, number)
                    positions = _cycle(services, client, cycle, journal, checker)
                    say(_words(cycle, checker.findings))
                    if number % VERIFY_EVERY == 0:
                        _verify(services, checker.findings)
            say(str(nags))
            checker.check_all_patterns(positions)
            _verify(services, checker.findings)
        services.close()
        checker.findings.verified("store verify", services.treering("store", "verify", str(directory / "data" / "query")))
    except BaseException:
        services.kill_all()
        raise
    finally:
        journal.close()
    return checker.findings


def _cycle(services: Services, client: Client, cycle: Cycle, journal: Journal, checker: Checker) -> list[Position]:
    acknowledgements = clients.Acknowledgements()
    senders = clients.start(client, cycle, journal, acknowledgements)
    fleeting = threading.Thread(target=clients.send_fleeting, args=(client, cycle))
    fleeting.start()
    acknowledgements.wait_for(cycle.after_batches, lambda: any(sender.error for sender in senders))
    threading.Event().wait(cycle.pause_s)  # the moment is the point, not the time
    _kill(services, cycle, senders)
    for sender in senders:
        sender.join()
        if sender.error:
            raise sender.error
    fleeting.join()
    status = eventually(client.get_ingest_status)
    positions = [Position(log_id=status.log_id, offset=status.end_offset_exclusive)]
    checker.check(cycle.number, positions)
    return positions


def _verify(services: Services, findings: Findings) -> None:
    """Log, store and index hold the same, by their digests."""
    public = [word for name in plan.SERVICES for word in (f"--{name}", getattr(services.endpoints, name))]
    inner = [word for name in plan.SERVICES for word in (f"--inner-{name}", services.inner(name))]
    findings.verified("verify", services.treering("verify", *public, *inner))


def _kill(services: Services, cycle: Cycle, senders: list[clients.Sender]) -> None:
    if cycle.kills_all:
        services.kill_all()
        for sender in senders:
            sender.kill()
        services.start()
        return
    [victim] = cycle.victims
    for _ in range(cycle.kills):
        old = services.kill(victim)
        for sender in senders:
            sender.kill()
        services.await_restart(victim, old)


def _words(cycle: Cycle, found: Findings) -> str:
    victims = "all" if cycle.kills_all else cycle.victims[0]
    when = f"after {cycle.after_batches}/{CLIENTS * plan.BATCHES} batches"
    return f"kill {victims} x{cycle.kills} {when}, clients {cycle.answer}: {found}"
