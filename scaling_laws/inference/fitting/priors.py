"""The prior of a fit: the law's, with its mean adapted to the runs, or one from the caller."""

from __future__ import annotations

from collections.abc import Sequence

from scaling_laws.common import UsageError
from scaling_laws.data import Run
from scaling_laws.models import Law, Prior

__all__ = ["Prior", "prior_for_runs", "prior_of"]


def prior_of(law: Law, choice: str | Prior | None) -> Prior | None:
    """The prior of a law for a choice of the caller.

    Args:
        law: the law.
        choice: ``"weak"`` for that of the law, completed by its start ranges for parameters that
            the prior does not cover; ``"none"`` for none; or a prior. (None is accepted as
            ``"none"``.)

    Raises:
        UsageError: for another string, or a prior on a name that is not a nonlinear parameter.
    """
    if choice is None or choice == "none":
        return None
    if isinstance(choice, Prior):
        names = [parameter.name for parameter in law.nonlinear_parameters]
        for name in choice.mean:
            if name not in names:
                raise UsageError(f"{law.name} has no nonlinear parameter {name!r}, only {names}")
        return choice
    if choice != "weak":
        raise UsageError(f"prior={choice!r}: must be 'weak', 'none' or a Prior", value=choice)
    if law.prior is None:
        return Prior.from_start_ranges(law)
    return law.prior.completed(law)


def prior_for_runs(law: Law, choice: str | Prior | None, runs: Sequence[Run]) -> Prior | None:
    """The prior for a choice of the caller; the mean of the law's prior is adapted to the runs.

    Args:
        law: the law.
        choice: as for `prior_of`.
        runs: to fit.

    Raises:
        UsageError: as `prior_of`.
    """
    prior = prior_of(law, choice)
    if prior is None or isinstance(choice, Prior) or law.prior_from_runs is None:
        return prior
    return law.prior_from_runs(law, prior, runs)
