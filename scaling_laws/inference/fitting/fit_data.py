"""Runs made ready for a fit: checked, thinned, scaled, with the jobs that can be asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import FitError, LawError, UsageError, unknown_name
from scaling_laws.data import Run, run_list
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.problem import Job, Problem, shape_values
from scaling_laws.inference.fitting.starts import box, draw_starts
from scaling_laws.inference.fitting.varpro import Outcome
from scaling_laws.inference.results.prediction import check_needs
from scaling_laws.models import AtPoints, History, Law

__all__ = ["MAX_POINTS", "Data", "law_for", "prepare"]

Array = NDArray[np.float64]
MAX_POINTS = 4096  # points of a run that a fit uses; more are thinned evenly, and that is reported
WINDOW_NODES = 8  # steps that stand for a longer averaging window
CHUNK = 16  # parameter sets evaluated together
FREE_LIMIT = 60.0  # of a free parameter whose bounds are not known in the unit of the logs


@dataclass(frozen=True, eq=False)
class Data:
    """Runs as the solver sees them.

    Attributes:
        law: the law.
        runs: the runs, thinned and cut.
        unit: the LR that counts as 1.
        problem: their points.
        observed: losses, one run after the other: (losses,).
        weight: of each in the objective: (losses,).
        run: index of each one's run: (losses,).
        fixed: parameters given, in the unit of the logs.
        ties: shape parameters that equal another one.
        notes: what a user should know of how the runs were prepared.
    """

    law: Law
    runs: tuple[Run, ...]
    unit: float
    problem: Problem
    observed: Array
    weight: Array
    run: NDArray[np.int64]
    fixed: Mapping[str, float] = field(default_factory=dict)
    ties: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def limits(self) -> tuple[Array, Array]:
        """Lowest and highest free value of each shape parameter."""
        low, high = box(self.law.nonlinear_parameters)
        if self._logged_unit:
            scaled = np.array(
                [each.name in _in_units_of_lr(self.law) for each in self.law.nonlinear_parameters]
            )
            low, high = np.where(scaled, -FREE_LIMIT, low), np.where(scaled, FREE_LIMIT, high)
        return low, high

    @property
    def _logged_unit(self) -> bool:
        """Whether the fit is in the unit of the logs because a given number is."""
        return bool(set(self.fixed) & _in_units_of_lr(self.law))

    def starts(self, count: int, seed: int) -> Array:
        """Start points: (count, shape)."""
        return self._in_unit(draw_starts(self.law.nonlinear_parameters, count, seed))

    def _in_unit(self, free: Array) -> Array:
        """Free parameters for schedules scaled to a peak of 1 -> for those of this fit."""
        if not self._logged_unit:
            return free
        peak = _peak(self.law, self.runs)
        assert self.law.rescale is not None
        rows = []
        for row in free:
            values = {each.name: 1.0 for each in self.law.linear_parameters}
            values |= {
                each.name: float(each.transform.forward(float(number)))
                for each, number in zip(self.law.nonlinear_parameters, row, strict=True)
            }
            logged = self.law.rescale(values, peak)
            rows.append(
                [
                    each.transform.inverse(float(logged[each.name]))
                    for each in self.law.nonlinear_parameters
                ]
            )
        return np.array(rows)

    def prior_centre(self, prior: Prior) -> Array:
        """The centre of a prior in the unit of this fit: (shape,)."""
        return np.asarray(self._in_unit(prior.arrays(self.law)[0][None])[0])

    def moving(self) -> NDArray[np.bool_]:
        """Which shape parameters a fit may move: (shape,)."""
        still = set(self.fixed) | {name for name, _ in self.ties}
        return np.asarray(
            [each.name not in still for each in self.law.nonlinear_parameters], dtype=bool
        )

    def jobs(
        self,
        starts: Array,
        *,
        weight: Array | None = None,
        prior: Prior | None = None,
        strength: ArrayLike = 0.0,
        shift: Array | None = None,
        moving: NDArray[np.bool_] | None = None,
    ) -> Job:
        """Jobs on these runs.

        Args:
            starts: free shape parameters, (jobs, shape) or (shape,).
            weight: of the losses, (jobs, losses) or (losses,); default the runs' own.
            prior: on shape parameters.
            strength: of the prior, in units of the objective: (jobs,) or one for all.
            shift: of the prior's centre, in units of its spread: (jobs, shape).
            moving: which shape parameters move; default all that are not given or tied.
        """
        weight = self.weight if weight is None else weight
        count = max(len(row) if row.ndim == 2 else 1 for row in (starts, weight))

        def rows(values: ArrayLike) -> Array:
            array = np.asarray(values)
            return np.array(np.broadcast_to(array, (count, array.shape[-1])))

        shape = len(self.law.nonlinear_parameters)
        centre, pull = np.zeros(shape), np.zeros(shape)
        moves = self.moving() if moving is None else moving
        strong = np.asarray(strength, np.float64)[..., None]
        if prior is not None:
            centre, pull = self.prior_centre(prior), strong * prior.arrays(self.law)[1] * moves
            if shift is not None:
                safe = np.where(pull > 0, pull, 1.0)
                centre = centre + shift * np.where(pull > 0, np.sqrt(strong / safe), 0.0)
        begin = rows(starts)
        for place, each in enumerate(self.law.nonlinear_parameters):
            if each.name in self.fixed:
                begin[:, place] = each.transform.inverse(self.fixed[each.name])
        # where a given number depends on the unit, the fit is in the unit of the logs
        held = [self.fixed.get(each.name, np.nan) for each in self.law.linear_parameters]
        return Job(
            start=begin,
            moving=rows(moves),
            centre=rows(centre),
            pull=rows(pull),
            held=rows(np.array(held, dtype=float)),
            observed=rows(self.observed),
            weight=rows(weight),
        )

    def params(self, outcome: Outcome) -> dict[str, float]:
        """The parameters of an outcome, for LRs as they are logged."""
        scaled = {
            parameter.name: float(value) + 0.0  # no -0
            for parameter, value in zip(self.law.linear_parameters, outcome.amplitudes, strict=True)
        }
        for parameter, free in zip(self.law.nonlinear_parameters, outcome.free, strict=True):
            scaled[parameter.name] = float(parameter.transform.forward(float(free)))
        for name, other in self.ties:
            scaled[name] = scaled[other]
        values = scaled if self.law.rescale is None else self.law.rescale(scaled, self.unit)
        return {name: float(values[name]) for name in self.law.names}

    def predict(self, outcomes: Sequence[Outcome]) -> Array:
        """Predicted losses at every logged loss: (outcomes, losses)."""
        function = _compiled_losses(self.law, self.ties)
        parts = []
        for first in range(0, len(outcomes), CHUNK):
            part = list(outcomes[first : first + CHUNK])
            filled = part + part[:1] * (CHUNK - len(part))  # one shape, one compilation
            free = np.stack([each.free for each in filled])
            amplitudes = np.stack([each.amplitudes for each in filled])
            parts.append(np.asarray(function(self.problem, free, amplitudes))[: len(part)])
        return np.concatenate(parts)


@cache
def _compiled_losses(law: Law, ties: tuple[tuple[str, str], ...]) -> Any:
    def losses(problem: Problem, free: Any, amplitudes: Any) -> Any:
        def one(free: Any, amplitudes: Any) -> Any:
            return problem.design_matrix(law, shape_values(law, free, ties)) @ amplitudes

        return jnp.maximum(jax.vmap(one)(free, amplitudes), 1e-6)

    return jax.jit(losses)


def law_for(law: Law, runs: Sequence[Run]) -> tuple[Law, tuple[str, ...]]:
    """The law, or its fallback where some run lacks a fact that the law needs; and a note on it."""
    missing = [
        (need, run.name)
        for run in runs
        for need in sorted(law.required_facts)
        if need not in run.facts and need not in run.traces
    ]
    if law.fallback is None or not missing:
        return law, ()
    need, name = missing[0]
    note = (
        f"{law.name} needs {need}, which run {name!r} does not give: {law.fallback.name} was "
        f"fitted, with one {need} for all runs as a parameter; pass --{need.replace('_', '-')} or "
        "add it to dataset.toml for a better law"
    )
    return law.fallback, (note,)


def prepare(
    law: Law,
    runs: Iterable[Run] | Mapping[str, Run],
    *,
    from_step: int | str = 0,
    weights: Mapping[str, float] | None = None,
    fix: Mapping[str, float] | None = None,
    tie: Mapping[str, str] | None = None,
) -> Data:
    """Check runs and lay them out for the solver.

    Raises:
        UsageError: if there are no runs, names repeat, `from_step` leaves a run empty, or weights
            or given parameters make no sense.
        LawError: if the law needs a fact that the runs lack, or has no such parameter.
        FitError: if there are too few points.
    """
    values = run_list(runs)
    if not values:
        raise UsageError("a fit needs at least one run")
    names = [run.name for run in values]
    for name, share in (weights or {}).items():
        if name not in names:
            raise UsageError(unknown_name("run", name, names))
        if not (np.isfinite(share) and share >= 0):
            raise UsageError(f"weight {share!r} of run {name!r} must be finite and >= 0")
    notes: list[str] = []
    kept = tuple(_cut(law, run, from_step, notes) for run in values)
    sizes = {run.facts.get("model_params") for run in kept}
    if law.uses_model_params and len(sizes) == 1:
        notes.append(
            f"all runs have model_params={sizes.pop():g}: {law.name} cannot tell its terms in the "
            "model size from the others; its parameters serve this size only"
        )
    fixed, ties = _given(law, fix or {}, tie or {})
    if all(run.schedule.peak_lr == 0 for run in kept):
        raise FitError("every learning rate is 0; nothing to fit")
    logged = bool(set(fixed) & _in_units_of_lr(law))
    unit = 1.0 if law.rescale is None or logged else _peak(law, kept)
    histories, places, shares = zip(*(_points(law, run, unit) for run in kept), strict=True)
    weight = np.concatenate(
        [np.asarray(run.weight) * (weights or {}).get(run.name, 1.0) for run in kept]
    )
    count = int(np.sum(weight > 0))
    if count <= len(law.parameters) - len(fixed) - len(ties):
        raise FitError(
            f"{law.name} has {len(law.parameters)} parameters and the runs have {count} points; "
            "it needs more points than parameters"
        )
    return Data(
        law,
        kept,
        unit,
        Problem.of(histories, places, shares),
        np.concatenate([run.loss for run in kept]),
        weight,
        np.repeat(np.arange(len(kept)), [len(run.loss) for run in kept]),
        fixed,
        ties,
        tuple(notes),
    )


def _cut(law: Law, run: Run, from_step: int | str, notes: list[str]) -> Run:
    check_needs(law, run.facts, run.traces, f"run {run.name!r}")
    kept = run.from_step(from_step)
    if len(kept.loss) > MAX_POINTS:
        stride = -(-len(kept.loss) // MAX_POINTS)
        place = np.arange(len(kept.loss) - 1, -1, -stride)[::-1]  # the last point is kept
        notes.append(
            f"run {run.name!r}: {len(kept.loss)} points thinned to {len(place)}, every {stride}th"
        )
        kept = kept.at(place)
    return kept


def _given(
    law: Law, fix: Mapping[str, float], tie: Mapping[str, str]
) -> tuple[dict[str, float], tuple[tuple[str, str], ...]]:
    by_name = {each.name: each for each in law.parameters}
    shape = [each.name for each in law.nonlinear_parameters]
    for name, value in fix.items():
        if name not in by_name:
            raise LawError(f"{law.name}: {unknown_name('parameter', name, by_name)}")
        if not (by_name[name].support.contains(value) or (name not in shape and value == 0)):
            raise LawError(
                f"{law.name}: {name}={value!r} must be {by_name[name].support.value} to be fixed"
            )
    for name, other in tie.items():
        for each in (name, other):
            if each not in shape:
                raise LawError(
                    f"{law.name}: {each!r} cannot be tied; its shape parameters are "
                    f"{', '.join(shape) or 'none'}"
                )
        if name == other or name in fix or other in tie:
            raise LawError(f"{law.name}: {name}={other}: tie to another, free parameter")
        if by_name[name].support is not by_name[other].support:
            raise LawError(f"{law.name}: {name} and {other} do not live on the same numbers")
    return {name: float(value) for name, value in fix.items()}, tuple(sorted(tie.items()))


def _in_units_of_lr(law: Law) -> set[str]:
    """Parameters whose value depends on the unit of the LR."""
    if law.rescale is None:
        return set()
    probe = {name: 0.7 for name in law.names}
    changed = law.rescale(probe, 2.0)
    return {name for name in law.names if float(changed[name]) != 0.7}


def _peak(law: Law, runs: Sequence[Run]) -> float:
    """The highest driving rate of all runs."""
    return max(float(np.max(law.clock.driving_rate(run.schedule.lr, run.traces))) for run in runs)


def _points(law: Law, run: Run, unit: float) -> tuple[History, NDArray[np.int64], Array]:
    """The points of a run, and which of them each logged loss averages with what share."""
    nodes = min(run.window, WINDOW_NODES)
    back = run.window * (np.arange(nodes) + 0.5) / nodes  # the middles of equal parts
    wanted = run.steps[:, None] - np.floor(back).astype(np.int64)[None, :]
    points, place = np.unique(np.maximum(wanted, 0), return_inverse=True)
    history = law.history(
        AtPoints(points), run.schedule.lr / unit, facts=run.facts, traces=run.traces
    )
    return history, place.reshape(wanted.shape), np.full(wanted.shape, 1.0 / nodes)
