"""What holds of the contracts whatever the services do."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2

from treering.v1.batch_pb2 import LogBatch
from treering.v1.error_pb2 import ErrorReason
from treering.v1.ingest_pb2 import StreamLogsRequest, UploadLogsRequest
from treering.v1.log_pb2 import LogRecord
from treering_runtime.statuses import STATUS_CODES, reason_name

ROOT = Path(__file__).resolve().parents[2]
PROTOS = sorted((ROOT / "protos/treering/v1").glob("*.proto"))

FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_MESSAGE, MESSAGE_ENUM = 2, 3, 4
ENUM_VALUE, SERVICE_METHOD = 2, 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    """The contracts as the compiler sees them, comments included."""
    out = tmp_path_factory.mktemp("descriptors") / "set.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", "--include_source_info", f"--descriptor_set_out={out}"]
    subprocess.run([*command, *map(str, PROTOS)], check=True)
    return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def _message(path: tuple[int, ...], message: descriptor_pb2.DescriptorProto, name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    if message.options.map_entry:
        return
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, MESSAGE_FIELD, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message((*path, MESSAGE_MESSAGE, index), nested, f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        yield from _enum((*path, MESSAGE_ENUM, index), enum)


def _enum(path: tuple[int, ...], enum: descriptor_pb2.EnumDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, enum.name
    for index, value in enumerate(enum.value):
        yield (*path, ENUM_VALUE, index), value.name


def _elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, message in enumerate(file.message_type):
        yield from _message((FILE_MESSAGE, index), message, message.name)
    for index, enum in enumerate(file.enum_type):
        yield from _enum((FILE_ENUM, index), enum)
    for index, service in enumerate(file.service):
        yield (FILE_SERVICE, index), service.name
        for number, method in enumerate(service.method):
            yield (FILE_SERVICE, index, SERVICE_METHOD, number), f"{service.name}.{method.name}"


def _comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): (place.leading_comments or place.trailing_comments).strip() for place in file.source_code_info.location}


def test_each_element_has_a_comment(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    seen = [(name, _comments(file).get(path, "")) for file in files for path, name in _elements(file)]
    assert len(seen) > 300
    assert [name for name, comment in seen if not comment.endswith((".", '"', ")"))] == []


def test_each_rpc_has_a_request_and_a_response_of_its_own(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    methods = [
        (method.name, method.input_type, method.output_type) for file in files for service in file.service for method in service.method
    ]
    assert methods
    assert all(
        request == f".treering.v1.{name}Request" and response == f".treering.v1.{name}Response" for name, request, response in methods
    )


def test_zero_of_each_enum_means_nothing(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    enums = [enum for file in files for enum in file.enum_type]
    assert [enum.name for enum in enums if enum.value[0].number != 0 or not enum.value[0].name.endswith("_UNSPECIFIED")] == []
    said = {name: _comments(file).get(path) for file in files for path, name in _elements(file) if name.endswith("_UNSPECIFIED")}
    # A sender may know nothing about how serious a record is: that is data.
    assert {name for name, comment in said.items() if comment != "Never sent."} == {"SEVERITY_UNSPECIFIED"}


def test_both_doors_take_the_same_bytes() -> None:
    def fields(message: type[UploadLogsRequest] | type[StreamLogsRequest]) -> list[Any]:
        return [(field.number, field.name, field.type, field.is_repeated, field.message_type) for field in message.DESCRIPTOR.fields]

    assert fields(UploadLogsRequest) == fields(StreamLogsRequest)
    records = [LogRecord(message="m", attributes={"k": "v"}, trace_id=b"t" * 16)]
    uploaded = UploadLogsRequest(producer_id="p", sequence=7, batch=LogBatch(records=records, resource={"k": "v"}))
    raw = uploaded.SerializeToString(deterministic=True)
    assert StreamLogsRequest.FromString(raw).SerializeToString(deterministic=True) == raw


def test_each_reason_has_a_status_code_and_nothing_else_has() -> None:
    assert set(STATUS_CODES) == set(ErrorReason.values()) - {ErrorReason.ERROR_REASON_UNSPECIFIED}


def test_the_comment_of_each_reason_names_its_status_code(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    [file] = [file for file in files if file.name.endswith("error.proto")]
    comments = _comments(file)
    for index, value in enumerate(file.enum_type[0].value):
        if value.number:
            assert comments[FILE_ENUM, 0, ENUM_VALUE, index].startswith(STATUS_CODES[value.number].name + ": "), value.name


def test_reasons_are_said_without_the_prefix() -> None:
    assert reason_name(ErrorReason.ERROR_REASON_SEQUENCE_GAP) == "SEQUENCE_GAP"
    assert all(isinstance(code, grpc.StatusCode) for code in STATUS_CODES.values())


@pytest.mark.parametrize("tool", ["tools/proto.py", "tools/contract.py"])
def test_what_is_generated_is_fresh(tool: str) -> None:
    check = subprocess.run([sys.executable, tool, "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_the_reference_has_every_element(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    page = (ROOT / "docs" / "contract.md").read_text()
    names = {name.rpartition(".")[2] for file in files for _, name in _elements(file)}
    assert [name for name in names if f"`{name}`" not in page and f"# {name}" not in page and f".{name}\n" not in page] == []
    links = set(re.findall(r"\]\(#([a-z]+)\)", page))
    assert links - {line.lstrip("# ").strip().lower() for line in page.splitlines() if line.startswith("#")} == set()
