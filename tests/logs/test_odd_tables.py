"""Tables as tired people have them: the right rows, or one error that says what to do."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError
from scaling_laws.data.importing import Options
from scaling_laws.data.importing.roles import find_roles
from scaling_laws.data.logs import read_tables
from scaling_laws.data.logs.cell_values import comma_style
from tests.logs.test_readers import quick, write
from tests.logs.test_tracker_readers import one, points

PLAIN = {"step": [0.0, 10.0, 1000.0], "loss": [3.5, 3.25, 3.0]}


def dense(file: Path) -> dict[str, list[float]]:
    _, (table,) = read_tables(file)
    return {key: table.dense(key).tolist() for key in table.columns}


def notes(file: Path) -> str:
    _, (table,) = read_tables(file)
    return " ".join(table.notes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "# run 7, 125M\n#\n\nstep,loss\n0,3.5\n10,3.25\n1000,3\n"),
        ("a.txt", "# step loss\n0 3.5\n10 3.25\n1000 3\n"),  # as numpy.savetxt writes it
        ("a.txt", "step loss\n0 3.5\n10 3.25\n1000 3\n"),
        ("a.out", "  step    loss\n     0    3.50\n    10    3.25\n  1000    3.00\n"),
        ("a.dat", "step|loss\r\n0|3.5\r\n10|3.25\r\n1000|3\r\n"),
        ("a.csv", "step,loss\n0,3.5,\n10,3.25,,\n1000,3,\n"),
        ("a.csv", 'step,loss\n0,3.5\n10,3.25\n"1,000",3\n'),
        ("a.csv", "step;loss\n0;3,5\n10;3,25\n1000;3\n"),
        ("a.tsv", "step\tloss\n0\t3,5\n10\t3,25\n1000\t3\n"),
        ("a.csv", "step,loss\n0,3.5\n10,3.25\nstep,loss\n1000,3\n"),
        ("a.json", '[{"step": 0, "loss": 3.5}, {"step": 10, "loss": 3.25},\n'
         ' {"step": 1000, "loss": 3}]'),
        ("a.json", '{"step": [0, 10, 1000], "loss": [3.5, 3.25, 3], "name": "x"}'),
    ],
)  # fmt: skip
def test_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    assert dense(write(tmp_path, name, text)) == PLAIN


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_utf16_without_a_mark(tmp_path: Path, encoding: str, name: str) -> None:
    text = "step,loss\n0,3.5\n10,3.25\n1000,3\n"
    assert dense(write(tmp_path, name, text.encode(encoding))) == PLAIN


def test_what_was_done_is_said(tmp_path: Path) -> None:
    again = "step,loss\n0,3.5\n10,3.25\nstep,loss\n10,3.2\n"
    said = notes(write(tmp_path, "a.csv", again))
    assert "the header is repeated in line 4, as after a restart" in said
    resumed = "step,loss\n0,3.5\n# resumed, at step 1\n10,3.25\n# done\n"
    assert "comments (#) are ignored in lines 3, 5" in notes(write(tmp_path, "d.csv", resumed))
    grouped = 'step,loss\n0,3.5\n"1,000",3\n'
    assert "between thousands" in notes(write(tmp_path, "b.csv", grouped))
    assert "decimal marks" in notes(write(tmp_path, "c.csv", "step;loss\n0;3,5\n"))


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "# one\n\n# two\nstep,loss\n0,3.5\n\n1,3.4,7\n")
    with pytest.raises(DataError, match="line 7: 3 cells under a header of 2"):
        read_tables(file)
    numbers = write(tmp_path, "b.txt", "# step loss\n0 3.5\n1 oops\n2 3.3\n")
    _, (table,) = read_tables(numbers)
    with pytest.raises(DataError, match="line 3, column 'loss': 'oops'"):
        table.dense("loss")


@pytest.mark.parametrize(
    ("cells", "style"),
    [
        (["1,000", "2.5"], "thousands"),
        (["1,234,567"], "thousands"),
        (["0,25", "1,000"], "decimal"),
        ([",5", "1,5e-3"], "decimal"),
        (["1,000", "2"], None),  # a thousand, or one
        (["0,25", "1.5"], None),  # both marks
        (["0,25", "1,234,567"], None),
    ],
)
def test_commas(cells: list[str], style: str | None) -> None:
    assert comma_style(cells) == style


def test_commas_that_may_be_either_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "step;loss\n0;3\n1,000;2\n")
    _, (table,) = read_tables(file)
    with pytest.raises(DataError, match="line 3, column 'step': '1,000' is not a number"):
        table.dense("step")


@quick
@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.floats(0.01, 20)), min_size=1, max_size=9),
    st.booleans(),
)
def test_commas_never_change_a_number(
    tmp_path: Path, rows: list[tuple[int, float]], german: bool
) -> None:
    if german:
        lines = [f"{step};{loss:.5f}".replace(".", ",") for step, loss in rows]
    else:
        lines = [f'"{step:,}";{loss:.5f}' for step, loss in rows]
    file = write(tmp_path, "a.csv", "\n".join(["step;loss", *lines, ""]))
    wanted = {
        "step": [float(step) for step, _ in rows],
        "loss": [float(f"{loss:.5f}") for _, loss in rows],
    }
    assert dense(file) == wanted


INTERLEAVED = [(0, "train", 3.5), (0, "Validation", 3.6), (10, "train", 3.25)]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet"])
def test_training_and_evaluation_are_not_mixed(tmp_path: Path, kind: str) -> None:
    records = [{"step": s, "split": split, "loss": x, "lr": 1e-3} for s, split, x in INTERLEAVED]
    if kind == "csv":
        rows = "".join(f"{r['step']},{r['split']},{r['loss']},{r['lr']}\n" for r in records)
        file = write(tmp_path, "a.csv", "step,split,loss,lr\n" + rows)
    elif kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        file = tmp_path / "a.parquet"
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(records), file)
    else:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        file = write(tmp_path, f"a.{kind}", lines if kind == "jsonl" else json.dumps(records))
    table = one(file, kind)
    assert points(table, "train/loss", "step") == [(0, 3.5), (10, 3.25)]
    assert points(table, "validation/loss", "step") == [(0, 3.6)]
    assert "loss" not in table.columns
    assert find_roles((table,), Options(loss_key="train/loss"))["lr"] == "train/lr"


def test_a_column_that_names_runs(tmp_path: Path) -> None:
    text = "run,step,loss\nbig,0,3.5\nsmall,0,4.5\nbig,10,3.25\nsmall,10,\n"
    _, (big, small) = read_tables(write(tmp_path, "a.csv", text))
    assert (big.name, small.name) == ("big", "small")
    assert points(big, "loss", "step") == [(0, 3.5), (10, 3.25)]
    assert points(small, "loss", "step") == [(0, 4.5)] and small.lines.tolist() == [3, 5]
    alone = text.replace("small", "big")
    _, (table,) = read_tables(write(tmp_path, "b.csv", alone))
    assert table.name == "b" and table.lines.size == 4


def test_words_of_another_kind_tell_no_rows_apart(tmp_path: Path) -> None:
    text = "step,phase,loss\n0,warmup,3.5\n10,stable,3.25\n1000,decay,3\n"
    _, (table,) = read_tables(write(tmp_path, "a.csv", text))
    assert {key: table.dense(key).tolist() for key in ("step", "loss")} == PLAIN
    mixed = "step,split,loss\n0,train,3.5\n0,,3.6\n10,val,3.7\n"
    _, (table,) = read_tables(write(tmp_path, "b.csv", mixed))
    assert points(table, "loss", "step") == [(0, 3.6)]  # a row without a word keeps its key


@pytest.mark.parametrize(
    ("header", "keys"),
    [
        ("Global Step,Learning Rate,Train Loss", ("Global Step", "Train Loss", "Learning Rate")),
        ("step [#],lr,loss [nats]", ("step [#]", "loss [nats]", "lr")),
        ("Step,LR,Train-Loss", ("Step", "Train-Loss", "LR")),
    ],
)
def test_names_as_people_write_them(
    tmp_path: Path, header: str, keys: tuple[str, str, str]
) -> None:
    _, (table,) = read_tables(write(tmp_path, "a.csv", f"{header}\n0,1e-3,3.5\n"))
    found = find_roles((table,), Options())
    assert (found["step"], found["loss"], found["lr"]) == keys


def test_a_unit_that_scales_is_not_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "step,lr (x1e-4),tokens (B),loss\n0,3,0.5,3.5\n")
    found = find_roles(read_tables(file)[1], Options())
    assert "lr" not in found and "tokens" not in found


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "a.csv.gz",
            gzip.compress(b"step,loss\n0,3\n", mtime=0),  # a time stamp would name the test
            "compressed with gzip; .* gunzip",
        ),
        ("a.log", b"", "the file is empty"),
        ("a.xlsx", b"PK\x03\x04" + bytes(60), "a ZIP archive, .* save a spreadsheet as CSV"),
        ("a.pkl", pickle.dumps({"loss": [3]}), "a Python pickle, which is never opened here"),
        ("a.bin", b"\x01\x00\x02\x00\xff\x00", "it is not text"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        ("a.md", b"hello\n", "the first line is 'hello'.* printed lines need pairs"),
        ("a.log", b"{'loss': 3.5, 'epoch': 0.1}\n{'loss': 3.4, 'epoch': 0.2}\n",
         "dictionary as Python prints it, .* trainer_state.json"),
        ("a.csv", b'step,loss\n0,3\n1,"2\n2,3\n', "line 3: broken table .* remove the quote"),
        ("a.json", b'[{"step": 1}, 3]', "row 2: 3 is not an object"),
        ("a.json", b'{"step": [1, 2], "loss": [3]}', r"different lengths \(step 2, loss 1\)"),
        ("a.json", b'[{"step": 1},', "line 1: incomplete or invalid JSON"),
    ],
)  # fmt: skip
def test_what_a_file_is_and_the_mend(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_tables(write(tmp_path, name, data))
    assert name in str(error.value)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an empty folder"):
        read_tables(tmp_path)
    for number in range(6):
        write(tmp_path, f"{number}.csv", "step,loss\n0,3\n")
    with pytest.raises(
        DataError, match=r"it contains 0\.csv, 1\.csv, 2\.csv, 3\.csv, \.\.\.: pass"
    ):
        read_tables(tmp_path)


def test_a_chart_without_ends_and_one_with_one_metric(tmp_path: Path) -> None:
    both = '"trainer/global_step","my run - train/loss","my run - train/lr"\n"0","3.5","0.001"\n'
    table = one(write(tmp_path, "a.csv", both), "wandb_export")
    assert points(table, "train/lr", "trainer/global_step") == [(0, 1e-3)]
    assert "--join" not in " ".join(table.notes)
    alone = '"Step","my run - train/loss"\n"0","3.5"\n'
    table = one(write(tmp_path, "b.csv", alone), "wandb_export")
    assert "charts of loss and learning rate together: --run 'my run' --join" in table.notes[-1]
