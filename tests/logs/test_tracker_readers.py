"""Files of trackers and trainers: the right rows, or one error that names the place."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scaling_laws.common.errors import DataError
from scaling_laws.data.importing import Options
from scaling_laws.data.importing.curve import curve_of
from scaling_laws.data.importing.roles import find_roles
from scaling_laws.data.logs import READERS, LogTable, Match, read_log, read_tables
from scaling_laws.data.logs.text import head_of
from tests.logs.fixtures import TEXTS, TRAINER_STATE
from tests.logs.text_fixtures import TEXTS as TRAINER_TEXTS

OWN = {*TEXTS, "tensorboard", "mlflow", "mlflow_database", "trackio", "wandb_offline", "aim"}


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def fixture(folder: Path, reader: str) -> Path:
    return write(folder, *TEXTS[reader])


def one(path: Path, reader: str) -> LogTable:
    """The only run of a file, taken by the reader that should."""
    found, (table,) = read_tables(path)
    assert found.name == reader
    return table


def points(table: LogTable, key: str, step: str | None = None) -> list[tuple[float, float]]:
    """(step, value) of a key, in the order of the file."""
    column = table.column(key)
    steps = table.dense(step or str(table.step))[column.rows]
    return list(zip(steps.tolist(), column.values.tolist(), strict=True))


def state(**changes: Any) -> Mapping[str, Any]:
    return TRAINER_STATE | changes


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_exactly_one_reader_is_sure(tmp_path: Path, name: str) -> None:
    head = head_of(fixture(tmp_path, name))
    sure = [reader.name for reader in READERS if reader.detect(head) is Match.SPECIFIC]
    assert sure == [name]


@pytest.mark.parametrize("name", sorted(TRAINER_TEXTS))
def test_text_of_trainers_is_left_to_their_readers(tmp_path: Path, name: str) -> None:
    head = head_of(write(tmp_path, "train.log", TRAINER_TEXTS[name]))
    assert not any(reader.detect(head) for reader in READERS if reader.name in OWN)


def test_trainer_state(tmp_path: Path) -> None:
    table = one(fixture(tmp_path / "llama" / "checkpoint-30", "trainer_state"), "trainer_state")
    assert table.name == "llama"
    assert points(table, "loss") == [(10, 3.5), (20, 3.25), (30, 3.0)]
    assert points(table, "learning_rate") == [(10, 1e-3), (20, 5e-4), (30, 0.0)]
    assert points(table, "eval_loss") == [(20, 3.375)]
    assert "train_loss" not in table.columns
    assert (table.first_step, table.lr_offset, table.total_steps) == (1, 0, 30)
    assert table.averaged == {"loss"} and table.config["train_batch_size"] == 8
    said = " ".join(table.notes)
    assert "row 5 summarises the whole run" in said and "--lr-offset 1" in said


def test_axolotl(tmp_path: Path) -> None:
    row = {"epoch": 0.1, "loss": 3.5, "learning_rate": 1e-3, "ppl": 33.1, "step": 1}
    counted = {"memory/max_active (GiB)": 9.5, "tokens/total": 8192, "tokens/trainable": 4096}
    history = [row | counted, {**row, "step": 2, "tokens/total": 16384, "tokens/trainable": 8192}]
    folder = tmp_path / "outputs" / "checkpoint-2"
    file = write(folder, "trainer_state.json", json.dumps(state(log_history=history)))
    table = one(file, "trainer_state")
    assert points(table, "loss") == [(1, 3.5), (2, 3.5)]
    keys = find_roles((table,), Options())
    assert keys["tokens"] == "tokens/total" and keys["lr"] == "learning_rate"


def test_trainer_state_written_by_transformers(tmp_path: Path) -> None:
    callbacks = pytest.importorskip("transformers.trainer_callback")
    written = callbacks.TrainerState(max_steps=4, log_history=[{"loss": math.nan, "step": 2}])
    written.save_to_json(str(tmp_path / "trainer_state.json"))
    table = one(tmp_path / "trainer_state.json", "trainer_state")
    assert table.total_steps == 4
    ((step, loss),) = points(table, "loss")
    assert step == 2 and math.isnan(loss)


def test_trainer_state_repeats(tmp_path: Path) -> None:
    history = [{"step": step, "loss": loss} for step, loss in [(10, 3.5), (20, 3.3), (20, 3.25)]]
    file = write(tmp_path, "trainer_state.json", json.dumps(state(log_history=history)))
    assert read_log(file).series("loss")[1].tolist() == [3.5, 3.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            json.dumps(TRAINER_STATE, indent=2)[:300],
            r"line \d+: incomplete or invalid JSON .* truncated",
        ),
        ('{"log_history": []}', r"'log_history' must be a list of rows .* not \[\]"),
        ('{"log_history": [3]}', "log_history row 1: 3 is not an object"),
        ('{"log_history": [{"train_runtime": 3}]}', "a summary of the run only"),
        ('["log_history"]', "a JSON object with 'log_history' is required, not a list"),
    ],
)
def test_trainer_state_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_tables(write(tmp_path, "trainer_state.json", text), format="trainer_state")
    assert "trainer_state.json" in str(error.value)


def test_llama_factory(tmp_path: Path) -> None:
    table = one(fixture(tmp_path / "llama", "llama_factory"), "llama_factory")
    assert points(table, "loss") == [(10, 3.5), (20, 3.25)]
    assert points(table, "lr") == [(10, 1e-3), (20, 5e-4)]
    assert points(table, "eval_loss") == [(20, 3.375)]
    assert (table.name, table.first_step, table.total_steps) == ("llama", 1, 30)
    assert table.averaged == {"loss"} and table.lines.tolist() == [1, 2, 3]


def test_llama_factory_cut_short_restarted_or_broken(tmp_path: Path) -> None:
    name, text = TEXTS["llama_factory"]
    again = text.replace("3.25", "3.125").replace('"total_steps": 30', '"total_steps": 40')
    table = one(write(tmp_path, name, text + again + text[:50]), "llama_factory")
    assert points(table, "loss") == [(10, 3.5), (20, 3.25), (10, 3.5), (20, 3.125)]
    said = " ".join(table.notes)
    assert "line 7, the last, is truncated" in said and "change within the file: [30, 40]" in said
    assert table.total_steps == 40
    with pytest.raises(DataError, match=r"trainer_log\.jsonl line 4: not JSON"):
        read_tables(write(tmp_path, name, text + "oops\n" + text))
    with pytest.raises(DataError, match="no line contains 'current_steps'"):
        read_tables(write(tmp_path, name, '{"loss": 3}\n'), format="llama_factory")


def test_wandb_export(tmp_path: Path) -> None:
    reader, tables = read_tables(fixture(tmp_path, "wandb_export"))
    assert reader.name == "wandb_export"
    assert [table.name for table in tables] == ["llama - small", "base"]
    assert points(tables[0], "train/loss", "Step") == [(0, 3.5), (10, 3.25)]
    assert points(tables[1], "train/loss", "Step") == [(10, 3.75), (20, 3.625)]
    assert list(tables[1].columns) == ["Step", "train/loss"]
    assert any("exported sampled" in note for note in tables[0].notes)


def test_wandb_export_refused(tmp_path: Path) -> None:
    runs = '"Name","State","learning_rate"\n"a","finished","0.001"\n'
    with pytest.raises(DataError, match="this is the table of runs"):
        read_tables(write(tmp_path, "wandb_export_2026.csv", runs))
    with pytest.raises(DataError, match="no column RUN - METRIC with a value in it among a, b"):
        read_tables(write(tmp_path, "x.csv", "a,b\n1,2\n"), format="wandb_export")
    name, text = TEXTS["wandb_export"]
    table = read_tables(write(tmp_path, name, text + '"30",""'))[1][0]
    assert any("truncated" in note for note in table.notes)
    assert points(table, "train/loss", "Step") == [(0, 3.5), (10, 3.25)]


def test_lightning(tmp_path: Path) -> None:
    table = one(fixture(tmp_path / "gpt" / "version_0", "lightning"), "lightning")
    assert (table.name, table.step, table.first_step) == ("gpt", "step", 0)
    assert points(table, "lr-AdamW") == [(49, 1e-3), (99, 5e-4)]
    assert points(table, "train_loss_step") == [(49, 3.5), (99, 3.25)]
    assert points(table, "val_loss") == [(99, 3.375)]
    name, text = TEXTS["lightning"]
    more = text + "0,,,49,,3.4,\n0,,,14"
    log = read_log(write(tmp_path, name, more))
    assert log.series("train_loss_step")[1].tolist() == [3.4, 3.25]
    assert any("line 9 is truncated" in note for note in log.diagnostics)
    with pytest.raises(DataError, match="no column 'step' with a number"):
        read_tables(write(tmp_path, "x.csv", "a,b\n1,2\n"), format="lightning")


def test_litgpt_counts_micro_batches(tmp_path: Path) -> None:
    table = one(fixture(tmp_path / "out", "litgpt"), "litgpt")
    assert points(table, "loss") == [(3, 3.5), (7, 3.25)]
    assert points(table, "val_loss") == [(7, 3.375)]
    assert points(table, "total_tokens") == [(3, 8192), (7, 16384)]
    assert "tokens" not in table.columns
    assert any("--steps-per-update N" in note for note in table.notes)
    options = Options(steps_per_update=4, loss_key="loss")
    curve = curve_of((table,), find_roles((table,), options), options)
    assert curve.steps.tolist() == [0, 1] and curve.lr_steps.tolist() == [0, 1]
    assert curve.tokens_per_step == 8192


def mlflow_folder(folder: Path) -> Path:
    """A run of the file store, by hand."""
    run = folder / "mlruns" / "1" / "abc"
    write(run / "tags", "mlflow.runName", "llama")
    write(run / "params", "lr", "0.001")
    write(run, "meta.yaml", "run_id: abc\n")
    write(run / "metrics" / "train", "loss", "100 3.5 0\n101 nan 10\n103 3.25 10\n")
    write(run / "metrics", "lr", "100 0.001 0\n102 0.0005 10\n")
    return folder / "mlruns"


def database(file: Path, statements: str) -> Path:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(statements)
    return file


def mlflow_database(folder: Path) -> Path:
    """The tables of MLflow's database that are read, with the columns that it has."""
    return database(
        folder / "mlflow.db",
        """
        create table runs (run_uuid text primary key, name text, start_time bigint);
        create table params (key text, value text, run_uuid text);
        create table metrics (key text, value double, timestamp bigint, run_uuid text,
            step bigint, is_nan boolean);
        insert into runs values ('abc', 'llama', 5), ('def', 'empty', 6);
        insert into params values ('lr', '0.001', 'abc'), ('kind', 'adam', 'abc');
        insert into metrics values
            ('train/loss', 3.25, 103, 'abc', 10, 0), ('train/loss', 3.5, 100, 'abc', 0, 0),
            ('train/loss', 0.0, 101, 'abc', 10, 1),
            ('train/loss', 1.7976931348623157e308, 104, 'abc', 20, 0);
        """,
    )


def trackio_database(folder: Path) -> Path:
    return database(
        folder / "project.db",
        """
        create table metrics (id integer primary key autoincrement, timestamp text,
            run_name text, step integer, metrics text, log_id text, space_id text);
        create table configs (run_name text, config text);
        insert into configs values ('b', '{"lr": 0.001}');
        insert into metrics (run_name, step, metrics) values
            ('b', 0, '{"train/loss": 3.5, "lr": 0.001}'), ('b', 10, '{"train/loss": "NaN"}'),
            ('a', 0, '{"train/loss": 4.0}'), ('b', 10, '{"train/loss": 3.25, "step": 7}');
        """,
    )


def event_file(folder: Path, values: list[tuple[int, float]], *, tag: str = "train/loss") -> Path:
    """What a real writer makes of values by step."""
    writers = pytest.importorskip("tensorboardX")
    with writers.SummaryWriter(str(folder)) as writer:
        for step, value in values:
            writer.add_scalar(tag, value, step)
    return max(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mlflow", mlflow_folder),
        ("mlflow_database", mlflow_database),
        ("trackio", trackio_database),
        ("tensorboard", lambda folder: event_file(folder / "run", [(0, 3.5)])),
        ("tensorboard", lambda folder: event_file(folder / "run", [(0, 3.5)]).parent),
    ],
)
def test_one_reader_is_sure_of_stores(
    tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    head = head_of(make(tmp_path))
    assert [reader.name for reader in READERS if reader.detect(head) is Match.SPECIFIC] == [name]


def test_mlflow_folders(tmp_path: Path) -> None:
    root = mlflow_folder(tmp_path)
    for folder in (root, root / "1", root / "1" / "abc"):
        table = one(folder, "mlflow")
        assert (table.name, table.step, table.config["lr"]) == ("llama", "step", 0.001)
        assert points(table, "lr") == [(0, 1e-3), (10, 5e-4)]
        assert [step for step, _ in points(table, "train/loss")] == [0, 10, 10]
    assert read_log(root).series("train/loss")[1].tolist() == [3.5, 3.25]
    file = root / "1" / "abc" / "metrics" / "lr"
    file.write_text("100 0.001 0\n102 0.0005 1")
    table = one(root, "mlflow")
    assert points(table, "lr") == [(0, 1e-3)]
    assert table.notes == ("metrics/lr line 2 has no line end and may be truncated; omitted",)
    file.write_text("100 0.001 0\noops\n")
    with pytest.raises(DataError, match=r"metrics/lr line 2: 'oops' is not 'timestamp value step'"):
        read_tables(root)
    with pytest.raises(DataError, match="found no run in it"):
        read_tables(tmp_path / "mlruns" / "1" / "abc" / "tags", format="mlflow")


def test_mlflow_folder_written_by_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = pytest.importorskip("mlflow.store.tracking.file_store", exc_type=ImportError)
    entities = pytest.importorskip("mlflow.entities")
    file_store = store.FileStore(str(tmp_path / "mlruns"))
    run = file_store.create_run("0", "me", 1, [], "llama").info.run_id
    for step, value in [(0, 3.5), (10, math.inf)]:
        file_store.log_metric(run, entities.Metric("train/loss", value, 100, step))
    table = one(tmp_path / "mlruns", "mlflow")
    assert table.name == "llama"
    assert points(table, "train/loss") == [(0, 3.5), (10, math.inf)]


def test_mlflow_database(tmp_path: Path) -> None:
    table = one(mlflow_database(tmp_path), "mlflow_database")
    assert table.name == "llama" and dict(table.config) == {"lr": 0.001, "kind": "adam"}
    steps, losses = zip(*points(table, "train/loss"), strict=True)
    assert steps == (0, 10, 10, 20)
    assert losses[0] == 3.5 and math.isnan(losses[1]) and losses[2:] == (3.25, math.inf)


def test_mlflow_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    file = mlflow_database(tmp_path)
    database(
        file,
        "update runs set name = 'llama';"
        "insert into metrics values ('train/loss', 4.0, 100, 'def', 0, 0)",
    )
    assert [table.name for table in read_tables(file)[1]] == ["llama-abc", "llama-def"]
    run = mlflow_folder(tmp_path) / "1"
    (run / "abc" / "tags" / "mlflow.runName").unlink()
    assert one(run, "mlflow").name == "abc"


def test_no_step_is_said(tmp_path: Path) -> None:
    file = mlflow_database(tmp_path)
    database(file, "update metrics set step = 0")
    assert any("no step was given" in note for note in one(file, "mlflow_database").notes)


def test_trackio(tmp_path: Path) -> None:
    _, tables = read_tables(trackio_database(tmp_path))
    assert [table.name for table in tables] == ["b", "a"]
    steps, losses = zip(*points(tables[0], "train/loss"), strict=True)
    assert steps == (0, 10, 10) and losses[::2] == (3.5, 3.25) and math.isnan(losses[1])
    assert points(tables[0], "step (logged)") == [(10, 7)]
    assert tables[0].config["lr"] == 0.001 and tables[0].lines.tolist() == [1, 2, 4]


@pytest.mark.parametrize("reader", ["trackio", "mlflow_database"])
def test_broken_databases(tmp_path: Path, reader: str) -> None:
    make = {"trackio": trackio_database, "mlflow_database": mlflow_database}[reader]
    content = make(tmp_path).read_bytes()
    for broken in (b"garbage" * 99, content[:100] + b"\xff" * (len(content) - 100)):
        file = tmp_path / "broken.db"
        file.write_bytes(broken)
        with pytest.raises(DataError, match=r"broken\.db: cannot be read as an SQLite database"):
            read_tables(file, format=reader)
    other = database(tmp_path / "other.db", "create table metrics (id integer)")
    with pytest.raises(DataError, match=r"no table metrics\("):
        read_tables(other, format=reader)


def test_trackio_row_that_is_no_json(tmp_path: Path) -> None:
    file = trackio_database(tmp_path)
    database(file, "update metrics set metrics = 'oops' where id = 2")
    with pytest.raises(DataError, match=r"project\.db metrics row 2: 'oops' is not a JSON object"):
        read_tables(file)


def test_tensorboard_files_of_a_folder_are_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    first = event_file(folder, [(0, 3.5), (10, 3.25)])
    first.rename(folder / "events.out.tfevents.1.host")
    event_file(folder, [(10, 3.125), (20, math.nan)])
    table = one(folder, "tensorboard")
    assert (table.name, table.step) == ("llama", "step")
    assert points(table, "train/loss")[:3] == [(0, 3.5), (10, 3.25), (10, 3.125)]
    assert math.isnan(points(table, "train/loss")[3][1])
    assert any("2 event files of one run" in note for note in table.notes)
    assert read_log(folder).series("train/loss")[1].tolist() == [3.5, 3.125]
    event_file(tmp_path / "other", [(0, 4.0)])
    assert [each.name for each in read_tables(tmp_path)[1]] == ["llama", "other"]


def test_tensorboard_over_samples(tmp_path: Path) -> None:
    file = event_file(tmp_path / "run", [(256, 3.5)], tag="Train/Samples/train_loss")
    table = one(file, "tensorboard")
    assert table.step is None
    assert points(table, "Train/Samples/train_loss", "samples") == [(256, 3.5)]


def test_tensorboard_tensors(tmp_path: Path) -> None:
    writers = pytest.importorskip("tensorboardX.event_file_writer")
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    writer = writers.EventsWriter(str(tmp_path / "events.out.tfevents"))
    for step, fields in enumerate(
        [
            {"dtype": 1, "float_val": [3.5]},
            {"dtype": 1, "tensor_content": struct.pack("<f", 3.25)},
            {"dtype": 2, "tensor_content": struct.pack("<d", 3.125)},
            {"dtype": 7, "string_val": [b"words"]},
        ]
    ):
        event = events.Event(step=step)
        event.summary.value.add(tag="loss", tensor=fields)
        writer.write_event(event)
    writer.flush()
    writer.close()
    (file,) = tmp_path.iterdir()
    assert points(one(file, "tensorboard"), "loss") == [(0, 3.5), (1, 3.25), (2, 3.125)]


def test_tensorboard_cut_or_damaged_at_any_byte(tmp_path: Path) -> None:
    whole = event_file(tmp_path / "a", [(0, 3.5), (10, 3.25)]).read_bytes()
    file = tmp_path / "events.out.tfevents.2"
    wanted = [(0, 3.5), (10, 3.25)]
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        try:
            found = points(one(file, "tensorboard"), "train/loss")
        except DataError as error:
            assert "no scalar was logged" in str(error)
        else:
            assert found == wanted[: len(found)]
        damaged = bytearray(whole)
        damaged[length] ^= 0x55
        file.write_bytes(damaged)
        try:
            found = points(one(file, "tensorboard"), "train/loss")
        except DataError as error:
            assert "tfevents.2 record" in str(error)
        else:
            raise AssertionError(f"byte {length} is damaged, and it was not seen: {found}")


def test_tensorboard_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.proto.event_pb2", None)
    file = write(tmp_path, "events.out.tfevents.1", "x" * 40)
    with pytest.raises(DataError, match=r"pip install 'scaling-laws\[logs\]'"):
        read_tables(file)
