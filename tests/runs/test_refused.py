"""Runs that do not load: one error, which names file, row, column, value and mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_laws.common.errors import DataError, ScalingLawsError, ScheduleError, UsageError
from scaling_laws.data.runs import load_runs, read_run

HEAD = "step,lr,loss\n"
GOOD = HEAD + "0,1,4\n2,0.5,3\n"
TOML = '[runs.a]\nschedule = "linear:peak=1.0,steps=4"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set whose run `a` is good."""
    (tmp_path / "a.csv").write_text(GOOD)
    (tmp_path / "dataset.toml").write_text(TOML)
    return tmp_path


def refusal(kind: type[ScalingLawsError], *selections: str | Path, **options: object) -> str:
    """The one-line message of a load that must fail."""
    with pytest.raises(kind) as caught:
        load_runs(*selections, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- a CSV that cannot be used ---

# content of a.csv, whose spec has the steps 0..3 -> what the message says after the file's name
BAD_CSV: dict[str, tuple[str, str]] = {
    "empty file": ("", "the file is empty; it needs a header row"),
    "header only": (HEAD, "the file has a header but no rows"),
    "missing column": (
        "step,lr,val_loss\n0,1,4\n",
        "row 1: no column 'loss'; the columns are 'step', 'lr', 'val_loss'; rename",
    ),
    "not a number": (HEAD + "0,1,4\n1,0.75,x4\n", "row 3, column 'loss': 'x4' is not a number"),
    "NaN": (HEAD + "0,1,nan\n", "row 2, column 'loss': 'nan' is not finite; correct the cell"),
    "infinite rate": (
        HEAD + "0,inf,4\n",
        "row 2, column 'lr': 'inf' is not finite; correct the cell",
    ),
    "equal steps": (
        HEAD + "0,1,4\n1,0.75,3\n1,0.75,3\n",
        "row 4, column 'step': 1 does not increase (the previous row has 1); sort the rows",
    ),
    "falling steps": (
        HEAD + "2,0.5,4\n\n1,0.75,3\n",
        "row 4, column 'step': 1 does not increase (the previous row has 2); sort the rows",
    ),
    "fractional step": (HEAD + "0.5,1,4\n", "row 2, column 'step': 0.5 is not a whole number"),
    "negative step": (HEAD + "-1,1,4\n", "row 2, column 'step': -1 is negative; steps count"),
    "tokens for steps": (HEAD + "0,1,4\n3e9,1,3\n", "row 3, column 'step': 3e+09 is not below"),
    "negative rate": (HEAD + "0,1,4\n1,-0.75,3\n", "row 3, column 'lr': -0.75 is negative; a lea"),
    "negative loss": (HEAD + "0,1,4\n1,0.75,-3\n", "row 3, column 'loss': -3 is not > 0; delete"),
    "loss of zero": (HEAD + "0,1,0\n", "row 2, column 'loss': 0 is not > 0; delete the row"),
    "beyond the schedule": (
        HEAD + "0,1,4\n4,0.1,3\n5,0.1,3\n",
        "row 3, column 'step': 4 is beyond the schedule's 4 steps (linear:peak=1.0,steps=4)",
    ),
    "another rate": (
        HEAD + "0,1,4\n1,0.7,3\n2,0.5,3\n3,0.2,3\n",
        "row 3, column 'lr': 0.7 is logged at step 1 where the schedule gives 0.75 "
        "(linear:peak=1.0,steps=4); 2 of 4 rows differ. Correct the spec or the log",
    ),
    "a rate just too far off": (
        HEAD + "0,1,4\n1,0.7521,3\n",
        "row 3, column 'lr': 0.7521 is logged at step 1 where the schedule gives 0.75",
    ),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_bad_csv(folder: Path, name: str) -> None:
    content, words = BAD_CSV[name]
    (folder / "a.csv").write_text(content)
    for selection in (folder, f"{folder}:a", folder / "a.csv"):
        message = refusal(DataError, selection)
        assert message.startswith(str(folder / "a.csv"))
        assert words in message


@pytest.mark.parametrize(
    ("encoding", "words"), [("utf-16", "line 1: byte 0xff"), ("latin-1", "line 2: byte 0xe9")]
)
def test_wrong_encoding(folder: Path, encoding: str, words: str) -> None:
    (folder / "a.csv").write_bytes("step,loss,note\n0,4,é\n".encode(encoding))
    message = refusal(DataError, folder)
    assert f"a.csv {words} is not UTF-8 text; save the file as UTF-8 CSV" in message


# --- a dataset.toml that cannot be used ---

BAD_TOML: dict[str, tuple[str, str]] = {
    "broken": ("title =\n", "not valid TOML: Invalid value (at line 1, column 8)"),
    "same key twice": ("title = 'a'\ntitle = 'b'\n", "not valid TOML: Cannot overwrite a value"),
    "runs is no table": ("runs = 3\n", 'runs = 3 must be tables, [runs."NAME"]'),
    "a run is no table": (
        "[runs]\na = 'constant:peak=1,steps=4'\n",
        "run 'a': 'constant:peak=1,steps=4' must be a table; write [runs.\"a\"]",
    ),
    "spec is no text": ("[runs.a]\nschedule = 3e-4\n", "run 'a': schedule = 0.0003 must be a spec"),
    "fact is text": ("weight_decay = '0.1'\n", "weight_decay = '0.1' must be a number >= 0"),
    "fact is truth": ("weight_decay = true\n", "weight_decay = True must be a number >= 0"),
    "fact is NaN": ("model_params = nan\n", "model_params = nan must be a number >= 1"),
    "fact is infinite": ("model_params = inf\n", "model_params = inf must be a number >= 1"),
    "fact too small": ("tokens_per_step = 0\n", "tokens_per_step = 0 must be a number >= 1"),
    "fact of the run": (
        "weight_decay = 0.1\n[runs.a]\nweight_decay = -0.1\n",
        "run 'a': weight_decay = -0.1 must be a number >= 0",
    ),
    "listed without its file": (
        TOML + '[runs."b.c"]\n[runs.d]\n',
        "run 'b.c' is listed but b.c.csv is missing; add the file or remove the entry",
    ),
}


@pytest.mark.parametrize("name", BAD_TOML)
def test_bad_toml(folder: Path, name: str) -> None:
    content, words = BAD_TOML[name]
    (folder / "dataset.toml").write_text(content)
    message = refusal(DataError, folder, warmup=0, between="hold")
    assert message.startswith(str(folder / "dataset.toml"))
    assert words in message


def test_toml_of_another_encoding(folder: Path) -> None:
    (folder / "dataset.toml").write_bytes("title = 'é'".encode("latin-1"))
    assert "dataset.toml: not valid TOML: 'utf-8' codec" in refusal(DataError, folder)


def test_toml_that_is_a_folder(folder: Path) -> None:
    (folder / "dataset.toml").unlink()
    (folder / "dataset.toml").mkdir()
    assert "dataset.toml is a folder" in refusal(DataError, folder)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cosin:peak=1,steps=4", "unknown schedule family 'cosin'; did you mean 'cosine'"),
        ("cosine:peak=1,stepss=4", "'stepss'; did you mean 'steps'"),
        ("linear:peak=abc,steps=4", "peak=abc: is not a number"),
        ("linear:peak=1,steps=4,warmup=9", "warmup=9 leaves no step of steps=4"),
        ("csv:plan.csv", "plan.csv: 2 rows for 4 steps; define the rates between them"),
    ],
)
def test_bad_spec_names_the_toml_and_the_run(folder: Path, spec: str, words: str) -> None:
    (folder / "dataset.toml").write_text(f'[runs.a]\nschedule = "{spec}"\n')
    (folder / "plans").mkdir()
    (folder / "plan.csv").write_text("step,lr\n0,1\n3,0.25\n")
    message = refusal(ScheduleError, f"{folder}:a")
    assert message.startswith(f"{folder / 'dataset.toml'}, run 'a': ")
    assert words in message


def test_missing_file_of_a_csv_spec(folder: Path) -> None:
    (folder / "dataset.toml").write_text('[runs.a]\nschedule = "csv:plan.csv"\n')
    message = refusal(DataError, f"{folder}:a")
    assert message == f"{folder / 'plan.csv'}: no such file"


# --- a run without a schedule ---


@pytest.mark.parametrize("given", [{}, {"warmup": 0}, {"between": "hold"}])
def test_no_schedule_is_never_guessed(folder: Path, given: dict[str, object]) -> None:
    (folder / "dataset.toml").write_text("[runs.a]\n")
    message = refusal(UsageError, folder, **given)
    assert message.startswith(f"{folder / 'a.csv'}: no schedule is given")
    assert str(folder / "dataset.toml") in message
    assert "--warmup STEPS and --between hold|linear" in message


LOGGED: dict[str, tuple[str, type[ScalingLawsError], str]] = {
    "no rates": ("step,loss\n0,4\n", DataError, "row 1: no column 'lr' and no schedule in"),
    "an empty rate": (HEAD + "0,1,4\n3,,4\n", DataError, "row 3, column 'lr': the cell is empty"),
    "all warm-up": (HEAD + "0,1,4\n1,1,3\n", UsageError, "--warmup 2 covers all 2 steps; shorten"),
    "rates of zero": (HEAD + "0,0,4\n3,0,3\n", DataError, "column 'lr': every learning rate is 0"),
}


@pytest.mark.parametrize("name", LOGGED)
def test_bad_logged_rates(folder: Path, name: str) -> None:
    content, kind, words = LOGGED[name]
    (folder / "dataset.toml").unlink()
    (folder / "a.csv").write_text(content)
    message = refusal(kind, folder, warmup=2, between="hold")
    assert message.startswith(str(folder / "a.csv"))
    assert words in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"warmup": -1, "between": "hold"}, "warmup=-1 must be >= 0"),
        ({"warmup": 0, "between": "cubic"}, "between='cubic': known are 'hold' and 'linear'"),
        ({"facts": {"weight_decays": 0.1}}, "'weight_decays'; did you mean 'weight_decay'"),
        ({"facts": {"weight_decay": -0.1}}, "weight_decay=-0.1 must be a number >= 0"),
        ({"facts": {"model_params": float("nan")}}, "model_params=nan must be a number >= 1"),
        ({"facts": {"model_params": "25M"}}, "model_params='25M' must be a number >= 1"),
    ],
)
def test_arguments_out_of_range(folder: Path, options: dict[str, object], words: str) -> None:
    assert words in refusal(UsageError, folder, **options)


# --- selections ---


@pytest.mark.parametrize(
    ("selections", "kind", "words"),
    [
        ([], UsageError, "no runs given; name a folder"),
        (["none"], DataError, "none: no such folder or CSV file"),
        (["none:a"], DataError, "none:a: no such folder or CSV file"),
        (["set/none.csv"], DataError, "set/none.csv: no such folder or CSV file"),
        (["empty"], DataError, "empty: no CSV file in this folder"),
        (["set:"], UsageError, "set:: no run named after the colon; known: ['cosine', 'linear']"),
        (["set:cosin"], UsageError, "set: unknown run 'cosin'; did you mean 'cosine'? Known: co"),
        (["set:cosine,x"], UsageError, "set: unknown run 'x'. Known: cosine, linear"),
        (["set", "set"], UsageError, "set/cosine.csv is selected twice"),
        (["set:linear,linear"], UsageError, "set/linear.csv is selected twice"),
        (["set:linear", "set/../set/linear.csv"], UsageError, "linear.csv is selected twice"),
        (["set:linear", "set/linear.txt"], UsageError, "set/linear.csv: another selected run has"),
        (["folder.csv"], DataError, "folder.csv: no CSV file in this folder"),
    ],
)
def test_bad_selections(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    selections: list[str],
    kind: type[ScalingLawsError],
    words: str,
) -> None:
    for name in ("set", "empty", "folder.csv"):
        (tmp_path / name).mkdir()
    for name in ("cosine.csv", "linear.csv", "linear.txt"):
        (tmp_path / "set" / name).write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert words in refusal(kind, *selections, warmup=0, between="hold")


@pytest.mark.parametrize(
    ("target", "words"),
    [("a.csv", "cannot be read: .*symbolic links"), ("gone.csv", "no such file")],
)
def test_links_that_lead_nowhere(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "a.csv").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=rf"a\.csv: {words}"):
        load_runs(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"), [("none.csv", "no such file"), (".", "is a folder, not a file")]
)
def test_read_run_of_no_file(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_run(tmp_path / name, warmup=0, between="hold")
