"""Which law predicts best what it has not seen: every law refitted without some runs or points.

Laws are ranked by their mean error on what was held out, `pred_e`. A rank says little where few
runs were held out, so each law is set against the best one run by run: where the interval of the
mean difference holds zero, these runs cannot tell the two apart.

AIC and BIC come from the fit to all runs: n·log(mean squared log error) + 2·k and
n·log(mean squared log error) + k·log(n) for k parameters. n is the number of points that count as
independent, ten a run, because residuals within a run move together. Both say how well a law fits,
not how well it predicts, and neither knows of the prior that a law with many parameters leans on.

Known limits. Runs with the same schedule up to a step (branches of one trunk, or one seed) may
share the losses logged up to there, and these are then not unseen; final errors are. Where one fold
holds out all runs (`horizon`, `last`), intervals say how the runs differ under that one refit, not
how refits differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scaling_laws.common import FitError, LawError, PoolOptions, UsageError, collect, start_pool
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
NO_LOSS = 1e-3  # of the observed loss: a refit that failed predicts less


def compare(
    runs: Iterable[Run] | Mapping[str, Run],
    laws: str | Sequence[str | Law] = "all",
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
    """Fit laws without some runs or points at a time, and rank them by how they predict those.

    Args:
        runs: the runs, or a mapping to them; their order does not matter.
        laws: laws or their names, or text with names between commas; ``"all"`` for every law of
            schedules that the runs have the facts and traces for.
        hold_out: ``"run"``: one run at a time (of more than 40, a few at a time); ``"peak"``: all
            runs of one peak LR at a time; ``"horizon"``: fit the short runs, predict the long
            ones; ``"last"``: fit the beginning of every run, predict its end; ``"rest"``: fit
            `fit_runs`, predict the others.
        last: share of each run's logged steps that ``"last"`` holds out.
        fit_runs: names of the runs that ``"rest"`` fits.
        starts: starts of each fit to all runs.
        seed: of the starts, and of the resamples behind intervals.
        from_step: leave out points before this step, or before ``"warmup"`` ends.
        prior: on shape parameters: ``"weak"`` for the shipped one, ``"none"``.
        objective: what residuals cost, as in `fit`.
        backend: where laws are fitted: ``"local"``, ``"joblib"``, ``"dask"``, or options of these.
            A law and all its folds are one piece of work, because what a process needs first is
            to compile the law. The numbers are the same everywhere.

    Returns:
        The laws, ranked, with the difference of each to the best. Errors of losses in nats.

    Raises:
        UsageError: if the runs do not allow the hold-out (which ones they allow is said), names
            repeat, `from_step` leaves a run empty, an option makes no sense, or processes cannot
            be had.
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
        found = collect(pool, _fit_law, pieces, "laws")
    fits: dict[str, HeldOutFit] = {}
    failed: dict[str, str] = {}
    for law, each in zip(chosen, found, strict=True):
        if isinstance(each, HeldOutFit):
            fits[law.name] = each
        else:
            failed[law.name] = each
    if not fits:
        raise FitError("no law could be fitted: " + "; ".join(failed.values()))
    scores, interval, units = score(fits, held, seed)
    return Comparison(held, scores, skipped, failed, interval, units, seed, repeats_of(kept))


def _in_order(runs: Iterable[Run] | Mapping[str, Run], from_step: int | str) -> list[Run]:
    """The runs without their first points, by name: folds do not follow the order given."""
    values = sorted(run_list(runs), key=lambda run: run.name)
    return [run.from_step(from_step) for run in values]


def _fit_law(
    law: Law | str | SerializedLaw,
    runs: Sequence[Run],
    held: HoldOut,
    options: Mapping[str, Any],
) -> HeldOutFit | str:
    """One piece of work: a law and all its folds; or why it could not be fitted."""
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
    """The laws to fit; and if all were asked for, which of them cannot be, and why."""
    if laws == "all":
        chosen, skipped = [], {}
        for law in schedule_laws():
            try:
                _check_facts(law, runs)
                chosen.append(law)
            except LawError as error:
                skipped[law.name] = str(error)
        return chosen, skipped
    named = [each.strip() for each in laws.split(",")] if isinstance(laws, str) else list(laws)
    found = [get_schedule_law(each) if isinstance(each, str) else each for each in named if each]
    if not found:
        raise UsageError(f"laws={laws!r} names no law; give names between commas, or 'all'")
    for law in found:
        _check_facts(law, runs)
    return list({law.name: law for law in found}.values()), {}


def _check_facts(law: Law, runs: Sequence[Run]) -> None:
    for run in runs:
        check_needs(law, run.facts, run.traces, f"run {run.name!r}")


def _check_points(law: Law, runs: Sequence[Run], held: HoldOut) -> None:
    """Raise a FitError unless every fold leaves more points than parameters.

    A law that is judged on fewer runs than the others has no rank among them.
    """
    for fold in held.folds:
        left = 0
        for run in runs:
            assert run.weight is not None  # set on construction
            left += int(np.sum((run.steps < fold.get(run.name, np.inf)) & (run.weight > 0)))
        if left <= len(law.parameters):
            raise FitError(
                f"{law.name} has {len(law.parameters)} parameters and {left} points are left "
                f"without {', '.join(sorted(fold))}; it needs more points than parameters"
            )


def _check_refits(law: Law, fit: HeldOutFit) -> None:
    for each in fit.held:
        fine = np.isfinite(each.predicted).all()
        if not (fine and (each.predicted > NO_LOSS * each.observed).any()):
            raise FitError(f"{law.name}: the refit without {each.run} did not succeed")
