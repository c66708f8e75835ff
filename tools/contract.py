"""Writes docs/contract.md, the reference of the contract, from its files, their comments and the tables of limits.

python tools/contract.py            writes it
python tools/contract.py --check    fails if writing would change anything
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

from treering_embed import request_limits as embed
from treering_ingest import request_limits as ingest
from treering_query import request_limits as query
from treering_runtime.request_limits import SHARED, Free, Known, Limit

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PAGE = ROOT / "docs" / "contract.md"
PACKAGE = ".treering.v1."
FROZEN = ("ingest", "batch", "embed", "query", "log", "error")
"""Files of what users call; those that are not there are passed over. Everything else is the inner plane."""

HEAD = """# Contract

Every service, call, message and field, with its meaning and its limit. What users call is frozen: fields are added, none is changed or
removed, so that a client of this version goes on working. The inner plane (sink.proto, admin.proto) is spoken between the parts of one
release, and may change with each.

A field that is `optional` can be told from its zero: unset, it has the default that its meaning names, and a set zero means zero, or is
refused. An enum's value 0, `..._UNSPECIFIED`, is never sent. Ids have 64 bits; in JSON they are decimal strings. Every error is a
`google.rpc.Status` with one of the reasons of [ErrorReason](#errorreason).

This page is written by `make proto` from `protos/treering/v1`.
"""

Path_ = tuple[int, ...]
Table = Iterator[str]
_LIMITS: dict[str, Limit] = {**SHARED, **ingest.LIMITS, **embed.LIMITS, **query.LIMITS}

FILE_MESSAGE, FILE_ENUM, FILE_SERVICE, FILE_PACKAGE = 4, 5, 6, 2
MESSAGE_FIELD, ENUM_VALUE, SERVICE_METHOD = 2, 2, 2
"""Numbers of fields of the descriptors, of which the paths of comments are made."""

_F = pb.FieldDescriptorProto
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in _F.Type.items()}


def described() -> list[pb.FileDescriptorProto]:
    """The files of the contract as the compiler sees them, comments included; frozen ones first."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        files = map(str, sorted(PROTOS.glob("treering/v1/*.proto")))
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", "--include_source_info", f"--descriptor_set_out={out}"]
        subprocess.run([*command, *files], check=True)
        found = pb.FileDescriptorSet.FromString(out.read_bytes()).file
    order = {f"treering/v1/{name}.proto": place for place, name in enumerate(FROZEN)}
    return sorted(found, key=lambda file: (order.get(file.name, len(order)), file.name))


@dataclass(frozen=True)
class Page:
    """One file of the contract as a section of the page."""

    file: pb.FileDescriptorProto

    def lines(self) -> Iterator[str]:
        """All of it."""
        name = self.file.name.rpartition("/")[2].removesuffix(".proto")
        yield f"## {name}.proto\n"
        yield self._comment((FILE_PACKAGE,)) + "\n"
        used = yield from self._services()
        for index, message in enumerate(self.file.message_type):
            if message.name not in used:
                yield from self._message(index, "###")
        for index, enum in enumerate(self.file.enum_type):
            yield from self._enum(index, enum)

    def _services(self) -> Generator[str, None, set[str]]:
        """The services, each rpc with its own two messages; returns the names of those."""
        places = {message.name: index for index, message in enumerate(self.file.message_type)}
        used: set[str] = set()
        for number, service in enumerate(self.file.service):
            yield f"### {service.name}\n"
            yield self._comment((FILE_SERVICE, number)) + "\n"
            for index, method in enumerate(service.method):
                yield f"#### {service.name}.{method.name}\n"
                yield self._comment((FILE_SERVICE, number, SERVICE_METHOD, index)) + "\n"
                yield f"{_asked(method)} → {_answered(method)}\n"
                for name in (_short(method.input_type), _short(method.output_type)):
                    if name in places and name not in used:
                        yield from self._message(places[name], "#####")
                        used.add(name)
        return used

    def _message(self, index: int, heading: str) -> Table:
        message = self.file.message_type[index]
        yield f"{heading} {message.name}\n"
        yield self._comment((FILE_MESSAGE, index)) + "\n"
        rows = [
            (
                f"`{field.name}`",
                str(field.number),
                _type(field, message),
                self._meaning(field, message, (FILE_MESSAGE, index, MESSAGE_FIELD, place)),
            )
            for place, field in enumerate(message.field)
        ]
        yield from _table(("Field", "Number", "Type", "Meaning"), rows)

    def _meaning(self, field: _F, message: pb.DescriptorProto, place: Path_) -> str:
        limit = _LIMITS.get(f"{message.name}.{field.name}")
        said = self._comment(place)
        return said if limit is None or isinstance(limit, Free | Known) else f"{said} *Limit: {limit}.*"

    def _enum(self, index: int, enum: pb.EnumDescriptorProto) -> Table:
        yield f"### {enum.name}\n"
        yield self._comment((FILE_ENUM, index)) + "\n"
        rows = [
            (f"`{value.name}`", str(value.number), self._comment((FILE_ENUM, index, ENUM_VALUE, place)))
            for place, value in enumerate(enum.value)
        ]
        yield from _table(("Value", "Number", "Meaning"), rows)

    def _comment(self, path: Path_) -> str:
        """The comment of an element, each paragraph on one line."""
        found = next((place.leading_comments for place in self.file.source_code_info.location if tuple(place.path) == path), "")
        paragraphs = re.split(r"\n\s*\n", found.strip())
        return "\n\n".join(re.sub(r"\s+", " ", part).strip() for part in paragraphs)


def _short(name: str) -> str:
    return name.removeprefix(PACKAGE)


def _link(name: str) -> str:
    short = _short(name)
    return f"[{short}](#{short.lower()})" if name.startswith(PACKAGE) else short.removeprefix(".")


def _asked(method: pb.MethodDescriptorProto) -> str:
    return f"{'stream of ' if method.client_streaming else ''}{_link(method.input_type)}"


def _answered(method: pb.MethodDescriptorProto) -> str:
    return f"{'stream of ' if method.server_streaming else ''}{_link(method.output_type)}"


def _type(field: _F, message: pb.DescriptorProto) -> str:
    """The type as the contract writes it, with links to messages."""
    entry = next((each for each in message.nested_type if each.options.map_entry and field.type_name.endswith(f".{each.name}")), None)
    if entry is not None:
        key, value = (_TYPES[part.type] if not part.type_name else _link(part.type_name) for part in entry.field)
        return f"map of {key} to {value}"
    one = _link(field.type_name) if field.type_name else _TYPES[field.type]
    if field.proto3_optional:
        return f"optional {one}"
    if field.HasField("oneof_index"):
        return f"{one}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return f"repeated {one}" if field.label == _F.LABEL_REPEATED else one


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    if not rows:
        yield "It has no fields.\n"
        return
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n\n", "<br>") for cell in row) + " |"
    yield ""


def page() -> str:
    """The page as it should be."""
    return "\n".join([HEAD, *(line for file in described() for line in Page(file).lines())])


def main() -> int:
    """Writes the page, or with --check compares."""
    parser = argparse.ArgumentParser(description="The reference of the contract")
    parser.add_argument("--check", action="store_true", help="compare with the page instead of writing it")
    if not parser.parse_args().check:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    print("docs/contract.md is stale; run `make proto`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
