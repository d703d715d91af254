"""Where the weight norm starts, from the norms that runs have logged.

Under decoupled weight decay and updates of one size the squared norm is a straight line in its
start: norm² = start·kept(t) + push·pushed(t), with both functions known from the schedule and the
weight decay. Two numbers are fitted to the logs, their ratio is what `norm_clock` calls
`initial_norm`. Large models' losses say .09; the logs of small ones, 1 to 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.data import Run
from scaling_laws.inference.fitting.priors import Prior, prior_of
from scaling_laws.models import REFERENCE_NORM, Law, bucket, norms, single_steps

__all__ = ["logged_start", "shipped_or_given"]

Array = NDArray[np.float64]
START = "initial_norm"


def logged_start(runs: Sequence[Run]) -> float | None:
    """The squared norm before training, in units of `norm_clock`, from runs that logged norms.

    Args:
        runs: of one model; those without `param_norm` or weight decay say nothing.

    Returns:
        A number > 0, or None where no run says anything or the norms are not of that form.
    """
    kept, pushed, squared = [], [], []
    for run in runs:
        decay = run.traces.get("weight_decay", run.facts.get("weight_decay"))
        if decay is None or "param_norm" not in run.traces:
            continue
        without, unit = _responses(run.schedule.lr, np.asarray(decay, np.float64))
        kept.append(unit[run.steps])
        pushed.append(without[run.steps])
        squared.append(run.traces["param_norm"][run.steps] ** 2)
    if not squared:
        return None
    columns = np.stack([np.concatenate(kept), np.concatenate(pushed)], axis=1)
    columns /= np.concatenate(squared)[:, None]  # relative errors
    start, push = np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)[0]
    return float(start / push) if start > 0 and push > 0 else None


def _responses(lr: Array, decay: Array) -> tuple[Array, Array]:
    """Squared norms from a start at 0, and what a start of 1 adds: (steps,) each."""
    steps = len(lr)
    fill = np.zeros(bucket(steps) - steps)  # few lengths, few compilations
    rates = np.concatenate([lr, fill])
    with jax.enable_x64(True):
        run = single_steps(rates, np.concatenate([lr * decay, fill]))
        both = [np.asarray(norms(run, start * REFERENCE_NORM))[:steps, 0] for start in (0.0, 1.0)]
    without = both[0] / REFERENCE_NORM
    return without, both[1] / REFERENCE_NORM - without


def shipped_or_given(law: Law, choice: str | Prior | None, runs: Sequence[Run]) -> Prior | None:
    """The prior that a choice means; in the shipped one the norm starts where the logs put it.

    Args:
        law: the law.
        choice: as `prior_of` takes it.
        runs: to fit.

    Raises:
        UsageError: as `prior_of`.
    """
    prior = prior_of(law, choice)
    sizes = {run.facts.get("model_params") for run in runs}
    if prior is None or isinstance(choice, Prior) or START not in prior.centre or len(sizes) > 1:
        return prior
    found = logged_start(runs)
    if found is None:
        return prior
    start = next(each for each in law.nonlinear_parameters if each.name == START)
    return replace(
        prior,
        centre={**prior.centre, START: float(start.transform.inverse(found))},
        source=f"{prior.source}; {START}={found:.3g} from logged norms",
    )
