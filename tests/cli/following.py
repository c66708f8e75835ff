"""What tests of following files share: an ingest in memory that knows repeats, and a follower that can be killed anywhere."""

import datetime as dt
from contextlib import contextmanager

from treering.errors import ProducerError, UnavailableError
from treering.patience import Patience
from treering.v1.ingest_pb2 import UploadLogsRequest, UploadLogsResponse
from treering_cli.choosing import Choice
from treering_cli.following.files import Files
from treering_cli.following.follower import FileFollower
from treering_cli.following.positions import Positions
from treering_cli.following.shipping import Shipping
from treering_formats.records import RecordReader


class Killed(BaseException):
    """The process ends here."""


class MemoryIngest:
    """Stores each batch once, by producer, sequence and bytes, as ingest does.

    `faults` are what happens at the next uploads: "before" and "after" end the process before or after the batch is stored, "away" and
    "lost" are errors of the connection before and after; "" is none.
    """

    def __init__(self):
        self.records = []
        self.batches = 0
        self.faults = []
        self._producers = {}

    def upload(self, request):
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise Killed
        if fault == "away":
            raise UnavailableError("nobody answers")
        response = self._store(request)
        if fault == "after":
            raise Killed
        if fault == "lost":
            raise UnavailableError("nobody answers")
        return response

    def forget(self):
        self._producers.clear()

    def _store(self, data):
        request = UploadLogsRequest.FromString(data)
        last, known = self._producers.get(request.producer_id, (0, {}))
        if request.sequence == last + 1 and (last or request.sequence == 1):
            self._producers[request.producer_id] = (request.sequence, known | {request.sequence: data})
            self.records += request.batch.records
            self.batches += 1
            return UploadLogsResponse(accepted_count=len(request.batch.records), log_id=7, end_offset_exclusive=len(self.records))
        if known.get(request.sequence) == data:
            return UploadLogsResponse(duplicate_count=len(request.batch.records), log_id=7, end_offset_exclusive=len(self.records))
        raise ProducerError("unknown", reason="SEQUENCE_REUSED" if known else "PRODUCER_UNKNOWN")

    @property
    def messages(self):
        return [record.message for record in self.records]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class NeverStopped:
    """Waits for nothing, so that tries follow each other at once."""

    def is_set(self):
        return False

    def wait(self, _seconds):
        return False


class Bench:
    """A follower of some paths over its runs; `kill` is where the current run ends."""

    def __init__(self, directory, ingest, *paths, choice=None):
        self.ingest = ingest
        self.clock = Clock()
        self.said = []
        self._directory = directory
        self._paths = [str(path) for path in paths]
        self._choice = choice or Choice([], [])
        self.positions = None
        self.follower = None

    def start(self, *, by_content=False):
        self.positions = Positions(self._directory)
        stop = NeverStopped()
        files = Files(self.positions, reader, self.said.append, clock=self.clock, by_content=by_content)
        self.shipping = Shipping(self.positions, self.ingest, Patience(60.0), stop, self.said.append)
        self.follower = FileFollower(
            lambda: self._paths,
            files=files,
            positions=self.positions,
            shipping=self.shipping,
            choice=self._choice,
            stop=stop,
            say=self.said.append,
            clock=self.clock,
        )
        return self

    def begin(self):
        self.start()
        self.follower.begin()
        return self

    def turns(self, count=3):
        """Some turns, a second apart: enough for what waits for joining lines."""
        for _ in range(count):
            self.clock.now += 1.0
            while self.follower.turn():
                pass

    def kill(self):
        """What a dead process leaves: its files on disk, and nothing else."""
        if self.positions is not None:
            for tracked in self.follower._all():
                tracked.close()
            self.positions.close()
        self.positions = self.follower = None

    def once(self):
        self.start(by_content=True)
        self.follower.read_once()
        self.kill()
        return self


def reader(stream, _path):
    return RecordReader(stream, service="s", environment="", fmt="auto", now=dt.datetime(2026, 11, 27, tzinfo=dt.UTC))


@contextmanager
def killed(bench):
    """Whatever is in the block may end the run."""
    try:
        yield
    except Killed:
        bench.kill()
