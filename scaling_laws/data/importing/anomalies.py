"""Anomalies of logged losses: gaps, few printed digits, spikes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.data.importing.options import Finding
from scaling_laws.data.importing.printed_precision import precision_of

__all__ = ["gaps", "listed", "quantised", "spikes"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
COARSE = 3  # decimals of a printed loss that affect a fit
NEIGHBOURS = 11  # rows around a spike
FAR = 12.0  # distance of a spike from their median, in robust standard deviations
SHOWN = 5


def listed(steps: Whole) -> str:
    """The first steps, as text."""
    shown = ", ".join(str(int(step)) for step in steps[:SHOWN])
    return shown + (", ..." if len(steps) > SHOWN else "")


def gaps(steps: Whole, findings: list[Finding]) -> None:
    """Report steps further apart than most."""
    differences = np.diff(steps)
    if not differences.size:
        return
    stride = int(np.median(differences))
    wide = differences > 1.5 * stride
    if wide.any():
        index = int(np.argmax(differences))
        words = (
            f"losses are logged every {stride} steps, with {int(wide.sum())} gaps; the widest is "
            f"{steps[index]} -> {steps[index + 1]}"
        )
        findings.append(Finding("gaps", words))


def quantised(key: str, loss: Array, findings: list[Finding]) -> None:
    """Report losses with few printed digits."""
    precision = precision_of(loss)
    if precision.kind in ("decimals", "significant"):
        width = 2 * float(np.median(precision.half_width(loss)))
        if width >= 10.0**-COARSE / 2:
            words = f"{key} is printed to {precision.words}: steps of {width:.1g} nats"
            findings.append(Finding("quantised", words))


def spikes(steps: Whole, loss: Array, drop: bool, findings: list[Finding]) -> tuple[Whole, Array]:
    """Find points far above the median of their neighbours, in units of their deviation."""
    if loss.size < 2 * NEIGHBOURS:
        return steps, loss
    half = NEIGHBOURS // 2
    logs = np.log(loss)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(logs, half, mode="edge"), NEIGHBOURS)
    median = np.median(windows, axis=1)
    deviation = np.median(np.abs(windows - median[:, None]), axis=1)
    floor = max(float(np.median(deviation)), 1e-5)
    spike = logs - median > FAR * 1.4826 * np.maximum(deviation, floor)
    # the first points fall steeply and are not spikes
    spike[:half] = False
    if not spike.any():
        return steps, loss
    words = f"{int(spike.sum())} spikes far above their neighbours, at steps {listed(steps[spike])}"
    if drop:
        findings.append(Finding("spikes", f"{words}; omitted", True))
        return steps[~spike], loss[~spike]
    findings.append(Finding("spikes", f"{words}; --drop-spikes omits them"))
    return steps, loss
