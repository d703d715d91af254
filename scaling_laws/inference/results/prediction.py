"""Losses under a fitted law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, ScheduleError, unknown_name
from scaling_laws.inference.results.fitted_law import FittedLaw
from scaling_laws.inference.results.uncertainty import (
    Exposure,
    Uncertainty,
    interval_around,
    spread_of,
)
from scaling_laws.models import (
    FINAL,
    TRACES,
    AtPoints,
    EveryStep,
    History,
    Law,
    Schedule,
    bucket,
    check_facts,
    in_float64,
    in_trace,
)
from scaling_laws.models import schedule as parse_schedule

__all__ = [
    "Prediction",
    "check_needs",
    "compiled_draws",
    "compiled_final_loss",
    "compiled_final_losses",
    "compiled_loss",
    "drawn_log_losses",
    "exposure_of",
    "facts_for",
    "final_losses",
    "predict",
    "predict_losses",
]

Array = NDArray[np.float64]
KNOTS = 96  # steps at which a prediction's spread over draws is worked out
BATCH = 16  # schedules at a time in `final_losses`: their rows stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted losses of one schedule; behaves as the array of losses.

    Attributes:
        schedule: the schedule.
        steps: the steps predicted: (points,).
        loss: losses in nats after the updates of those steps: (points,).
        uncertainty: from the fit, if it was measured.
        notes: where the schedule leaves the range of the fit.
        exposure: what makes each loss more or less certain.
    """

    schedule: Schedule
    steps: NDArray[np.int64]
    loss: Array = field(repr=False)
    uncertainty: Uncertainty | None = None
    notes: tuple[str, ...] = ()
    exposure: Exposure | None = field(default=None, repr=False)

    @property
    def final_loss(self) -> float:
        """Loss at the last of the predicted steps."""
        return float(self.loss[-1])

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper ends, each (points,), of intervals for losses of an unseen run.

        Raises:
            LawError: if the law has no uncertainty, or `level` is not between 0 and 1.
        """
        return interval_around(self.loss, self.uncertainty, level, self.exposure)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.loss, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.loss)

    def __iter__(self) -> Iterator[float]:
        return iter(self.loss.tolist())

    def __getitem__(self, index: Any) -> Any:
        return self.loss[index]


@cache
def compiled_loss(law: Law) -> Any:
    """The law's loss function, compiled once for each shape of history."""
    return jax.jit(law.loss)


@cache
def compiled_final_loss(law: Law) -> Any:
    """(params, lr, facts, traces) -> loss after the last step; compiled once a number of steps."""

    def final(params: Any, lr: Any, facts: Any, traces: Any) -> Any:
        return law.loss(params, law.history(FINAL, lr, facts=facts, traces=traces))[0]

    return jax.jit(final)


@cache
def compiled_final_losses(law: Law) -> Any:
    """(params, lr (schedules, steps), facts) -> losses after the last step: (schedules,)."""

    def final(params: Mapping[str, Any], lr: Any, facts: Mapping[str, Any]) -> Any:
        return jax.lax.map(
            lambda row: law.loss(params, law.history(FINAL, row, facts=facts))[0],
            lr,
            batch_size=BATCH,
        )

    return jax.jit(final)


def check_needs(
    law: Law, facts: Mapping[str, float], traces: Mapping[str, Any], where: str
) -> None:
    """Raise a LawError, with the mend, when a law lacks a fact or a logged quantity it needs."""
    for need in sorted(law.required_facts - set(facts) - set(traces)):
        raise LawError(
            f"{law.name} needs {need}, which {where} does not give; "
            f"pass --{need.replace('_', '-')} or add it to dataset.toml"
        )
    for need in sorted(law.required_traces - set(traces)):
        raise LawError(
            f"{law.name} needs {need} at every step, which {where} does not give; add a column "
            f"{need} to the run's CSV, or pass traces in Python"
        )


@in_float64
def predict_losses(
    law: Law,
    params: Mapping[str, float],
    lr: Array,
    facts: Mapping[str, float],
    traces: Mapping[str, Array] | None = None,
) -> Array:
    """Loss after every step of a schedule: lr and traces (steps,) -> losses (steps,)."""
    history = law.history(EveryStep(bucket(len(lr))), lr, facts=facts, traces=traces)
    return np.asarray(compiled_loss(law)(dict(params), history))[: len(lr)]


def predict(
    fitted: FittedLaw,
    schedule: Schedule | str,
    steps: Sequence[int] | None = None,
    *,
    facts: Mapping[str, float] | None = None,
    traces: Mapping[str, Array] | None = None,
) -> Prediction:
    """The loss under a schedule.

    Args:
        fitted: the law.
        schedule: a schedule or its spec.
        steps: 0-based steps to predict, in increasing order; default every step.
        facts: numbers of the run that override those of the fit, e.g. ``{"model_params": 1e8}``.
            The second part of a joined spec begins at `transfer_step` unless this says otherwise.
        traces: quantities at every step that some laws need, each (steps of the schedule,).

    Returns:
        Losses in nats; entry for step s is the loss after updates 0..s.

    Raises:
        ScheduleError: if the spec is malformed, every rate is 0, or a step lies outside.
        UsageError: if a fact is unknown or too small.
        LawError: if the law sees no schedule, or needs a fact or a trace that nothing gives.
    """
    plan = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    law = fitted.schedule_law
    known = facts_for(fitted, facts, plan)
    given = {name: np.asarray(row, dtype=float) for name, row in (traces or {}).items()}
    check_needs(law, known, given, "the law file")
    for name, row in given.items():
        if row.shape != (plan.steps,):
            raise LawError(f"trace {name} has shape {row.shape}; it needs ({plan.steps},)")
        if name not in TRACES:
            raise LawError(unknown_name("trace", name, TRACES))
        if not in_trace(name, row).all():
            raise LawError(f"trace {name} must be finite and {TRACES[name]} at every step")
    if plan.peak_lr == 0:
        raise ScheduleError(f"{plan.spec}: every learning rate is 0; nothing is trained")
    chosen = np.arange(plan.steps) if steps is None else np.asarray(steps, dtype=np.int64)
    if chosen.ndim != 1 or chosen.size == 0:
        raise ScheduleError("steps must be a non-empty row of step numbers")
    if chosen.min() < 0 or chosen.max() >= plan.steps:
        bad = chosen[(chosen < 0) | (chosen >= plan.steps)][0]
        raise ScheduleError(f"step {bad} is not in 0..{plan.steps - 1} of {plan.spec}")
    losses = predict_losses(law, fitted.params, plan.lr, known, given)
    notes = fitted.range_notes(plan, known)
    exposure = exposure_of(fitted, plan.lr, chosen, known, given)
    return Prediction(plan, chosen, losses[chosen], fitted.uncertainty, notes, exposure)


@cache
def compiled_draws(law: Law) -> Any:
    """(params (draws,), points) -> losses (draws, points)."""

    def losses(params: Mapping[str, Any], points: History) -> Any:
        return jax.vmap(lambda point: law.loss(params, point))(points).reshape(-1)

    return jax.jit(jax.vmap(losses, in_axes=(0, None)))


@in_float64
def drawn_log_losses(
    law: Law,
    params: Mapping[str, Array],
    lr: Array,
    steps: NDArray[np.int64],
    facts: Mapping[str, float],
    traces: Mapping[str, Array] | None = None,
) -> Array:
    """Log losses under many values of the parameters: params (draws,) -> (draws, points)."""
    points = law.history(AtPoints(steps), lr, facts=facts, traces=traces)
    losses = np.asarray(compiled_draws(law)(dict(params), points))
    return np.asarray(np.log(np.maximum(losses, 1e-6)))


@in_float64
def exposure_of(
    fitted: FittedLaw,
    lr: Array,
    steps: NDArray[np.int64],
    facts: Mapping[str, float],
    traces: Mapping[str, Array] | None = None,
) -> Exposure | None:
    """What makes a law's losses at some steps more or less certain; None without uncertainty.

    The spread over the law's draws is worked out at `KNOTS` steps and interpolated.
    """
    if fitted.uncertainty is None:
        return None
    if fitted.draw_count < 2:
        return Exposure.of(lr, steps)
    last = int(np.max(steps))
    knots = np.unique(np.append(np.linspace(0, last, KNOTS).astype(np.int64), last))
    law = fitted.schedule_law
    rows = drawn_log_losses(law, fitted.draws, lr, knots, facts, traces)
    return Exposure.of(lr, steps, np.interp(steps, knots, spread_of(rows)))


@in_float64
def final_losses(
    fitted: FittedLaw,
    lr: Array,
    *,
    facts: Mapping[str, float] | None = None,
    dtype: Any = np.float64,
) -> Array:
    """Final losses of many schedules of one length.

    Args:
        fitted: the law.
        lr: learning rates, (schedules, steps).
        facts: numbers of the run that override those of the fit.
        dtype: of the arithmetic; float32 agrees to 2e-5 of the loss (1e-3 for laws with a
            forgetting factor near one).

    Returns:
        Losses after the last step, in nats: (schedules,).

    Raises:
        ScheduleError: if `lr` is no table of finite rates >= 0, or a schedule is all zero.
        LawError: if the law sees no schedule, or needs a fact or a trace that nothing gives.

    >>> law = FittedLaw.published("multi_power", "25M")
    >>> final_losses(law, np.full((2, 100), [[1e-4], [3e-4]])).shape
    (2,)
    """
    law = fitted.schedule_law
    known = facts_for(fitted, facts)
    check_needs(law, known, {}, "the law file")
    rates = np.asarray(lr, dtype=dtype)
    if rates.ndim != 2 or rates.size == 0:
        raise ScheduleError(f"lr has shape {rates.shape}; it needs (schedules, steps)")
    fine = np.isfinite(rates).all(axis=1) & (rates.min(axis=1) >= 0) & (rates.max(axis=1) > 0)
    if not fine.all():
        raise ScheduleError(
            f"schedule {int(np.argmin(fine))}: rates must be finite, >= 0 and not all 0"
        )
    params, given = (
        {name: np.asarray(value, dtype=dtype) for name, value in each.items()}
        for each in (fitted.params, known)
    )
    return np.asarray(compiled_final_losses(law)(params, rates, given))


def facts_for(
    fitted: FittedLaw, facts: Mapping[str, float] | None = None, plan: Schedule | None = None
) -> dict[str, float]:
    """Facts of the fit, then what a schedule says itself, then those given.

    Raises:
        UsageError: if a given fact is unknown or too small.
    """
    check_facts(facts or {})
    joined = {"transfer_step": float(plan.joins[0])} if plan is not None and plan.joins else {}
    return {**fitted.facts, **joined, **(facts or {})}
