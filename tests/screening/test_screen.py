"""A screen agrees with full evaluation, for any block size and after interruptions."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import DataError, LawError, UsageError
from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.decisions.screening import (
    Screening,
    cell_choice,
    finalists,
    schedule_screening,
    screen,
)
from scaling_laws.decisions.screening.candidate_space import TILE, space_of
from scaling_laws.decisions.screening.device_screen import losses_at
from scaling_laws.decisions.screening.reduction import merge
from scaling_laws.inference.results import CurveFit, final_losses
from scaling_laws.interface.cli.screen import _write as write_ranked
from scaling_laws.models.laws import Law, get_schedule_law, schedule_laws
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.schedules import schedule
from tests.helpers import FACTS, draw_values

LAW = CurveFit.published("multi_power", "25M")
FRAME = {"steps": 600, "peak": 3e-4, "warmup": 50}
FAMILIES = ["cosine", "multistage"]
SMALL = {**FRAME, "candidates": 3000, "families": FAMILIES, "top": 8, "block": 1}


def with_draws(count: int) -> CurveFit:
    """The law with draws around its parameters."""
    generator = np.random.default_rng(5)
    draws = {
        name: value * np.exp(0.02 * generator.standard_normal(count))
        for name, value in LAW.params.items()
    }
    return replace(LAW, draws=draws)


@pytest.fixture(scope="module")
def found() -> Screening:
    return screen(LAW, **SMALL)


def same(one: Screening, other: Screening) -> None:
    assert one.ranked == other.ranked
    assert one.best_by_shape == other.best_by_shape
    np.testing.assert_array_equal(one.counts, other.counts)
    assert one.margin == other.margin and one.n_nonfinite == other.n_nonfinite


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=4))
def test_states_of_devices_are_merged_in_order(scores: list[list[int]]) -> None:
    """Lowest first, and of equal ones that of the lower candidate."""
    value = np.sort(np.array(scores, np.float32), axis=1)
    candidate_id = np.arange(value.size, dtype=np.uint32).reshape(value.shape)
    columns = {"value": value, "candidate_id": candidate_id}
    for name in ("stratum", "draw"):
        columns |= {f"{name}_value": value, f"{name}_candidate": candidate_id[::-1]}
    counts = np.ones((len(value), 3), np.uint32)
    merged = merge({**columns, "counts": counts, "n_nonfinite": np.ones(len(value), np.uint32)})
    pairs = sorted(zip(value.ravel().tolist(), candidate_id.ravel().tolist(), strict=True))[:6]
    assert list(zip(merged.value, merged.candidate_id, strict=True)) == pairs
    for index in range(6):
        lowest = min(zip(value[:, index], candidate_id[::-1, index], strict=True))
        assert (merged.stratum_value[index], merged.stratum_candidate[index]) == lowest
        assert (merged.draw_value[index], merged.draw_candidate[index]) == lowest
    assert merged.counts.tolist() == [len(value)] * 3 and merged.n_nonfinite == len(value)


def test_screen_agrees_with_full_evaluation(found: Screening) -> None:
    space = space_of(
        candidates=3000, steps=600, warmup=50, end_min=0.0, peak=(3e-4, 3e-4),
        families=FAMILIES, seed=0,
    )  # fmt: skip
    candidate_ids = [
        stratum.first_tile * TILE + index
        for stratum in space.strata
        for index in range(stratum.count)
    ]
    specs = [space.spec(candidate_id) for candidate_id in candidate_ids]
    exact = final_losses(LAW, np.stack([schedule(spec).lr for spec in specs]))
    order = np.argsort(exact, kind="stable")[:8]
    assert [each.spec for each in found.ranked] == [specs[place] for place in order]
    np.testing.assert_allclose(
        [each.final_loss for each in found.ranked], exact[order], rtol=0, atol=1e-12
    )
    assert found.candidates == 3000 and found.counts.sum() == 3000 and found.n_nonfinite == 0
    # the histogram agrees with full evaluation, except for losses at an edge
    inner = np.searchsorted(np.sort(exact), found.edges)
    assert np.abs(np.cumsum(found.counts)[:-1] - inner).max() <= 30
    assert found.disagreement <= 5e-5 and found.rescored_disagreement <= 1e-4
    assert {each.shape for each in found.best_by_shape} == {
        stratum.shape.label for stratum in space.strata
    }
    assert found.margin > 0


def test_result_does_not_depend_on_the_block_size(found: Screening) -> None:
    same(screen(LAW, **{**SMALL, "block": 2}), found)


def test_another_seed_evaluates_other_candidates(found: Screening) -> None:
    other = screen(LAW, **SMALL, seed=1)
    assert not {each.spec for each in other.ranked} & {each.spec for each in found.ranked}
    # both cover the same boxes evenly
    assert other.ranked[0].final_loss == pytest.approx(found.ranked[0].final_loss, abs=2e-3)


def test_an_interrupted_screen_resumes(
    found: Screening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_screening, "BLOCKS_PER_MERGE", 1)
    state = tmp_path / "screen.npz"

    class Killed(Exception):
        pass

    def kill(stage: str, done: int | None = None, total: int | None = None) -> None:
        if (done, total) == (2, 4):
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(schedule_screening, "report_progress", kill)
        screen(LAW, **SMALL, state=state)
    with np.load(state) as stored:
        assert int(stored["tiles"]) == 2
        assert {"slot", "arm_value", "refused"} <= set(stored)  # keys of files are stable
    counts: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            schedule_screening,
            "report_progress",
            lambda stage, done=None, total=None: counts.append(done) if done else None,
        )
        same(screen(LAW, **SMALL, state=state), found)
    assert counts == [3, 4]  # two of four tiles were done
    same(screen(LAW, **SMALL, state=state), found)  # complete: nothing is repeated
    with pytest.raises(UsageError, match="seed is 0 there and 1 here"):
        screen(LAW, **SMALL, state=state, seed=1)
    state.write_text("not a state")
    with pytest.raises(DataError, match="not the state of a screen"):
        screen(LAW, **SMALL, state=state)


def test_draws_rank_by_the_mean_and_give_shares_and_regrets() -> None:
    fitted = with_draws(6)
    result = screen(fitted, **FRAME, candidates=600, families=["cosine"], top=5, draws=6)
    assert result.draws == 6
    for each in result.ranked:
        lr = schedule(each.spec).lr[None]
        each_draw = [
            replace(fitted, params={name: row[draw] for name, row in fitted.draws.items()})
            for draw in range(6)
        ]
        losses = [final_losses(law, lr)[0] for law in each_draw]
        assert each.expected == pytest.approx(np.mean(losses), abs=5e-5)
        assert each.regret is not None and each.regret >= 0
    expected = [each.expected for each in result.ranked]
    assert expected == sorted(expected)
    assert 0 < sum(each.best_share or 0 for each in result.ranked) <= 1 + 1e-12


def test_shares_are_of_the_draws_won_and_regrets_to_the_best_of_each() -> None:
    losses = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 1.5], [4.0, 2.0, 2.0], [1.0, 1.5, 3.0]])
    share, regret = finalists._share_and_regret(losses)
    assert share.tolist() == [3 / 4, 1 / 8, 1 / 8]  # a draw that two win is shared
    assert regret.tolist() == [2 / 4, (1 + 1 + 0 + 0.5) / 4, (2 + 0.5 + 0 + 2) / 4]


def test_a_search_over_peaks_stays_inside() -> None:
    with pytest.raises(UsageError, match="several peaks"):
        screen(LAW, steps=600, peak=(3e-4, 6e-4), candidates=500)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"top": 0}, UsageError, "top=0"),
        ({"tolerance": 0.0}, UsageError, "tolerance=0"),
        ({"draws": 3}, LawError, "the 0 that the law file has"),
        ({"peak": -1e-4}, UsageError, "peak=-0.0001"),
        ({"end_min": 1.0}, UsageError, "end_min=1.0 must be >= 0 and below peak"),
        ({"warmup": 599}, UsageError, "at least 10 steps after warmup=599"),
        ({"devices": 64}, UsageError, "devices=64: this process has"),
        ({"tolerance": 1e-12}, LawError, "allow more"),
    ],
)
def test_refused(
    change: dict, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_choice, "CELLS", (64,))
    with pytest.raises(error, match=says):
        screen(LAW, **{**SMALL, **change})


def test_constraints_as_one_object_and_those_not_supported(found: Screening) -> None:
    frame = {name: SMALL[name] for name in FRAME}
    others = {name: value for name, value in SMALL.items() if name not in FRAME}
    same(screen(LAW, constraints=ScheduleConstraints(**frame), **others), found)
    constraints = ScheduleConstraints(**frame, max_change=0.1, fixed={500: 1e-4})
    with pytest.raises(UsageError, match="not support max_change, fixed; use optimize"):
        screen(LAW, constraints=constraints, **others)


def test_a_law_that_needs_every_step_is_refused() -> None:
    law = get_schedule_law("forward_momentum")
    with pytest.raises(LawError, match="cannot be screened"):
        screen(CurveFit(law, draw_values(law, 0, 3e-4)), **SMALL)


@pytest.mark.parametrize(
    "law", [law for law in schedule_laws() if law.accepts_cells], ids=lambda law: law.name
)
def test_every_law_that_accepts_cells_can_be_screened(law: Law) -> None:
    """Fine cells agree with single steps for all initial parameters of a fit."""
    fitted = CurveFit(law, draw_values(law, 1, 3e-4))
    space = space_of(
        candidates=40, steps=600, warmup=50, end_min=3e-5, peak=(3e-4, 3e-4),
        families=["cosine", "multistage"], seed=0,
    )  # fmt: skip
    candidate_ids = [
        stratum.first_tile * TILE + index for stratum in space.strata for index in range(4)
    ]
    exact = final_losses(
        fitted, np.stack([space.rates(candidate_id) for candidate_id in candidate_ids]), facts=FACTS
    )
    facts = {name: value for name, value in FACTS.items() if name in law.required_facts}
    params = {name: np.array([value]) for name, value in fitted.params.items()}
    seen = in_float64(losses_at)(law, space, candidate_ids, params, facts, 256)[0]
    np.testing.assert_allclose(seen, exact, rtol=1e-3)


def test_the_ranked_schedules_are_written(found: Screening, tmp_path: Path) -> None:
    write_ranked(str(tmp_path / "best.csv"), found)
    rows = list(csv.DictReader((tmp_path / "best.csv").read_text().splitlines()))
    assert [row["spec"] for row in rows] == [ranked.spec for ranked in found.ranked]
    assert [row["roughness"] for row in rows] == [
        str(ranked.smoothing_sensitivity) for ranked in found.ranked
    ]
