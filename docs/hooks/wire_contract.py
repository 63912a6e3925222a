"""The page of the gRPC contract, from the comments of the schema: every service, message and enumeration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from google.rpc import status_pb2
from grpc_tools import protoc
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE: Final = "wire-contract.md"
SCHEMAS: Final = ("scoring", "worker", "manifest")
"""In the order of the page: what callers send, what reaches a worker, what an archive says of itself."""
OWN: Final = ".scoreguard.v1."
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5  # field numbers of FileDescriptorProto: first part of a comment's path
_FIELD, _METHOD, _VALUE = 2, 2, 2  # of DescriptorProto, ServiceDescriptorProto and EnumDescriptorProto
Path_ = tuple[int, ...]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    root = Path(config.config_file_path).parent / "proto"
    files.append(File.generated(config, PAGE, content="\n".join(page(described(root)))))
    return files


def described(root: Path) -> list[FileDescriptorProto]:
    """The schemas as the compiler reads them, comments included.

    Raises:
        RuntimeError: the compiler refused a schema; it has said why on standard error.
    """
    google, wellknown = Path(status_pb2.__file__).parents[2], Path(protoc.__file__).parent / "_proto"
    names = [f"scoreguard/v1/{name}.proto" for name in SCHEMAS]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "schemas.pb"
        options = [f"-I{root}", f"-I{google}", f"-I{wellknown}", "--include_source_info", f"--descriptor_set_out={out}"]
        if code := protoc.main(["protoc", *options, *names]):
            raise RuntimeError(f"protoc ended with exit code {code}")
        found = {file.name: file for file in FileDescriptorSet.FromString(out.read_bytes()).file}
    return [found[name] for name in names]


def page(files: Iterable[FileDescriptorProto]) -> Iterator[str]:
    """The lines of the page."""
    yield from ["# Wire contract", "", "Package `scoreguard.v1`; the schemas are in `proto/scoreguard/v1`.", ""]
    for file in files:
        comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
        # The first line of a schema is a comment of its syntax statement, field 12.
        yield from [f"## {Path(file.name).name}", "", comments.get((12,), ""), ""]
        for index, service in enumerate(file.service):
            yield from _service(service, comments, (_SERVICE, index))
        for index, message in enumerate(file.message_type):
            yield from _message(message, comments, (_MESSAGE, index))
        for index, enum in enumerate(file.enum_type):
            yield from _enum(enum, comments, (_ENUM, index))


def _service(service: ServiceDescriptorProto, comments: dict[Path_, str], path: Path_) -> Iterator[str]:
    yield from _heading(service.name, comments[path])
    yield from ["| call | request | response | |", "|---|---|---|---|"]
    for index, method in enumerate(service.method):
        request = "stream of " * method.client_streaming + _linked(method.input_type)
        response = "stream of " * method.server_streaming + _linked(method.output_type)
        yield f"| `{method.name}` | {request} | {response} | {_cell(comments[(*path, _METHOD, index)])} |"
    yield ""


def _message(message: DescriptorProto, comments: dict[Path_, str], path: Path_) -> Iterator[str]:
    yield from _heading(message.name, comments[path])
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    if message.field:
        yield from ["| field | number | type | |", "|---|---|---|---|"]
    for index, field in enumerate(message.field):
        said = _cell(comments.get((*path, _FIELD, index), ""))
        if field.HasField("oneof_index") and not field.proto3_optional:
            said = f"One of `{message.oneof_decl[field.oneof_index].name}`. {said}"
        yield f"| `{field.name}` | {field.number} | {_type(field, entries)} | {said} |"
    yield ""


def _enum(enum: EnumDescriptorProto, comments: dict[Path_, str], path: Path_) -> Iterator[str]:
    yield from _heading(enum.name, comments[path])
    yield from ["| value | number | |", "|---|---|---|"]
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(comments.get((*path, _VALUE, index), ''))} |"
    yield ""


def _heading(name: str, comment: str) -> list[str]:
    return [f"### {name} {{#{name}}}", "", comment, ""]


def _type(field: FieldDescriptorProto, entries: dict[str, DescriptorProto]) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (_type(part, {}) for part in entry.field)
        return f"map of {key} to {value}"
    label = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else "optional " * field.proto3_optional
    if field.type_name:
        return label + _linked(field.type_name)
    return f"{label}`{FieldDescriptorProto.Type.Name(field.type).removeprefix('TYPE_').lower()}`"


def _linked(name: str) -> str:
    """A type as a link to where the page describes it; one of others by its full name."""
    if not name.startswith(OWN):
        return f"`{name.lstrip('.')}`"
    short = name.removeprefix(OWN)
    return f"[`{short}`](#{short})"


def _cell(comment: str) -> str:
    """A comment as the text of a table's cell."""
    return " ".join(comment.split()).replace("|", "&#124;")
