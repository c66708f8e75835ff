"""The process of one query: limits first, then the gate, then the tables, then nothing outside can be reached, then the query."""

import contextlib
import json
import os
import queue
import re
import resource
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from treering_query.sql import gate, scores, wire, zones
from treering_query.sql.refusal import Refused
from treering_query.values.sealed_records import sealed_records
from treering_query.view.relation import PATTERNS_VIEW, TEMPLATES_VIEW, user_logs_view
from treering_query.view.shared_arrow import map_arrow

_GRACE_S = 0.5
"""How much later than the query's own time the operating system ends the process, seconds."""

_EXTRA_ADDRESS_SPACE = 768 * 1024 * 1024
"""Beyond the memory for the query: threads' stacks, allocators' reserves, code. Bytes."""

_PIECE_BYTES = 512 * 1024
"""Largest piece of a result in one message, bytes."""

_BATCH_ROWS = 16_384
"""Records of one Arrow batch of a result."""


_OF_THE_USER = {
    *("binder", "catalog", "constraint", "conversion", "decimal", "divide by zero", "expression", "interrupt", "invalid", "invalid input"),
    *("invalid type", "mismatch type", "not implemented", "object size", "out of range", "parameter not allowed"),
    *("parameter not resolved", "parser", "sequence", "syntax", "unknown type"),
}
"""Kinds of errors that are about the user's SQL. What others say may name files, settings or the database's own code, and stays here."""


_EXPLAIN = "explain "
_EXCERPT = re.compile(r"(?P<line>\d+): (?P<text>[^\n]*)\n(?P<blank> *)\^")


class _OtherError(duckdb.Error):
    """What is wrong with the statement that was made of the user's; the arguments are that statement and the database's words."""


class _SqlError(Exception):
    """The user's SQL failed; the arguments are reason, message and metadata for the parent."""


def run(sock: socket.socket) -> None:
    """Serves the one request on `sock`; the process ends afterwards."""
    try:
        request, descriptors = wire.receive_request(sock)
        # Before anything of the user's is parsed: a parser may be made to loop or to eat memory, too.
        _limit(request, descriptors)
        answer = _answer(sock, request, descriptors, _leash(sock))
        wire.send(sock, wire.SUMMARY, json.dumps(answer).encode())
    # From the narrow to the wide: each of these has words that are safe to send.
    except Refused as refused:
        _fail(sock, refused.reason, refused.message, _place(request.query, refused.location))
    except (duckdb.OutOfMemoryException, MemoryError):
        _fail(sock, "SQL_LIMIT", "the query needs more memory than it may have; narrow it or group by less", {"limit": "memory"})
    except _SqlError as error:
        _fail(sock, *error.args)
    except RecursionError:
        _fail(sock, "SQL_ERROR", "the query is nested too deeply; simplify it", {})
    # Nobody listens any more.
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # noqa: BLE001 - the parent must hear of it, in no words that could hold a payload or a path
        _fail(sock, "INTERNAL", type(error).__name__, {})


def _limit(request: wire.Request, descriptors: list[int]) -> None:
    """Asks the operating system to hold this process to its limits, whatever runs in it."""
    # The default ends the process. It needs no thread of this process to be alive and well.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # Ignored, writing to a file is an error (EFBIG) that the database can report; the default would end the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, request.seconds + _GRACE_S)
    # The kernel counts the time of all threads of the process.
    cpu = int(request.seconds * request.threads) + 2
    # Mapped pages count as address space, though they take no memory of this process.
    shared = sum(os.fstat(descriptor).st_size for descriptor in descriptors)
    # With room: two for each segment, and some for the process itself.
    files = len(request.all_files) * 2 + len(descriptors) + 128
    bounds = {
        resource.RLIMIT_AS: _address_space() + request.memory_bytes + shared + _EXTRA_ADDRESS_SPACE,
        resource.RLIMIT_CPU: cpu,
        # No file can grow, wherever it is. Sockets are not files.
        resource.RLIMIT_FSIZE: 0,
        # A core dump would hold records.
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: files,
    }
    for kind, bound in bounds.items():
        # The soft and the hard limit alike: this process cannot raise it again.
        hard = resource.getrlimit(kind)[1]
        least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (least, least))


def _address_space() -> int:
    """Bytes of address space that this process has already."""
    try:
        # What the zygote had loaded is inherited and counts.
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 4 * 1024**3


def _leash(sock: socket.socket) -> queue.Queue[int]:
    """Ends the process when the parent closes its end: the caller went away, or the parent itself. Until then, what the parent sends."""
    sent: queue.Queue[int] = queue.Queue()

    def watch() -> None:
        with contextlib.suppress(OSError):  # the parent's end was closed with something unread in it
            while (descriptor := wire.receive_scores(sock)) is not None:
                sent.put(descriptor)
        # From a thread, whatever the main thread does in the database; nothing here needs to be saved.
        os._exit(1)

    # A daemon: the end of the process does not wait for it.
    threading.Thread(target=watch, daemon=True).start()
    return sent


def _answer(sock: socket.socket, request: wire.Request, descriptors: list[int], sent: queue.Queue[int]) -> dict[str, object]:
    # Before external access is off: the segments are named relative to it, so errors never hold the server's paths.
    os.chdir(request.directory)
    connection = _open(request)
    # Before the tables exist: what is refused costs nothing.
    texts, keys = gate.check(connection, request.query)
    if texts:  # the parent has them scored while the tables are made ready
        wire.send(sock, wire.TEXTS, json.dumps(texts).encode())
    _define_tables(connection, request, [map_arrow(descriptor) for descriptor in descriptors], keys)
    if texts:
        # Waits for the parent. If it never answers, the timer or the end of its socket ends this process.
        scores.define(connection, texts, map_arrow(sent.get()))
    # After the last statement of ours and before the first of the user's. It cannot be undone.
    _lock(connection, request)
    try:
        return _stream(sock, _reader(connection, zones.in_utc(connection, request.query)), request)
    # It is a `duckdb.Error` as well; `run` has better words for it.
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        reason, message, place = _explain(error, request.query, connection)
        raise _SqlError(reason, message + scores.hint(message) if texts else message, place) from error


def _reader(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.RecordBatchReader:
    """The rows of a statement; streams, so that a large result is never whole in memory."""
    try:
        return connection.sql(statement).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        again = zones.unzoned(connection, statement) if zones.is_about_zones(error) else statement
        if again == statement:
            raise
        try:
            return connection.sql(again).to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as other:
            raise _OtherError(again, str(other)) from other


def _define_tables(connection: duckdb.DuckDBPyConnection, request: wire.Request, tables: list[pa.Table], keys: list[str] | None) -> None:
    # what lies under the views has a name that nobody knows beforehand, so that no statement can ask for it
    token = secrets.token_hex(8)
    patterns, hot = f"_patterns_{token}", f"_hot_{token}"
    if request.has_patterns:
        # The last one, as the parent sends it.
        connection.register(patterns, tables.pop())
        connection.execute(PATTERNS_VIEW.format(patterns=patterns))
        connection.execute(TEMPLATES_VIEW.format(patterns=patterns))
    connection.register(hot, pa.concat_tables(tables))
    sealed = sealed_records(request.files, request.files_with_resources) if request.all_files else None
    connection.execute(user_logs_view(sealed, hot, keys))


def _open(request: wire.Request) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{request.memory_bytes}B",
        "threads": request.threads,
        # No spilling: the limits forbid files. A query that needs more memory than it has fails.
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        # The place of an error comes as a number instead of a drawing.
        "errors_as_json": True,
    }
    return duckdb.connect(":memory:", config=config)


def _lock(connection: duckdb.DuckDBPyConnection, request: wire.Request) -> None:
    """From here on only the segments can be opened, and no setting can be changed."""
    connection.execute("set TimeZone = 'UTC'")
    # In this order: paths can be allowed only while access is on, and settings changed only before the lock.
    connection.execute("set allowed_paths = $1::varchar[]", [list(request.all_files)])
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


class _Pieces:
    """A file for the Arrow writer that sends what is written as messages, and counts it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.size = 0
        self.closed = False

    def write(self, data: memoryview) -> int:
        view = memoryview(data)
        # A message has to fit into the parent's buffer, and a gRPC message, whatever the size of a batch.
        for start in range(0, len(view), _PIECE_BYTES):
            wire.send(self._sock, wire.ARROW, bytes(view[start : start + _PIECE_BYTES]))
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""


def _stream(sock: socket.socket, reader: pa.RecordBatchReader, request: wire.Request) -> dict[str, object]:
    pieces = _Pieces(sock)
    rows, truncated = 0, False
    with pa.ipc.new_stream(pa.PythonFile(pieces, mode="w"), reader.schema) as writer:
        for batch in _batches(reader):
            left = request.max_rows - rows
            part = batch.slice(0, left)
            # Before it is written: a stream that is cut between batches is whole, and can be read.
            if part.nbytes + pieces.size > request.max_bytes:
                truncated = True
                break
            writer.write_batch(part)
            rows += part.num_rows
            if part.num_rows < batch.num_rows:
                truncated = True
                break
    return {"row_count": rows, "truncated": truncated}


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The reader's batches; errors of the query come as DuckDB's own, which Arrow passes on as errors of reading."""
    try:
        for batch in reader:
            if batch.num_rows:
                yield batch
    except (pa.ArrowException, OSError) as error:
        text = str(error)
        # Arrow's C stream carries a text only, so the kind is read from it.
        raise (duckdb.OutOfMemoryException if text.startswith("Out of Memory Error") else duckdb.Error)(text) from error


def _fail(sock: socket.socket, reason: str, message: str, metadata: dict[str, str]) -> None:
    body = json.dumps({"reason": reason, "message": message, "metadata": metadata}).encode()
    try:
        wire.send(sock, wire.ERROR, body)
    except (BrokenPipeError, ConnectionResetError):
        return


def _place(query: str, location: int | None) -> dict[str, str]:
    """Line and position, both from 1, of a byte offset."""
    if location is None:
        return {}
    # The database counts bytes, people count characters.
    before = query.encode()[:location].decode(errors="ignore")
    line = before.count("\n") + 1
    return {"line": str(line), "position": str(len(before) - (before.rfind("\n") + 1) + 1)}


def _explain(error: duckdb.Error, query: str, connection: duckdb.DuckDBPyConnection) -> tuple[str, str, dict[str, str]]:
    """The database's words about the user's SQL; never about our files."""
    is_other = isinstance(error, _OtherError)
    made, words = error.args if isinstance(error, _OtherError) else (query, str(error))
    kind, message, place = _parse(words, made)
    # The wall behind the gate was reached. The database's words would name the path.
    if kind == "Permission":
        return "SQL_NOT_ALLOWED", f"only the tables {gate.NAMED} can be read", {}
    # An allow-list: an unknown kind of error is not shown.
    if kind.lower() not in _OF_THE_USER:
        return "INTERNAL", f"{kind} Error", {}
    place = place or _place_when_explained(connection, made)
    # Places in what was made of the statement are not those of the user's words.
    return "SQL_ERROR", f"{kind} Error: {scores.without_own_names(message)}", {} if is_other else place


def _place_when_explained(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Where an error of binding is: the database says so for a statement that it executes, not for one that it streams."""
    try:
        # Plans and does not run; the statement has passed the gate.
        connection.execute(_EXPLAIN + query)
    except duckdb.Error as error:
        place = _parse(str(error), _EXPLAIN + query)[2]
        if place.get("line") == "1":
            place["position"] = str(int(place["position"]) - len(_EXPLAIN))
        return place
    return {}


def _parse(text: str, query: str) -> tuple[str, str, dict[str, str]]:
    """Kind, message and place of an error, which is written as JSON or as text with an excerpt of the query."""
    kind, _, rest = text.partition(" Error: ")
    try:
        details = json.loads(rest or text)
    except ValueError:
        message, _, excerpt = rest.partition("\n\nLINE ")
        return kind, message.rstrip(), _place_of_excerpt(excerpt, query)
    position = str(details.get("position", ""))
    place = _place(query, int(position) if position.isdecimal() else None)
    return str(details["exception_type"]), str(details["exception_message"]), place


def _place_of_excerpt(excerpt: str, query: str) -> dict[str, str]:
    """Line and position that an excerpt such as `2: where foo = 1` with a caret below points at."""
    found = _EXCERPT.match(excerpt)
    if not found:
        return {}
    number, shown = int(found["line"]), found["text"]
    # The caret is below the excerpt, which begins after the words `LINE n: `.
    column = len(found["blank"]) - len(f"LINE {number}: ")
    lines = query.splitlines()
    if shown.startswith("...") and number <= len(lines):
        # A long line is shown as a part of it, with dots at the cut.
        column += lines[number - 1].find(shown[3:].removesuffix("...")) - 3
    return {"line": str(number), "position": str(max(column, 0) + 1)}
