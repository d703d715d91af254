"""Ways to hold out runs: one at a time, by peak LR, by length, every end, or all but some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaling_laws.common import UsageError, unknown_name
from scaling_laws.data import Run

__all__ = ["DEFAULT_LAST", "HOLD_OUTS", "HoldOut", "hold_out_of", "same_peak"]

HOLD_OUTS = ("run", "peak", "horizon", "last", "rest")
DEFAULT_LAST = 0.2
MAX_FOLDS = 40  # more runs are held out in groups
SAME_PEAK = 1.01  # peak LRs with a ratio up to this count as equal

Fold = Mapping[str, int]


@dataclass(frozen=True, eq=False)
class HoldOut:
    """Which points each refit omits.

    Attributes:
        name: one of `HOLD_OUTS`.
        folds: per refit, a run's name -> the step from which its points are held out; 0 for all of
            them.
        by_fold: whether the runs of a fold are resampled together.
        description: in words.
    """

    name: str
    folds: tuple[Fold, ...]
    by_fold: bool
    description: str


def hold_out_of(
    runs: Sequence[Run], name: str, last: float = DEFAULT_LAST, fit_runs: Sequence[str] = ()
) -> HoldOut:
    """The folds of a hold-out.

    Args:
        runs: the runs, cut to the points that a fit would use.
        name: one of `HOLD_OUTS`.
        last: share of each run's logged steps that ``"last"`` holds out.
        fit_runs: the runs that ``"rest"`` does not hold out.

    Raises:
        UsageError: if the runs do not allow it; the message lists the hold-outs that they allow.
    """
    if name not in HOLD_OUTS:
        raise UsageError(unknown_name("hold-out", name, HOLD_OUTS), value=name)
    if not 0.0 < last < 1.0:
        raise UsageError(f"last={last!r} must be a share between 0 and 1")
    if not runs:
        raise UsageError("no runs to compare laws on")
    if name == "rest":
        return _rest(runs, fit_runs)
    obstacles = _obstacles(runs, last)
    if name in obstacles:
        possible = [other for other in HOLD_OUTS if other not in obstacles and other != "rest"]
        hint = f"these runs allow: {', '.join(possible)}" if possible else "they allow no other"
        raise UsageError(f"hold-out {name!r} {obstacles[name]}; {hint}", value=name)
    return {"run": _by_run, "peak": _by_peak, "horizon": _by_horizon, "last": _by_last}[name](
        runs, last
    )


def _obstacles(runs: Sequence[Run], last: float) -> dict[str, str]:
    """Why these runs do not allow some hold-outs, by the name of the hold-out."""
    obstacles = {}
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    if len(runs) == 1:
        obstacles["run"] = f"needs at least two runs, and there is only {runs[0].name!r}"
    peaks = _peaks(runs)
    if len(peaks) == 1:
        peak = peaks[0][0].schedule.peak_lr
        obstacles["peak"] = (
            f"needs runs of at least two peak LRs; {count} here, all of peak {peak:g}"
        )
    lengths = sorted({run.schedule.steps for run in runs})
    if len(lengths) == 1:
        obstacles["horizon"] = (
            f"needs runs of at least two lengths; {count} here, all of {lengths[0]} steps"
        )
    for run in runs:
        if not 0 < _tail_length(run, last) < len(run.steps):
            obstacles["last"] = (
                f"needs logged points on both sides of the cut; run {run.name!r} has "
                f"{len(run.steps)}, and a share of {last:g} leaves none to fit"
            )
            break
    return obstacles


def _by_run(runs: Sequence[Run], last: float) -> HoldOut:
    number = min(len(runs), MAX_FOLDS)
    folds = tuple({run.name: 0 for run in runs[first::number]} for first in range(number))
    if number == len(runs):
        return HoldOut("run", folds, False, f"{number} runs, held out one at a time")
    return HoldOut("run", folds, False, f"{len(runs)} runs, held out in {number} groups")


def same_peak(one: float, other: float) -> bool:
    """Whether two peak LRs count as equal."""
    return max(one, other) <= SAME_PEAK * min(one, other)


def _peaks(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs grouped by peak LR, lowest first."""
    groups: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: run.schedule.peak_lr):
        if groups and same_peak(run.schedule.peak_lr, groups[-1][0].schedule.peak_lr):
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups


def _by_peak(runs: Sequence[Run], last: float) -> HoldOut:
    groups = _peaks(runs)
    peaks = ", ".join(f"{group[0].schedule.peak_lr:g}" for group in groups)
    return HoldOut(
        "peak",
        tuple({run.name: 0 for run in group} for group in groups),
        True,
        f"{len(runs)} runs of {len(groups)} peak LRs ({peaks}), held out one peak at a time",
    )


def _by_horizon(runs: Sequence[Run], last: float) -> HoldOut:
    lengths = sorted({run.schedule.steps for run in runs})
    short = [length for length in lengths if 2 * length <= lengths[-1]]
    limit = short[-1] if short else lengths[0]
    fold = {run.name: 0 for run in runs if run.schedule.steps > limit}
    return HoldOut(
        "horizon",
        (fold,),
        False,
        f"{len(fold)} runs of up to {lengths[-1]} steps, predicted from the "
        f"{len(runs) - len(fold)} of up to {limit}",
    )


def _tail_length(run: Run, last: float) -> int:
    """Number of points in the last share of a run's logged steps, at least one."""
    return max(1, round(last * len(run.steps)))


def _rest(runs: Sequence[Run], fit_runs: Sequence[str]) -> HoldOut:
    names = [run.name for run in runs]
    for name in fit_runs:
        if name not in names:
            raise UsageError(unknown_name("run", name, names), value=name)
    fold = {name: 0 for name in names if name not in fit_runs}
    if not fit_runs or not fold:
        raise UsageError(
            f"hold-out 'rest' needs runs to fit and others to predict; fit_runs names "
            f"{len(set(fit_runs))} of {len(names)}"
        )
    return HoldOut("rest", (fold,), False, f"{len(fold)} runs, predicted from {_listed(fit_runs)}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _by_last(runs: Sequence[Run], last: float) -> HoldOut:
    fold = {run.name: int(run.steps[-_tail_length(run, last)]) for run in runs}
    return HoldOut(
        "last",
        (fold,),
        False,
        f"the last {100 * last:g} % of the logged steps of {len(runs)} "
        f"run{'s' * (len(runs) > 1)}, predicted from what precedes it",
    )
