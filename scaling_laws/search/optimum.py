"""The search: baselines, every family with its shape tuned, and a smooth free form."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.errors import LawError, UsageError
from scaling_laws.fitted import Exposure, FittedLaw, Uncertainty
from scaling_laws.fitted.predict import check_needs, compiled_final_loss, exposure_of, facts_for
from scaling_laws.fitted.uncertainty import interval_around
from scaling_laws.numerics.precision import in_float64
from scaling_laws.schedules import Frame, Schedule, schedule
from scaling_laws.search.baselines import baseline_specs
from scaling_laws.search.families import Tuned, tune_families
from scaling_laws.search.free_form import search_free_form

__all__ = ["MAX_ROUGHNESS", "Optimum", "optimize", "roughness"]

MAX_ROUGHNESS = 1e-4  # nats


@dataclass(frozen=True, eq=False)
class Optimum:
    """A found schedule.

    Attributes:
        schedule: the best schedule found; its spec is ``free form`` or the spec of a family.
        final_loss: its predicted final loss, in nats.
        baselines: predicted final losses of common schedules, by spec.
        family: the best member of the families that is smooth; see `roughness`.
        rough: members of families with a lower predicted loss that were passed over, because a
            short moving average takes their advantage away: they exploit the law.
        uncertainty: of the law, if it was measured.
        notes: where the schedule leaves the range of the fit.
        seconds: wall time.
        exposure: what makes the final loss more or less certain.
    """

    schedule: Schedule
    final_loss: float
    baselines: Mapping[str, float]
    family: Tuned
    rough: tuple[Tuned, ...]
    uncertainty: Uncertainty | None
    notes: tuple[str, ...]
    seconds: float
    exposure: Exposure | None = None

    def interval(self, level: float = 0.9) -> tuple[float, float] | None:
        """Interval for the final loss, or None if the law has no uncertainty."""
        if self.uncertainty is None:
            return None
        value = np.array([self.final_loss])
        low, high = interval_around(value, self.uncertainty, level, self.exposure)
        return float(low[0]), float(high[0])


def roughness(plan: Schedule, warmup: int, final_loss: Callable[[Any], Any]) -> float:
    """Change of the predicted final loss under a moving average after the warm-up, in nats.

    101 steps at 20,000 steps and more, half a percent of shorter runs, 3 steps at least. A law is
    a smooth approximation: a gain that such a small change of schedule removes is not in the data.
    """
    half = max(1, min(50, plan.steps // 400))
    after = np.pad(plan.lr[warmup:], half, mode="edge")
    smooth = np.convolve(after, np.full(2 * half + 1, 1.0 / (2 * half + 1)), mode="valid")
    return abs(
        float(final_loss(np.concatenate([plan.lr[:warmup], smooth]))) - float(final_loss(plan.lr))
    )


@in_float64
def optimize(
    fitted: FittedLaw,
    *,
    steps: int,
    peak: float,
    warmup: int = 0,
    end_min: float = 0.0,
    facts: Mapping[str, float] | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Optimum:
    """Search for the schedule with the lowest predicted final loss.

    Tries common schedules, tunes the shape of every family, and starts a gradient search over
    smooth non-increasing schedules from the best of them. What it returns is never worse than the
    best baseline.

    Args:
        fitted: the law.
        steps: total steps, warm-up included.
        peak: peak learning rate; not searched, since most laws like any higher peak.
        warmup: warm-up steps, linear from 0.
        end_min: lowest learning rate allowed after the warm-up.
        facts: numbers of the run that override those of the fit, e.g. ``{"model_params": 1e8}``.
        seed: of the points tried first.
        report: called with a line of progress now and then.

    Returns:
        The best schedule, with baselines, the best family member and notes.

    Raises:
        UsageError: if the frame is empty or contradicts itself.
        LawError: if the law needs a fact that the fit does not hold.
    """
    began = time.perf_counter()
    law = fitted.schedule_law
    known = facts_for(fitted, facts)
    check_needs(law, known, {}, "the law file")
    if not (np.isfinite(peak) and peak > 0):
        raise UsageError(f"peak={peak!r} must be a learning rate > 0")
    if not (np.isfinite(end_min) and 0 <= end_min < peak):
        raise UsageError(f"end_min={end_min!r} must be >= 0 and below peak={peak:g}")
    if warmup < 0 or steps < warmup + 10:
        raise UsageError(f"steps={steps} must leave at least 10 steps after warmup={warmup}")
    frame = Frame(float(peak), int(steps), int(warmup), float(end_min))
    final = compiled_final_loss(law)
    params = {name: jnp.float64(value) for name, value in fitted.params.items()}
    traced = {name: jnp.float64(value) for name, value in known.items()}

    def final_loss(lr: Any) -> Any:
        return final(params, lr, traced)

    def measure(lr: NDArray[np.float64]) -> float:
        return float(final_loss(lr))

    def tell(line: str) -> None:
        if report is not None:
            report(line)

    plans = [schedule(spec) for spec in baseline_specs(frame)]
    baselines = [Tuned(plan, measure(plan.lr)) for plan in plans]
    tell(f"{len(baselines)} baselines done")
    tuned = tune_families(frame, measure, seed)
    smooth = [
        each
        for each in tuned
        if roughness(each.schedule, frame.warmup, final_loss) <= MAX_ROUGHNESS
    ]
    if not smooth:
        raise LawError(f"{law.name} gives no finite loss for any family; look at its parameters")
    candidates = sorted([*smooth, *baselines], key=lambda each: each.final_loss)
    tell(f"families done, best {candidates[0].schedule.spec}: {candidates[0].final_loss:.5f}")
    starts = [each.schedule.lr for each in (*candidates[:2], *baselines[-4:-3])]
    lr = search_free_form(frame, final_loss, starts, plans[0].lr[: frame.warmup])
    free = Tuned(Schedule("free form", lr), measure(lr))
    tell(f"free form: {free.final_loss:.5f}")
    best = min([free, *candidates], key=lambda each: each.final_loss)
    notes = fitted.range_notes(best.schedule, known)
    last = np.array([best.schedule.steps - 1])
    return Optimum(
        best.schedule,
        best.final_loss,
        {each.schedule.spec: each.final_loss for each in baselines},
        smooth[0],
        tuple(each for each in tuned if each.final_loss < best.final_loss and each not in smooth),
        fitted.uncertainty,
        notes,
        time.perf_counter() - began,
        exposure_of(fitted, best.schedule.lr, last, known),
    )
