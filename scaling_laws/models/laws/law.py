"""What a law is: named parameters and a pure function, of a schedule's history or of numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import jax.numpy as jnp

from scaling_laws.common import LawError
from scaling_laws.models.laws.prior import InProgressCalibration, Prior, PriorFromRuns
from scaling_laws.models.numerics.clocks import Clock, SummedLR
from scaling_laws.models.numerics.discretisations.discretisation import Discretisation, RunInputs
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter

__all__ = ["AnyLaw", "Input", "Law", "PointLaw"]

Array = Any
Values = Mapping[str, Array]
DerivedTrace = Callable[[Array, Mapping[str, Array]], Array]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AnyLaw:
    """What every law states.

    Attributes:
        name: registry key and file name.
        formula: the equation, in one line.
        citation: paper and equation.
        conventions: what a reader of a law file must know to use the numbers elsewhere.
        parameters: all parameters, in the order used everywhere.
        published: parameter values from the literature, or of our own law from fits to public
            curves, by a label such as ``25M``; the law's file names the data they were fitted to.
    """

    name: str
    formula: str
    citation: str
    conventions: str
    parameters: tuple[Parameter, ...]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def module(self) -> ModuleType:
        """The module that contains the formula; its docstring explains what the law is for."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Law(AnyLaw):
    """A loss law of the schedule that is linear in some of its parameters.

        loss(point) = Σ_j linear_j · column_j(nonlinear parameters, history)

    A fit solves the linear parameters exactly for every trial of the nonlinear ones (variable
    projection), so a law lists them separately.

    Attributes:
        parameters: the linear, then the nonlinear parameters; set from these.
        linear_parameters: parameters that enter linearly, in the order of the columns of the
            design matrix; >= 0 unless their support is every real number.
        nonlinear_parameters: the other parameters.
        design_matrix: (nonlinear values, history) -> (points, linear parameters); pure JAX.
        rescale: (all values, c) -> values that give the same losses when every LR is c times
            as large; None if no values do: the law then depends on the unit of the LR.
        clock: what drives the law, and with it whether its histories contain events or a grid.
        required_facts: metadata of a run that the law requires, such as model_params.
        required_traces: quantities logged along a run that the law requires.
        derived_traces: further quantities per step that the law derives from the schedule and the
            facts alone, by name: (lr (steps,), facts) -> (steps,); pure JAX. A history contains
            them as traces.
        break_facts: required facts that are steps at which the past changes its meaning, such as
            the start of another corpus; events are not gathered across them.
        memory: nonlinear parameters that only an abrupt change of the LR identifies.
        prior: prior on nonlinear parameters, from other runs; those it does not name have one in
            their start range.
        prior_from_runs: (law, prior, runs) -> the prior, centred by what runs have logged.
        in_progress: how forecasts of unfinished runs by this law are calibrated; None if they
            have not been tested.
        fallback: the law for runs that lack a required fact.
    """

    parameters: tuple[Parameter, ...] = field(init=False)
    linear_parameters: tuple[Parameter, ...]
    nonlinear_parameters: tuple[Parameter, ...]
    design_matrix: Callable[[Values, History], Array]
    rescale: Callable[[Values, Any], dict[str, Array]] | None
    clock: Clock = field(default_factory=SummedLR)
    required_facts: frozenset[str] = field(default_factory=frozenset)
    required_traces: frozenset[str] = field(default_factory=frozenset)
    derived_traces: Mapping[str, DerivedTrace] = field(default_factory=dict)
    break_facts: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    prior: Prior | None = None
    prior_from_runs: PriorFromRuns | None = None
    in_progress: InProgressCalibration | None = None
    fallback: Law | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "parameters", (*self.linear_parameters, *self.nonlinear_parameters)
        )

    @property
    def module(self) -> ModuleType:
        """The module of the design matrix."""
        return sys.modules[self.design_matrix.__module__]

    @property
    def uses_weight_decay(self) -> bool:
        """Whether the loss depends on the weight decay of the run."""
        return "weight_decay" in self.required_facts

    @property
    def uses_model_params(self) -> bool:
        """Whether the loss depends on the number of parameters of the model."""
        return "model_params" in self.required_facts

    @property
    def accepts_cells(self) -> bool:
        """Whether the steps of a run may be gathered to cells or segments.

        That is so if the law reads nothing but the LR, and the weight decay, per step.
        """
        return not self.derived_traces and not self.required_traces and self.clock.reads_only_lr

    def break_steps(self, facts: Mapping[str, Any]) -> list[Any]:
        """Steps that events must not be gathered across; may be traced."""
        return [facts[name] for name in self.break_facts]

    def loss(self, values: Values, history: History) -> Array:
        """Loss in nats at every point of a history.

        Args:
            values: all parameters by name.
            history: N blocks of Q points.

        Returns:
            Losses of shape (N·Q,).
        """
        linear = jnp.stack(
            [jnp.asarray(values[parameter.name]) for parameter in self.linear_parameters]
        )
        return self.design_matrix(values, history) @ linear

    def history(
        self,
        discretisation: Discretisation,
        lr: Array,
        *,
        facts: Mapping[str, Any] | None = None,
        traces: Mapping[str, Array] | None = None,
    ) -> History:
        """What this law reads of a run, for `loss`.

        Args:
            discretisation: how the run is sampled: `EVERY_STEP` or `EveryStep` (all losses of a
                schedule), `AtPoints` (the logged ones), `FINAL` (the last one, traceable),
                `FinalOnCells` or `FinalOnSegments` (the last one, approximately).
            lr: learning rate, sampled as the discretisation takes it: of every step, (steps,); the
                mean of each cell, (cells,); or `SampledSegments.lr`, (2, cells).
            facts: metadata of the run; what the law does not require is ignored, so that histories
                of runs that differ in it can be stacked.
            traces: logged quantities, sampled as `lr`. A ``weight_decay`` there is a schedule of
                weight decay and takes precedence over the fact.

        Returns:
            The history.
        """
        used = {name: value for name, value in (facts or {}).items() if name in self.required_facts}
        run = RunInputs(
            lr=lr,
            facts=used,
            derived_traces={
                name: partial(_derive, trace, used) for name, trace in self.derived_traces.items()
            },
            break_steps=self.break_steps(used),
        )
        return self.clock.history(discretisation, run, traces or {})


def _derive(trace: DerivedTrace, facts: Mapping[str, Any], lr: Array) -> Array:
    return trace(lr, facts)


@dataclass(frozen=True)
class Input:
    """A number that a point law is evaluated at: a column of a table.

    Attributes:
        name: of the column; a name that ends in ``*`` is a wildcard for one column per item, such
            as ``share_*`` for the shares of the domains of a mixture.
        meaning: in words, with the unit.
        low: smallest value allowed.
        high: largest value allowed.
    """

    name: str
    meaning: str
    low: float = 0.0
    high: float = float("inf")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PointLaw(AnyLaw):
    """A law of single numbers (model size, tokens, shares of a mixture), without a schedule.

    Attributes:
        parameters: a name that ends in ``*`` is a wildcard for one parameter per item.
        inputs: the numbers it is evaluated at.
        value: (parameters, inputs) -> output, for inputs of shape (points,); pure JAX.
        output: name of the output, such as ``loss``.
        unit: of the output.
        huber_delta: of the fit's objective, in log output; None for the default.
    """

    inputs: tuple[Input, ...]
    value: Callable[[Values, Values], Array]
    output: str = "loss"
    unit: str = "nats"
    huber_delta: float | None = None

    @property
    def module(self) -> ModuleType:
        """The module of `value`."""
        return sys.modules[self.value.__module__]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(column.name for column in self.inputs)

    @property
    def has_wildcards(self) -> bool:
        """Whether it must be expanded for its items before use; see `expand`."""
        return any(column.name.endswith("*") for column in self.inputs)

    def expand(self, items: Sequence[str]) -> PointLaw:
        """The same law for given items: each wildcard becomes one name per item.

        Args:
            items: names of the items, such as those of the domains of a mixture.

        Raises:
            LawError: if there is no item.
        """
        if not items:
            wildcards = [name for name in self.input_names if name.endswith("*")]
            raise LawError(f"{self.name} needs columns {' and '.join(wildcards)}, one per item")

        def expanded(records: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(
                replace(record, name=record.name[:-1] + item)
                if record.name.endswith("*")
                else record
                for record in records
                for item in (items if record.name.endswith("*") else [""])
            )

        return replace(self, inputs=expanded(self.inputs), parameters=expanded(self.parameters))

    def expand_for_columns(self, columns: Sequence[str]) -> PointLaw:
        """The same law for the items that columns name; itself without wildcards."""
        return self._expand_matching(columns, self.input_names)

    def expand_for_parameters(self, names: Sequence[str]) -> PointLaw:
        """The same law for the items that parameters name; itself without wildcards."""
        return self._expand_matching(names, self.names)

    def _expand_matching(self, names: Sequence[str], patterns: Sequence[str]) -> PointLaw:
        prefixes = [pattern[:-1] for pattern in patterns if pattern.endswith("*")]
        if not prefixes:
            return self
        first = prefixes[0]
        return self.expand([name[len(first) :] for name in names if name.startswith(first)])
