"""Rescoring: the lowest candidates at full length, and the uncertainty of their order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.decisions.constraints import smoothing_sensitivity
from scaling_laws.decisions.screening.candidate_space import Space
from scaling_laws.decisions.screening.cell_choice import exact_losses
from scaling_laws.decisions.screening.device_screen import losses_at
from scaling_laws.decisions.screening.reduction import ReducerState
from scaling_laws.decisions.screening.screening_result import Ranked
from scaling_laws.inference import CurveFit, predict
from scaling_laws.models import in_float64, schedule

__all__ = ["finalists_of"]

Array = NDArray[np.float64]


def finalists_of(
    fitted: CurveFit,
    space: Space,
    reducer: ReducerState,
    facts: Mapping[str, float],
    *,
    cells: int,
    top: int,
    draws: int,
) -> dict[str, Any]:
    """The fields of a `Screening` that describe its best candidates, by name."""
    values = np.concatenate([reducer.value, reducer.stratum_value])
    finite = np.isfinite(values)
    kept = np.concatenate([reducer.candidate_id, reducer.stratum_candidate])[finite]
    screened = dict(zip(kept.tolist(), values[finite].tolist(), strict=True))
    # the best under a single draw may be far from the best on average; it is a finalist too
    others = {int(candidate_id) for candidate_id in reducer.draw_candidate} - set(screened)
    candidate_ids = [*screened, *sorted(others)]
    plans = [schedule(space.spec(candidate_id)) for candidate_id in candidate_ids]
    exact = exact_losses(fitted, [plan.lr for plan in plans], facts)
    losses = _under_draws(fitted, space, candidate_ids, facts, cells, draws) if draws else None
    expected = exact if losses is None else losses.mean(axis=0)
    best_share, regret = (None, None) if losses is None else _share_and_regret(losses)
    differences = [
        abs(screened[candidate_id] - expected[i])
        for i, candidate_id in enumerate(candidate_ids)
        if candidate_id in screened
    ]

    def final_loss(lr: Array) -> float:
        return float(exact_losses(fitted, [lr], facts)[0])

    @cache
    def ranked(i: int) -> Ranked:
        candidate_id, plan = candidate_ids[i], plans[i]
        prediction = predict(fitted, plan, [space.steps - 1], facts=facts)
        return Ranked(
            spec=plan.spec,
            shape=space.stratum_of(candidate_id)[0].shape.label,
            final_loss=float(exact[i]),
            screened=screened.get(candidate_id, float("nan")),
            smoothing_sensitivity=smoothing_sensitivity(final_loss, plan.lr, space.warmup),
            interval_90=_interval(prediction),
            expected=None if losses is None else float(expected[i]),
            best_share=None if best_share is None else float(best_share[i]),
            regret=None if regret is None else float(regret[i]),
        )

    order = [int(i) for i in np.argsort(expected, kind="stable")]
    chosen = order[:top]
    best_of_strata = set(reducer.stratum_candidate[np.isfinite(reducer.stratum_value)].tolist())
    worst = float(reducer.value[-1])  # infinite if fewer were kept: then none is missing
    return {
        "ranked": tuple(ranked(i) for i in chosen),
        "best_by_shape": tuple(ranked(i) for i in order if candidate_ids[i] in best_of_strata),
        "rescored_disagreement": float(max(differences)),
        "margin": worst - float(expected[chosen[-1]]),
        "notes": fitted.range_notes(plans[chosen[0]], facts),
    }


def _interval(prediction: Any) -> tuple[float, float] | None:
    if prediction.uncertainty is None:
        return None
    low, high = prediction.interval(0.9)
    return float(low[-1]), float(high[-1])


def _share_and_regret(losses: Array) -> tuple[Array, Array]:
    """Share of draws won and mean regret per finalist: losses (draws, finalists)."""
    best = losses.min(axis=1, keepdims=True)
    wins = losses <= best
    share = (wins / wins.sum(axis=1, keepdims=True)).mean(axis=0)
    return share, (losses - best).mean(axis=0)


@in_float64
def _under_draws(
    fitted: CurveFit,
    space: Space,
    candidate_ids: list[int],
    facts: Mapping[str, float],
    cells: int,
    draws: int,
) -> Array:
    """Losses under the draws, in float64 on twice as many cells: (draws, candidates)."""
    params = {name: np.asarray(fitted.draws[name][:draws], float) for name in fitted.params}
    return losses_at(fitted.law, space, candidate_ids, params, facts, 2 * cells)
