"""Solvers by name: those of the package, of plug-ins, and those registered by callers."""

from __future__ import annotations

from scaling_laws.common import Registry, UsageError
from scaling_laws.inference.fitting.scipy_solver import ScipySolver
from scaling_laws.inference.fitting.solver import Solver
from scaling_laws.inference.fitting.varpro import VariableProjection

__all__ = ["DEFAULT_SOLVER", "SOLVERS", "find_solver"]

DEFAULT_SOLVER: Solver = VariableProjection()
SOLVERS: Registry[Solver] = Registry(
    "solver",
    (DEFAULT_SOLVER, ScipySolver()),
    group="scaling_laws.solvers",
    record_type=Solver,
    error=UsageError,
)


def find_solver(solver: str | Solver) -> Solver:
    """A solver, or the registered one of that name.

    Raises:
        UsageError: listing the near matches if there is none of that name; or if the value is
            neither a name nor a solver.
    """
    if isinstance(solver, str):
        return SOLVERS.find(solver)
    if isinstance(solver, type) or not isinstance(solver, Solver):
        raise UsageError(
            f"solver={solver!r} is a {type(solver).__name__}; pass a name ({', '.join(SOLVERS)}) "
            "or an object with name, batch_size, init, step, done and result",
            value=solver,
        )
    return solver
