"""One command of the command line, and what came of it; curves of a law known exactly."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaling_laws.inference.results import CurveFit
from scaling_laws.interface.cli import main
from scaling_laws.models.schedules import schedule

TRUTH = CurveFit.of("linear_drop", {"L0": 2.5, "A": 0.25, "alpha": 0.5, "B": 150.0})
SPECS = {
    "constant": "constant:peak=1e-3,steps=300,warmup=20",
    "cosine": "cosine:peak=1e-3,end=1e-4,steps=400,warmup=20",
    "wsd": "wsd:peak=1e-3,steps=300,warmup=20,decay_fraction=0.3",
}


@dataclass(frozen=True)
class Call:
    """Exit code and both streams of a command."""

    code: int
    out: str
    err: str


def call(*words: object) -> Call:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Call(code, out.getvalue(), err.getvalue())


def call_json(*words: object) -> dict[str, Any]:
    """The JSON object of a command that must succeed, and print nothing else."""
    result = call(*words, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out, parse_constant=_refuse)
    assert isinstance(found, dict)
    assert result.out == json.dumps(found) + "\n"
    return found


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def write_curves(folder: Path) -> None:
    """A set of three runs, 20 points each, that `TRUTH` gives but for 0.1 % of noise."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    toml = "weight_decay = 0.1\n"
    for name, spec in SPECS.items():
        plan = schedule(spec)
        steps = np.linspace(20, plan.steps - 1, 20).astype(int)
        losses = TRUTH.predict(plan, steps.tolist()).loss * np.exp(noise.normal(0, 1e-3, 20))
        rows = zip(steps, plan.lr[steps], losses, strict=True)
        text = "".join(f"{step},{lr},{loss}\n" for step, lr, loss in rows)
        (folder / f"{name}.csv").write_text("step,lr,loss\n" + text)
        toml += f'[runs.{name}]\nschedule = "{spec}"\n'
    (folder / "dataset.toml").write_text(toml)


def untimed(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without the fields that hold wall time."""
    kept = {key: value for key, value in result.items() if key not in ("seconds", "summary")}
    return {
        key: untimed(value) if isinstance(value, dict) else value for key, value in kept.items()
    }


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder with its content; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
