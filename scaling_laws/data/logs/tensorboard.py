"""Event files of TensorBoard, ``events.out.tfevents.*``, and folders of them.

A file is a sequence of TFRecords, each a protobuf ``Event`` with a step and values by tag. Scalars
are in ``simple_value``, or with newer writers in a ``tensor`` without dimensions. The files of one
folder are one run, read in the order of the times in their names: a restart adds a file and repeats
steps. A folder without event files whose folders have some holds several runs.

What a step counts is the writer's choice. Tags of Megatron-LM that end in `` vs samples``, and
DeepSpeed's ``Train/Samples/...``, are logged over samples; their rows hold ``samples`` in place of
``step``. Source: TensorFlow's format of records, training.py of Megatron-LM 2026-08, DeepSpeed's
monitor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scaling_laws.common import DataError, open_bytes, optional
from scaling_laws.data.logs.naming import folder_name
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader, table_of
from scaling_laws.data.logs.text import open_error

__all__ = ["TENSORBOARD"]

NAMED = "tfevents"
MARK = b"brain.Event:"  # in the first record of each file
# a scalar's record has some 60 bytes; sums over images and graphs would take minutes
CHECKED = 4096
FLOAT, DOUBLE = 1, 2  # of TensorFlow's DataType


def detect(head: Head) -> Match:
    """By the mark in the first record, or the names in a folder."""
    if head.names:
        try:
            return Match.SPECIFIC if _runs(head.path) else Match.NO
        except OSError:
            return Match.NO
    return Match.SPECIFIC if NAMED in head.path.name or MARK in head.data[:64] else Match.NO


def _runs(path: Path) -> list[list[Path]]:
    """The event files of each run: the folder's own, else those of each folder in it."""
    event_files = _files(path)
    if event_files:
        return [event_files]
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    return [files for files in map(_files, folders) if files]


def _files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if NAMED in entry.name and entry.is_file())


def read(path: Path) -> tuple[LogTable, ...]:
    """Read the run of a file, or every run of a folder.

    Raises:
        DataError: naming the file and the record that is broken, that no scalar was logged, or the
            extra that is missing.
    """
    try:
        runs = _runs(path) if path.is_dir() else [[path]]
        return tuple(_table(path, files) for files in runs)
    except OSError as error:
        raise open_error(path, error) from None


def _table(path: Path, files: list[Path]) -> LogTable:
    lines: list[int] = []
    notes: list[str] = []
    source = path if path.is_file() else files[0].parent
    records = (record for file in files for record in _records(file, lines, notes))
    table = table_of(
        folder_name(files[0]), str(source), records, lines=lines, unit="record", step="step"
    )
    if not table.columns:
        raise DataError(f"{source}: no scalar was logged", path=source)
    if len(files) > 1:
        notes.append(f"{len(files)} event files of one run, in the order of their names")
    # if everything is logged over samples there is no step
    step = "step" if "step" in table.columns else None
    return LogTable(
        table.name, table.source, table.columns, table.lines, "record", step, notes=tuple(notes)
    )


def _records(file: Path, lines: list[int], notes: list[str]) -> Iterator[dict[str, float]]:
    """Scalars of each event that has some, with the step or the samples they belong to."""
    protobuf, checksum = _library()
    for number, data in _framed(file, checksum, notes):
        try:
            event = protobuf.Event.FromString(data)
        except Exception as error:  # protobuf's own class of errors is not public everywhere
            raise DataError(
                f"{file} record {number}: not a valid event: {error}", path=file, row=number
            ) from None
        by_counter: dict[str, dict[str, float]] = {}
        for value in event.summary.value:
            scalar = _scalar(value)
            if scalar is not None:
                tag = str(value.tag)
                over = tag.endswith(" vs samples") or tag.startswith("Train/Samples/")
                counter = "samples" if over else "step"
                # a tag with the name of the counter is another number
                tag = f"{tag} (logged)" if tag in ("step", "samples") else tag
                by_counter.setdefault(counter, {counter: int(event.step)})[tag] = scalar
        for record in by_counter.values():
            lines.append(number)
            yield record


def _framed(
    file: Path, checksum: Callable[[bytes], int], notes: list[str]
) -> Iterator[tuple[int, bytes]]:
    """Records of a file: length, its checksum, data, its checksum."""
    with open_bytes(file) as stream:
        remaining = file.stat().st_size
        number = 0
        while head := stream.read(12):
            number += 1
            remaining -= len(head)
            if len(head) == 12:
                length, mark = struct.unpack("<QI", head)
                if checksum(head[:8]) != mark:
                    raise _broken(file, number, "its length")
                if length + 4 <= remaining:
                    data = stream.read(length)
                    (mark,) = struct.unpack("<I", stream.read(4))
                    remaining -= length + 4
                    if length <= CHECKED and checksum(data) != mark:
                        raise _broken(file, number, "its data")
                    yield number, data
                    continue
            notes.append(f"{file.name} record {number}, the last, is truncated; omitted")
            return


def _broken(file: Path, number: int, what: str) -> DataError:
    return DataError(
        f"{file} record {number}: {what} does not match its checksum; the file is damaged or "
        "no event file",
        path=file,
        row=number,
    )


def _scalar(value: Any) -> float | None:
    """The number of a summary's value; None if it is an image, a histogram, a text."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.tensor.tensor_shape.dim:
        return None
    tensor = value.tensor
    for dtype, numbers, form in (
        (FLOAT, tensor.float_val, "<f"),
        (DOUBLE, tensor.double_val, "<d"),
    ):
        if tensor.dtype == dtype:
            if tensor.tensor_content:
                return float(struct.unpack(form, tensor.tensor_content)[0])
            return float(numbers[0]) if numbers else math.nan
    return None


def _library() -> tuple[Any, Callable[[bytes], int]]:
    """The messages of event files, and their checksum.

    Raises:
        DataError: naming the extra, if the library is not installed.
    """
    needs = "event files of TensorBoard need tensorboardX"
    messages, records = (
        optional(f"tensorboardX.{part}", needs, "logs")
        for part in ("proto.event_pb2", "record_writer")
    )
    return messages, records.masked_crc32c


TENSORBOARD = Reader(
    name="tensorboard",
    meaning="event files of TensorBoard: a file, a run's folder, or a folder of such",
    detect=detect,
    read=read,
)
