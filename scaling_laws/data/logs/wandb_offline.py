"""Files of Weights & Biases runs on disk, ``wandb/offline-run-*/run-ID.wandb``.

A file is a log in LevelDB's format, after a mark of seven bytes and with plain CRC-32 checksums;
each record is a protobuf ``Record``, of which the run, its settings and the history are read.
``_step`` counts calls of the logger unless the trainer gave it; a step that the trainer logged has
a key of its own. Files with the same ID are parts of one resumed run, in order of time.
Runs that were synced leave the same file, in folders ``run-*``. The tracker's package has had no
reader of its own since 0.31, so the format is read here. Source: LevelDB's log_format.md,
wandb_internal.proto of wandb 0.31, files written by wandb 0.16, 0.19 and 0.31.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError, open_bytes, optional
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.text import open_error

__all__ = ["WANDB_OFFLINE"]

MARK = b":W&B\xe1\xbe\x00"
BLOCK = 2**15
PIECE = struct.Struct("<IHB")  # checksum, length, kind of a piece of a record
PADDING, WHOLE, FIRST, MIDDLE, LAST = range(5)
FOLDER = re.compile(r"(offline-)?run-(.+)")  # then the time and the ID
# the messages that are read: field -> number, and its message or a word of SCALARS; * repeats
MESSAGES = {
    "Record": {"history": (2, "History"), "config": (5, "Config"), "run": (17, "Run")},
    "History": {"item": (1, "Item*"), "step": (2, "Step")},
    "Step": {"num": (1, "int64")},
    "Run": {"run_id": (1, "string"), "config": (4, "Config"), "display_name": (8, "string")},
    "Config": {"update": (1, "Item*")},
    "Item": {
        "key": (1, "string"),
        "nested_key": (2, "string*"),
        "integer": (5, "sint64"),
        "number": (6, "double"),
        "text": (7, "string"),
        "value_json": (16, "string"),
    },
}
SCALARS = {"double": 1, "int64": 3, "string": 9, "message": 11, "sint64": 18}  # protobuf's numbers


def detect(head: Head) -> Match:
    """By the mark at its start, or the files in a folder."""
    if head.names:
        try:
            return Match.SPECIFIC if _runs(head.path) else Match.NO
        except OSError:
            return Match.NO
    return Match.SPECIFIC if head.data.startswith(MARK) else Match.NO


def _runs(path: Path) -> dict[str, list[Path]]:
    """The files of each run of a folder, by their name: of a run, of `wandb`, of one with it."""
    path = path / "wandb" if (path / "wandb").is_dir() else path
    run_files = sorted(path.glob("run-*.wandb"))
    if not run_files:
        folders = [(FOLDER.fullmatch(entry.name), entry) for entry in path.iterdir()]
        timed = sorted((match[2], entry) for match, entry in folders if match and entry.is_dir())
        run_files = [file for _, folder in timed for file in sorted(folder.glob("run-*.wandb"))]
    runs: dict[str, list[Path]] = {}
    for file in run_files:
        runs.setdefault(file.name, []).append(file)
    return runs


def read(path: Path) -> tuple[LogTable, ...]:
    """Read the run of a file, or every run of a folder.

    Raises:
        DataError: naming the file and the record that is broken, that no number was logged, or the
            extra that is missing.
    """
    try:
        groups = _runs(path).values() if path.is_dir() else [[path]]
        return tuple(_table(files) for files in groups)
    except OSError as error:
        raise open_error(path, error) from None


def _table(files: list[Path]) -> LogTable:
    lines: list[int] = []
    notes: list[str] = []
    config: dict[str, Any] = {}
    about: dict[str, str] = {}
    records = (row for file in files for row in _rows(file, lines, notes, config, about))
    source = str(files[-1])
    read = table_of(files[0].stem, source, records, lines=lines, unit="record")
    if len(files) > 1:
        notes.append(f"{len(files)} files of one run, in the order of their times")
    columns = dict(read.columns)
    if not set(columns) - {"_step"}:
        details = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(f"{source}: no number was logged{details}", path=source)
    name = about.get("display_name") or about.get("run_id") or files[0].stem
    return LogTable(name, source, columns, read.lines, "record", notes=tuple(notes), config=config)


def _rows(
    file: Path, lines: list[int], notes: list[str], config: dict[str, Any], about: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """What each call of the logger logged; settings and names are put where they belong."""
    parse = _parser()
    for number, data in _framed(file, notes):
        try:
            record = parse(data)
        except Exception as error:  # protobuf's own class of errors is not public everywhere
            raise DataError(
                f"{file} record {number}: not a valid record: {error}", path=file, row=number
            ) from None
        settings = [record.config]
        if record.HasField("run"):
            settings.append(record.run.config)
            about |= {"run_id": record.run.run_id, "display_name": record.run.display_name}
        for entry in settings:
            config |= {item.key: _value(item) for item in entry.update if item.key != "_wandb"}
        if record.HasField("history"):
            row = {"_step": record.history.step.num} if record.history.HasField("step") else {}
            for item in record.history.item:
                key = "/".join(item.nested_key) or item.key
                # the tracker's own: time, calls
                if key == "_step" or not key.startswith("_"):
                    value = _value(item)
                    # images, histograms and tables describe themselves and hold no curve
                    if not (isinstance(value, dict) and "_type" in value):
                        row[key] = value
            lines.append(number)
            yield row


def _value(item: Any) -> Any:
    """The value of a key, which older writers put into JSON."""
    text = item.value_json
    if text:
        try:
            return float(text)
        except ValueError:
            pass
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    for field in ("integer", "number", "text"):
        if item.HasField(field):
            return getattr(item, field)
    return None


def _framed(file: Path, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    """Records of a file with their numbers, from 1; one that is truncated is omitted and reported.

    A piece of a record does not cross the end of a block of 32 KiB; zeros fill a block up.
    """
    number, pending, open_record = 1, b"", False
    with open_bytes(file) as stream:
        start = stream.read(len(MARK))
        if start != MARK:
            raise DataError(
                f"{file}: it begins with {start!r} where {MARK!r} is needed; not a .wandb file",
                path=file,
            )
        at = len(MARK)
        while data := stream.read(BLOCK - at):
            ends = len(data) < BLOCK - at
            at = index = 0
            while len(data) - index >= PIECE.size:
                checksum, length, kind = PIECE.unpack_from(data, index)
                stop = index + PIECE.size + length
                if kind == PADDING and not length:
                    break
                if stop > len(data) and ends:
                    open_record = True
                    break
                if stop > len(data) or zlib.crc32(data[index + 6 : stop]) != checksum:
                    raise DataError(
                        f"{file} record {number}: its data do not match their checksum; the "
                        "file is damaged: copy it again, or export the run's history",
                        path=file,
                        row=number,
                    )
                if open_record and kind in (WHOLE, FIRST):
                    notes.append(f"{file.name} record {number} is truncated; omitted")
                    number, pending = number + 1, b""
                pending += data[index + PIECE.size : stop]
                open_record = kind in (FIRST, MIDDLE)
                if not open_record:
                    yield number, pending
                    number, pending = number + 1, b""
                index = stop
            open_record = open_record or (ends and any(data[index:]))
    if open_record:
        notes.append(f"{file.name} record {number}, the last, is truncated; omitted")


@cache
def _parser() -> Callable[[bytes], Any]:
    """Bytes -> a `Record`, with the fields of `MESSAGES`.

    Raises:
        DataError: naming the extra, if protobuf is not installed.
    """
    descriptors, pools, factory = (
        optional(f"google.protobuf.{part}", "files of Weights & Biases need protobuf", "logs")
        for part in ("descriptor_pb2", "descriptor_pool", "message_factory")
    )
    file = descriptors.FileDescriptorProto(name="history.proto", package="w", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            plain = kind.rstrip("*")
            new = message.field.add(name=field, number=number, label=3 if plain != kind else 1)
            new.type = SCALARS.get(plain, SCALARS["message"])
            if plain in MESSAGES:
                new.type_name = f".w.{plain}"
            elif plain == kind:
                # distinguishes a logged 0 from a missing value
                new.proto3_optional = True
                new.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field}")
    pool = pools.DescriptorPool()
    pool.Add(file)
    record = factory.GetMessageClass(pool.FindMessageTypeByName("w.Record"))
    parse: Callable[[bytes], Any] = record.FromString
    return parse


WANDB_OFFLINE = Reader(
    name="wandb_offline",
    meaning="a run of Weights & Biases on disk: run-ID.wandb, its folder, or the folder wandb",
    detect=detect,
    read=read,
)
