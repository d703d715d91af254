"""Every exception of the package: its bases, its fields, and what survives pickling."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import scaling_laws
from scaling_laws.common import cell_error
from scaling_laws.common.errors import (
    DataError,
    LawFileError,
    OutputError,
    ScalingLawsError,
    UnreadableFileError,
    find_by_name,
    unknown_name,
)
from scaling_laws.common.files import check_writable, write_with
from scaling_laws.common.optional import optional
from scaling_laws.common.tables import check_steps, read_columns
from scaling_laws.data.importing import import_logs
from scaling_laws.data.logs import read_log, read_tables
from scaling_laws.data.runs import load_runs

OPTIONAL = {"torch", "transformers", "optax", "dask", "joblib"}


def modules() -> list[str]:
    prefix = "scaling_laws."
    return [item.name for item in pkgutil.walk_packages(scaling_laws.__path__, prefix)]


def error_classes() -> list[type[ScalingLawsError]]:
    """Every class below `ScalingLawsError` once all modules have been imported."""
    for name in modules():
        if name.endswith("__main__"):
            continue
        try:
            importlib.import_module(name)
        except ImportError as error:
            assert error.name in OPTIONAL, f"{name}: {error}"
    todo, classes = [ScalingLawsError], set()
    while todo:
        for child in todo.pop().__subclasses__():
            if child.__module__.startswith("scaling_laws.") and child not in classes:
                classes.add(child)
                todo.append(child)
    return sorted(classes, key=lambda cls: cls.__qualname__)


def test_every_exception_is_a_built_in_one_too_and_survives_pickling() -> None:
    classes = error_classes()
    assert {"DataError", "PoolError", "LostProcess"} <= {cls.__name__ for cls in classes}
    for cls in classes:
        built_in = [base for base in cls.__mro__ if base.__module__ == "builtins"]
        assert built_in[0] not in (Exception, BaseException, object), cls
        error = cls("wrong", path=Path("a.csv"))
        error.row, error.column, error.value = 3, "loss", "x"
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is cls and str(again) == "wrong"
        fields = (again.path, again.row, again.column, again.value)
        assert fields == ("a.csv", 3, "loss", "x"), cls


def test_exceptions_survive_tracebacks_made_picklable() -> None:
    """`distributed` replaces how exceptions are pickled as soon as it is imported."""
    code = """
        import pickle
        from tblib import pickling_support
        from scaling_laws.common.errors import UnreadableFileError
        pickling_support.install()
        again = pickle.loads(pickle.dumps(UnreadableFileError("wrong", path="a.csv", row=3)))
        assert type(again) is UnreadableFileError
        assert (str(again), again.path, again.row) == ("wrong", "a.csv", 3)
    """
    pytest.importorskip("tblib")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_exception_of_the_package_lacks_the_common_base() -> None:
    error_classes()
    for name in [name for name in modules() if name in sys.modules]:
        for cls in vars(sys.modules[name]).values():
            if isinstance(cls, type) and cls.__module__ == name and issubclass(cls, Exception):
                assert issubclass(cls, ScalingLawsError | Warning), cls


def test_fields_default_to_none() -> None:
    error = LawFileError("wrong")
    assert (error.path, error.row, error.column, error.value) == (None, None, None, None)
    assert isinstance(error, OSError) and isinstance(error, ValueError)


# --- where errors of tables, runs and logs point ---


@pytest.mark.parametrize(
    ("content", "row", "column", "value"),
    [
        ("step,loss\n0,4\n1,abc\n", 3, "loss", "abc"),
        ("step,loss\n\n0,4\n\n1,nan\n", 5, "loss", "nan"),
        ("step,loss\n0,4\n1,\n", 3, "loss", ""),
        ("step,loss\n0\n", 2, "loss", ["0"]),
        ("step,loss\n0,1,2\n", 2, None, ["0", "1", "2"]),
        ("step,other\n0,1\n", 1, "loss", None),
        ("step,loss,loss\n0,1,1\n", 1, "loss", None),
    ],
)
def test_a_bad_cell(
    tmp_path: Path, content: str, row: int, column: str | None, value: object
) -> None:
    file = tmp_path / "run.csv"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_columns(file, ["step", "loss"])
    error = caught.value
    assert (error.path, error.row, error.column, error.value) == (str(file), row, column, value)
    assert str(error).startswith(f"{file} row {row}")


def test_a_bad_step(tmp_path: Path) -> None:
    file = tmp_path / "run.csv"
    file.write_text("step,loss\n0,4\n\n5,3\n5,3\n")
    with pytest.raises(ValueError) as caught:
        check_steps(file, read_columns(file, ["step"])["step"])
    error = caught.value
    assert isinstance(error, DataError)
    assert (error.path, error.row, error.column, error.value) == (str(file), 5, "step", 5.0)


def test_cell_error_sets_every_field(tmp_path: Path) -> None:
    file = tmp_path / "run.csv"
    file.write_text("step\n0\n\n1\n")
    error = cell_error(file, 1, "step", "odd", value=1.0)
    assert (error.path, error.row, error.column, error.value) == (str(file), 4, "step", 1.0)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [("1,1,-4", "loss", -4.0), ("1,9,4", "lr", 9.0), ("9,1,4", "step", 9.0)],
)
def test_a_run_that_contradicts_its_schedule(
    tmp_path: Path, row: str, column: str, value: float
) -> None:
    (tmp_path / "a.csv").write_text(f"step,lr,loss\n0,1,4\n{row}\n")
    (tmp_path / "dataset.toml").write_text('[runs.a]\nschedule = "constant:peak=1,steps=4"\n')
    with pytest.raises(DataError) as caught:
        load_runs(tmp_path)
    error = caught.value
    expected = (str(tmp_path / "a.csv"), 3, column, value)
    assert (error.path, error.row, error.column, error.value) == expected


@pytest.mark.parametrize(
    ("key", "value"), [("window", "0"), ("weight_decay", "-1.0"), ("schedule", "3e-4")]
)
def test_a_bad_entry_of_a_manifest(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "a.csv").write_text("step,lr,loss\n0,1,4\n")
    (tmp_path / "dataset.toml").write_text(f"[runs.a]\n{key} = {value}\n")
    with pytest.raises(DataError) as caught:
        load_runs(tmp_path)
    assert caught.value.path == str(tmp_path / "dataset.toml")
    assert (caught.value.column, caught.value.value) == (key, float(value))


def test_a_word_in_the_loss_column_of_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"step": 1, "loss": 4.0}\n{"step": 2, "loss": "high"}\n')
    _, (table,) = read_tables(file)
    with pytest.raises(DataError) as caught:
        table.column("loss")
    error = caught.value
    assert (error.path, error.row, error.column, error.value) == (str(file), 2, "loss", "high")


def test_a_broken_line_is_reported_once(tmp_path: Path) -> None:
    """An error of the package is a ValueError, which a reader must not take for a failed read."""
    file = tmp_path / "log.jsonl"
    file.write_text('{"step": 1, "loss": 4.0}\noops\n{"step": 2, "loss": 4.0}\n')
    with pytest.raises(DataError) as caught:
        read_tables(file)
    assert (caught.value.path, caught.value.row) == (str(file), 2)
    assert str(caught.value).count(str(file)) == 1


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl", "folder/none.csv", "x" * 300 + ".csv"])
def test_missing_files_are_os_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for read in (lambda: read_columns(path, ["step"]), lambda: read_log(path)):
        with pytest.raises(UnreadableFileError) as caught:
            read()
        assert isinstance(caught.value, OSError) and caught.value.path == str(path)
    with pytest.raises(UnreadableFileError):
        load_runs(path)


def test_an_import_reports_the_row(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("step,loss,lr\n0,4,1\n0.5,3,1\n2,3,1\n")
    with pytest.raises(DataError) as caught:
        import_logs([log], tmp_path / "set")
    error = caught.value
    assert (error.path, error.row, error.column, error.value) == (str(log), 3, "step", 0.5)


def test_output_errors_name_the_path(tmp_path: Path) -> None:
    target = tmp_path / "none" / "a.json"
    with pytest.raises(OutputError) as caught:
        check_writable(target)
    assert caught.value.path == str(target) and isinstance(caught.value, OSError)


def test_an_error_of_the_package_passes_through_a_write(tmp_path: Path) -> None:
    inner = UnreadableFileError("gone", path="other")

    def write(temporary: Path) -> None:
        raise inner

    with pytest.raises(UnreadableFileError) as caught:
        write_with(tmp_path / "a", write)
    assert caught.value is inner and not list(tmp_path.iterdir())


def test_a_missing_library_names_its_extra() -> None:
    with pytest.raises(ImportError, match=r"Zap needs zap.*scaling-laws\[zap\]") as caught:
        optional("zap_that_does_not_exist", "Zap needs zap", "zap")
    assert isinstance(caught.value, DataError)
    assert caught.value.value == "zap_that_does_not_exist"


# --- names ---


class Item:
    def __init__(self, name: str) -> None:
        self.name = name


def test_unknown_names_list_near_matches_first() -> None:
    message = unknown_name("law", "chinchila", ["power", "chinchilla"])
    assert "did you mean 'chinchilla'?" in message and message.endswith("chinchilla, power")
    assert "did you mean" not in unknown_name("law", "zzz", ["power"])


def test_find_by_name() -> None:
    items = [Item("a"), Item("b")]
    assert find_by_name("item", "b", items, DataError) is items[1]
    with pytest.raises(DataError) as caught:
        find_by_name("item", "c", items, DataError)
    assert caught.value.value == "c"
