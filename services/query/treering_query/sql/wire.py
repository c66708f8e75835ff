"""What parent, zygote and child say to each other.

Parent to zygote: one byte with one descriptor, the child's end of a socket pair. Parent to child over that socket:
a request (length and JSON; the descriptors of shared Arrow tables travel with the length). Child to parent: messages of kind, length
and body; the last one is a summary or an error. A message may name texts: the parent answers it with one byte and the descriptor of their
scores. When the parent closes its end, the child ends itself.
"""

import json
import socket
import struct
from dataclasses import asdict, dataclass

HEADER = struct.Struct("<cI")
"""Kind and length of a message to the parent."""

ARROW = b"A"
"""A piece of the Arrow IPC stream."""
TEXTS = b"T"
"""JSON [text, ...]: what the query asks the meaning of."""
SUMMARY = b"S"
"""JSON {row_count, truncated}: the end of a result."""
ERROR = b"E"
"""JSON {reason, message, metadata}: the end of a failure."""

_LENGTH = struct.Struct("<I")
# Linux passes at most 253 with one message (SCM_MAX_FD).
_MAX_DESCRIPTORS = 250


@dataclass(frozen=True)
class Request:
    """One query and what it may use."""

    query: str
    directory: str
    """Where the segments are; the child's working directory."""
    files: tuple[str, ...]
    """Names of the segments' files in it that have no column for resources."""
    files_with_resources: tuple[str, ...]
    """Names of the others."""
    has_patterns: bool
    """Whether the last descriptor is what the store gives of `patterns` and `templates`."""
    max_rows: int
    max_bytes: int
    memory_bytes: int
    threads: int
    seconds: float

    @property
    def all_files(self) -> tuple[str, ...]:
        """Everything that may be opened."""
        return self.files + self.files_with_resources


def send_request(sock: socket.socket, request: Request, descriptors: list[int]) -> None:
    """Sends a request; blocks while the child does not read."""
    body = json.dumps(asdict(request)).encode()
    # Descriptors travel with at least one byte, so they go with the length, before the body.
    socket.send_fds(sock, [_LENGTH.pack(len(body))], descriptors)
    # In pieces, as the child reads. The kernel keeps its own references to the descriptors from here on.
    sock.sendall(body)


def receive_request(sock: socket.socket) -> tuple[Request, list[int]]:
    """Takes a request and its descriptors.

    Raises:
        EOFError: The parent is gone.
    """
    # One call: descriptors that are not taken with their bytes are closed by the kernel.
    head, descriptors, _, _ = socket.recv_fds(sock, _LENGTH.size, _MAX_DESCRIPTORS)
    if len(head) < _LENGTH.size:
        raise EOFError
    fields = json.loads(_exactly(sock, _LENGTH.unpack(head)[0]))
    files = {name: tuple(fields[name]) for name in ("files", "files_with_resources")}
    return Request(**(fields | files)), descriptors


def send_scores(sock: socket.socket, descriptor: int) -> None:
    """Answers TEXTS with a shared Arrow table, see `scores.define`."""
    socket.send_fds(sock, [b"s"], [descriptor])


def receive_scores(sock: socket.socket) -> int | None:
    """Waits for the answer to TEXTS; None when the parent is gone."""
    word, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    return descriptors[0] if word else None


def send(sock: socket.socket, kind: bytes, body: bytes) -> None:
    """Sends one message to the parent."""
    sock.sendall(HEADER.pack(kind, len(body)) + body)


def _exactly(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    # A stream has no borders of messages: a read may give less.
    while len(received) < size:
        piece = sock.recv(size - len(received))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)
