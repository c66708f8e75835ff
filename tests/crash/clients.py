"""Clients that send, journal what was acknowledged, and die or go on when the service does."""

import contextlib
import math
import threading
from collections.abc import Callable

from tests.crash.journal import BatchKey, Journal
from tests.crash.plan import BATCH_RECORDS, BATCHES, CLIENTS, FLEETING, Answer, Cycle
from treering import Client, LogRecord, TreeringError
from treering.uploader import Uploader

PATIENCE_S = 180.0
"""How long a client waits for an acknowledgement before the run counts as hung."""


class Acknowledgements:
    """How many batches of the cycle are acknowledged; wakes whoever waits for a number."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def add(self, count: int) -> None:
        """Some more."""
        with self._changed:
            self._count += count
            self._changed.notify_all()

    def wait_for(self, count: int, failed: Callable[[], bool]) -> None:
        """Returns when there are so many, or a client failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._count >= count or failed(), PATIENCE_S)


class Sender(threading.Thread):
    """One client in one cycle. Sends batches, some of them together; `error` says why it failed, None after a good end.

    Args:
        client: A connection to the services.
        cycle: What to send, and what to do when it must die.
        number: Which client this is.
        journal: Where it writes down what it knows.
        acknowledgements: Told of each acknowledgement.
    """

    def __init__(self, client: Client, cycle: Cycle, number: int, journal: Journal, acknowledgements: Acknowledgements) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.error: Exception | None = None
        self._client, self._cycle, self._number = client, cycle, number
        self._journal, self._acknowledgements = journal, acknowledgements
        self._uploader = self._new_uploader(f"crash-{cycle.number}-{number}")
        self._killed = False

    def run(self) -> None:
        """Sends until everything is acknowledged."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - the run raises it
            self.error = error
        self._acknowledgements.add(0)

    def kill(self) -> None:
        """Ends the uploader as the end of its process would; the thread goes on as the plan says."""
        if self._cycle.answer is not Answer.RESUME:
            self._killed = True
            self._uploader.abort()

    def _run(self) -> None:
        batch = 0
        while batch < BATCHES:
            count = 1 + (batch + self._number) % 3
            batches = range(batch, min(BATCHES, batch + count))
            try:
                self._send(batches)
            except ValueError:  # the uploader was killed
                batch = self._after_death(batches)
            else:
                batch = batches.stop
        self._uploader.close()

    def _send(self, batches: range) -> None:
        keys = [BatchKey(self._cycle.number, self._number, batch) for batch in batches]
        self._journal.sent(*keys)
        for batch in batches:
            for record in records(self._cycle, self._number, batch):
                self._uploader.send(record)
        if not self._uploader.flush(PATIENCE_S):
            raise TreeringError(f"no acknowledgement within {PATIENCE_S:g} s")
        self._journal.acknowledged(*keys)
        self._acknowledgements.add(len(keys))

    def _after_death(self, batches: range) -> int:
        """The new life: from the first batch with the same id, or from the next batch with another."""
        self._killed = False
        if self._cycle.answer is Answer.START_OVER:
            self._uploader = self._new_uploader(f"crash-{self._cycle.number}-{self._number}")
            return 0
        self._uploader = self._new_uploader("")
        return batches.stop

    def _new_uploader(self, producer_id: str) -> Uploader:
        return self._client.uploader(producer_id, linger_s=math.inf, max_batch_records=BATCH_RECORDS, retry_for_s=PATIENCE_S)


def records(cycle: Cycle, client: int, batch: int) -> list[LogRecord]:
    """The records of a batch: the same each time, each with an id that no other record has."""
    found = []
    for index in range(BATCH_RECORDS):
        attributes = {"cycle": str(cycle.number), "batch": f"{client}.{batch}", "id": f"{cycle.number}.{client}.{batch}.{index}"}
        message = cycle.message(client, batch, index)
        found.append(LogRecord(service=f"service-{client}", severity=9, message=message, attributes=attributes, time_unix_nano=0))
    return found


def start(client: Client, cycle: Cycle, journal: Journal, acknowledgements: Acknowledgements) -> list[Sender]:
    """Every client of a cycle, running."""
    senders = [Sender(client, cycle, number, journal, acknowledgements) for number in range(CLIENTS)]
    for sender in senders:
        sender.start()
    return senders


def send_fleeting(client: Client, cycle: Cycle) -> None:
    """Records that expire at once, among the others; who kills ingest may take some of them."""
    with contextlib.suppress(TreeringError):
        uploader = client.uploader(retry_for_s=PATIENCE_S)
        for number in range(500):
            uploader.send(LogRecord(service=FLEETING, message=f"{cycle.patterns[number % 2]} for a moment, {number}", time_unix_nano=0))
        uploader.close()
