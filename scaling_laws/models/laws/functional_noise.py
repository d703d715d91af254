"""The functional scaling law with its noise integral (Liu et al. 2026): lr-FSL and elr-FSL.

    L_k = L0 + A·(B1 + S_k)^-alpha + C·Σ_{j<=k} (B2 + S_k - S_j)^-beta·r_j²,   S_k = Σ_{j<=k} r_j

`functional_noise` (lr-FSL) has r = LR. `functional_noise_norms` (elr-FSL) has r = LR / ‖W‖, the
effective rate, and so needs the parameter norm of every step: a column `param_norm` in the log,
straight lines between logged steps; it can judge a run, and predict one whose norms are given, but
not one that has only a schedule. Noise grows with the square of the rate, so these laws have an
optimum in the peak LR.

Known limits: fixed batch size; made for training losses of at most 1B parameters; worse than
memory-free laws on non-monotone schedules where only slow ones were fitted. B2 below half the
largest rate makes the kernel singular at the newest step: the bound of the fit is above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from scaling_laws.models.laws.common import ALPHA, FLOOR_LOSS, POWER_AMPLITUDE
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.clocks import SummedLR
from scaling_laws.models.numerics.convolution import noise_level
from scaling_laws.models.numerics.history import History
from scaling_laws.models.numerics.kernels import NoiseKernel
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["FUNCTIONAL_NOISE", "FUNCTIONAL_NOISE_NORMS"]


def design_matrix(values: Mapping[str, Any], history: History) -> Any:
    """Columns 1, (B1 + S)^-alpha, noise: (points, 3)."""
    falling = (values["B1"] + jnp.asarray(history.clock).reshape(-1)) ** -values["alpha"]
    noise = noise_level(history, NoiseKernel(exponent=values["beta"], offset=values["B2"]))
    return jnp.stack([jnp.ones_like(falling), falling, noise], axis=1)


def rescale(values: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """The same losses when every LR is `factor` times as large."""
    return {
        **values,
        "A": values["A"] * factor ** values["alpha"],
        "B1": values["B1"] * factor,
        "B2": values["B2"] * factor,
        "C": values["C"] * factor ** (values["beta"] - 2.0),
    }


CONVENTIONS = (
    "sums are inclusive and start at step 0, warm-up included; {rate}; an update is at distance 0 "
    "at its own step"
)

FUNCTIONAL_NOISE = Law(
    name="functional_noise",
    formula="L = L0 + A·(B1 + S)^-alpha + C·Σ_j (B2 + S - S_j)^-beta·lr[j]²",
    citation="Liu et al. 2026, arXiv 2608.24814, eq. E.1 (lr-FSL)",
    linear_parameters=(
        FLOOR_LOSS,
        POWER_AMPLITUDE,
        Parameter("C", Support.POSITIVE, "size of the noise", "nats · (summed LR)^beta / LR²"),
    ),
    nonlinear_parameters=(
        ALPHA,
        Parameter(
            "B1", Support.POSITIVE, "start of the clock", "summed LR", (0.1, 1e3), (1e-3, 1e5)
        ),
        Parameter("beta", Support.POSITIVE, "exponent of the memory", "1", (0.5, 2.0), (0.02, 6.0)),
        Parameter(
            "B2", Support.POSITIVE, "delay of the memory", "summed LR", (1.0, 1e3), (0.5, 1e5)
        ),
    ),
    design_matrix=design_matrix,
    memory=("beta", "B2"),
    rescale=rescale,
    clock=SummedLR(noise=True),
    conventions=CONVENTIONS.format(rate="S sums the LR"),
)


def effective_rate(lr: Any, traces: Mapping[str, Any]) -> Any:
    """LR over the norm of the parameters at each step: (steps,)."""
    return lr / traces["param_norm"]


FUNCTIONAL_NOISE_NORMS = replace(
    FUNCTIONAL_NOISE,
    name="functional_noise_norms",
    formula="L = L0 + A·(B1 + S)^-alpha + C·Σ_j (B2 + S - S_j)^-beta·r_j², r = lr / ‖W‖, S = Σ r",
    citation="Liu et al. 2026, arXiv 2608.24814, eq. E.1 (elr-FSL)",
    clock=SummedLR(rate=effective_rate, noise=True),
    required_traces=frozenset({"param_norm"}),
    conventions=CONVENTIONS.format(
        rate="S sums LR / param_norm, the Frobenius norm of the parameters at that step"
    ),
)
