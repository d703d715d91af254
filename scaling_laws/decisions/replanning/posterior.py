"""The law that a run so far leaves: parameters, draws around them, widths of intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import FitError, LawError
from scaling_laws.data import Run
from scaling_laws.decisions.replanning.batched_losses import POINTS, log_losses
from scaling_laws.decisions.replanning.binned_log import BinnedLog
from scaling_laws.decisions.replanning.laplace import LaplacePosterior, laplace_posterior
from scaling_laws.decisions.replanning.parameter_prior import (
    calibrated_law,
    priors_of,
    shipped_prior,
)
from scaling_laws.decisions.replanning.replan_result import ForecastCurve
from scaling_laws.inference import (
    CurveFit,
    FitResult,
    Range,
    Uncertainty,
    VarianceInputs,
    check_needs,
    facts_for,
    fastest_fall,
    interval_around,
    interval_of_end,
    law_for,
    require_curve_fit,
    robust_sd,
)
from scaling_laws.models import Law

__all__ = ["Posterior", "condition_on_log"]

Array = NDArray[np.float64]
DRAWS = 100
FINE = 4  # steps of a curve for each at which its spread over draws is worked out
OWN_ERROR = 1e-3  # of a law in log loss, beside what its parameters leave open
NORMAL_90 = 1.645  # half width of a 90 % interval in standard deviations
FREEDOM = 30.0  # of the Student t that turns 90 % into other levels


@dataclass(frozen=True, eq=False)
class Posterior:
    """A law after the run so far.

    Attributes:
        fitted: the law, with its draws, widths of intervals and range.
        facts: numbers known of the run.
        laplace: the posterior of the parameters.
        notes: in words, what was fitted in place of what, and how.
    """

    fitted: CurveFit
    facts: Mapping[str, float]
    laplace: LaplacePosterior
    notes: tuple[str, ...]

    def end(self, lr: Array) -> tuple[float, Array]:
        """Final loss of a schedule, (steps,), and its log under every draw, (draws,)."""
        fitted = self.fitted
        params = {
            name: np.concatenate([[value], fitted.draws[name]])
            for name, value in fitted.params.items()
        }
        last = np.array([len(lr) - 1])
        rows = log_losses(fitted.law, params, lr, last, self.facts)[:, 0]
        return float(np.exp(rows[0])), rows[1:]

    def curve(self, lr: Array, first: int) -> ForecastCurve:
        """Losses of a schedule from step `first` to its end, with 90 % intervals."""
        law, last = self.fitted.law, len(lr) - 1
        params = {
            name: np.concatenate([[value], self.fitted.draws[name]])
            for name, value in self.fitted.params.items()
        }
        centre = {name: row[:1] for name, row in params.items()}
        steps = np.unique(np.linspace(first, last, FINE * POINTS).astype(np.int64))
        knots = np.unique(np.linspace(first, last, POINTS).astype(np.int64))
        loss = np.exp(log_losses(law, centre, lr, steps, self.facts)[0])
        spread = robust_sd(log_losses(law, params, lr, knots, self.facts)[1:])
        exposure = VarianceInputs.of(lr, steps, np.interp(steps, knots, spread))
        low, high = interval_around(loss, self.fitted.uncertainty, 0.9, exposure)
        return ForecastCurve(steps, loss, low, high)

    def interval(self, value: float, lr: Array, draws: Array) -> tuple[float, float]:
        """90 % interval of a final loss."""
        last = np.array([len(lr) - 1])
        exposure = VarianceInputs.of(lr, last, robust_sd(draws[:, None]))
        return interval_of_end(value, self.fitted.uncertainty, 0.9, exposure)

    def gain_interval(self, value: float, one: Array, other: Array, shared: float) -> float:
        """Half width of the 90 % interval of a gain.

        Args:
            value: about the losses, in nats.
            one: log final losses of a schedule under every draw: (draws,).
            other: those of another.
            shared: correlation of the law's own errors at the two ends.
        """
        spread = float(robust_sd((one - other)[:, None])[0])
        own = OWN_ERROR * float(np.sqrt(2.0 * (1.0 - shared)))
        assert self.fitted.uncertainty is not None  # a look-out always has one
        return self.fitted.uncertainty.final_90 * float(np.hypot(spread, own)) * value


def condition_on_log(
    run: Run, points: BinnedLog, now: int, given: CurveFit | Law, seed: int
) -> Posterior:
    """Condition a law file, or the shipped prior of a law, on the run so far.

    Args:
        run: the run, with the current plan as its schedule.
        points: its log so far.
        now: updates done.
        given: a law with numbers, or a law whose shipped prior is to serve.
        seed: of the draws.

    Raises:
        LawError: if the law sees no schedule, or needs what the run does not give.
        FitError: if its losses on the run are not finite.
    """
    notes: list[str] = []
    if isinstance(given, FitResult):
        law = require_curve_fit(given).law
        facts = facts_for(given, run.facts, run.schedule)
        notes += [
            f"{need} {facts[need]:g} is the law's: the run does not state its own"
            for need in sorted(law.required_facts & set(given.facts) - set(run.facts))
        ]
    else:
        law, instead = law_for(given, [run])
        notes += [note.message for note in instead]
        facts = {**run.facts}
    if law.required_traces or set(run.traces) & law.required_facts:
        needed = ", ".join(sorted(law.required_traces | (set(run.traces) & law.required_facts)))
        raise LawError(
            f"{law.name} would need {needed} at steps that are not trained yet; take a law that "
            "follows from the schedule alone, and leave such columns out of the log"
        )
    check_needs(law, facts, {}, f"run {run.name!r}")
    done = run.schedule.lr[:now]
    unit = 1.0 if law.rescale is None else float(done.max())
    if isinstance(given, FitResult):
        priors = priors_of(given, unit)
    else:
        priors = [shipped_prior(law, points, done, unit, facts)]
    every = [laplace_posterior(each, points, done, facts) for each in priors]
    best = max(every, key=lambda each: each.evidence)
    rows = best.draws(DRAWS, seed)
    ends = np.array([run.schedule.steps - 1])
    finite = np.isfinite(log_losses(law, rows, run.schedule.lr, ends, facts)[:, 0])
    if not finite[0] or finite.sum() < len(finite) // 2:
        raise FitError(
            f"{law.name}: its losses at the end of run {run.name!r} are not finite; take another "
            "law"
        )
    rows = {name: row[finite] for name, row in rows.items()}
    width = NORMAL_90
    if law.in_progress is not None:
        known = law.in_progress
        width = known.fitted_width if isinstance(given, FitResult) else known.prior_width
    fitted = CurveFit(
        law,
        {name: float(row[0]) for name, row in rows.items()},
        Uncertainty("run_so_far", best.misfit, 1, OWN_ERROR, 0.0, width, width, FREEDOM),
        _range(given if isinstance(given, FitResult) else None, run, now),
        facts={name: value for name, value in facts.items()},
        draws={name: row[1:] for name, row in rows.items()},
    )
    notes.append(_said(best, every[0], isinstance(given, FitResult)))
    if law.in_progress is None and best.prior.scope.label != "same":
        notes.append(
            f"{law.name} has not been tried on runs unlike those it was fitted to, or did badly: "
            f"its intervals may be too narrow; {calibrated_law()} has (docs/replan.md)"
        )
    return Posterior(fitted, facts, best, tuple(notes))


def _said(best: LaplacePosterior, first: LaplacePosterior, from_file: bool) -> str:
    """How the law was brought to the run, in words."""
    law = best.prior.law.name
    left = f"; log residuals of {best.misfit:.1g} are left" if best.misfit > 3e-3 else ""
    if not from_file:
        return f"{law}: shipped prior, fitted to the run so far{left}"
    off = f"as it stands it is off by {100.0 * first.before:+.2g} % of the loss of late"
    return f"{law}: {off}; the run is taken as {best.prior.scope.meaning}{left}"


def _range(given: CurveFit | None, run: Run, now: int) -> Range:
    """What the law's runs and this one cover so far."""
    done = run.schedule.lr[:now]
    peak = float(done.max())
    after = done[int(np.argmax(done)) :]
    known = given.range if given is not None and isinstance(given.range, Range) else None
    own = Range((peak, peak), now - 1, float(after.min()) / peak, {}, fastest_fall(done))
    if known is None:
        return own
    falls = [each for each in (known.fastest_fall, own.fastest_fall) if each is not None]
    return Range(
        (min(known.peak_lr[0], peak), max(known.peak_lr[1], peak)),
        max(known.steps, own.steps),
        min(known.lowest_lr, own.lowest_lr),
        known.facts,
        min(falls, default=None),
    )
