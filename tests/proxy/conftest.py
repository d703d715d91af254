"""A model and a text small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scaling_laws.models.schedules import Schedule, schedule
from scaling_laws.proxy import (
    Corpus,
    Destination,
    LoggedStep,
    ProxyConfig,
    Size,
    TrainedCurve,
    TrainingRun,
    train_fleet,
)
from scaling_laws.proxy.training.run_files import read_curve
from scaling_laws.proxy.training.training_loop import COLUMNS

TINY = Size("tiny", 16, 1, 2, 32, context=16, batch=4, validation_windows=8)
SPEC = "constant:peak=1e-2,steps=6,warmup=2"
SPEED = "tokens_per_second"  # the one column that another training does not repeat


def make_corpus(seed: int = 0) -> Corpus:
    text = np.random.default_rng(seed).integers(97, 105, size=3000).astype(np.uint8)
    return Corpus("letters", text[:2850].copy(), text[2850:].copy())


def numbers(curve: TrainedCurve) -> dict[str, NDArray[Any]]:
    """All columns that a training repeats to the last bit."""
    return {name: column for name, column in curve.columns().items() if name != SPEED}


@pytest.fixture(scope="session")
def configure() -> Callable[..., ProxyConfig]:
    """A tiny configuration, any field of which can be given."""

    def build(spec: str = SPEC, **given: Any) -> ProxyConfig:
        fields: dict[str, Any] = {"size": TINY, "corpus": make_corpus(), "every": 2}
        return ProxyConfig(schedule=schedule(spec), **(fields | given))

    return build


# everything that a position has to hold
RICH: dict[str, Any] = {"ema": (0.5,), "merge": (2,), "ramp": ((4, 8),), "sampling": "epochs"}
KINDS: dict[str, dict[str, Any]] = {"adamw": RICH, "muon": {"optimizer": "muon"}}


class Stopped(BaseException):
    """A kill, as far as a process can do that to itself."""


def dropped(at: int, share: float = 0.1) -> Schedule:
    """The rates of SPEC with a drop."""
    lr = schedule(SPEC).lr.copy()
    lr[at:] *= share
    return Schedule(f"drop at {at}", lr)


def member(folder: Path, config: ProxyConfig, name: str = "run", **given: Any) -> TrainingRun:
    return TrainingRun(config, Destination(folder / "set", name), **given)


def curve(found: TrainingRun) -> dict[str, NDArray[Any]]:
    """All that is written of a run and that another training repeats."""
    columns = read_curve(found.destination.curve)
    assert SPEED in columns
    return {name: column for name, column in columns.items() if name != SPEED}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for name, column in one.items():
        np.testing.assert_array_equal(column, other[name], err_msg=name)


def go(members: TrainingRun | list[TrainingRun], folder: Path, **given: Any) -> list[Any]:
    group = [members] if isinstance(members, TrainingRun) else members
    return train_fleet(group, work=folder / "work", **({"fleet": "loop"} | given))


def stop_at(step: int, name: str = "run") -> Callable[[LoggedStep], None]:
    def progress(news: LoggedStep) -> None:
        if (news.step, news.name) == (step, name):
            raise Stopped

    return progress


@pytest.fixture(scope="session")
def whole(configure, tmp_path_factory) -> dict[str, dict[str, Any]]:
    """The curves of uninterrupted runs."""
    found = {}
    for kind, options in KINDS.items():
        folder = tmp_path_factory.mktemp("whole")
        own = member(folder, configure(**options))
        (result,) = go(own, folder)
        assert result.state == "finished" and result.error == ""
        found[kind] = curve(own)
        assert result.final_loss == pytest.approx(found[kind]["loss"][-1], rel=1e-7)
    return found


@pytest.fixture
def logged() -> TrainedCurve:
    """Three rows of one step in two."""
    columns = {name: np.array([a, a / 3, a / 7]) for a, name in enumerate(COLUMNS, start=5)}
    columns |= {"step": np.array([1, 3, 5]), "lr": np.full(3, 1e-2)}
    columns["tokens"] = np.array([128, 256, 384])
    averages = {"loss_ema_0.9": np.array([6.0, 2.0, 1.0])}
    return TrainedCurve(**columns, averages=averages, seconds=1.26)
