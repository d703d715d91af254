"""The weight norm before training, estimated from logged norms.

Under decoupled weight decay and updates of one size the squared norm is linear in its start:
norm² = start·f(t) + update_size·g(t), with f and g known from the schedule and the weight decay.
The two coefficients are fitted to the logs, and their ratio is the parameter `initial_norm` of
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
REFERENCE_NORM = REFERENCE_LR / (2.0 * REFERENCE_DECAY)  # squared; at equilibrium under these two
INITIAL_NORM = "initial_norm"  # the parameter


def logged_start(runs: Sequence[LoggedRun]) -> float | None:
    """The squared norm before training over the reference, from runs that logged norms.

    Args:
        runs: of one model; those without `param_norm` or weight decay are ignored.

    Returns:
        A number > 0, or None if no run can be used or the norms do not have this form.
    """
    start_columns, update_columns, squared = [], [], []
    for run in runs:
        decay = run.traces.get("weight_decay", run.facts.get("weight_decay"))
        if decay is None or "param_norm" not in run.traces:
            continue
        update_response, start_response = _responses(run.schedule.lr, np.asarray(decay, np.float64))
        start_columns.append(start_response[run.steps])
        update_columns.append(update_response[run.steps])
        squared.append(run.traces["param_norm"][run.steps] ** 2)
    if not squared:
        return None
    columns = np.stack([np.concatenate(start_columns), np.concatenate(update_columns)], axis=1)
    columns /= np.concatenate(squared)[:, None]  # relative errors
    start, update_size = np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)[0]
    return float(start / update_size) if start > 0 and update_size > 0 else None


def _responses(lr: Array, decay: Array) -> tuple[Array, Array]:
    """Squared norms from an initial norm of 0, and the addition by one of 1; both (steps,)."""
    steps = len(lr)
    fill = np.zeros(bucket(steps) - steps)  # few lengths, few compilations
    with jax.enable_x64(True):
        grid = SingleSteps.of(np.concatenate([lr, fill]), np.concatenate([lr * decay, fill]))
        norms = [
            np.asarray(grid.squared_norms(start * REFERENCE_NORM))[0, :steps]
            for start in (0.0, 1.0)
        ]
    update_response = norms[0] / REFERENCE_NORM
    return update_response, norms[1] / REFERENCE_NORM - update_response


def centre_initial_norm(law: Law, prior: Prior, runs: Sequence[LoggedRun]) -> Prior:
    """The prior with the mean of the initial norm estimated from logs of runs of one model.

    Args:
        law: the prior of a law without the parameter `initial_norm` is returned unchanged.
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
