"""The noise model of scaling collapse (Qiu et al. 2025): the LR's noise follows it at once.

The paper compares runs at equal summed LR: a run's loss is a reference run's, plus the difference
in LR times the trace of the preconditioned gradient covariance; with a trace in proportion to the
loss above its floor, trace = h·(L - L0), and slope κ = a·h,

    L - L0 = (L_ref - L0) / (1 - κ·(lr - lr_ref)).

The law here takes as reference the constant run at the peak LR, whose loss is L0 + A·S^-alpha:

    L = L0 + A·S^-alpha / (1 + kappa·(peak_lr - lr))

`transfer_loss` is the measured form, for a reference curve and a measured trace. Known limit:
adiabatic, without memory, so it overshoots fast decays; warm-up counts as low noise. The reference
by a power law is ours, the paper uses measured reference curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import LawError
from scaling_laws.models.laws.common import (
    ALPHA,
    FLOOR_LOSS,
    POWER_AMPLITUDE,
    power_terms,
    rescale_power,
)
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["COLLAPSE_NOISE", "transfer_loss"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, S^-alpha / (1 + kappa·(peak - lr)): (points, 2)."""
    below = (history.peak_lr - jnp.asarray(history.lr)).reshape(-1)
    return power_terms(values, history) / jnp.stack(
        [jnp.ones_like(below), 1.0 + values["kappa"] * below], axis=1
    )


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {**rescale_power(values, factor), "kappa": values["kappa"] / factor}


def transfer_loss(
    reference_loss: ArrayLike,
    reference_lr: ArrayLike,
    lr: ArrayLike,
    trace: ArrayLike,
    slope: float = 0.21,
) -> NDArray[np.float64]:
    """Loss of a run from a reference run at equal summed LR: L_ref + slope·(lr - lr_ref)·trace.

    Args:
        reference_loss: of the reference run at some summed LRs, in nats: (points,).
        reference_lr: its LR there: (points,).
        lr: of the new run where it has the same summed LR: (points,).
        trace: trace of the preconditioned gradient covariance of the new run there: (points,).
        slope: 0.21 for all schedules, sizes and horizons of the paper's CIFAR-5M runs
            (arXiv 2507.02119).

    Returns:
        Losses of the new run, in nats: (points,).

    Raises:
        LawError: if the rows differ in length.
    """
    rows = [np.asarray(row, dtype=float) for row in (reference_loss, reference_lr, lr, trace)]
    if len({row.shape for row in rows}) != 1:
        raise LawError(f"rows must be of one length, not {[row.shape for row in rows]}")
    losses, before, after, covariance = rows
    return np.asarray(losses + slope * (after - before) * covariance)


COLLAPSE_NOISE = Law(
    name="collapse_noise",
    formula="L = L0 + A·S^-alpha / (1 + kappa·(peak_lr - lr[t]))",
    citation="Qiu et al. 2025, arXiv 2507.02119 (predictor form; reference by a power law)",
    linear_parameters=(FLOOR_LOSS, POWER_AMPLITUDE),
    nonlinear_parameters=(
        ALPHA,
        Parameter(
            "kappa",
            Support.POSITIVE,
            "share of the loss above its floor that is noise, per unit of LR",
            "1 / LR",
            (0.02, 2.0),
            (1e-6, 1e2),
        ),
    ),
    design_matrix=design_matrix,
    rescale=rescale,
    conventions="S sums the LR of steps 0..t inclusive, warm-up included; "
    "peak_lr is the largest LR of the schedule",
)
