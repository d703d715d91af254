"""The weight norm before training, estimated from the norms that runs have logged.

Under decoupled weight decay and updates of one size the squared norm is linear in its start:
norm² = start·kept(t) + push·pushed(t), with both functions known from the schedule and the weight
decay. Two numbers are fitted to the logs, and their ratio is the parameter `initial_norm` of
`norm_clock`. Fits to large models give 0.09; logs of small models give 1 to 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
from numpy.typing import NDArray

from scaling_laws.models.laws.law import Law
from scaling_laws.models.laws.prior import LoggedRun, Prior
from scaling_laws.models.numerics.grids.single_steps import SingleSteps
from scaling_laws.models.numerics.history import bucket

__all__ = [
    "INITIAL_NORM",
    "REFERENCE_DECAY",
    "REFERENCE_LR",
    "REFERENCE_NORM",
    "centre_initial_norm",
    "logged_start",
]

Array = NDArray[np.float64]
REFERENCE_LR = 1e-3
REFERENCE_DECAY = 0.1
REFERENCE_NORM = REFERENCE_LR / (2.0 * REFERENCE_DECAY)  # squared; at equilibrium under the two
INITIAL_NORM = "initial_norm"  # the parameter


def logged_start(runs: Sequence[LoggedRun]) -> float | None:
    """The squared norm before training over the reference, from runs that logged norms.

    Args:
        runs: of one model; those without `param_norm` or weight decay are ignored.

    Returns:
        A number > 0, or None if no run can be used or the norms are not of that form.
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
    with jax.enable_x64(True):
        grid = SingleSteps.of(np.concatenate([lr, fill]), np.concatenate([lr * decay, fill]))
        both = [
            np.asarray(grid.squared_norms(start * REFERENCE_NORM))[0, :steps]
            for start in (0.0, 1.0)
        ]
    without = both[0] / REFERENCE_NORM
    return without, both[1] / REFERENCE_NORM - without


def centre_initial_norm(law: Law, prior: Prior, runs: Sequence[LoggedRun]) -> Prior:
    """The prior with its norm before training where the logs of runs of one model put it.

    Args:
        law: with the parameter `initial_norm`; without it the prior is returned as it is.
        prior: of the law.
        runs: to fit.
    """
    sizes = {run.facts.get("model_params") for run in runs}
    if INITIAL_NORM not in prior.mean or len(sizes) > 1:
        return prior
    start = logged_start(runs)
    if start is None:
        return prior
    parameter = next(p for p in law.nonlinear_parameters if p.name == INITIAL_NORM)
    return replace(
        prior,
        mean={**prior.mean, INITIAL_NORM: float(parameter.transform.inverse(start))},
        source=f"{prior.source}; {INITIAL_NORM}={start:.3g} from logged norms",
    )
