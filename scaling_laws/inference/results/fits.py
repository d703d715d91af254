"""Functions for fits of either kind: make, load, evaluate; the top of this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, overload

from numpy.typing import ArrayLike

from scaling_laws.common import LawError, UsageError
from scaling_laws.data import Run
from scaling_laws.inference.results.curve_fit import CurveFit
from scaling_laws.inference.results.evaluation import Evaluation
from scaling_laws.inference.results.fit_result import published_params
from scaling_laws.inference.results.law_file import read_state
from scaling_laws.inference.results.point_fit import PointFit
from scaling_laws.inference.results.prediction import needs_inputs
from scaling_laws.models import AnyLaw, Law, PointLaw, get_law

__all__ = ["AnyFit", "evaluate", "from_params", "load_law", "published", "require_curve_fit"]

AnyFit = CurveFit | PointFit


def require_curve_fit(fitted: AnyFit) -> CurveFit:
    """The fit itself, if it is one of a law of schedules; for entry points that predict curves.

    Raises:
        LawError: if it is a fit of a tabular law.
        UsageError: if it is not a fit.
    """
    if not isinstance(fitted, CurveFit | PointFit):
        raise UsageError(
            f"{fitted!r} is a {type(fitted).__name__}; pass a fitted law, from scaling_laws.fit, "
            "load_law, published or from_params",
            value=fitted,
        )
    if not isinstance(fitted, CurveFit):
        raise LawError(needs_inputs(fitted.law))
    return fitted


def from_params(law: str | AnyLaw, params: Mapping[str, float]) -> AnyFit:
    """A law with given parameters, without a fit.

    Args:
        law: a law or its name.
        params: its parameters by name, for learning rates as they are logged.

    Raises:
        LawError: if the law is unknown, or a parameter is missing, unknown or out of range.
    """
    chosen = get_law(law) if isinstance(law, str) else law
    if isinstance(chosen, PointLaw):
        return PointFit.of(chosen, params)
    assert isinstance(chosen, Law)  # the registry contains no third kind
    return CurveFit(chosen, params)


def published(law: str | AnyLaw, label: str) -> AnyFit:
    """A law with parameters from the literature.

    Args:
        law: a law or its name.
        label: one of `LAW.published`.

    Raises:
        LawError: if the law is unknown, or has no such parameters; the message lists the labels.

    >>> published("chinchilla", "hoffmann_rounded").params["E"]
    1.69
    """
    chosen = get_law(law) if isinstance(law, str) else law
    return from_params(chosen, published_params(chosen, label))


def load_law(path: Path | str, *, law: AnyLaw | None = None) -> AnyFit:
    """Read a law file.

    Args:
        path: of the file.
        law: the law, where it is not registered (`register_law`) and no plug-in provides it.

    Returns:
        A `CurveFit` or a `PointFit`, as the law is; `CurveFit.load` returns only the former.

    Raises:
        LawFileError: if the file is missing, not JSON, not a law file, written by a later version,
            or of an unknown law.
    """
    state = read_state(path, law)
    kind = PointFit if isinstance(state.law, PointLaw) else CurveFit
    return kind.of_state(state)


@overload
def evaluate(
    fitted: CurveFit, data: Iterable[Run] | Mapping[str, Run], *, from_step: int | str = 0
) -> Evaluation: ...


@overload
def evaluate(
    fitted: PointFit, data: Mapping[str, ArrayLike], *, source: str = "table"
) -> Evaluation: ...


def evaluate(
    fitted: AnyFit, data: Any, *, from_step: int | str = 0, source: str | None = None
) -> Evaluation:
    """Compare predicted with measured losses.

    Args:
        fitted: the fit.
        data: runs, or a mapping to them; for a tabular law a mapping (or data frame) with a column
            for each input and one for the output.
        from_step: of runs: omit points before this step, or before ``"warmup"`` ends.
        source: of a table: its name in the result, by default ``"table"``.

    Returns:
        Metrics by run, and their means; of a table `final_error` is that of its last row.

    Raises:
        UsageError: if there are no runs, `from_step` leaves one empty, or an option is about the
            other kind of data.
        LawError: if the law needs a fact, a trace or a column that the data lack.
    """
    if isinstance(fitted, PointFit):
        if from_step != 0:
            raise UsageError(f"from_step is about runs; {fitted.law.name} takes a table")
        return fitted.evaluate(data, source="table" if source is None else source)
    if source is not None:
        raise UsageError(f"source is about tables; {fitted.law.name} takes runs")
    return fitted.evaluate(data, from_step=from_step)
