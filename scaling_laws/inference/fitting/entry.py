"""One entry point for both kinds of fits: a law of schedules to runs, a tabular law to a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload

from numpy.typing import ArrayLike

from scaling_laws.common import LawError, PoolOptions, UsageError
from scaling_laws.data import Run
from scaling_laws.inference.fitting import table_fitting
from scaling_laws.inference.fitting.curve_fitting import DEFAULT_DRAWS, DEFAULT_STARTS, fit_curves
from scaling_laws.inference.fitting.objective import Objective
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.inference.fitting.solver import Solver
from scaling_laws.inference.results import CurveFit, PointFit
from scaling_laws.models import Law, PointLaw, get_law

__all__ = ["fit"]

CURVE_DEFAULTS: Mapping[str, Any] = {
    "from_step": 0,
    "objective": "huber",
    "prior": "weak",
    "fix": None,
    "tie": None,
    "weights": None,
    "draws": DEFAULT_DRAWS,
    "solver": "varpro",
    "backend": "local",
}


@overload
def fit(
    law: str | Law,
    data: Iterable[Run] | Mapping[str, Run],
    *,
    starts: int | None = None,
    seed: int = 0,
    hold_out: bool = True,
    from_step: int | str = ...,
    objective: str | Objective = ...,
    prior: str | Prior | None = ...,
    fix: Mapping[str, float] | None = None,
    tie: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    draws: int = ...,
    solver: str | Solver = ...,
    backend: str | PoolOptions = ...,
) -> CurveFit: ...


@overload
def fit(
    law: str | PointLaw,
    data: Mapping[str, ArrayLike],
    *,
    starts: int | None = None,
    seed: int = 0,
    hold_out: bool = True,
    source: str | None = None,
) -> PointFit: ...


def fit(
    law: str | Law | PointLaw,
    data: Any,
    *,
    starts: int | None = None,
    seed: int = 0,
    hold_out: bool = True,
    from_step: int | str = 0,
    objective: str | Objective = "huber",
    prior: str | Prior | None = "weak",
    fix: Mapping[str, float] | None = None,
    tie: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    draws: int = DEFAULT_DRAWS,
    solver: str | Solver = "varpro",
    backend: str | PoolOptions = "local",
    source: str | None = None,
) -> CurveFit | PointFit:
    """Fit a law to data.

    A law of schedules is fitted to runs by minimising the sum over points of
    weight · cost(log(observed / predicted)), plus the prior; linear parameters are eliminated
    exactly. A tabular law is fitted to the rows of a table with a Huber cost.

    Args:
        law: a law or its name. Where the runs lack a fact that it needs and it has a fallback,
            that is fitted, and a warning says so.
        data: runs, or a mapping to them; for a tabular law a mapping (or data frame) with a column
            for each input of the law and one for its output, such as model_params, tokens and loss.
        starts: number of starts; default 16 for runs, 64 for a table. The first is the middle of
            each parameter's start range.
        seed: of the other starts, of the bootstrap and of the folds.
        hold_out: measure held-out errors, for intervals, by refitting without some runs or rows.
        from_step: of runs: omit points before this step, or before ``"warmup"`` ends.
        objective: of runs: the cost of residuals, such as ``"huber"``, ``"least-squares"`` or
            ``"student-t"``; see `read_objective`.
        prior: of runs: on the nonlinear parameters: ``"weak"`` for the shipped one, ``"none"``, or
            a prior.
        fix: of runs: fixed parameters, in the units of the logs.
        tie: of runs: nonlinear parameters that equal another: ``{"beta": "gamma"}``.
        weights: of runs, by name; default 1.
        draws: of runs: bootstrap refits, for intervals of parameters and predictions; 0 for none.
        solver: of runs: the solver of every solve, or its name: ``"varpro"``, or ``"scipy"`` as a
            slow cross-check.
        backend: of runs: where refits are computed: ``"local"``, ``"joblib"``, ``"dask"``, or
            options of these. It does not affect the result.
        source: of a table: its name, for the record; default ``"table"``.

    Returns:
        A `CurveFit` or a `PointFit`, as the law is.

    Raises:
        UsageError: if there are no runs, names repeat, `from_step` leaves a run empty, an option
            is invalid or is about the other kind of law, or processes cannot be started.
        LawError: if the law is unknown, needs a fact or column that the data lack, or has no such
            parameter.
        FitError: if there are too few points, or no start succeeded.
        PoolError: if processes of the backend keep dying.

    >>> sizes, tokens = [1e8, 1e8, 1e9, 1e9, 1e10, 1e10], [1e9, 1e10, 1e10, 1e11, 1e11, 1e12]
    >>> from scaling_laws.inference import PointFit
    >>> truth = PointFit.published("chinchilla", "hoffmann_rounded")
    >>> loss = truth.at(model_params=sizes, tokens=tokens).value
    >>> table = {"model_params": sizes, "tokens": tokens, "loss": loss}
    >>> round(fit("chinchilla", table, hold_out=False).params["alpha"], 3)
    0.34
    """
    law_record = get_law(law) if isinstance(law, str) else law
    of_curves: dict[str, Any] = {
        "from_step": from_step,
        "objective": objective,
        "prior": prior,
        "fix": fix,
        "tie": tie,
        "weights": weights,
        "draws": draws,
        "solver": solver,
        "backend": backend,
    }
    if isinstance(law_record, PointLaw):
        for name, value in of_curves.items():
            if value is not CURVE_DEFAULTS[name] and value != CURVE_DEFAULTS[name]:
                raise UsageError(f"{name} is about fits to runs; {law_record.name} takes a table")
        if not hasattr(data, "columns") and (
            not isinstance(data, Mapping) or any(isinstance(run, Run) for run in data.values())
        ):
            raise LawError(
                f"{law_record.name} is fitted to a table with the columns "
                f"{', '.join((*law_record.input_names, law_record.output))}, not to runs"
            )
        return table_fitting.fit_points(
            law_record,
            data,
            starts=table_fitting.DEFAULT_STARTS if starts is None else starts,
            seed=seed,
            hold_out=hold_out,
            source="table" if source is None else source,
        )
    assert isinstance(law_record, Law)  # the registry contains no third kind
    if source is not None:
        raise UsageError(f"source is about fits to tables; {law_record.name} takes runs")
    if hasattr(data, "columns") or (
        isinstance(data, Mapping) and not all(isinstance(run, Run) for run in data.values())
    ):
        raise LawError(f"{law_record.name} is a law of schedules; fit it to runs, not to a table")
    return fit_curves(
        law_record,
        data,
        starts=DEFAULT_STARTS if starts is None else starts,
        seed=seed,
        hold_out=hold_out,
        **of_curves,
    )
