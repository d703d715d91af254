"""Bad usage and bad input: exit code 2, one message with place and value, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import assert_refused, call, snapshot

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


def refusal(place: Path, command: str, words: str = "") -> str:
    """The one message of a command that must fail and leave every file as it was."""
    before = snapshot(place)
    result = call(*command.split())
    assert_refused(result, words)
    assert snapshot(place) == before
    return result.err


# command -> words of its message: what, where, which value, what would be right
USAGE: dict[str, str] = {
    "": "VERB scaling-laws --help",
    "predikt": "'predikt' quickstart inspect",
    "laws --jsn": "--jsn",
    "laws --seed -1": "--seed: -1 >= 0 scaling-laws laws --help",
    "fit set": "--out scaling-laws fit --help",
    "fit --out new.json": "RUNS",
    "predict law.json": "--schedule SPEC cosine:",
    "optimize law.json --peak 1e-3": "--steps --tokens",
    "quickstart set --out new": "--fit",
    "proxy": "VERB scaling-laws proxy --help",
}

OUTPUTS: dict[str, str] = {
    "fit bare.csv --out bare.csv": "--out bare.csv input",
    "fit set --out set/cosine.csv": "--out set/cosine.csv input set",
    "fit set:cosine --out ./set/dataset.toml": "--out dataset.toml input set:cosine",
    "predict law.json --schedule csv:bare.csv,between=hold --out bare.csv": "--out input",
    f"predict law.json --schedule {GOOD} --out law.json": "--out law.json input",
    f"screen law.json {FRAME} --state law.json": "--state law.json input",
    f"optimize law.json {FRAME} --out - --json": "--out - --json",
}

FIT: dict[str, str] = {
    "set --law linear_drp --out new.json": "'linear_drp' 'linear_drop'",
    "set --out folder": "folder is a folder",
    "set --out none/new.json": "folder none",
    "set --out law.json/new.json": "folder law.json",
    "set --starts 0 --law power --out new.json": "starts=0 >= 1",
    "set --starts 1.5 --out new.json": "--starts: '1.5'",
    "set --from-step -1 --out new.json": "--from-step: -1 >= 0",
    "set --from-step 350 --law power --out new.json": "350 299",
    "set --from-step 1" + "0" * 30 + " --law power --out new.json": "1" + "0" * 30,
    "none --out new.json": "none: folder CSV",
    "set:cosin --out new.json": "set: 'cosin' 'cosine'",
    "set set:wsd --out new.json": "set/wsd.csv",
    "bad.csv --out new.json": "bad.csv row 3 'loss' 'oops'",
    "bare.csv --out new.json": "bare.csv: schedule",
    "bare.csv --warmup 0 --out new.json": "--warmup --between hold|linear",
    "bare.csv --warmup 10 --between hold --out new.json": "--warmup 10 steps",
    "bare.csv --warmup -1 --between hold --out new.json": "--warmup: -1 >= 0",
    "bare.csv --warmup 0 --between step --out new.json": "'step' hold linear",
    "bare.csv --warmup 0 --between hold --law power --out new.json": "3 2 parameters points",
    "set --weight-decay -0.1 --out new.json": "weight_decay=-0.1 >= 0",
    "set --weight-decay nan --out new.json": "weight_decay=nan >= 0",
    "set --model-params 25M --out new.json": "--model-params '25M'",
}

EVALUATE: dict[str, str] = {
    "none.json set": "none.json:",
    "folder set": "folder",
    "set/wsd.csv set": "wsd.csv line 1 JSON",
    "law.json none": "none: folder CSV",
    "law.json set:wsdd": "'wsdd' 'wsd'",
    "law.json bare.csv": "bare.csv: schedule",
    "law.json set --from-step 350": "350 299",
}

PREDICT: dict[str, str] = {
    f"none.json --schedule {GOOD}": "none.json:",
    "law.json --schedule linea:peak=1,steps=9": "'linea' 'linear'",
    "law.json --schedule linear:peak=1": "linear:peak=1: steps",
    "law.json --schedule linear:peak=1,steps=9,warmpu=3": "'warmpu' 'warmup'",
    "law.json --schedule linear:peak=1,steps=9,warmup=9": "warmup=9 steps=9",
    f"law.json --schedule {GOOD} --schedule constant": "constant: family:key=value",
    "law.json --schedule constant:peak=1e308,steps=9": "1e+308 step 0",
    "law.json --schedule csv:none.csv": "none.csv:",
    "law.json --schedule csv:bare.csv": "bare.csv: 2 rows 10 steps",
    f"law.json --schedule {GOOD} --every -1": "--every: -1 >= 0",
    f"law.json --schedule {GOOD} --every 0.5": "--every: '0.5'",
    f"law.json --schedule {GOOD} --out folder": "folder is a folder",
    f"law.json --schedule {GOOD} --out none/new.csv": "folder none",
}

OPTIMIZE: dict[str, str] = {
    f"none.json {FRAME} --out new.csv": "none.json:",
    f"law.json {FRAME} --out folder": "folder is a folder",
    f"law.json {FRAME} --out none/new.csv": "folder none",
    "law.json --steps 300 --peak 0 --out new.csv": "peak=0.0 > 0",
    "law.json --steps 300 --peak -0.001": "peak=-0.001 > 0",
    "law.json --steps 300 --peak nan": "peak=nan > 0",
    "law.json --steps 300 --peak high": "--peak: 'high'",
    "law.json --steps 3e2 --peak 1e-3": "--steps: '3e2'",
    "law.json --steps -300 --peak 1e-3": "--steps: -300 >= 0",
    "law.json --steps 0 --peak 1e-3": "steps=0 10 warmup=0",
    "law.json --steps 300 --peak 1e-3 --warmup 400": "steps=300 10 warmup=400",
    "law.json --steps 1000000000 --peak 1e-3": "10,000,000 steps",
    f"law.json {FRAME} --warmup -1": "--warmup: -1 >= 0",
    f"law.json {FRAME} --end-min 1e-3": "end_min=0.001 >= 0 peak=0.001",
    f"law.json {FRAME} --end-min -0.1": "end_min=-0.1 >= 0",
}

QUICKSTART: dict[str, str] = {
    "none --fit wsd --out new": "none: folder CSV",
    "set --fit wsd --out law.json": "law.json folder",
    "set --fit wsd --out law.json/new": "law.json/new law.json folder",
    "set --fit wsd --out full": "full/schedule.csv folder",
    "set --fit wsd --out new --law powr": "'powr' 'power'",
    "set --fit wsd,cosin --out new": "'cosin' 'cosine'",
    "set --fit wsd --test wsd,cosine --out new": "'wsd' --fit --test",
    "set --fit wsd --test , --out new": "predict",
    "set --fit wsd,cosine,constant --out new": "predict --fit",
    "set --fit , --out new": "--fit ',' constant, cosine, wsd",
    "set --fit wsd --from-step x --out new": "--from-step: 'x'",
    "bare.csv --fit bare --out new": "--warmup --between hold|linear",
    "bare.csv --fit bare --warmup 0 --between hold --out new": "predict",
}

COMMANDS = {
    **USAGE,
    **OUTPUTS,
    **{f"fit {command}": words for command, words in FIT.items()},
    **{f"evaluate {command}": words for command, words in EVALUATE.items()},
    **{f"predict {command}": words for command, words in PREDICT.items()},
    **{f"optimize {command}": words for command, words in OPTIMIZE.items()},
    **{f"quickstart {command}": words for command, words in QUICKSTART.items()},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_refused(place: Path, command: str) -> None:
    refusal(place, command, COMMANDS[command])


def test_json_changes_nothing_about_errors(place: Path) -> None:
    words = "predict none.json --schedule " + GOOD
    assert refusal(place, words) == refusal(place, words + " --json")


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda d: {**d, "format": "x"}, "law file"),
    "a list": (lambda d: [d], "law file"),
    "newer": (lambda d: {**d, "version": 99}, "version 99"),
    "unknown law": (lambda d: {**d, "law": "linear_drp"}, "'linear_drop'"),
    "no law": (lambda d: {**d, "law": None}, "law file"),
    "missing": (lambda d: {**d, "params": {"L0": 2.0}}, "'A'"),
    "no params": (lambda d: {**d, "params": None}, "law file"),
    "NaN": (lambda d: {**d, "params": {**d["params"], "B": float("nan")}}, "params.B nan"),
    "infinite": (lambda d: {**d, "params": {**d["params"], "B": float("inf")}}, "params.B inf"),
    "text": (lambda d: {**d, "params": {**d["params"], "B": "150"}}, "B '150'"),
    "uncertainty": (lambda d: {**d, "uncertainty": {"folds": 3}}, "law file"),
    "range": (lambda d: {**d, "range": {"peak_lr": []}}, "law file"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize(
    "command",
    [f"predict law.json --schedule {GOOD}", "evaluate law.json set", f"optimize law.json {FRAME}"],
)
def test_damaged_law_files(place: Path, name: str, command: str) -> None:
    change, words = DAMAGE[name]
    document = json.loads((place / "law.json").read_text())
    (place / "law.json").write_text(json.dumps(change(document)))
    refusal(place, command, f"law.json: {words}")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"L0 = 3"])
def test_law_files_that_are_not_json(place: Path, content: bytes) -> None:
    (place / "law.json").write_bytes(content)
    refusal(place, f"predict law.json --schedule {GOOD}", "law.json")


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
    refusal(place, words, "folder writable")


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

    monkeypatch.setattr("scaling_laws.data.load_runs", work)
    monkeypatch.setattr("scaling_laws.inference.load_law", work)
    refusal(place, words)


def test_interrupted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scaling_laws.inference.fit", interrupt)
    before = snapshot(place)
    result = call("fit", "set", "--out", "law.json")
    assert (result.code, result.out) == (130, "")
    assert result.err.startswith("scaling-laws: interrupted") and result.err.count("\n") == 1
    assert snapshot(place) == before
