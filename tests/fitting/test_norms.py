"""Where the weight norm starts, read from logs; and how many runs count against a prior."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.data.runs import Run, load_runs
from scaling_laws.inference.constants import BLOCKS, MISFIT
from scaling_laws.inference.fitting import fit
from scaling_laws.inference.fitting.fit_data import prepare
from scaling_laws.inference.fitting.multistart import Settings
from scaling_laws.inference.fitting.objective import Huber
from scaling_laws.inference.fitting.priors import Prior, prior_for_runs, prior_of
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.laws.norm_start import logged_start
from scaling_laws.models.schedules import schedule
from tests.reference.norm_clock import norms

CLOCK = get_schedule_law("norm_clock")
LADDER = Path(__file__).parents[2] / "data" / "ladder"
STEPS = np.arange(100, 2000, 50)


def logged(spec: str, start: float, decay: float, push: float = 7.0, noise: float = 0.0) -> Run:
    """A run whose norms follow the recursion, with some noise."""
    plan = schedule(spec)
    squared = push * norms(plan.lr, decay, start)
    squared *= np.exp(noise * np.random.default_rng(0).standard_normal(plan.steps))
    return Run(
        spec,
        plan,
        STEPS,
        3.0 + 20.0 / np.sqrt(STEPS + 1.0),
        facts={"weight_decay": decay, "model_params": 1e6},
        traces={"param_norm": np.sqrt(squared)},
    )


RUNS = [
    logged("constant:peak=2e-3,steps=2000,warmup=100", 1.7, 0.4),
    logged("cosine:peak=4e-3,steps=2000,warmup=100", 1.7, 0.4),
    logged("wsd:peak=1e-3,steps=2000,warmup=100,decay_fraction=0.2", 1.7, 0.0),
]


def test_the_start_is_found_again_and_without_its_unit() -> None:
    assert logged_start(RUNS) == pytest.approx(1.7, rel=1e-9)
    for run in RUNS[:2]:
        assert logged_start([run]) == pytest.approx(1.7, rel=1e-6)
    noisy = [
        replace(RUNS[0], traces={"param_norm": RUNS[0].traces["param_norm"] * 1.01}),
        *RUNS[1:],
    ]
    assert logged_start(noisy) == pytest.approx(1.7, rel=0.2)
    scattered = logged("cosine:peak=4e-3,steps=2000,warmup=100", 1.7, 0.4, noise=0.02)
    assert logged_start([scattered]) == pytest.approx(1.7, rel=0.1)


def test_it_follows_a_schedule_of_weight_decay() -> None:
    run = RUNS[0]
    decay = np.linspace(0.5, 0.0, run.schedule.steps)
    squared = 3.0 * norms(run.schedule.lr, decay, 0.6)
    traces = {"param_norm": np.sqrt(squared), "weight_decay": decay}
    assert logged_start([replace(run, traces=traces)]) == pytest.approx(0.6, rel=1e-6)


def test_logs_that_say_nothing() -> None:
    bare = replace(RUNS[0], traces={})
    unknown = replace(RUNS[0], facts={})
    falling = replace(RUNS[2], traces={"param_norm": np.linspace(9.0, 1.0, 2000)})
    for runs in ([bare], [unknown], [falling]):
        assert logged_start(runs) is None
        assert prior_for_runs(CLOCK, "weak", runs) == prior_of(CLOCK, "weak")
    assert logged_start([bare, RUNS[1]]) == pytest.approx(1.7, rel=1e-6)


def test_only_the_shipped_prior_moves_and_only_for_one_size() -> None:
    moved = prior_for_runs(CLOCK, "weak", RUNS)
    assert moved is not None and moved.mean["initial_norm"] == pytest.approx(log(1.7))
    assert "initial_norm=1.7 from logged norms" in moved.source
    own = Prior({"initial_norm": 0.0}, {"initial_norm": 1.0}, "mine")
    assert prior_for_runs(CLOCK, own, RUNS) is own
    assert prior_for_runs(CLOCK, "none", RUNS) is None
    other = replace(RUNS[0], facts={"weight_decay": 0.4, "model_params": 2e6})
    assert prior_for_runs(CLOCK, "weak", [other, *RUNS[1:]]) == prior_of(CLOCK, "weak")
    power = get_schedule_law("multi_power")
    assert prior_for_runs(power, "weak", RUNS) == prior_of(power, "weak")


def test_a_fit_says_where_the_norm_starts() -> None:
    runs = load_runs(LADDER / "nano")
    chosen = [runs[name] for name in ("constant_4000", "cosine_4000", "wsd_linear_0.2_2000")]
    fitted = fit("norm_clock", chosen, from_step=400, hold_out=False, draws=0, starts=1)
    assert fitted.record is not None
    assert "from logged norms" in fitted.record.prior_source
    assert 1.0 < fitted.params["initial_norm"] < 4.0


def test_runs_count_against_a_prior_up_to_its_number() -> None:
    data = prepare(get_schedule_law("lr_annealing"), RUNS)
    all_of_them = np.ones(len(data.observed))
    first = np.where(data.run == 0, 1.0, 0.0)
    shipped = Settings(Huber(), Prior({}, {}, "any"), MISFIT**2, 0)
    few = Settings(Huber(), Prior({}, {}, "any", most_runs=2), MISFIT**2, 0)
    points = len(STEPS) / BLOCKS
    both = np.stack([all_of_them, first])
    np.testing.assert_allclose(shipped.strength(data, both), MISFIT**2 * points)
    expected = MISFIT**2 * points * np.array([1.5, 1.0])
    np.testing.assert_allclose(few.strength(data, both), expected)
    assert few.strength(data, first) == pytest.approx(MISFIT**2 * points)
