"""Bad usage and bad input: exit code 2, one message with value and mend, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import call, snapshot

GOOD = "linear:peak=1e-3,steps=300,warmup=20"
FRAME = "--steps 300 --peak 1e-3 --warmup 20"


@pytest.fixture
def place(curves: Path, law_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a set, a run without a schedule, a law file, a file and a folder."""
    shutil.copytree(curves, tmp_path / "set")
    shutil.copy(law_file, tmp_path / "law.json")
    (tmp_path / "bare.csv").write_text("step,lr,loss\n0,1e-3,4\n9,1e-3,3\n")
    (tmp_path / "bad.csv").write_text("step,lr,loss\n0,1e-3,4\n9,1e-3,oops\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "full" / "schedule.csv").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(place: Path, words: str) -> str:
    """The one message of a command that must fail and leave every file as it was."""
    before = snapshot(place)
    result = call(*words.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("scaling-laws: ") and result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert snapshot(place) == before
    return result.err


# command -> what its message must say
USAGE: dict[str, str] = {
    "": "the following arguments are required: VERB; see scaling-laws --help",
    "predikt": "invalid choice: 'predikt' (choose from 'quickstart', 'inspect'",
    "laws --jsn": "unrecognized arguments: --jsn; see scaling-laws --help",
    "laws --seed -1": "--seed: -1 must be >= 0; see scaling-laws laws --help",
    "fit set": "the following arguments are required: --out; see scaling-laws fit --help",
    "fit --out new.json": "the following arguments are required: RUNS",
    "predict law.json": "--schedule SPEC is missing, e.g. --schedule cosine:",
    "optimize law.json --peak 1e-3": "give either --steps T or --tokens N",
    "quickstart set --out new": "the following arguments are required: --fit",
    "proxy": "the following arguments are required: VERB; see scaling-laws proxy --help",
}

FIT: dict[str, str] = {
    "set --law linear_drp --out new.json": "unknown law 'linear_drp'; did you mean 'linear_drop'?",
    "set --out folder": "folder is a folder; give the name of a file to write",
    "set --out none/new.json": "the folder none does not exist; create it",
    "set --out law.json/new.json": "the folder law.json does not exist; create it",
    "set --starts 0 --law power --out new.json": "starts=0 must be >= 1",
    "set --starts 1.5 --out new.json": "--starts: '1.5' is not a whole number",
    "set --from-step -1 --out new.json": "--from-step: -1 must be >= 0",
    "set --from-step 350 --law power --out new.json": "no point at or after step 350; its last",
    "set --from-step 1" + "0" * 30 + " --law power --out new.json": "no point at or after step 1",
    "none --out new.json": "none: no such folder or CSV file",
    "set:cosin --out new.json": "set: unknown run 'cosin'; did you mean 'cosine'?",
    "set set:wsd --out new.json": "set/wsd.csv is selected twice",
    "bad.csv --out new.json": "bad.csv row 3, column 'loss': 'oops' is not a number; correct",
    "bare.csv --out new.json": "bare.csv: no schedule is given for this run",
    "bare.csv --warmup 0 --out new.json": "--warmup STEPS and --between hold|linear",
    "bare.csv --warmup 10 --between hold --out new.json": "--warmup 10 covers all 10 steps",
    "bare.csv --warmup -1 --between hold --out new.json": "--warmup: -1 must be >= 0",
    "bare.csv --warmup 0 --between step --out new.json": "'step' (choose from 'hold', 'linear')",
    "bare.csv --warmup 0 --between hold --law power --out new.json": "3 parameters and the runs "
    "have 2 points; it needs more points than parameters",
    "set --weight-decay -0.1 --out new.json": "weight_decay=-0.1 must be a number >= 0",
    "set --weight-decay nan --out new.json": "weight_decay=nan must be a number >= 0",
    "set --model-params 25M --out new.json": "--model-params: invalid float value: '25M'",
}

EVALUATE: dict[str, str] = {
    "none.json set": "none.json: no such file",
    "folder set": "folder: cannot be read",
    "set/wsd.csv set": "wsd.csv line 1: not JSON",
    "law.json none": "none: no such folder or CSV file",
    "law.json set:wsdd": "unknown run 'wsdd'; did you mean 'wsd'?",
    "law.json bare.csv": "no schedule is given for this run",
    "law.json set --from-step 350": "no point at or after step 350",
}

PREDICT: dict[str, str] = {
    f"none.json --schedule {GOOD}": "none.json: no such file",
    "law.json --schedule linea:peak=1,steps=9": "'linea'; did you mean 'linear'?",
    "law.json --schedule linear:peak=1": "linear:peak=1: steps missing",
    "law.json --schedule linear:peak=1,steps=9,warmpu=3": "'warmpu'; did you mean 'warmup'",
    "law.json --schedule linear:peak=1,steps=9,warmup=9": "warmup=9 leaves no step of steps=9",
    f"law.json --schedule {GOOD} --schedule constant": "constant: a spec is family:key=value",
    "law.json --schedule constant:peak=1e308,steps=9": "LR 1e+308 at step 0 is not a number from 0",
    "law.json --schedule csv:none.csv": "none.csv: no such file",
    "law.json --schedule csv:bare.csv": "bare.csv: 2 rows for 10 steps; say what holds between",
    f"law.json --schedule {GOOD} --every -1": "--every: -1 must be >= 0",
    f"law.json --schedule {GOOD} --every 0.5": "--every: '0.5' is not a whole number",
    f"law.json --schedule {GOOD} --out folder": "folder is a folder",
    f"law.json --schedule {GOOD} --out none/new.csv": "the folder none does not exist",
}

OPTIMIZE: dict[str, str] = {
    f"none.json {FRAME} --out new.csv": "none.json: no such file",
    f"law.json {FRAME} --out folder": "folder is a folder",
    f"law.json {FRAME} --out none/new.csv": "the folder none does not exist",
    "law.json --steps 300 --peak 0 --out new.csv": "peak=0.0 must be a learning rate > 0",
    "law.json --steps 300 --peak -0.001": "peak=-0.001 must be a learning rate > 0",
    "law.json --steps 300 --peak nan": "peak=nan must be a learning rate > 0",
    "law.json --steps 300 --peak high": "--peak: 'high' is not a number",
    "law.json --steps 3e2 --peak 1e-3": "--steps: '3e2' is not a whole number",
    "law.json --steps -300 --peak 1e-3": "--steps: -300 must be >= 0",
    "law.json --steps 0 --peak 1e-3": "steps=0 must leave at least 10 steps after warmup=0",
    "law.json --steps 300 --peak 1e-3 --warmup 400": "steps=300 must leave at least 10 steps after",
    "law.json --steps 1000000000 --peak 1e-3": "more than 100,000,000 steps",
    f"law.json {FRAME} --warmup -1": "--warmup: -1 must be >= 0",
    f"law.json {FRAME} --end-min 1e-3": "end_min=0.001 must be >= 0 and below peak=0.001",
    f"law.json {FRAME} --end-min -0.1": "end_min=-0.1 must be >= 0",
}

QUICKSTART: dict[str, str] = {
    "none --fit wsd --out new": "none: no such folder or CSV file",
    "set --fit wsd --out law.json": "cannot write to law.json: law.json is not a folder",
    "set --fit wsd --out law.json/new": "cannot write to law.json/new: law.json is not a folder",
    "set --fit wsd --out full": "full/schedule.csv is a folder; give the name of a file",
    "set --fit wsd --out new --law powr": "unknown law 'powr'; did you mean 'power'?",
    "set --fit wsd,cosin --out new": "unknown run 'cosin'; did you mean 'cosine'?",
    "set --fit wsd --test wsd,cosine --out new": "run 'wsd' is in both --fit and --test; a test",
    "set --fit wsd --test , --out new": "no run is left to predict",
    "set --fit wsd,cosine,constant --out new": "no run is left to predict; leave at least one out",
    "set --fit , --out new": "--fit ',' names no run; known: constant, cosine, wsd",
    "set --fit wsd --from-step x --out new": "--from-step: 'x' is not a whole number",
    "bare.csv --fit bare --out new": "--warmup STEPS and --between hold|linear",
    "bare.csv --fit bare --warmup 0 --between hold --out new": "no run is left to predict",
}

COMMANDS = {
    **USAGE,
    **{f"fit {words}": message for words, message in FIT.items()},
    **{f"evaluate {words}": message for words, message in EVALUATE.items()},
    **{f"predict {words}": message for words, message in PREDICT.items()},
    **{f"optimize {words}": message for words, message in OPTIMIZE.items()},
    **{f"quickstart {words}": message for words, message in QUICKSTART.items()},
}


@pytest.mark.parametrize("words", COMMANDS)
def test_refused(place: Path, words: str) -> None:
    assert COMMANDS[words] in refusal(place, words)


def test_json_changes_nothing_about_errors(place: Path) -> None:
    words = "predict none.json --schedule " + GOOD
    assert refusal(place, words) == refusal(place, words + " --json")


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda d: {**d, "format": "x"}, "not a law file"),
    "a list": (lambda d: [d], "not a law file"),
    "newer": (lambda d: {**d, "version": 3}, "version 3; this program reads up to 2: update"),
    "unknown law": (lambda d: {**d, "law": "linear_drp"}, "did you mean 'linear_drop'?"),
    "no law": (lambda d: {**d, "law": None}, "a damaged law file"),
    "missing": (lambda d: {**d, "params": {"L0": 2.0}}, "parameter 'A' is missing"),
    "no params": (lambda d: {**d, "params": None}, "a damaged law file"),
    "NaN": (lambda d: {**d, "params": {**d["params"], "B": float("nan")}}, "parameter B=nan must"),
    "infinite": (lambda d: {**d, "params": {**d["params"], "B": float("inf")}}, "parameter B=inf"),
    "text": (lambda d: {**d, "params": {**d["params"], "B": "150"}}, "B is '150', not a number"),
    "uncertainty": (lambda d: {**d, "uncertainty": {"folds": 3}}, "a damaged law file"),
    "range": (lambda d: {**d, "range": {"peak_lr": []}}, "a damaged law file"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize(
    "words",
    [f"predict law.json --schedule {GOOD}", "evaluate law.json set", f"optimize law.json {FRAME}"],
)
def test_damaged_law_files(place: Path, name: str, words: str) -> None:
    change, message = DAMAGE[name]
    document = json.loads((place / "law.json").read_text())
    (place / "law.json").write_text(json.dumps(change(document)))
    error = refusal(place, words)
    assert error.startswith("scaling-laws: law.json: ")
    assert message in error


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"L0 = 3"])
def test_law_files_that_are_no_json(place: Path, content: bytes) -> None:
    (place / "law.json").write_bytes(content)
    assert "law.json" in refusal(place, f"predict law.json --schedule {GOOD}")


@pytest.mark.parametrize(
    "words",
    [
        "fit set --out folder/new.json",
        f"predict law.json --schedule {GOOD} --out folder/new.csv",
        f"optimize law.json {FRAME} --out folder/new.csv",
        "quickstart set --fit wsd --out folder",
        "quickstart set --fit wsd --out folder/new",
    ],
)
def test_folders_that_may_not_be_written(
    place: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as chmod, but for root too
    assert "the folder folder is not writable" in refusal(place, words)


@pytest.mark.parametrize(
    "words",
    [
        "fit set --out none/new.json",
        f"predict law.json --schedule {GOOD} --out none/new.csv",
        f"optimize law.json {FRAME} --out none/new.csv",
        "quickstart set --fit wsd --out full",
    ],
)
def test_output_is_checked_before_the_work(
    place: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("the work began")

    for name in ("runs.load_runs", "fitted.load_law"):
        monkeypatch.setattr(f"scaling_laws.{name}", work)
    refusal(place, words)


def test_interrupted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scaling_laws.inference.fitting.fit", interrupt)
    before = snapshot(place)
    result = call("fit", "set", "--out", "law.json")
    assert (result.code, result.out) == (130, "")
    assert result.err == "scaling-laws: interrupted; nothing half-written is left\n"
    assert snapshot(place) == before
