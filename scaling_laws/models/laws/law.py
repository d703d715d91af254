"""What a law is: named parameters and a pure function, of a schedule's history or of numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.models.numerics import history as histories
from scaling_laws.models.numerics.cells import Cells, last_of_cells, stretches_of_cells
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.quadratic_cells import padded, single_steps, stretches_of
from scaling_laws.models.numerics.segments import Walk, last_of_pieces, pairs_of
from scaling_laws.models.parameters import Parameter

__all__ = ["AnyLaw", "Input", "Law", "PointLaw"]

Array = Any
Values = Mapping[str, Array]
Rates = NDArray[np.float64]
Feature = Callable[[Array, Mapping[str, Array]], Array]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AnyLaw:
    """What every law says of itself.

    Attributes:
        name: registry key and file name.
        formula: the equation, in one line.
        citation: paper and equation.
        conventions: what a reader of a law file must know to use the numbers elsewhere.
        published: parameter values from the literature, or of our own law from fits to public
            curves, by a label such as ``25M``; what they were fitted to stands in the law's file.
    """

    name: str
    formula: str
    citation: str
    conventions: str
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, in the order used everywhere."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def module(self) -> ModuleType:
        """The module that the formula is written in; its docstring says what the law is for."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Law(AnyLaw):
    """A loss law of the schedule that is linear in its amplitudes.

        loss(point) = Σ_j amplitude_j · term_j(shape parameters, history)

    A fit solves the amplitudes exactly for every trial of the shape parameters (variable
    projection), so a law names them apart.

    Attributes:
        linear_parameters: parameters that enter linearly, in the order of the columns of the
            design matrix; >= 0 unless their support is every real number.
        nonlinear_parameters: the other parameters.
        design_matrix: (shape values, history) -> (points, amplitudes); pure JAX.
        rescale: (all values, c) -> values that give the same losses when every LR is c times
            as large; None if no values do: the law then depends on the unit of the LR.
        required_facts: facts of a run it cannot do without, such as model_params.
        required_traces: quantities logged along a run that it cannot do without.
        rate: (lr, traces) -> the rate that drives the law, where that is not the LR; in
            proportion to the LR.
        derived_traces: further quantities per step that a law derives from the schedule and the
            facts alone, by name: (lr (steps,), facts) -> (steps,); pure JAX. A history holds them
            as traces.
        noise: whether the terms use the noise events of a history.
        own_clock: whether its clock depends on its parameters; its histories then hold stretches
            of steps, with the weight decay if it needs that (1 otherwise) and the parameter norm
            if it needs that.
        memory: shape parameters that only an abrupt change of the LR shows.
        fallback: the law for runs that lack a fact it needs.
    """

    linear_parameters: tuple[Parameter, ...]
    nonlinear_parameters: tuple[Parameter, ...]
    design_matrix: Callable[[Values, History], Array]
    rescale: Callable[[Values, Any], dict[str, Array]] | None
    required_facts: frozenset[str] = field(default_factory=frozenset)
    required_traces: frozenset[str] = field(default_factory=frozenset)
    rate: Callable[[Array, Mapping[str, Array]], Array] | None = None
    derived_traces: Mapping[str, Feature] = field(default_factory=dict)
    noise: bool = False
    own_clock: bool = False
    memory: tuple[str, ...] = ()
    fallback: Law | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Amplitudes, then shape parameters."""
        return (*self.linear_parameters, *self.nonlinear_parameters)

    @property
    def module(self) -> ModuleType:
        """The module of `terms`."""
        return sys.modules[self.design_matrix.__module__]

    def loss(self, values: Values, history: History) -> Array:
        """Loss in nats at every point of a history.

        Args:
            values: all parameters by name.
            history: N blocks of Q points.

        Returns:
            Losses of shape (N·Q,).
        """
        amplitudes = jnp.stack(
            [jnp.asarray(values[parameter.name]) for parameter in self.linear_parameters]
        )
        return self.design_matrix(values, history) @ amplitudes

    def driving_rate(self, lr: Array, traces: Mapping[str, Array] | None = None) -> Array:
        """The rate that the law's clock sums: (steps,) -> (steps,)."""
        return lr if self.rate is None else self.rate(lr, traces or {})

    def _used(self, facts: Mapping[str, Any] | None) -> dict[str, Any]:
        """The facts it uses: histories of runs that differ in the others can be stacked."""
        return {name: value for name, value in (facts or {}).items() if name in self.required_facts}

    def _decay_and_norm(
        self, lr: Array, facts: Mapping[str, Any], traces: Mapping[str, Array] | None
    ) -> tuple[Array, Array | None]:
        """LR times weight decay, and the parameter norm if it needs that: (steps,) each."""
        logged = traces or {}
        decay = 1.0
        if "weight_decay" in self.required_facts:  # a trace of it is a schedule of weight decay
            decay = logged["weight_decay"] if "weight_decay" in logged else facts["weight_decay"]
        return lr * decay, logged["param_norm"] if "param_norm" in self.required_traces else None

    def _features(self, lr: Rates, facts: Mapping[str, float]) -> dict[str, Rates]:
        size = histories.bucket(len(lr))  # few lengths, few compilations
        padded = np.concatenate([lr, np.zeros(size - len(lr))])
        return {
            name: np.asarray(feature(padded, facts))[: len(lr)]
            for name, feature in self.derived_traces.items()
        }

    def every_step(
        self,
        lr: Rates,
        *,
        steps: int | None = None,
        facts: Mapping[str, float] | None = None,
        traces: Mapping[str, Rates] | None = None,
        block: int = histories.BLOCK,
    ) -> History:
        """The history of all steps that this law needs; see `numerics.history.every_step`."""
        used = self._used(facts)
        history = histories.every_step(
            np.asarray(self.driving_rate(lr, traces)),
            steps=steps,
            facts=used,
            traces=self._features(lr, used),
            noise=self.noise,
            block=block,
        )
        if not self.own_clock:
            return history
        steps_of = single_steps(lr, *self._decay_and_norm(lr, used, traces))
        own = jax.tree.map(np.asarray, steps_of)
        return replace(history, stretches=padded(own, history.changes.step.size))

    def chosen_steps(
        self,
        lr: Rates,
        points: NDArray[np.int64],
        *,
        facts: Mapping[str, float] | None = None,
        traces: Mapping[str, Rates] | None = None,
    ) -> History:
        """Histories of chosen steps, stacked; see `numerics.history.chosen_steps`.

        Of a law with its own clock: one history that holds all the points.
        """
        used = self._used(facts)
        if self.own_clock:
            decay, norm = self._decay_and_norm(lr, used, traces)
            return histories.of_stretches(lr, points, stretches_of(lr, decay, points, norm), used)
        return histories.chosen_steps(
            np.asarray(self.driving_rate(lr, traces)),
            points,
            facts=used,
            traces=self._features(lr, used),
            noise=self.noise,
            # nothing is gathered across the step at which the corpus changes
            cuts=[int(used["transfer_step"])] if "transfer_step" in used else [],
        )

    def last_step(
        self,
        lr: Array,
        *,
        facts: Mapping[str, Array] | None = None,
        traces: Mapping[str, Array] | None = None,
    ) -> History:
        """The history of the last step, traceable; see `numerics.history.last_step`."""
        used = self._used(facts)
        history = histories.last_step(
            self.driving_rate(lr, traces),
            facts=used,
            traces={name: feature(lr, used) for name, feature in self.derived_traces.items()},
        )
        if not self.own_clock:
            return history
        own = single_steps(lr, *self._decay_and_norm(lr, used, traces))
        return replace(history, stretches=own)

    @property
    def sees_cells(self) -> bool:
        """Whether `last_of_cells` and `last_of_pieces` can stand in for `last_step`."""
        return not self.derived_traces and not self.required_traces and self.rate is None

    def last_of_cells(
        self,
        lr: Array,
        cells: Cells,
        *,
        facts: Mapping[str, Array] | None = None,
        weight_decay: Array | None = None,
    ) -> History:
        """The last step of a run gathered to cells, traceable; see `numerics.cells`.

        Args:
            lr: mean rate of each cell: (cells,).
            cells: how the steps were gathered.
            facts: numbers known of the run.
            weight_decay: of each cell, (cells,), in place of the fact.
        """
        used = self._used(facts)
        history = last_of_cells(lr, cells, used)
        if not self.own_clock:
            return history
        traces = None if weight_decay is None else {"weight_decay": weight_decay}
        decay, _ = self._decay_and_norm(lr, used, traces)
        return replace(history, stretches=stretches_of_cells(lr, decay, cells))

    def last_of_pieces(self, run: Walk, *, facts: Mapping[str, Array] | None = None) -> History:
        """The last step of a run of smooth pieces, traceable; see `numerics.pieces`.

        Args:
            run: cell by cell.
            facts: numbers known of the run.
        """
        used = self._used(facts)
        history = last_of_pieces(run, used, noise=self.noise)
        if not self.own_clock:
            return history
        decay, _ = self._decay_and_norm(run.rate, used, None)
        return replace(history, stretches=pairs_of(run, decay))


@dataclass(frozen=True)
class Input:
    """A number that a point law is evaluated at: a column of a table.

    Attributes:
        name: of the column; a name that ends in ``*`` stands for one column an item, such as
            ``share_*`` for the shares of the domains of a mixture.
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
    """A law of single numbers: model size, tokens, shares of a mixture. It sees no schedule.

    Attributes:
        inputs: what it is evaluated at.
        coefficients: its parameters; a name that ends in ``*`` stands for one parameter an item.
        value: (parameters, inputs) -> output, for inputs of shape (points,); pure JAX.
        output: name of what it gives, such as ``loss``.
        unit: of the output.
        huber_delta: of the fit's objective, in log output; None for the default.
    """

    inputs: tuple[Input, ...]
    coefficients: tuple[Parameter, ...]
    value: Callable[[Values, Values], Array]
    output: str = "loss"
    unit: str = "nats"
    huber_delta: float | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters."""
        return self.coefficients

    @property
    def module(self) -> ModuleType:
        """The module of `value`."""
        return sys.modules[self.value.__module__]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(each.name for each in self.inputs)

    @property
    def has_wildcards(self) -> bool:
        """Whether it must be told its items before use; see `over`."""
        return any(each.name.endswith("*") for each in self.inputs)

    def expand(self, items: Sequence[str]) -> PointLaw:
        """The same law for given items: each has_wildcards name once an item.

        Raises:
            LawError: if there is no item.
        """
        if not items:
            raise LawError(f"{self.name} needs columns {self._stars()}, one an item")

        def spread(every: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(
                replace(each, name=each.name[:-1] + item) if each.name.endswith("*") else each
                for each in every
                for item in (items if each.name.endswith("*") else [""])
            )

        return replace(self, inputs=spread(self.inputs), coefficients=spread(self.coefficients))

    def expand_for_columns(self, columns: Sequence[str]) -> PointLaw:
        """The same law for the items that columns name; itself without wildcards."""
        return self._over(columns, [each.name for each in self.inputs])

    def expand_for_parameters(self, names: Sequence[str]) -> PointLaw:
        """The same law for the items that parameters name; itself without wildcards."""
        return self._over(names, [each.name for each in self.coefficients])

    def _over(self, names: Sequence[str], patterns: Sequence[str]) -> PointLaw:
        prefixes = [pattern[:-1] for pattern in patterns if pattern.endswith("*")]
        if not prefixes:
            return self
        first = prefixes[0]
        return self.expand([name[len(first) :] for name in names if name.startswith(first)])

    def _stars(self) -> str:
        return " and ".join(each.name for each in self.inputs if each.name.endswith("*"))
