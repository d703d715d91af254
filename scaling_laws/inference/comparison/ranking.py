"""Which law predicts held-out runs or points best, by cross-validation.

Laws are ranked by their mean error on held-out data, `pred_e`. With few held-out runs a rank is
weak evidence, so each law is also compared with the best one run by run: where the interval of the
mean difference contains zero, these runs do not distinguish the two. AIC and BIC come from the fit
to all runs; see `scaling_laws.inference.metrics.information_criteria`.

Known limits. Runs with the same schedule up to a step (branches of one trunk, or one seed) may
share the losses logged up to that step, which are then not unseen; final errors are. Where one fold
holds out all runs (`horizon`, `last`), intervals describe how the runs differ under that one refit,
not how refits differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scaling_laws.common import (
    FitError,
    LawError,
    PoolOptions,
    UsageError,
    collect,
    start_pool,
)
from scaling_laws.data import Run, run_list
from scaling_laws.inference.comparison.hold_outs import DEFAULT_LAST, HoldOut, hold_out_of
from scaling_laws.inference.comparison.repeats import repeats_of
from scaling_laws.inference.comparison.scores import Comparison, score
from scaling_laws.inference.fitting import HeldOutFit, Objective, cross_validate, read_objective
from scaling_laws.inference.fitting.serialization import (
    SerializedLaw,
    law_from_picklable,
    law_to_picklable,
)
from scaling_laws.inference.results.prediction import check_needs
from scaling_laws.models import Law, get_schedule_law, schedule_laws

__all__ = ["DEFAULT_STARTS", "compare"]

DEFAULT_STARTS = 8
MIN_RATIO = 1e-3  # of the observed loss: a refit that failed predicts less


def compare(
    laws: str | Sequence[str | Law],
    runs: Iterable[Run] | Mapping[str, Run],
    *,
    hold_out: str = "run",
    last: float = DEFAULT_LAST,
    fit_runs: Sequence[str] = (),
    starts: int = DEFAULT_STARTS,
    seed: int = 0,
    from_step: int | str = 0,
    prior: str | None = "weak",
    objective: str | Objective = "huber",
    backend: str | PoolOptions = "local",
) -> Comparison:
    """Rank laws by how well they predict held-out runs or points.

    Args:
        laws: laws or their names, or a string of names separated by commas; ``"all"`` for every law
            of schedules whose facts and traces the runs have.
        runs: the runs, or a mapping to them; their order does not matter.
        hold_out: ``"run"``: one run at a time (of more than 40, a few at a time); ``"peak"``: all
            runs of one peak LR at a time; ``"horizon"``: fit the short runs, predict the long
            ones; ``"last"``: fit the beginning of every run, predict its end; ``"rest"``: fit
            `fit_runs`, predict the others.
        last: share of each run's logged steps that ``"last"`` holds out.
        fit_runs: names of the runs that ``"rest"`` fits.
        starts: starts of each fit to all runs.
        seed: of the starts, and of the resamples behind intervals.
        from_step: omit points before this step, or before ``"warmup"`` ends.
        prior: on nonlinear parameters: ``"weak"`` for the shipped one, ``"none"``.
        objective: cost of residuals, as in `fit`.
        backend: where laws are fitted: ``"local"``, ``"joblib"``, ``"dask"``, or options of these.
            A law and all its folds are one task, because a process first has to compile the law.
            It does not affect the result.

    Returns:
        The laws, ranked, with the difference between each and the best. Errors of losses in nats.

    Raises:
        UsageError: if the runs do not allow the hold-out (the message lists those they allow),
            names repeat, `from_step` leaves a run empty, an option is invalid, or processes cannot
            be started.
        LawError: if a law is unknown, or a named one needs a fact or trace that the runs lack.
        FitError: if no law could be fitted.
        PoolError: if processes of the backend keep dying.
    """
    if starts < 1:
        raise UsageError(f"starts={starts} must be >= 1")
    cost = read_objective(objective) if isinstance(objective, str) else objective
    kept = _in_order(runs, from_step)
    held = hold_out_of(kept, hold_out, last, fit_runs)
    chosen, skipped = _choose(laws, kept)
    options = {"starts": starts, "seed": seed, "objective": cost, "prior": prior}
    with start_pool(backend, len(chosen)) as pool:
        pieces = [(law_to_picklable(law, pool), kept, held, options) for law in chosen]
        results = collect(pool, _fit_law, pieces, "comparison: laws")
    fits: dict[str, HeldOutFit] = {}
    failed: dict[str, str] = {}
    for law, result in zip(chosen, results, strict=True):
        if isinstance(result, HeldOutFit):
            fits[law.name] = result
        else:
            failed[law.name] = result
    if not fits:
        raise FitError("no law could be fitted: " + "; ".join(failed.values()))
    scores, interval, units = score(fits, held, seed)
    return Comparison(held, scores, skipped, failed, interval, units, seed, repeats_of(kept))


def _in_order(runs: Iterable[Run] | Mapping[str, Run], from_step: int | str) -> list[Run]:
    """The runs without their first points, sorted by name, so that their order does not matter."""
    values = sorted(run_list(runs), key=lambda run: run.name)
    return [run.from_step(from_step) for run in values]


def _fit_law(
    law: Law | str | SerializedLaw,
    runs: Sequence[Run],
    held: HoldOut,
    options: Mapping[str, Any],
) -> HeldOutFit | str:
    """Fit a law and all its folds in one task; a string says why it could not be fitted."""
    chosen = law_from_picklable(law)
    try:
        _check_points(chosen, runs, held)
        fit = cross_validate(chosen, runs, held.folds, **options)
        _check_refits(chosen, fit)
    except FitError as error:
        return str(error)
    return fit


def _choose(
    laws: str | Sequence[str | Law], runs: Sequence[Run]
) -> tuple[list[Law], dict[str, str]]:
    """The laws to fit; and for ``"all"``, the laws that the runs do not allow, and why."""
    if laws == "all":
        possible, skipped = [], {}
        for law in schedule_laws():
            try:
                _check_facts(law, runs)
                possible.append(law)
            except LawError as error:
                skipped[law.name] = str(error)
        return possible, skipped
    named = [name.strip() for name in laws.split(",")] if isinstance(laws, str) else list(laws)
    chosen = [get_schedule_law(law) if isinstance(law, str) else law for law in named if law]
    if not chosen:
        raise UsageError(f"laws={laws!r} names no law; give names between commas, or 'all'")
    for law in chosen:
        _check_facts(law, runs)
    return list({law.name: law for law in chosen}.values()), {}


def _check_facts(law: Law, runs: Sequence[Run]) -> None:
    for run in runs:
        check_needs(law, run.facts, run.traces, f"run {run.name!r}")


def _check_points(law: Law, runs: Sequence[Run], held: HoldOut) -> None:
    """Raise a FitError unless every fold leaves more points than parameters.

    A law scored on fewer runs than the others could not be ranked among them.
    """
    for fold in held.folds:
        remaining = 0
        for run in runs:
            assert run.weight is not None  # set on construction
            remaining += int(np.sum((run.steps < fold.get(run.name, np.inf)) & (run.weight > 0)))
        if remaining <= len(law.parameters):
            raise FitError(
                f"{law.name} has {len(law.parameters)} parameters and {remaining} points remain "
                f"without {', '.join(sorted(fold))}; it needs more points than parameters"
            )


def _check_refits(law: Law, fit: HeldOutFit) -> None:
    for points in fit.held:
        finite = np.isfinite(points.predicted).all()
        if not (finite and (points.predicted > MIN_RATIO * points.observed).any()):
            raise FitError(f"{law.name}: the refit without {points.run} did not succeed")
