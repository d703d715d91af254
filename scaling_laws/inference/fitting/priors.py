"""The prior of a fit: a law's own, centred by what the runs have logged, or one that is given."""

from __future__ import annotations

from collections.abc import Sequence

from scaling_laws.common import UsageError
from scaling_laws.data import Run
from scaling_laws.models import Law, Prior

__all__ = ["Prior", "prior_for_runs", "prior_of"]


def prior_of(law: Law, choice: str | Prior | None) -> Prior | None:
    """The prior that a choice means for a law.

    Args:
        law: the law.
        choice: ``"weak"`` for that of the law, with its start ranges for parameters that it does
            not name; ``"none"`` for none; or a prior. (None is accepted as ``"none"``.)

    Raises:
        UsageError: for another word, or a prior on a name that is not a nonlinear parameter.
    """
    if choice is None or choice == "none":
        return None
    if isinstance(choice, Prior):
        names = [parameter.name for parameter in law.nonlinear_parameters]
        for name in choice.mean:
            if name not in names:
                raise UsageError(f"{law.name} has no shape parameter {name!r}; it has {names}")
        return choice
    if choice != "weak":
        raise UsageError(f"prior={choice!r}: known are 'weak' and 'none'", value=choice)
    if law.prior is None:
        return Prior.from_start_ranges(law)
    return law.prior.completed(law)


def prior_for_runs(law: Law, choice: str | Prior | None, runs: Sequence[Run]) -> Prior | None:
    """The prior that a choice means; that of the law is centred by what the runs have logged.

    Args:
        law: the law.
        choice: as `prior_of` takes it.
        runs: to fit.

    Raises:
        UsageError: as `prior_of`.
    """
    prior = prior_of(law, choice)
    if prior is None or isinstance(choice, Prior) or law.prior_from_runs is None:
        return prior
    return law.prior_from_runs(law, prior, runs)
