"""Losses that a fitted law predicts for schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError, ScheduleError, unknown_name
from scaling_laws.inference.results.drawn_losses import variance_inputs_of
from scaling_laws.inference.results.html import html_page, html_table
from scaling_laws.inference.results.plotting import plot_prediction
from scaling_laws.inference.results.state import AnyState, CurveState
from scaling_laws.inference.results.uncertainty import (
    Uncertainty,
    VarianceInputs,
    interval_around,
)
from scaling_laws.models import (
    FINAL,
    TRACES,
    AnyLaw,
    EveryStep,
    Law,
    PointLaw,
    Schedule,
    bucket,
    check_facts,
    in_float64,
    in_trace,
)
from scaling_laws.models import schedule as parse_schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Prediction",
    "check_needs",
    "compiled_final_loss",
    "compiled_final_losses",
    "compiled_loss",
    "facts_for",
    "final_losses",
    "needs_inputs",
    "predict",
    "predict_losses",
    "range_notes",
]

Array = NDArray[np.float64]
BATCH = 8  # schedules at a time in `final_losses`: their rows stay in the CPU cache
BATCHES = 8  # of one call of its compiled program


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Predicted losses of one schedule; behaves like the array of losses.

    Attributes:
        schedule: the schedule.
        steps: the steps predicted: (points,).
        loss: losses in nats after the updates of those steps: (points,).
        uncertainty: from the fit, if it was measured.
        notes: where the schedule lies outside the range of the fit.
        variance_inputs: what the width of each interval depends on.
    """

    schedule: Schedule
    steps: NDArray[np.int64]
    loss: Array
    uncertainty: Uncertainty | None = None
    notes: tuple[str, ...] = ()
    variance_inputs: VarianceInputs | None = None

    @property
    def final_loss(self) -> float:
        """Loss at the last of the predicted steps."""
        return float(self.loss[-1])

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper ends, each (points,), of intervals for losses of an unseen run.

        Raises:
            LawError: if the law has no uncertainty, or `level` is not between 0 and 1.
        """
        return interval_around(self.loss, self.uncertainty, level, self.variance_inputs)

    def to_frame(self, level: float = 0.9) -> Any:
        """A pandas DataFrame with one row per step: lr, loss and, if known, lower and upper.

        Raises:
            LawError: if `level` is not between 0 and 1.
        """
        import pandas as pd

        columns = {"step": self.steps, "lr": self.schedule.lr[self.steps], "loss": self.loss}
        if self.uncertainty is not None:
            columns["lower"], columns["upper"] = self.interval(level)
        return pd.DataFrame(columns).set_index("step")

    def plot(self, *, level: float = 0.9) -> Figure:
        """A matplotlib Figure: the learning rate above, the loss with its interval below."""
        return plot_prediction(self.schedule, self.steps, self.loss, self._band(level))

    def _band(self, level: float) -> tuple[Array, Array] | None:
        return None if self.uncertainty is None else self.interval(level)

    def __repr__(self) -> str:
        band = self._band(0.9)
        text = "" if band is None else f", 90 % interval {band[0][-1]:.4f} to {band[1][-1]:.4f}"
        return (
            f"Prediction({self.schedule.spec}: {len(self)} steps, final loss "
            f"{self.final_loss:.4f}{text})"
        )

    def _repr_html_(self) -> str:
        band = self._band(0.9)
        rows = [
            (f"loss at step {self.steps[-1]}", f"{self.final_loss:.4f} nats"),
            ("steps predicted", f"{len(self)}"),
        ]
        if band is not None:
            rows.insert(1, ("90 % interval", f"{band[0][-1]:.4f} to {band[1][-1]:.4f}"))
        return html_page(self.schedule.spec, [html_table((), rows)], self.notes)

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
    """The law's loss function, compiled once per shape of history."""
    return jax.jit(law.loss)


@cache
def compiled_final_loss(law: Law) -> Any:
    """(params, lr, facts, traces) -> final loss; compiled once per number of steps."""

    def final(params: Any, lr: Any, facts: Any, traces: Any) -> Any:
        return law.loss(params, law.history(FINAL, lr, facts=facts, traces=traces))[0]

    return jax.jit(final)


@cache
def compiled_final_losses(law: Law) -> Any:
    """(params, lr (batches, BATCH, steps), number of batches, facts) -> (batches, BATCH) losses."""

    def final(params: Mapping[str, Any], lr: Any, count: Any, facts: Mapping[str, Any]) -> Any:
        def of_row(row: Any) -> Any:
            return law.loss(params, law.history(FINAL, row, facts=facts))[0]

        def next_batch(batch: Any, losses: Any) -> Any:
            return losses.at[batch].set(jax.vmap(of_row)(lr[batch]))

        # a loop of any length: the same program serves few schedules and many
        return jax.lax.fori_loop(0, count, next_batch, jnp.zeros(lr.shape[:2], lr.dtype))

    return jax.jit(final)


def check_needs(
    law: AnyLaw, facts: Mapping[str, float], traces: Mapping[str, Any], where: str
) -> None:
    """Check that a law has the facts and logged quantities it needs.

    Args:
        law: the law.
        facts: known numbers by name.
        traces: known quantities at every step, by name.
        where: what gives them, for the message, such as ``"run 'a'"``.

    Raises:
        LawError: naming what is missing and how to supply it; or if the law takes no schedule.
    """
    if not isinstance(law, Law):
        raise LawError(needs_inputs(law))
    for name in sorted(law.required_facts - set(facts) - set(traces)):
        raise LawError(
            f"{law.name} needs {name}, which {where} does not contain; "
            f"pass --{name.replace('_', '-')} or add it to dataset.toml",
            value=name,
        )
    for name in sorted(law.required_traces - set(traces)):
        raise LawError(
            f"{law.name} needs {name} at every step, which {where} does not contain; add a column "
            f"{name} to the run's CSV, or pass traces in Python",
            column=name,
        )


def needs_inputs(law: AnyLaw) -> str:
    """The message for a tabular law where a law of schedules is needed."""
    names = law.input_names if isinstance(law, PointLaw) else ()
    inputs = ", ".join(f"{name}=..." for name in names)
    return f"{law.name} does not take a schedule; use PointFit and .at({inputs})"


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
    fitted: CurveState,
    schedule: Schedule | str,
    steps: Sequence[int] | NDArray[np.int64] | None = None,
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
        LawError: if the law takes no schedule, or a fact or trace that it needs is missing.
    """
    plan = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    if not isinstance(plan, Schedule):
        raise ScheduleError(
            f"schedule is a {type(plan).__name__}; pass a spec or Schedule(NAME, rates)", value=plan
        )
    law = fitted.law
    all_facts = facts_for(fitted, facts, plan)
    series = {name: np.asarray(row, dtype=float) for name, row in (traces or {}).items()}
    check_needs(law, all_facts, series, "the law file")
    for name, row in series.items():
        if row.shape != (plan.steps,):
            raise LawError(f"trace {name} has shape {row.shape}; it must be ({plan.steps},)")
        if name not in TRACES:
            raise LawError(unknown_name("trace", name, TRACES), value=name)
        if not in_trace(name, row).all():
            raise LawError(f"trace {name} must be finite and {TRACES[name]} at every step")
    if plan.peak_lr == 0:
        raise ScheduleError(f"{plan.spec}: every learning rate is 0")
    chosen = np.arange(plan.steps) if steps is None else np.asarray(steps, dtype=np.int64)
    if chosen.ndim != 1 or chosen.size == 0:
        raise ScheduleError("steps must be a non-empty 1-D array of step indices")
    if chosen.min() < 0 or chosen.max() >= plan.steps:
        bad = chosen[(chosen < 0) | (chosen >= plan.steps)][0]
        raise ScheduleError(f"step {bad} is not in 0..{plan.steps - 1} of {plan.spec}")
    losses = predict_losses(law, fitted.params, plan.lr, all_facts, series)
    inputs = variance_inputs_of(fitted, plan.lr, chosen, all_facts, series)
    notes = range_notes(fitted, plan, all_facts)
    return Prediction(plan, chosen, losses[chosen], fitted.uncertainty, notes, inputs)


def range_notes(
    fitted: CurveState, schedule: Schedule, facts: Mapping[str, float]
) -> tuple[str, ...]:
    """In words, where a schedule and facts leave what the fitted runs covered."""
    return () if fitted.range is None else tuple(fitted.range.departures(schedule, facts))


@in_float64
def final_losses(
    fitted: CurveState,
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
        ScheduleError: if `lr` is not a 2-D array of finite rates >= 0, or a schedule is all zero.
        LawError: if the law takes no schedule, or a fact or trace that it needs is missing.

    >>> from scaling_laws.inference import CurveFit
    >>> fitted = CurveFit.published("multi_power", "25M")
    >>> final_losses(fitted, np.full((2, 100), [[1e-4], [3e-4]])).shape
    (2,)
    """
    law = fitted.law
    all_facts = facts_for(fitted, facts)
    check_needs(law, all_facts, {}, "the law file")
    rates = np.asarray(lr, dtype=dtype)
    if rates.ndim != 2 or rates.size == 0:
        raise ScheduleError(f"lr has shape {rates.shape}; it must be (schedules, steps)")
    valid = np.isfinite(rates).all(axis=1) & (rates.min(axis=1) >= 0) & (rates.max(axis=1) > 0)
    if not valid.all():
        raise ScheduleError(
            f"schedule {int(np.argmin(valid))}: rates must be finite, >= 0 and not all 0"
        )
    params, numbers = (
        {name: np.asarray(value, dtype=dtype) for name, value in values.items()}
        for values in (fitted.params, all_facts)
    )
    function, losses = compiled_final_losses(law), []
    for begin in range(0, len(rates), BATCHES * BATCH):
        part = rates[begin : begin + BATCHES * BATCH]
        filled = np.concatenate([part, np.repeat(part[:1], BATCHES * BATCH - len(part), axis=0)])
        batches = filled.reshape(BATCHES, BATCH, -1)
        result = np.asarray(function(params, batches, -(-len(part) // BATCH), numbers))
        losses.append(result.reshape(-1)[: len(part)])
    return np.concatenate(losses)


def facts_for(
    fitted: AnyState, facts: Mapping[str, float] | None = None, plan: Schedule | None = None
) -> dict[str, float]:
    """Facts of the fit, overridden by those of the schedule, then by `facts`.

    Raises:
        UsageError: if one of `facts` is unknown or too small.
    """
    check_facts(facts or {})
    joined = {"transfer_step": float(plan.joins[0])} if plan is not None and plan.joins else {}
    return {**fitted.facts, **joined, **(facts or {})}
