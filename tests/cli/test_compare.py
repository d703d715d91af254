"""`compare`: its keys, its file, its table, its refusals."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

import scaling_laws as sl
from scaling_laws.common.errors import UsageError
from scaling_laws.inference.comparison import HOLD_OUTS, PRESETS
from scaling_laws.interface.cli import compare
from tests.cli.calls import assert_refused, call, call_json, snapshot

LAWS = ("--laws", "power,linear_drop", "--starts", 2)
METRICS = {"n", "mae", "rmse", "pred_e", "worst_e", "r2", "final_error"}


@pytest.fixture(scope="module")
def nano(root: Path) -> Path:
    return root / "data" / "proxy_nano"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare") / "metrics.csv"


@pytest.fixture(scope="module")
def result(nano: Path, table: Path) -> dict[str, Any]:
    return call_json("compare", nano, "--from-step", 400, *LAWS, "--out", table)


def test_keys_of_the_interface(result: dict[str, Any], nano: Path) -> None:
    assert {"hold_out", "laws", "skipped", "failed", "best", "advice"} <= set(result)
    assert (result["hold_out"], result["skipped"], result["failed"]) == ("run", {}, {})
    assert list(result["laws"]) == ["linear_drop", "power"] and result["best"] == "linear_drop"
    names = {path.stem for path in nano.glob("*.csv")}
    for law in result["laws"].values():
        assert METRICS | {"abs_final_error", "n_params", "aic", "bic", "difference"} <= set(law)
        assert set(law["runs"]) == names
        assert all(set(run) == METRICS for run in law["runs"].values())
        mean = sum(run["pred_e"] for run in law["runs"].values()) / len(names)
        assert law["pred_e"] == pytest.approx(mean)
    assert result["laws"]["power"]["difference"]["distinguishable"] is True
    assert result["advice"] == "Use linear_drop: no law with fewer parameters predicts as well."


def test_every_hold_out_is_offered() -> None:
    """The command line names them itself: its help imports nothing heavy."""
    assert compare.HOLD_OUTS == HOLD_OUTS
    assert tuple(PRESETS) == compare.PRESETS


def test_named_runs_predict_the_others(curves: Path) -> None:
    words = ("compare", curves, "--laws", "power", "--starts", 1)
    found = call_json(*words, "--fit-runs", "constant,wsd")
    assert found["hold_out"] == "rest"
    assert not set(found["laws"]["power"]["runs"]) & {"constant", "wsd"}
    assert found["laws"]["power"]["worst_final_error"] > 0


def test_the_same_in_python(result: dict[str, Any], nano: Path) -> None:
    found = sl.compare(["linear_drop", "power"], sl.load_runs(nano), from_step=400, starts=2)
    assert isinstance(found, sl.Comparison)
    assert found.best == result["best"]
    for name, law in found.laws.items():
        assert law.mean["pred_e"] == pytest.approx(result["laws"][name]["pred_e"], rel=1e-12)


def test_the_file_holds_every_law_and_run(result: dict[str, Any], table: Path) -> None:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(law["runs"]) for law in result["laws"].values())
    for row in rows:
        law = result["laws"][row["law"]]
        assert int(row["n_params"]) == law["n_params"]
        for key in METRICS:
            assert float(row[key]) == law["runs"][row["run"]][key]


def test_table_shows_the_numbers_in_columns(result: dict[str, Any]) -> None:
    text = compare.render(result)
    head, first, second = text.splitlines()[2:5]
    assert head.split()[:6] == ["law", "parameters", "PredE", "MAE", "|final|", "WorstE"]
    for line, name in ((first, "linear_drop"), (second, "power")):
        assert line.split()[0] == name
        for title in ("PredE", "MAE", "|final|", "WorstE", "AIC", "BIC"):
            end = head.index(title) + len(title)
            assert re.search(r"\S$", line[:end]) and line[end] == " "  # right edges agree
        key = result["laws"][name]
        assert float(line.split()[2]) == pytest.approx(key["pred_e"], rel=5e-3)
    assert first.endswith("  best")
    assert re.search(r"\+0\.\d+  \[\+0\.\d+, \+0\.\d+\]$", second)
    assert text.splitlines()[-1] == result["advice"]


def test_table_says_what_takes_no_part_and_what_is_equal(result: dict[str, Any]) -> None:
    gap = {**result["laws"]["power"]["difference"], "distinguishable": False}
    laws = {**result["laws"], "power": {**result["laws"]["power"], "difference": gap}}
    text = compare.render(
        {**result, "laws": laws, "skipped": {"a": "a needs x"}, "failed": {"b": "b broke"}}
    )
    assert re.search(r"\n  power .*\]  not distinguishable\n", text)
    assert "\nskipped: a needs x\nfailed: b broke\n" in text
    alone = {**gap, "pred_e_90": None}
    laws["power"] = {**laws["power"], "difference": alone}
    assert re.search(r"\+0\.\d+  not distinguishable\n", compare.render({**result, "laws": laws}))


def test_last(curves: Path) -> None:
    words = ("compare", curves, "--laws", "power", "--starts", 1, "--hold-out", "last")
    found = call_json(*words, "--last", 0.5)
    assert all(run["n"] == 10 for run in found["laws"]["power"]["runs"].values())
    found = call_json(*words, "--prior", "none")
    assert all(run["n"] == 4 for run in found["laws"]["power"]["runs"].values())
    assert found["file"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "RUNS"),
        ("SET --laws powr", "'powr' 'power'"),
        ("SET --laws chinchilla", "chinchilla schedule"),
        ("SET --laws continual", "continual transfer_step"),
        ("SET --laws ,", "law"),
        ("SET --hold-out tail", "'tail'"),
        ("SET --hold-out peak", "0.001 run, horizon, last"),
        ("SET:wsd --laws power", "'wsd' last"),
        ("SET:wsd,constant --hold-out horizon", "300 run, last"),
        ("SET --last 0.3", "--last 0.3 --hold-out"),
        ("SET --hold-out last --last 1.5", "last=1.5 between 0 and 1"),
        ("SET --starts 0", "starts=0 >= 1"),
        ("SET --fit-runs wsd --hold-out run", "--fit-runs --hold-out"),
        ("SET --fit-runs wds", "'wds' 'wsd'"),
        ("SET --hold-out rest", "0 of 3"),
        ("SET --preset published", "preset cosine_24000"),
        ("SET --preset published --from-step 5", "--preset published --from-step"),
        ("SET --prior strong", "'strong'"),
        ("SET --from-step 350", "350"),
        ("none --laws power", "none: folder CSV"),
        ("SET --out SET", "is a folder"),
        ("SET --out SET/none/new.csv", "does not exist"),
    ],
)
def test_refused(curves: Path, words: str, message: str) -> None:
    before = snapshot(curves)
    result = call("compare", *words.replace("SET", str(curves)).split())
    assert_refused(result, message)
    assert snapshot(curves) == before


@pytest.mark.parametrize("name", ["lower-peak", "higher-peak", "longer"])
def test_presets_set_all_their_options(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run, peak in (("low", 1e-3), ("high", 2e-3)):
        (tmp_path / f"{run}.csv").write_text("step,loss\n0,4\n99,3\n")
        with (tmp_path / "dataset.toml").open("a") as file:
            file.write(f'[runs.{run}]\nschedule = "constant:peak={peak},steps=100"\n')
    received: dict[str, Any] = {}

    def work(*arguments: object, **options: object) -> None:
        received.update(options)
        raise UsageError("not needed")

    monkeypatch.setattr("scaling_laws.inference.compare", work)
    assert call("compare", tmp_path, "--preset", name).code == 2
    preset = PRESETS[name]
    runs = list(sl.load_runs(tmp_path).values())
    assert received["hold_out"] == preset.hold_out
    assert received["from_step"] == preset.from_step > 0
    assert received["fit_runs"] == preset.fit_runs(runs)


def test_output_is_checked_before_the_work(curves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("scaling_laws.data.load_runs", work)
    assert call("compare", curves, "--out", curves / "none" / "new.csv").code == 2


def test_nothing_is_written_when_no_law_can_be_fitted(curves: Path, tmp_path: Path) -> None:
    out = tmp_path / "metrics.csv"
    few = ("--from-step", 284, "--laws", "linear_drop")
    result = call("compare", f"{curves}:wsd,constant", *few, "--out", out)
    assert_refused(result, "linear_drop 4")
    assert list(tmp_path.iterdir()) == []
