"""Refined schedule (Defazio et al. 2023): the LR of a run from the gradients of the previous one.

Small norms give larger steps; the remaining sum of weights reduces the rate to 0 at the last step.
Constant norms give linear decay.

Known limits: the norms come from a run with some schedule and are valid only near it, and
they are averages over all layers. That the power of the norm is 2 for SGD is in the paper; 1 for
Adam (with the l1 norm) is from memory, not checked. The median mirrors the trace at its ends; which
reflection the paper means is not checked either (it moves the ends only).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling_laws.common import ScheduleError, cell_error, check_steps, read_columns
from scaling_laws.models.schedules.family import (
    COMMON_KEYS,
    Family,
    Key,
    Values,
    file_path,
    positive,
    warm_up,
)

__all__ = ["REFINED", "refine"]


def refine(
    norms: ArrayLike, *, peak: float = 1.0, norm_power: float = 1.0, smoothing: float = 0.1
) -> NDArray[np.float64]:
    """The refined schedule of a gradient-norm trace: lr[t] ∝ w[t]·Σ_{p>t} w[p], w = G^-norm_power.

    Args:
        norms: gradient norms of shape (steps,), one per update, > 0, in any unit.
        peak: the largest learning rate of the result.
        norm_power: 2 for SGD, 1 for Adam.
        smoothing: width of the centred median over `norms`, as a share of the steps, in [0, 1);
            0 for none. The trace is mirrored at its ends.

    Returns:
        Learning rates of shape (steps,), the last one 0.

    Raises:
        ScheduleError: if there are fewer than two norms, one is not a number > 0, or an option is
            out of range.

    Source: Defazio, Cutkosky, Mehta, Mishchenko 2023, arXiv 2310.07831.

    >>> refine([2.0, 2.0, 2.0, 2.0, 2.0], smoothing=0).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    trace = np.asarray(norms, dtype=np.float64)
    if trace.ndim != 1 or trace.size < 2:
        raise ScheduleError(f"norms of shape {trace.shape}: give a 1-D array of two or more norms")
    bad = ~(np.isfinite(trace) & (trace > 0))
    if bad.any():
        step = int(np.argmax(bad))
        raise ScheduleError(f"gradient norm {trace[step]:g} at step {step} is not a number > 0")
    if not (np.isfinite(peak) and peak > 0):
        raise ScheduleError(f"peak={peak:g} is not a number > 0")
    if not (np.isfinite(norm_power) and norm_power > 0):
        raise ScheduleError(f"norm_power={norm_power:g} is not a number > 0")
    if not 0 <= smoothing < 1:
        raise ScheduleError(f"smoothing={smoothing:g} is not in [0, 1)")
    # the smallest norm gets weight 1, so that powers of tiny or huge norms stay finite
    smooth = _median(trace, smoothing)
    weight = (smooth.min() / smooth) ** norm_power
    later = np.append(np.cumsum(weight[:0:-1])[::-1], 0.0)
    rate = weight * later
    top = rate.max()
    if not top > 0:
        raise ScheduleError("the norms differ so much that all rates underflow; increase smoothing")
    return np.asarray(peak * (rate / top))


def _median(trace: NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    width = round(smoothing * trace.size)
    if width < 2:
        return trace
    # imported on use: all commands parse schedules, few refine one
    from scipy.ndimage import median_filter

    odd = width if width % 2 else width + 1  # a centred window has odd width
    return np.asarray(median_filter(trace, size=odd, mode="mirror"), dtype=np.float64)


def build(values: Values) -> NDArray[np.float64]:
    """Learning rates of shape (steps,)."""
    path, steps, warmup = values["trace"], values["steps"], values["warmup"]
    columns = read_columns(path, ["step", "grad_norm"])
    step, norm = columns["step"], columns["grad_norm"]
    check_steps(path, step)
    if (norm <= 0).any():
        row = int(np.argmax(norm <= 0))
        raise cell_error(
            path, row, "grad_norm", f"{norm[row]:g} is not > 0; correct the cell or delete the row"
        )
    if step[-1] >= steps:
        row = int(np.argmax(step >= steps))
        raise cell_error(
            path, row, "step", f"{step[row]:.0f} is beyond steps={steps}; delete the later rows"
        )
    if steps - warmup == 1:
        raise ScheduleError(
            f"warmup={warmup} leaves one step of steps={steps}; at least two are needed"
        )

    def lr_after_warmup(step_numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return refine(
            np.interp(step_numbers, step, norm),
            peak=values["peak"],
            norm_power=values["norm_power"],
            smoothing=values["smoothing"],
        )

    return warm_up(values, lr_after_warmup, to_peak=False)


def _share(text: str) -> float:
    """A number in [0, 1)."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not 0 <= value < 1:
        raise ValueError("must be in [0, 1)")
    return value


REFINED = Family(
    name="refined",
    formula="peak·r/max(r), r = w_t·Σ_{p>t} w_p, w = G^-norm_power, G the median-filtered "
    "gradient norm of steps W to T - 1; the last rate is 0",
    citation="Defazio et al. 2023, arXiv 2310.07831",
    keys=(
        *COMMON_KEYS,
        Key(
            "trace",
            file_path,
            "CSV with columns step,grad_norm; linear between rows, constant beyond them (no "
            "comma in the path)",
            required=True,
        ),
        Key("norm_power", positive, "2 for SGD, 1 for Adam", default=1.0),
        Key("smoothing", _share, "width of the median over the steps after warm-up", default=0.1),
    ),
    build=build,
)
