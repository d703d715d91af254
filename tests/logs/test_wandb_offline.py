"""Files of Weights & Biases on disk, written here by hand from the format, and by the tracker."""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError
from scaling_laws.data.logs import LogTable, read_tables, wandb_offline
from tests.logs.test_tracker_readers import points

MARK = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK = 32768
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def varint(number: int) -> bytes:
    more, last = divmod(number, 128)
    return bytes([last | 128]) + varint(more) if more else bytes([last])


def text(field: int, content: bytes) -> bytes:
    """A field that holds bytes: a word, or a message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def as_json(key: str, value: Any) -> bytes:
    """An item as older writers put it."""
    return text(1, key.encode()) + text(16, json.dumps(value).encode())


def as_number(path: Sequence[str], value: float) -> bytes:
    """An item as newer writers put it: a path of keys, and a double or a whole number."""
    keys = b"".join(text(2, key.encode()) for key in path)
    if isinstance(value, int):
        return keys + varint(5 << 3) + varint(value << 1 if value >= 0 else -value * 2 - 1)
    return keys + varint(6 << 3 | 1) + struct.pack("<d", value)


def history(step: int, *items: bytes) -> bytes:
    counted = text(2, varint(1 << 3) + varint(step))
    return text(2, b"".join(text(1, item) for item in items) + counted)


def run(name: str, **config: Any) -> bytes:
    updates = b"".join(text(1, as_json(key, value)) for key, value in config.items())
    return text(17, text(1, b"abc123") + text(4, updates) + text(8, name.encode()))


def file_of(*records: bytes) -> bytes:
    """The bytes of a file; a record is cut where a block ends, and few bytes there are zeros."""
    data = MARK
    for number, record in enumerate(records, start=1):
        rest, first = varint(1 << 3) + varint(number) + record, True
        while first or rest:
            room = BLOCK - len(data) % BLOCK
            if room < 7:
                data += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            body = bytes([kind]) + piece
            data += struct.pack("<IH", zlib.crc32(body), len(piece)) + body
            first = False
    return data


def write(folder: Path, data: bytes, name: str = "run-abc123.wandb") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def one(path: Path) -> LogTable:
    reader, (table,) = read_tables(path)
    assert reader.name == "wandb_offline"
    return table


LOGGED = [
    history(0, as_json("train/loss", 3.5), as_json("trainer/global_step", 10)),
    history(1, as_number(["train/loss"], 3.25), as_number(["trainer/global_step"], 20)),
    history(2, as_number(["optim", "lr"], 1e-3), as_number(["_runtime"], 2.5)),
]


def test_both_kinds_of_items(tmp_path: Path) -> None:
    records = [run("small", weight_decay=0.1, _wandb={"x": 1}), *LOGGED]
    table = one(write(tmp_path, file_of(*records)))
    assert table.name == "small" and dict(table.config) == {"weight_decay": 0.1}
    assert points(table, "train/loss", "trainer/global_step") == [(10, 3.5), (20, 3.25)]
    assert points(table, "optim/lr", "_step") == [(2, 1e-3)]
    assert set(table.columns) == {"_step", "train/loss", "trainer/global_step", "optim/lr"}
    assert table.lines.tolist() == [2, 3, 4] and table.unit == "record" and not table.notes


def test_values_that_are_no_plain_numbers(tmp_path: Path) -> None:
    items = [
        as_json("loss", math.nan),
        as_json("top", math.inf),
        as_json("zero", 0),
        as_number(["low"], -3),
        as_json("word", "hello"),
        as_json("good", True),
        as_json("bins", {"_type": "histogram", "values": [1]}),
        as_json("nested", {"loss": 2.5}),
    ]
    table = one(write(tmp_path, file_of(history(5, *items))))
    assert math.isnan(table.columns["loss"].values[0])
    found = {key: column.values.tolist() for key, column in table.columns.items() if key != "loss"}
    assert found["top"] == [math.inf] and found["zero"] == [0.0] and found["low"] == [-3.0]
    assert found["nested/loss"] == [2.5] and not any(key.startswith("bins") for key in found)
    assert table.columns["word"].parse_error and table.columns["good"].parse_error


def test_records_across_blocks(tmp_path: Path) -> None:
    long = text(13, bytes(100_000))  # printed output, of no interest
    records = [*LOGGED[:1], long, *LOGGED[1:]]
    table = one(write(tmp_path, file_of(*records)))
    assert points(table, "train/loss", "trainer/global_step") == [(10, 3.5), (20, 3.25)]


@quick
@given(st.integers(BLOCK - 400, BLOCK + 20), st.integers(0, 60))
def test_blocks_may_end_anywhere(tmp_path: Path, length: int, more: int) -> None:
    records = [text(13, bytes(length)), LOGGED[0], text(13, bytes(more)), LOGGED[1]]
    table = one(write(tmp_path, file_of(*records)))
    assert points(table, "train/loss", "trainer/global_step") == [(10, 3.5), (20, 3.25)]


@quick
@given(st.integers(0, 10_000), st.booleans())
def test_a_file_that_ends_early_is_right_or_refused(
    tmp_path: Path, length: int, zeros: bool
) -> None:
    records = [history(step, as_json("loss", 3 + step / 7)) for step in range(40)]
    data = file_of(*records)
    cut = data[: length % len(data)]
    try:
        table = one(write(tmp_path, cut + bytes(200 if zeros else 0)))
    except DataError as error:
        assert "run-abc123.wandb" in str(error)
        return
    found = points(table, "loss", "_step")
    assert found == [(step, 3 + step / 7) for step in range(len(found))]
    whole = len(file_of(*records[: len(found)])) == len(cut)
    assert whole or zeros or "the last, is truncated" in " ".join(table.notes)


def test_damage_is_said(tmp_path: Path) -> None:
    data = bytearray(file_of(*LOGGED))
    data[40] ^= 1
    with pytest.raises(DataError, match=r"run-abc123\.wandb record 1: its data do not match"):
        one(write(tmp_path, bytes(data)))
    with pytest.raises(DataError, match=r"it begins with b'step,lo' where b':W&B"):
        read_tables(write(tmp_path, b"step,loss\n0,3\n"), format="wandb_offline")
    with pytest.raises(DataError, match="record 1: not a valid record"):
        one(write(tmp_path, file_of(text(2, b"\xff\xff"))))
    with pytest.raises(DataError, match="no number was logged"):
        one(write(tmp_path, file_of(run("small"))))


def test_folders_and_resumed_runs(tmp_path: Path) -> None:
    other = history(0, as_json("loss", 9.0))
    again = history(2, as_json("train/loss", 3.0), as_json("trainer/global_step", 15))
    write(tmp_path / "offline-run-20260101_100000-abc123", file_of(run("small"), *LOGGED))
    write(tmp_path / "run-20260102_100000-abc123", file_of(run("small"), again))
    write(tmp_path / "offline-run-20260101_120000-zzz", file_of(other), "run-zzz.wandb")
    (tmp_path / "latest-run").symlink_to(tmp_path / "run-20260102_100000-abc123")
    (tmp_path / "debug.log").write_text("x\n")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "wandb").symlink_to(tmp_path)
    assert len(read_tables(tmp_path / "project")[1]) == 2
    reader, tables = read_tables(tmp_path)
    assert reader.name == "wandb_offline"
    assert [table.name for table in tables] == ["small", "run-zzz"]
    found = points(tables[0], "train/loss", "trainer/global_step")
    assert found == [(10, 3.5), (20, 3.25), (15, 3.0)]
    assert "2 files of one run" in tables[0].notes[-1]
    assert points(one(tmp_path / "latest-run"), "train/loss", "trainer/global_step") == [(15, 3.0)]


def test_without_protobuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb_offline._parser.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf.descriptor_pb2", None)
    with pytest.raises(DataError, match=r"pip install 'scaling-laws\[logs\]'"):
        one(write(tmp_path, file_of(*LOGGED)))


@pytest.mark.filterwarnings("ignore")
def test_a_run_written_by_the_tracker(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    written = wandb.init(
        project="p", name="small", config={"weight_decay": 0.1}, mode="offline", dir=str(tmp_path)
    )
    for step in range(300):
        loss = math.nan if step == 50 else 4 - step / 300
        written.log({"train/loss": loss, "optim": {"lr": 1e-3 / (1 + step)}, "step": 2 * step})
    written.finish()
    table = one(tmp_path / "wandb")
    assert table.name == "small" and table.config["weight_decay"] == 0.1
    found = points(table, "train/loss", "step")
    assert [step for step, _ in found] == [2 * step for step in range(300)]
    values = [value for _, value in found]
    assert math.isnan(values.pop(50))
    assert values == [4 - step / 300 for step in range(300) if step != 50]
    assert points(table, "optim/lr", "step")[-1] == (598, 1e-3 / 300)
