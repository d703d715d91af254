"""Runs prepared for a fit: checked, thinned, scaled and arranged in arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array

from scaling_laws.common import (
    DataWarning,
    FallbackWarning,
    FitError,
    IdentifiabilityWarning,
    LawError,
    UsageError,
    unknown_name,
)
from scaling_laws.data import Run, run_list
from scaling_laws.inference.fitting.design import DesignEvaluator
from scaling_laws.inference.fitting.interpolation import (
    interpolation_nodes,
    interpolation_weights,
)
from scaling_laws.inference.fitting.notes import Note
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.problem import Problem, Solution, SolveRequest
from scaling_laws.inference.fitting.starts import box, draw_starts
from scaling_laws.inference.results.prediction import check_needs
from scaling_laws.models import AtPoints, History, Law

__all__ = ["MAX_POINTS", "Data", "law_for", "prepare"]

Array = NDArray[np.float64]
MAX_POINTS = 4096  # per run in a fit; more are thinned evenly, with a warning
WORTHWHILE = 0.8  # of the points at most may be evaluated if the others are interpolated
WINDOW_NODES = 8  # steps that represent a longer averaging window
UNCONSTRAINED_LIMIT = 60.0  # where bounds are not known in the unit of the logs
LOSS_FLOOR = 1e-6  # lower bound on predicted losses, so that their logs are finite


@dataclass(frozen=True, eq=False)
class Data:
    """Prepared runs.

    Attributes:
        law: the law.
        runs: the runs, thinned and cut.
        unit: the LR by which the fit divides all LRs.
        problem: their points.
        observed: losses of all runs, concatenated: (losses,).
        weight: of each loss in the objective: (losses,).
        run: index of the run of each loss: (losses,).
        fixed: fixed parameters, in the unit of the logs.
        ties: nonlinear parameters that equal another one: (name, target).
        notes: doubts that arose while the runs were prepared.
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
    notes: tuple[Note, ...] = ()

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest unconstrained value of each nonlinear parameter: (nonlinear,)."""
        low, high = box(self.law.nonlinear_parameters)
        if self._logged_unit:
            names = _in_units_of_lr(self.law)
            scaled = np.array(
                [parameter.name in names for parameter in self.law.nonlinear_parameters]
            )
            low = np.where(scaled, -UNCONSTRAINED_LIMIT, low)
            high = np.where(scaled, UNCONSTRAINED_LIMIT, high)
        return low, high

    @property
    def _logged_unit(self) -> bool:
        """Whether the fit uses the LR unit of the logs because a fixed value does."""
        return bool(set(self.fixed) & _in_units_of_lr(self.law))

    def starts(self, count: int, seed: int) -> Array:
        """Start points: (count, nonlinear)."""
        return self._in_unit(draw_starts(self.law.nonlinear_parameters, count, seed))

    def _in_unit(self, unconstrained: Array) -> Array:
        """Unconstrained parameters for a peak LR of 1 -> those in the LR unit of this fit."""
        if not self._logged_unit:
            return unconstrained
        peak = _peak(self.law, self.runs)
        assert self.law.rescale is not None
        rows = []
        for row in unconstrained:
            values = {parameter.name: 1.0 for parameter in self.law.linear_parameters}
            values |= {
                parameter.name: float(parameter.transform.forward(float(number)))
                for parameter, number in zip(self.law.nonlinear_parameters, row, strict=True)
            }
            logged = self.law.rescale(values, peak)
            rows.append(
                [
                    parameter.transform.inverse(float(logged[parameter.name]))
                    for parameter in self.law.nonlinear_parameters
                ]
            )
        return np.array(rows)

    def prior_mean(self, prior: Prior) -> Array:
        """The mean of a prior in the unit of this fit: (nonlinear,)."""
        return np.asarray(self._in_unit(prior.arrays(self.law)[0][None])[0])

    def free_mask(self) -> NDArray[np.bool_]:
        """Whether a nonlinear parameter is searched, i.e. neither fixed nor tied: (nonlinear,)."""
        excluded = set(self.fixed) | {name for name, _ in self.ties}
        return np.asarray(
            [parameter.name not in excluded for parameter in self.law.nonlinear_parameters],
            dtype=bool,
        )

    def requests(
        self,
        starts: Array,
        *,
        weight: Array | None = None,
        prior: Prior | None = None,
        strength: ArrayLike = 0.0,
        shift: Array | None = None,
        free_mask: NDArray[np.bool_] | None = None,
    ) -> SolveRequest:
        """Minimisations on these runs, stacked.

        Args:
            starts: unconstrained parameters, (requests, nonlinear) or (nonlinear,).
            weight: of the losses, (requests, losses) or (losses,); default the runs' own.
            prior: on nonlinear parameters.
            strength: of the prior, in units of the objective: (requests,), or a scalar.
            shift: of the prior's mean, in units of its sd: (requests, nonlinear).
            free_mask: which nonlinear parameters are searched; default all that are neither fixed
                nor tied.
        """
        weight = self.weight if weight is None else weight
        count = max(len(row) if row.ndim == 2 else 1 for row in (starts, weight))

        def rows(values: ArrayLike) -> Array:
            array = np.asarray(values)
            return np.array(np.broadcast_to(array, (count, array.shape[-1])))

        parameters = self.law.nonlinear_parameters
        mean, precision = np.zeros(len(parameters)), np.zeros(len(parameters))
        searched = self.free_mask() if free_mask is None else free_mask
        factor = np.asarray(strength, np.float64)[..., None]
        if prior is not None:
            mean, precision = self.prior_mean(prior), factor * prior.arrays(self.law)[1] * searched
            if shift is not None:
                safe = np.where(precision > 0, precision, 1.0)
                mean = mean + shift * np.where(precision > 0, np.sqrt(factor / safe), 0.0)
        start = rows(starts)
        for index, parameter in enumerate(parameters):
            if parameter.name in self.fixed:
                start[:, index] = parameter.transform.inverse(self.fixed[parameter.name])
        # if a fixed value depends on the unit of the LR, the fit uses the unit of the logs
        fixed = [self.fixed.get(parameter.name, np.nan) for parameter in self.law.linear_parameters]
        return SolveRequest(
            start=start,
            free_mask=rows(searched),
            prior_mean=rows(mean),
            prior_precision=rows(precision),
            fixed_amplitudes=rows(np.array(fixed, dtype=float)),
            observed=rows(self.observed),
            weight=rows(weight),
        )

    def params(self, solution: Solution) -> dict[str, float]:
        """The parameters of a solution, in the LR unit of the logs."""
        scaled = {
            parameter.name: float(value) + 0.0  # no -0
            for parameter, value in zip(
                self.law.linear_parameters, solution.amplitudes, strict=True
            )
        }
        unconstrained = zip(self.law.nonlinear_parameters, solution.unconstrained, strict=True)
        for parameter, number in unconstrained:
            scaled[parameter.name] = float(parameter.transform.forward(float(number)))
        for name, target in self.ties:
            scaled[name] = scaled[target]
        values = scaled if self.law.rescale is None else self.law.rescale(scaled, self.unit)
        return {name: float(values[name]) for name in self.law.names}

    @cached_property
    def design(self) -> DesignEvaluator:
        """The design matrix of the problem and its derivatives, compiled when first used."""
        return DesignEvaluator(self.law, self.problem, self.ties)

    def predict(self, solutions: Sequence[Solution]) -> Array:
        """Predictions of all logged losses: (solutions, losses)."""
        columns = self.design.columns(np.stack([solution.unconstrained for solution in solutions]))
        amplitudes = np.stack([solution.amplitudes for solution in solutions])
        return np.asarray(np.maximum(np.matmul(amplitudes[:, None], columns)[:, 0], LOSS_FLOOR))


def law_for(law: Law, runs: Sequence[Run]) -> tuple[Law, tuple[Note, ...]]:
    """The law, or its fallback with a note if a run lacks a required fact."""
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
        f"{law.name} needs {need}, which run {name!r} lacks: {law.fallback.name} was fitted "
        f"instead, with one {need} for all runs as a parameter; pass --{need.replace('_', '-')} or "
        "add it to dataset.toml for a better fit"
    )
    return law.fallback, (Note(note, FallbackWarning),)


def prepare(
    law: Law,
    runs: Iterable[Run] | Mapping[str, Run],
    *,
    from_step: int | str = 0,
    weights: Mapping[str, float] | None = None,
    fix: Mapping[str, float] | None = None,
    tie: Mapping[str, str] | None = None,
) -> Data:
    """Check runs and arrange them in arrays for a solver.

    Raises:
        UsageError: if there are no runs, names repeat, `from_step` leaves a run empty, or a weight
            is invalid.
        LawError: if the runs lack a required fact, or a fixed or tied parameter is invalid.
        FitError: if there are too few points.
    """
    all_runs = run_list(runs)
    if not all_runs:
        raise UsageError("a fit needs at least one run")
    names = [run.name for run in all_runs]
    for name, factor in (weights or {}).items():
        if name not in names:
            raise UsageError(unknown_name("run", name, names), value=name)
        if not (np.isfinite(factor) and factor >= 0):
            raise UsageError(f"weight {factor!r} of run {name!r} must be finite and >= 0")
    notes: list[Note] = []
    prepared = tuple(_cut(law, run, from_step, notes) for run in all_runs)
    sizes = {run.facts.get("model_params") for run in prepared}
    if law.uses_model_params and len(sizes) == 1:
        message = (
            f"all runs have model_params={sizes.pop():g}: the terms of {law.name} in the model "
            "size are not identified; its parameters are valid for this size only"
        )
        notes.append(Note(message, IdentifiabilityWarning))
    fixed, ties = _fixed_and_tied(law, fix or {}, tie or {})
    if all(run.schedule.peak_lr == 0 for run in prepared):
        raise FitError("every learning rate is 0, so there is nothing to fit")
    logged = bool(set(fixed) & _in_units_of_lr(law))
    unit = 1.0 if law.rescale is None or logged else _peak(law, prepared)
    histories, indices, window_weights = zip(
        *(_points(law, run, unit) for run in prepared), strict=True
    )
    weight = np.concatenate(
        [np.asarray(run.weight) * (weights or {}).get(run.name, 1.0) for run in prepared]
    )
    count = int(np.sum(weight > 0))
    if count <= len(law.parameters) - len(fixed) - len(ties):
        raise FitError(
            f"{law.name} has {len(law.parameters)} parameters and the runs have {count} points; "
            "it needs more points than parameters"
        )
    return Data(
        law,
        prepared,
        unit,
        Problem.of(histories, indices, window_weights),
        np.concatenate([run.loss for run in prepared]),
        weight,
        np.repeat(np.arange(len(prepared)), [len(run.loss) for run in prepared]),
        fixed,
        ties,
        tuple(notes),
    )


def _cut(law: Law, run: Run, from_step: int | str, notes: list[Note]) -> Run:
    check_needs(law, run.facts, run.traces, f"run {run.name!r}")
    used = run.from_step(from_step)
    if len(used.loss) > MAX_POINTS:
        stride = -(-len(used.loss) // MAX_POINTS)
        indices = np.arange(len(used.loss) - 1, -1, -stride)[::-1]  # the last point is kept
        message = f"{len(used.loss)} points thinned to {len(indices)}, every {stride}th"
        notes.append(Note(f"run {run.name!r}: {message}", DataWarning))
        used = used.at(indices)
    return used


def _fixed_and_tied(
    law: Law, fix: Mapping[str, float], tie: Mapping[str, str]
) -> tuple[dict[str, float], tuple[tuple[str, str], ...]]:
    by_name = {parameter.name: parameter for parameter in law.parameters}
    nonlinear = [parameter.name for parameter in law.nonlinear_parameters]
    for name, value in fix.items():
        if name not in by_name:
            raise LawError(f"{law.name}: {unknown_name('parameter', name, by_name)}", value=name)
        if not (by_name[name].support.contains(value) or (name not in nonlinear and value == 0)):
            raise LawError(
                f"{law.name}: {name}={value!r} must be {by_name[name].support.value} to be fixed"
            )
    for name, target in tie.items():
        for tied in (name, target):
            if tied not in nonlinear:
                raise LawError(
                    f"{law.name}: {tied!r} cannot be tied; the nonlinear parameters are "
                    f"{', '.join(nonlinear) or 'none'}"
                )
        if name == target or name in fix or target in tie:
            raise LawError(
                f"{law.name}: cannot tie {name} to {target}: {_why_not_tied(name, target, fix)}"
            )
        if by_name[name].support is not by_name[target].support:
            raise LawError(
                f"{law.name}: {name} and {target} have different supports and cannot be tied"
            )
    return {name: float(value) for name, value in fix.items()}, tuple(sorted(tie.items()))


def _why_not_tied(name: str, target: str, fix: Mapping[str, float]) -> str:
    if name == target:
        return "they are the same parameter"
    return f"{name} is fixed" if name in fix else f"{target} is itself tied"


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
    """The points of a run at which the law is evaluated.

    Returns:
        Their history; and per loss, indices and weights of the points whose losses it combines, an
        average over a window and an interpolation: (losses, points of a loss) each.
    """
    nodes = min(run.window, WINDOW_NODES)
    back = run.window * (np.arange(nodes) + 0.5) / nodes  # midpoints of equal parts
    averaged_steps = run.steps[:, None] - np.floor(back).astype(np.int64)[None, :]
    points, index = np.unique(np.maximum(averaged_steps, 0), return_inverse=True)
    index = index.reshape(averaged_steps.shape)
    weights = np.full(index.shape, 1.0 / nodes)
    if not law.required_traces:  # a logged trace may be as rough as it likes
        breaks = tuple(
            int(run.facts[fact]) for fact in sorted(law.break_facts) if fact in run.facts
        )
        evaluated = interpolation_nodes(run.schedule.lr, points, breaks)
        if len(evaluated) <= WORTHWHILE * len(points):
            index, weights = _combined(index, weights, *interpolation_weights(points, evaluated))
            points = points[evaluated]
    history = law.history(
        AtPoints(points), run.schedule.lr / unit, facts=run.facts, traces=run.traces
    )
    return history, index, weights


def _combined(
    index: NDArray[np.int64], weights: Array, stencil: NDArray[np.int64], stencil_weights: Array
) -> tuple[NDArray[np.int64], Array]:
    """An average of points that are themselves interpolated: (losses, points of a loss) each."""
    losses = np.repeat(np.arange(len(index)), index.shape[1] * stencil.shape[1])
    table = coo_array(
        (
            (weights[:, :, None] * stencil_weights[index]).ravel(),
            (losses, stencil[index].ravel()),
        )
    ).tocsr()  # sums what refers to the same point
    depth = int(np.diff(table.indptr).max())
    combined = np.zeros((len(index), depth), dtype=np.int64)
    combined_weights = np.zeros((len(index), depth))
    row = np.repeat(np.arange(len(index)), np.diff(table.indptr))
    column = np.arange(table.nnz) - table.indptr[row]
    combined[row, column] = table.indices
    combined_weights[row, column] = table.data
    return combined, combined_weights
