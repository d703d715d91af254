"""How far apart runs of one schedule are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws import compare, load_runs, schedule
from scaling_laws.data.runs import Run
from scaling_laws.inference.comparison import repeats_of

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
STEPS = np.arange(99, 4000, 50)
NOISE = 1e-3


def trained(name: str, spec: str, seed: int, **facts: float) -> Run:
    """A run whose losses have a noise of their own."""
    noise = np.random.default_rng(seed).normal(0.0, NOISE, len(STEPS))
    loss = (2.0 + (STEPS + 1.0) ** -0.5) * np.exp(noise)
    return Run(name, schedule(spec), STEPS, loss, facts)


def branch(trunk: Run, name: str, spec: str, at: int, seed: int) -> Run:
    """A run that goes on from another one, and logs its past too."""
    own = trained(name, spec, seed)
    return Run(name, own.schedule, STEPS, np.where(at > STEPS, trunk.loss, own.loss))


CONSTANT = "constant:peak=1e-3,steps=4000,warmup=100"
WSD = "wsd:peak=1e-3,steps=4000,warmup=100,decay_start=3000"


def test_the_floor_is_the_error_of_a_law_that_knows_the_mean() -> None:
    many = [trained(str(seed), CONSTANT, seed) for seed in range(12)]
    found = repeats_of(many)
    assert found is not None
    assert (found.pairs, found.points) == (66, 66 * len(STEPS))
    logs = np.log([run.loss for run in many])
    best = float(np.mean(np.abs(logs - np.log(2.0 + (STEPS + 1.0) ** -0.5))))
    # 12 x 79 absolute values: their mean is known to 3 %
    assert found.floor == pytest.approx(best, rel=0.06)
    assert "66 pairs" in str(found) and f"{found.floor:.5f}" in str(found)


def test_only_what_lies_before_the_schedules_part_counts() -> None:
    found = repeats_of([trained("a", CONSTANT, 0), trained("b", WSD, 1)])
    assert found is not None
    assert found.points == int(np.sum(STEPS < 3000))


def test_branches_count_with_their_trunk() -> None:
    trunk = trained("trunk", CONSTANT, 0)
    one = branch(trunk, "one", WSD, 3000, 1)
    two = branch(trunk, "two", WSD, 3000, 2)
    assert repeats_of([trunk, one, two]) is None
    other = trained("other", CONSTANT, 3)
    for runs in ([trunk, one, two, other], [other, two, one, trunk]):
        found = repeats_of(runs)
        assert found is not None
        assert (found.pairs, found.points) == (1, len(STEPS))  # the trunk's past is the longest


def test_other_facts_are_another_training() -> None:
    one = trained("one", CONSTANT, 0, weight_decay=0.1)
    assert repeats_of([one, trained("two", CONSTANT, 1, weight_decay=0.2)]) is None
    assert repeats_of([one, trained("two", CONSTANT, 1, weight_decay=0.1)]) is not None


def test_other_peaks_and_short_pasts_say_nothing() -> None:
    one = trained("one", CONSTANT, 0)
    assert repeats_of([one, trained("two", CONSTANT.replace("1e-3", "2e-3"), 1)]) is None
    assert repeats_of([one, trained("two", WSD.replace("3000", "500"), 1)]) is None
    assert repeats_of([one]) is None and repeats_of([]) is None


def test_compare_says_it() -> None:
    runs = [trained("a", CONSTANT, 0), trained("b", WSD, 1), trained("c", CONSTANT, 2)]
    result = compare("power,linear_drop", runs, starts=1)
    assert result.repeats is not None and result.repeats.pairs == 3
    assert str(result.repeats) in result.notes
    assert result.as_json()["repeats"]["floor"] == result.repeats.floor


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data on this machine")
def test_of_public_runs() -> None:
    found = repeats_of(list(load_runs(SHARED / "mpl_25m").values()))
    assert found is not None
    # constant_24000 and constant_72000; all others are branches of these or have other schedules
    assert (found.pairs, found.points) == (1, 171)
    assert found.difference == pytest.approx(6.8e-4, rel=0.01)
