"""Design matrices of many parameter values: the only part of a fit that is compiled.

One program per law and shape of the data evaluates any number of rows: on a CPU as a loop, whose
tables stay in the cache and which wastes nothing on rows that are not there, on an accelerator side
by side.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from numpy.typing import NDArray

from scaling_laws.inference.fitting.problem import Problem, nonlinear_values
from scaling_laws.models import Law, bucket, in_float64

__all__ = ["DesignEvaluator", "rows_together"]

Array = NDArray[np.float64]
ROWS_CPU = 32  # of a call: it costs only the memory of its results
ROWS_ACCELERATOR = 64
DEPTH = 4  # points of a loss are padded to a multiple of this: few shapes, few compilations
HEAVY = 0.2  # of the most work of a parameter: more belongs to the first group
MEMORY = 2**28  # bytes at most for the results of a call


def rows_together(numbers: int) -> int:
    """How many rows a call evaluates, given how many numbers each of them returns."""
    rows = ROWS_CPU if jax.default_backend() == "cpu" else ROWS_ACCELERATOR
    return max(1, min(rows, MEMORY // (8 * max(1, numbers))))


class DesignEvaluator:
    """The design matrix of a problem, and its derivatives, at given parameters.

    Threads may share it: the first call of each kind compiles, and the others wait for it.

    Attributes:
        rows: how many rows a call of the compiled programs evaluates.
    """

    def __init__(self, law: Law, problem: Problem, ties: tuple[tuple[str, str], ...]) -> None:
        self._size = len(law.nonlinear_parameters)
        self._losses, depth = problem.point_index.shape
        padding = (
            (0, bucket(self._losses) - self._losses),
            (0, -depth % DEPTH if depth > 1 else 0),
        )
        padded = replace(
            problem,
            point_index=np.pad(problem.point_index, padding),
            window_weights=np.pad(problem.window_weights, padding),
        )
        numbers = bucket(self._losses) * len(law.linear_parameters) * (1 + self._size)
        self.rows = rows_together(numbers)
        self._problem = in_float64(jax.device_put)(padded)
        self._columns = _compiled(law, ties, self.rows, derivatives=False)
        self._with_derivatives = _compiled(law, ties, self.rows, derivatives=True)
        self._compiling = Lock()
        self._ready: set[Any] = set()

    def columns(self, unconstrained: Array) -> Array:
        """Design matrices, transposed: (rows, nonlinear) -> (rows, linear, losses)."""
        (columns,) = self._evaluate(self._columns, unconstrained)
        return columns

    def with_derivatives(self, unconstrained: Array) -> tuple[Array, Array]:
        """Design matrices and their derivatives in the unconstrained parameters.

        Args:
            unconstrained: nonlinear parameters, (rows, nonlinear).

        Returns:
            Columns, (rows, linear, losses), and derivatives, (rows, nonlinear, linear, losses).
        """
        columns, derivatives = self._evaluate(self._with_derivatives, unconstrained)
        return columns, derivatives

    @in_float64
    def _evaluate(self, function: Any, unconstrained: Array) -> tuple[Array, ...]:
        with self._compiling:
            if function not in self._ready:
                function(self._problem, np.zeros((self.rows, self._size)), 0)
                self._ready.add(function)
        parts = []
        for begin in range(0, len(unconstrained), self.rows):
            part = unconstrained[begin : begin + self.rows]
            filled = np.zeros((self.rows, self._size))
            filled[: len(part)] = part
            filled[len(part) :] = part[0]
            results = function(self._problem, filled, len(part))
            losses = self._losses
            parts.append([np.asarray(result)[: len(part), ..., :losses] for result in results])
        if len(parts) == 1:
            return tuple(parts[0])
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


@cache
def _compiled(law: Law, ties: tuple[tuple[str, str], ...], rows: int, *, derivatives: bool) -> Any:
    """(problem, parameters (rows, nonlinear), how many of them) -> results, each (rows, ...)."""

    def columns(problem: Problem, *unconstrained: Any) -> Any:
        return problem.design_matrix(law, nonlinear_values(law, unconstrained, ties)).T

    def of_row(problem: Problem, unconstrained: Any) -> tuple[Any, ...]:
        numbers = tuple(unconstrained)
        if not derivatives:
            return (columns(problem, *numbers),)
        return _with_derivatives(partial(columns, problem), numbers)

    def one_by_one(problem: Problem, unconstrained: Any, count: Any) -> tuple[Any, ...]:
        def next_row(row: Any, results: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(
                jax.lax.dynamic_update_index_in_dim(table, result, row, 0)
                for table, result in zip(results, of_row(problem, unconstrained[row]), strict=True)
            )

        shape = (len(law.linear_parameters), problem.point_index.shape[0])
        empty = [jnp.zeros((rows, *shape), unconstrained.dtype)]
        if derivatives:
            empty.append(jnp.zeros((rows, unconstrained.shape[1], *shape), unconstrained.dtype))
        results: tuple[Any, ...] = jax.lax.fori_loop(0, count, next_row, tuple(empty))
        return results

    def together(problem: Problem, unconstrained: Any, count: Any) -> tuple[Any, ...]:
        return jax.vmap(partial(of_row, problem))(unconstrained)

    return jax.jit(one_by_one if jax.default_backend() == "cpu" else together)


def _with_derivatives(function: Any, numbers: tuple[Any, ...]) -> tuple[Any, Any]:
    """A function of numbers, and its derivatives in each of them: (numbers, ...).

    Derivatives of numbers that much depends on are taken together, and so are the others, for which
    most operations drop out.
    """
    value, linear = jax.linearize(function, *numbers)
    if not numbers:
        return value, jnp.zeros((0, *value.shape))
    work = _work(jax.make_jaxpr(linear)(*numbers).jaxpr)
    is_heavy = [amount > HEAVY * max(work) for amount in work]
    rows: list[Any] = [None] * len(numbers)
    for heavy in (True, False):
        group = [index for index, flag in enumerate(is_heavy) if flag is heavy]
        if not group:
            continue

        def of_group(*tangents: Any) -> Any:
            by_index = dict(zip(group, tangents, strict=True))  # noqa: B023
            zero = jnp.zeros_like(numbers[0])
            return linear(*(by_index.get(index, zero) for index in range(len(numbers))))

        # the derivative of a linear function is itself, less what does not depend on the group
        origin = tuple(jnp.zeros_like(numbers[index]) for index in group)
        directions = tuple(jnp.eye(len(group), dtype=numbers[0].dtype))
        tangents = jax.vmap(lambda *along: jax.jvp(of_group, origin, along)[1])(*directions)  # noqa: B023
        for index, row in zip(group, tangents, strict=True):
            rows[index] = row
    return value, jnp.stack(rows)


def _work(jaxpr: Any) -> list[int]:
    """For each input of a program, how many numbers are computed from it."""
    amounts = []
    for start in jaxpr.invars:
        reached, amount = {start}, 1
        for equation in jaxpr.eqns:
            inputs = [item for item in equation.invars if not isinstance(item, Literal)]
            if not reached.isdisjoint(inputs):
                reached.update(equation.outvars)
                amount += sum(variable.aval.size for variable in equation.outvars)
        amounts.append(amount)
    return amounts
