"""Losses that no run can have: a law that predicts one is outside its domain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import LawError
from scaling_laws.inference.results.state import CurveState
from scaling_laws.models import Schedule

__all__ = ["MAX_LOSS", "bounded_losses", "check_loss"]

Array = NDArray[np.float64]
# nats; a uniform guess among a million tokens costs 14, a bad initialisation some times that
MAX_LOSS = 1000.0


def check_loss(law: str, loss: float, spec: str, reasons: tuple[str, ...] = ()) -> None:
    """Check that a run can have a predicted loss.

    Args:
        law: name of the law.
        loss: in nats.
        spec: the schedule it is predicted for.
        reasons: where the schedule lies outside the range of the fit.

    Raises:
        LawError: if the loss is not finite, not positive or above `MAX_LOSS`.
    """
    if 0.0 < loss <= MAX_LOSS:  # not so for NaN
        return
    why = "; ".join(reasons) or "use a schedule like those of the fitted runs, or refit the law"
    raise LawError(
        f"{law} predicts {loss:.6g} nats for {spec}, but a loss lies between 0 and {MAX_LOSS:g}: "
        f"the schedule is outside the domain of the law ({why})",
        value=loss,
    )


def bounded_losses(
    fitted: CurveState,
    losses: Array,
    steps: NDArray[np.int64],
    plan: Schedule,
    reasons: tuple[str, ...],
) -> tuple[Array, tuple[str, ...]]:
    """Predicted losses, at most `MAX_LOSS`, and notes on what is doubtful about them.

    Early in a run a power law of the steps may exceed any loss, so these are bounded; a last loss
    that no run can have is an error.

    Args:
        fitted: the law.
        losses: predicted, in nats: (points,).
        steps: of the losses: (points,).
        plan: the schedule.
        reasons: where it lies outside the range of the fit.

    Raises:
        LawError: as `check_loss`, for the last loss, or one that is not a number or not positive.
    """
    check_loss(fitted.law.name, float(losses[-1]), plan.spec, reasons)
    lowest = float(losses.min())  # NaN if any is
    if not lowest > 0.0:
        check_loss(fitted.law.name, lowest, plan.spec, reasons)
    notes = []
    above = losses > MAX_LOSS
    last = int(steps[np.flatnonzero(above)[-1]]) if above.any() else 0
    if last > plan.warmup:  # the first updates of a warm-up hardly change the model
        notes.append(f"predictions up to step {last} exceed {MAX_LOSS:g} nats and are set to it")
    floor = fitted.params.get("L0", 0.0)
    if losses[-1] < floor * (1.0 - 1e-9):
        notes.append(
            f"the predicted loss {losses[-1]:.4f} lies below the law's own floor of {floor:.4f}, "
            "so it is too low"
        )
    return np.minimum(losses, MAX_LOSS), tuple(notes)
