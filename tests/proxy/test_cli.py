"""`scaling-laws proxy train` from its words to its files."""

from __future__ import annotations

import importlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.data.runs import load_runs
from scaling_laws.interface.cli import build_parser, main
from scaling_laws.interface.cli.proxy import command_line
from scaling_laws.proxy import SETTINGS, SIZES
from scaling_laws.proxy.training import training_loop
from scaling_laws.proxy.training.run_files import read_curve
from tests.proxy.conftest import SPEED

SPEC = "constant:peak=1e-2,steps=6,warmup=2"
sizes = importlib.import_module("scaling_laws.proxy.training.model_sizes")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    # as many bytes in each part as make_corpus has: nothing is compiled twice
    letters = np.random.default_rng(0).integers(97, 105, size=(40, 75)).astype(np.uint8)
    for number, row in enumerate(letters):
        (folder / f"{number}.txt").write_bytes(row.tobytes())
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.proxy.conftest import TINY

    monkeypatch.setattr(sizes, "SIZES", (*SIZES, TINY))


def words(corpus: Path, out: Path, *more: str, schedule: str = SPEC) -> list[str]:
    given = ["proxy", "train", "--size", "tiny", "--corpus", str(corpus), "--out", str(out)]
    return [*given, "--schedule", schedule, *more]


def test_trains_writes_and_prints_one_json_object(tiny, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "set"
    assert main(words(corpus, out, "--name", "mine", "--json")) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""  # no progress where there is no terminal
    assert result["run"] == "mine" and result["set"] == str(out)
    assert result["steps"] == 6 and result["tokens"] == 6 * 64
    assert result["files"] == [str(out / "mine.csv"), str(out / "dataset.toml")]
    run = load_runs(out)["mine"]
    assert run.steps.tolist() == [5]
    assert run.loss[-1] == pytest.approx(result["final_loss"], rel=1e-7)


def curve(path: Path) -> dict[str, list[float]]:
    """All columns that a training repeats."""
    return {name: values.tolist() for name, values in read_curve(path).items() if name != SPEED}


def test_the_recorded_command_trains_the_same_curve(tiny, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "set"
    own = [
        "--seed",
        "3",
        "--weight-decay",
        "0.2",
        "--every",
        "2",
        "--ema",
        "0.5,0.9",
        "--merge",
        "2",
    ]
    own += ["--batch-ramp", "8@4", "--sampling", "epochs", "--keep", "2,4", "--tied", "true"]
    assert main(words(corpus, out, *own)) == 0
    assert "final loss" in capsys.readouterr().out
    ((name, entry),) = tomllib.loads((out / "dataset.toml").read_text())["runs"].items()
    assert name == "constant_6_peak-1e-2_warmup-2_seed-3"
    first, facts = curve(out / f"{name}.csv"), (out / "dataset.toml").read_text()
    assert {"loss_ema_0.5", "loss_merge_2"} <= first.keys()
    program, *again = shlex.split(entry["command"])
    assert program == "scaling-laws"
    shutil.rmtree(out)
    assert main(again) == 0
    assert curve(out / f"{name}.csv") == first
    assert entry["command"] in (out / "dataset.toml").read_text()
    assert len((out / "dataset.toml").read_text().splitlines()) == len(facts.splitlines())
    kept = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert kept == [f"{name}@2.npz", f"{name}@4.npz"]


def test_the_same_command_again_trains_nothing(tiny, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "set"
    arguments = words(corpus, out, "--name", "mine")
    assert main(arguments) == 0
    first = capsys.readouterr().out
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert "wrote" in first and "wrote" not in again
    assert f"already in {out}; nothing was trained" in again
    assert first.splitlines()[0] == again.splitlines()[0]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "skipped"
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_branch_is_the_whole_run(tiny, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "set"
    every = ["--every", "2"]
    assert main(words(corpus, out, *every, "--name", "parent", "--keep", "4")) == 0
    assert main(words(corpus, out, *every, "--name", "near", "--from", "parent@4", "--json")) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["own_steps"] == 2 and result["steps"] == 6 and result["tokens"] == 6 * 64
    far = tmp_path / "far"
    assert main(words(corpus, far, *every, "--name", "far", "--from", f"{out}/parent@4")) == 0
    for path in (out / "near.csv", far / "far.csv"):
        assert curve(path) == curve(out / "parent.csv")
    assert tomllib.loads((far / "dataset.toml").read_text())["runs"]["far"]["from"] == "parent@4"
    assert set(load_runs(out)) == {"parent", "near"}
    # what does not fit is said before the training
    for more, message in (
        (["--from", "parent@2"], "has no checkpoint at step 2"),
        (["--from", "parent"], "RUN@STEP"),
        (["--from", "parent@6"], r"a branch at step 6 must lie in [1, 5]"),
        (["--from", "parent@4", "--weight-decay", "0.3"], "weight_decay = 0.1, not 0.3"),
        (["--keep", "3"], "step 3 must lie in"),
    ):
        assert main(words(corpus, out, *every, "--name", "bad", *more)) == 2
        assert message in capsys.readouterr().err
        assert not (out / "bad.csv").exists()


def test_a_fact_that_differs_is_the_runs_own(tiny, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "set"
    assert main(words(corpus, out, "--name", "a")) == 0
    assert "in the set" not in capsys.readouterr().out
    assert main(words(corpus, out, "--name", "b", "--weight-decay", "0.25")) == 0
    text = capsys.readouterr().out
    assert "weight_decay is 0.25, but 0.1 in the set" in text
    runs = load_runs(out)
    assert runs["a"].facts["weight_decay"] == 0.1
    assert runs["b"].facts["weight_decay"] == 0.25


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--size", "tinny"], "unknown proxy size 'tinny'; did you mean 'tiny'"),
        (["--schedule", "cosin:peak=1,steps=2"], "did you mean 'cosine'"),
        (["--corpus", "/nowhere"], "'/nowhere': no such file"),
        (["--optimizer", "adam"], "unknown optimizer 'adam'; did you mean 'adamw'"),
        (["--batch-ramp", "8"], "batch_ramp='8': expected BATCH@STEP"),
        (["--ema", "0.9,0.9"], "ema=0.9,0.9: two columns"),
        (["--checkpoint-every", "-1"], "'-1' is not a number of seconds >= 0"),
        (["--checkpoint-every", "nan"], "'nan' is not a number of seconds >= 0"),
        (["--keep", "x"], "'x' is not a whole number"),
        (["--every", "0"], "every=0"),
        (["--weight-decay", "-1"], "weight_decay=-1.0"),
        (["--name", "a/b"], "run name 'a/b'"),
        (["--seed", "9999999999"], "seed=9999999999"),
    ],
)
def test_bad_input_is_one_message_and_no_file(
    tiny, corpus, tmp_path, capsys, monkeypatch, more, message
) -> None:
    monkeypatch.setattr(
        training_loop, "advance", lambda *_: pytest.fail("trained before the check")
    )
    assert main(words(corpus, tmp_path / "set", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_refuses_an_existing_run_before_the_training(
    tiny, corpus, tmp_path, capsys, monkeypatch
) -> None:
    arguments = words(corpus, tmp_path / "set", "--name", "mine")
    assert main(arguments) == 0
    first = (tmp_path / "set" / "mine.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(training_loop, "advance", lambda *_: pytest.fail("trained before the check"))
        assert main([*arguments, "--seed", "1"]) == 2
        assert "already has a run 'mine', with other settings" in capsys.readouterr().err
        assert main([*arguments, "--overwrite"]) == 0  # nothing to replace: it is the same run
    assert (tmp_path / "set" / "mine.csv").read_bytes() == first
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert (tmp_path / "set" / "mine.csv").read_bytes() != first
    entry = tomllib.loads((tmp_path / "set" / "dataset.toml").read_text())["runs"]["mine"]
    assert entry["seed"] == 1


def test_a_diverged_run_writes_nothing(tiny, corpus, tmp_path, capsys) -> None:
    spec = "multistage:peak=1e-3,at=3,to=1e30,steps=6"
    assert main(words(corpus, tmp_path / "set", schedule=spec)) == 2
    assert "lower the peak" in capsys.readouterr().err
    assert not list((tmp_path / "set").rglob("*.csv"))
    assert not (tmp_path / "set" / "dataset.toml").exists()


def test_help_and_defaults(capsys) -> None:
    parsed = build_parser().parse_args(
        ["proxy", "train", "--size", "nano", "--schedule", SPEC, "--out", "x"]
    )
    # what nobody chose is left to the settings, and shown in the help
    chosen = [each.name for each in SETTINGS if getattr(parsed, each.name) is not None]
    assert chosen == ["size", "seed"]
    assert (parsed.seed, parsed.overwrite, parsed.json) == (0, False, False)
    with pytest.raises(SystemExit):
        build_parser().parse_args(["proxy", "train", "--help"])
    text = capsys.readouterr().out
    assert all(size.name in text for size in SIZES)
    flat = " ".join(text.split())
    for each in SETTINGS:
        assert f"--{each.name.replace('_', '-')} " in flat
        if each.default not in (None, ()) and each.name != "seed":
            assert f"(default {each.default})" in flat
    for flag in ("schedule", "out", "name", "from", "keep", "checkpoint-every", "cache"):
        assert f"--{flag} " in flat
    for flag in ("license", "overwrite", "json", "seed"):
        assert f"--{flag}" in flat


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_command_line_spells_every_default_out(precision: str) -> None:
    given = ["proxy", "train", "--schedule", SPEC, "--out", "my set", "--keep", "2,4"]
    parsed = build_parser().parse_args([*given, "--seed", "3", "--from", "other/run@2"])
    line = command_line(parsed, "name", precision)
    again = build_parser().parse_args(shlex.split(line)[1:])
    assert (again.schedule, again.out, again.name) == (SPEC, "my set", "name")
    assert (again.keep, again.parent, again.seed) == ((2, 4), "other/run@2", 3)
    for each in SETTINGS:
        value = getattr(again, each.name)
        if each.name == "precision":
            assert value == precision
        elif each.name == "seed":
            assert value == 3
        else:
            default = None if each.default in (None, ()) else str(each.default)
            assert value == default, each.name
    assert command_line(again, "name", precision) == line


def test_importing_the_verb_does_not_import_jax() -> None:
    code = "import sys, scaling_laws.interface.cli.proxy; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_bits(root, corpus, tmp_path) -> None:
    """A real process and real kills, at times drawn from a seed."""
    shape = ["--width", "16", "--layers", "1", "--heads", "2", "--context", "16", "--batch", "4"]
    more = [*shape, "--validation-windows", "8", "--every", "2", "--ema", "0.9", "--merge", "3"]
    plan = "cosine:peak=1e-2,end=1e-3,steps=1200,warmup=20"

    def command(out: Path) -> list[str]:
        given = words(corpus, out, *more, "--name", "run", "--checkpoint-every", "0", schedule=plan)
        given[given.index("tiny")] = "own"
        return [sys.executable, str(root / "cli.py"), *given]

    calm = command(tmp_path / "calm")
    assert subprocess.run(calm, check=False, capture_output=True).returncode == 0
    out = tmp_path / "killed"
    work = out / ".unfinished"
    generator = np.random.default_rng(5)
    steps: list[int] = []
    for _ in range(5):
        process = subprocess.Popen(
            command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # the first checkpoint of this process, then a while: never a fixed place
        begun = {path.stat().st_mtime_ns for path in work.glob("[!.]*.npz")}
        while process.poll() is None:
            now = {path.stat().st_mtime_ns for path in work.glob("[!.]*.npz")}
            if now - begun:
                break
            time.sleep(0.005)
        time.sleep(generator.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not (out / "run.csv").exists():
            (spare,) = work.glob("[!.]*.npz")
            with np.load(spare, allow_pickle=False) as file:  # never half written
                steps.append(json.loads(str(file["header"]))["step"])
    assert len(steps) >= 2 and steps == sorted(steps) and steps[-1] > steps[0]
    assert subprocess.run(command(out), check=False, capture_output=True).returncode == 0
    assert curve(out / "run.csv") == curve(tmp_path / "calm" / "run.csv")
    assert list(work.iterdir()) == []
    assert set(load_runs(out)) == {"run"}
