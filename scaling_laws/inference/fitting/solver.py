"""The solver protocol, and the driver of every solve of the package.

A solver is a frozen value with four methods, in the manner of optimistix: `init` makes the state of
one request, `step` advances a batch of states, `done` tells whether a state needs more steps, and
`result` reads its solution. `solve` keeps the batch full (a finished request is replaced by a
pending one, so that stragglers do not stall the batch), reports progress and returns the solutions
in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from scaling_laws.common import report_progress
from scaling_laws.inference.fitting.design import DesignEvaluator
from scaling_laws.inference.fitting.fit_data import Data
from scaling_laws.inference.fitting.objective import Objective
from scaling_laws.inference.fitting.problem import Problem, Solution, SolveRequest
from scaling_laws.models import Law

__all__ = ["SolveContext", "Solver", "solve"]


@dataclass(frozen=True, eq=False)
class SolveContext:
    """What all requests of a call of `solve` share.

    Attributes:
        law: the law.
        problem: the points of all runs.
        design: the design matrix of the problem and its derivatives, compiled.
        objective: the cost of residuals.
        ties: nonlinear parameters that equal another one: (name, target).
        bounds: lowest and highest unconstrained value of each nonlinear parameter.
        negligible: decrease of the objective that a solution may leave; a solver may be more exact.
    """

    law: Law
    problem: Problem
    design: DesignEvaluator
    objective: Objective
    ties: tuple[tuple[str, str], ...]
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]]
    negligible: float = 0.0


@runtime_checkable
class Solver(Protocol):
    """A minimiser; a frozen, picklable value, because it is sent to other processes."""

    @property
    def name(self) -> str:
        """Name in `SOLVERS` and in the record of a fit."""

    @property
    def batch_size(self) -> int:
        """Largest number of requests that `step` advances together."""

    def init(self, context: SolveContext, request: SolveRequest) -> Any:
        """The state of one request before the first step; its start lies within the bounds."""

    def step(self, context: SolveContext, requests: SolveRequest, states: list[Any]) -> list[Any]:
        """Advance a batch.

        Args:
            context: what the requests share.
            requests: stacked, one row per state.
            states: as `init` and `step` return them; those that are done must be returned
                unchanged.
        """

    def done(self, state: Any) -> bool:
        """Whether a state has its result."""

    def result(self, state: Any) -> Solution:
        """The solution of a state that is done."""


def solve(
    solver: Solver,
    data: Data,
    requests: SolveRequest,
    objective: Objective,
    *,
    negligible: float = 0.0,
    stage: str | None = None,
) -> list[Solution]:
    """Solve any number of requests.

    Args:
        solver: the solver.
        data: the runs.
        requests: stacked: every leaf has a leading axis (requests,).
        objective: the cost of residuals.
        negligible: decrease of the objective that a solution may leave.
        stage: label for progress reports; default no reports.

    Returns:
        One solution per request, in order; none of them depends on the others.
    """
    count = len(requests.observed)
    context = SolveContext(
        data.law, data.problem, data.design, objective, data.ties, data.bounds, negligible
    )
    start = np.clip(requests.start, *context.bounds)
    # fixed coordinates keep their given value, even outside the bounds
    requests = replace(requests, start=np.where(requests.free_mask, start, requests.start))

    with threadpool_limits(limits=1, user_api="blas"):
        pending = list(range(count))[::-1]
        solving = [pending.pop() for _ in range(min(solver.batch_size, count))]
        states = [solver.init(context, requests.rows(index)) for index in solving]
        solutions: dict[int, Solution] = {}
        while len(solutions) < count:
            states = solver.step(context, requests.rows(np.array(solving)), states)
            for slot, state in enumerate(states):
                if solving[slot] in solutions or not solver.done(state):
                    continue
                solutions[solving[slot]] = solver.result(state)
                if pending:
                    solving[slot] = pending.pop()
                    states[slot] = solver.init(context, requests.rows(solving[slot]))
            if stage is not None:
                report_progress(stage, len(solutions), count)
    return [solutions[index] for index in range(count)]
