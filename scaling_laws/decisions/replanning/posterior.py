"""A law conditioned on a run so far: parameters, draws and interval widths."""

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
STEPS_PER_KNOT = 4  # of a forecast curve; its spread over draws is interpolated between knots
LAW_ERROR = 1e-3  # of a law in log loss, in addition to the spread of its parameters
# half-width of a 90 % interval in standard deviations, for laws without `in_progress`; rounded, and
# kept: 1.6448536 (`inference.constants`) would change reported intervals by 1e-4 of their width
NORMAL_90 = 1.645
DOF = 30.0  # of the Student t that converts 90 % intervals to other levels
LARGE_MISFIT = 3e-3  # in log loss; mentioned in the notes above this


@dataclass(frozen=True, eq=False)
class Posterior:
    """A law conditioned on the run so far.

    Attributes:
        fitted: the law, with its draws, interval widths and range.
        facts: known facts of the run.
        laplace: the posterior of the parameters.
        notes: what was fitted, and which facts and prior were used.
    """

    fitted: CurveFit
    facts: Mapping[str, float]
    laplace: LaplacePosterior
    notes: tuple[str, ...]

    @property
    def _params(self) -> dict[str, Array]:
        """The mode, then the draws: (1 + draws,) per parameter."""
        return {
            name: np.concatenate([[value], self.fitted.draws[name]])
            for name, value in self.fitted.params.items()
        }

    def end(self, lr: Array) -> tuple[float, Array]:
        """Final loss of a schedule, (steps,), and its log under the draws, (draws,)."""
        last = np.array([len(lr) - 1])
        rows = log_losses(self.fitted.law, self._params, lr, last, self.facts)[:, 0]
        return float(np.exp(rows[0])), rows[1:]

    def curve(self, lr: Array, first: int) -> ForecastCurve:
        """Losses of a schedule from step `first` to its end, with 90 % intervals."""
        law, params, last = self.fitted.law, self._params, len(lr) - 1
        mode = {name: row[:1] for name, row in params.items()}
        steps = np.unique(np.linspace(first, last, STEPS_PER_KNOT * POINTS).astype(np.int64))
        knots = np.unique(np.linspace(first, last, POINTS).astype(np.int64))
        loss = np.exp(log_losses(law, mode, lr, steps, self.facts)[0])
        sd = robust_sd(log_losses(law, params, lr, knots, self.facts)[1:])
        inputs = VarianceInputs.of(lr, steps, np.interp(steps, knots, sd))
        low, high = interval_around(loss, self.fitted.uncertainty, 0.9, inputs)
        return ForecastCurve(steps, loss, low, high)

    def interval(self, value: float, lr: Array, draws: Array) -> tuple[float, float]:
        """90 % interval of a final loss."""
        last = np.array([len(lr) - 1])
        inputs = VarianceInputs.of(lr, last, robust_sd(draws[:, None]))
        return interval_of_end(value, self.fitted.uncertainty, 0.9, inputs)

    def gain_half_width(self, value: float, one: Array, other: Array, shared: float) -> float:
        """Half-width of the 90 % interval of a gain, in nats.

        Args:
            value: approximate final loss, in nats.
            one: log final losses of a schedule under the draws: (draws,).
            other: those of another schedule.
            shared: correlation of the law's errors at the two ends.
        """
        parameter_sd = float(robust_sd((one - other)[:, None])[0])
        law_sd = LAW_ERROR * float(np.sqrt(2.0 * (1.0 - shared)))
        assert self.fitted.uncertainty is not None  # set by `condition_on_log`
        return self.fitted.uncertainty.final_90 * float(np.hypot(parameter_sd, law_sd)) * value


def condition_on_log(
    run: Run, points: BinnedLog, now: int, source: CurveFit | Law, seed: int
) -> Posterior:
    """Condition a law file, or the shipped prior of a law, on the run so far.

    Args:
        run: the run, with the current plan as its schedule.
        points: its binned log so far.
        now: completed updates.
        source: a fitted law, or a law whose shipped prior is used.
        seed: of the draws.

    Raises:
        LawError: if the law does not take a schedule, or needs what the run does not state.
        FitError: if its losses on the run are not finite.
    """
    fitted_before = source if isinstance(source, FitResult) else None
    law, facts, notes = _law_and_facts(run, source)
    done = run.schedule.lr[:now]
    unit = 1.0 if law.rescale is None else float(done.max())
    if fitted_before is not None:
        priors = priors_of(fitted_before, unit)
    else:
        priors = [shipped_prior(law, points, done, unit, facts)]
    posteriors = [laplace_posterior(prior, points, done, facts) for prior in priors]
    best = max(posteriors, key=lambda posterior: posterior.evidence)
    rows = _finite_draws(best, run, facts, seed)
    width = NORMAL_90
    if law.in_progress is not None:
        widths = law.in_progress
        width = widths.prior_width if fitted_before is None else widths.fitted_width
    fitted = CurveFit(
        law,
        {name: float(row[0]) for name, row in rows.items()},
        Uncertainty("run_so_far", best.misfit, 1, LAW_ERROR, 0.0, width, width, DOF),
        _range(fitted_before, run, now),
        facts={name: value for name, value in facts.items()},
        draws={name: row[1:] for name, row in rows.items()},
    )
    notes.append(_conditioning_note(best, posteriors[0], fitted_before is not None))
    if law.in_progress is None and best.prior.scope.label != "same":
        notes.append(
            f"forecasts of {law.name} for runs unlike those it was fitted to are untested or "
            f"inaccurate: its intervals may be too narrow; {calibrated_law()} is calibrated "
            "(docs/replan.md)"
        )
    return Posterior(fitted, facts, best, tuple(notes))


def _law_and_facts(run: Run, source: CurveFit | Law) -> tuple[Law, dict[str, float], list[str]]:
    """The law to condition, the facts it uses, and notes on where they come from."""
    if isinstance(source, FitResult):
        law = require_curve_fit(source).law
        facts = dict(facts_for(source, run.facts, run.schedule))
        notes = [
            f"{name} {facts[name]:g} is the law's: the run does not state it"
            for name in sorted(law.required_facts & set(source.facts) - set(run.facts))
        ]
    else:
        law, replacements = law_for(source, [run])
        notes = [note.message for note in replacements]
        facts = {**run.facts}
    traced = law.required_traces | (set(run.traces) & law.required_facts)
    if traced:
        raise LawError(
            f"{law.name} would need {', '.join(sorted(traced))} at steps that are not trained yet; "
            "use a law that depends on the schedule alone, and omit such columns from the log"
        )
    check_needs(law, facts, {}, f"run {run.name!r}")
    return law, facts, notes


def _finite_draws(
    posterior: LaplacePosterior, run: Run, facts: Mapping[str, float], seed: int
) -> dict[str, Array]:
    """The mode and those draws whose loss at the end of the plan is finite.

    Raises:
        FitError: if that of the mode, or of more than half of the draws, is not.
    """
    law = posterior.prior.law
    rows = posterior.draws(DRAWS, seed)
    last = np.array([run.schedule.steps - 1])
    finite = np.isfinite(log_losses(law, rows, run.schedule.lr, last, facts)[:, 0])
    if not finite[0] or finite.sum() < len(finite) // 2:
        raise FitError(
            f"{law.name}: its losses at the end of run {run.name!r} are not finite; use another law"
        )
    return {name: row[finite] for name, row in rows.items()}


def _conditioning_note(best: LaplacePosterior, first: LaplacePosterior, from_file: bool) -> str:
    """Which prior was used, and how well the law agrees with the run."""
    law = best.prior.law.name
    large = best.misfit > LARGE_MISFIT
    residuals = f"; the rms of the log residuals is {best.misfit:.1g}" if large else ""
    if not from_file:
        return f"{law}: shipped prior, fitted to the run so far{residuals}"
    offset = f"before conditioning, recent losses are {100.0 * first.prior_offset:+.2g} % off"
    return f"{law}: {offset}; the run is treated as {best.prior.scope.meaning}{residuals}"


def _range(fitted: CurveFit | None, run: Run, now: int) -> Range:
    """What the fitted runs and this one cover so far."""
    done = run.schedule.lr[:now]
    peak = float(done.max())
    after = done[int(np.argmax(done)) :]
    covered = Range((peak, peak), now - 1, float(after.min()) / peak, {}, fastest_fall(done))
    before = fitted.range if fitted is not None and isinstance(fitted.range, Range) else None
    if before is None:
        return covered
    falls = [fall for fall in (before.fastest_fall, covered.fastest_fall) if fall is not None]
    return Range(
        (min(before.peak_lr[0], peak), max(before.peak_lr[1], peak)),
        max(before.steps, covered.steps),
        min(before.lowest_lr, covered.lowest_lr),
        before.facts,
        min(falls, default=None),
    )
