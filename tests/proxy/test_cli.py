"""`scaling-laws proxy train` from its words to its files."""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.cli import build_parser, main
from scaling_laws.proxy import SIZES, Curve, ProxyConfig
from scaling_laws.runs import load_runs

SPEC = "constant:peak=1e-2,steps=6,warmup=2"
sizes = importlib.import_module("scaling_laws.proxy.sizes")
package = importlib.import_module("scaling_laws.proxy")


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


def test_the_recorded_command_trains_the_same_curve(tiny, corpus, tmp_path, capsys) -> None:
    out = tmp_path / "set"
    assert main(words(corpus, out, "--seed", "3", "--weight-decay", "0.2")) == 0
    assert "final loss" in capsys.readouterr().out
    ((name, entry),) = tomllib.loads((out / "dataset.toml").read_text())["runs"].items()
    assert name == "constant_6_peak-1e-2_warmup-2_seed-3"
    first = (out / f"{name}.csv").read_bytes()
    program, *again = shlex.split(entry["command"])
    assert program == "scaling-laws"
    assert main([*again, "--overwrite"]) == 0
    assert (out / f"{name}.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--size", "tinny"], "unknown proxy size 'tinny'; did you mean 'tiny'"),
        (["--schedule", "cosin:peak=1,steps=2"], "did you mean 'cosine'"),
        (["--corpus", "/nowhere"], "'/nowhere': no such file"),
        (["--every", "0"], "every=0"),
        (["--weight-decay", "-1"], "weight_decay=-1.0"),
        (["--name", "a/b"], "run name 'a/b'"),
        (["--seed", "9999999999"], "seed=9999999999"),
    ],
)
def test_bad_input_is_one_message_and_no_file(
    tiny, corpus, tmp_path, capsys, monkeypatch, more, message
) -> None:
    monkeypatch.setattr(package, "train", lambda *_: pytest.fail("trained before the check"))
    assert main(words(corpus, tmp_path / "set", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_refuses_an_existing_run_before_the_training(
    tiny, corpus, tmp_path, capsys, monkeypatch
) -> None:
    calls = []

    def fake(config: ProxyConfig, progress: object = None) -> Curve:
        calls.append(config)
        return Curve(np.array([5]), np.array([1e-2]), *(np.ones(1) for _ in range(4)), seconds=1.0)

    monkeypatch.setattr(package, "train", fake)
    arguments = words(corpus, tmp_path / "set", "--name", "mine")
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "has a run 'mine' already" in capsys.readouterr().err
    assert len(calls) == 1
    assert main([*arguments, "--overwrite"]) == 0


def test_a_diverged_run_writes_nothing(tiny, corpus, tmp_path, capsys) -> None:
    spec = "multistage:peak=1e-3,at=3,to=1e30,steps=6"
    assert main(words(corpus, tmp_path / "set", schedule=spec)) == 2
    assert "lower the peak" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_help_and_defaults(capsys) -> None:
    parsed = build_parser().parse_args(
        ["proxy", "train", "--size", "nano", "--schedule", SPEC, "--out", "x"]
    )
    assert (parsed.corpus, parsed.every, parsed.weight_decay) == ("stdlib", 20, 0.1)
    assert (parsed.seed, parsed.overwrite, parsed.json) == (0, False, False)
    with pytest.raises(SystemExit):
        build_parser().parse_args(["proxy", "train", "--help"])
    text = capsys.readouterr().out
    assert all(size.name in text for size in SIZES)


def test_importing_the_verb_does_not_import_jax() -> None:
    code = "import sys, scaling_laws.cli.proxy; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
