"""What the rates after a warm-up that was not logged say about it.

A decay that begins at step 0 leaves no room for a warm-up; one that begins at a later step that was
not logged usually begins where the warm-up ends. Neither is acted on by an import.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scaling_laws.common import UsageError
from scaling_laws.data.importing.offsets import SHIFTS
from scaling_laws.data.importing.recognise import PEAK_DIGITS, Explanation, recognise
from scaling_laws.data.importing.samples import Samples, digits_of
from scaling_laws.data.importing.schedule_candidates import DecayCandidate
from scaling_laws.data.runs.logged_schedule import LR_TOLERANCE

__all__ = ["HiddenWarmup", "HiddenWarmupError", "hidden_warmup", "warmup_is_hidden"]


@dataclass(frozen=True)
class HiddenWarmup:
    """A family that fits the logged rates, and the warm-up that it suggests.

    Attributes:
        words: the family without the warm-up.
        warmup: warm-up steps; None if the rates do not suggest any number.
        certain: whether the rates leave no other warm-up.
        shift: updates by which the rates have to be shifted for this.
    """

    words: str
    warmup: int | None
    certain: bool
    shift: int

    @property
    def sentence(self) -> str:
        """The suggestion, for messages."""
        if self.warmup is None:
            return ""
        moved = f" with --lr-offset changed by {self.shift}" if self.shift else ""
        if self.certain:
            return f"The rates agree{moved} with {self.words}, which has no warm-up: --warmup 0"
        return (
            f"The rates agree{moved} with a decay that begins at step {self.warmup}, where a "
            f"warm-up usually ends: pass --warmup {self.warmup} if it did"
        )


class HiddenWarmupError(UsageError):
    """The log begins after its warm-up, whose length is not given.

    Attributes:
        hidden: what the rates say about it; None if no family fits them.
        lr_offset: with which they say it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: Path | str | None = None,
        hidden: HiddenWarmup | None = None,
        lr_offset: int = 0,
    ) -> None:
        super().__init__(message, path=path)
        self.hidden = hidden
        self.lr_offset = lr_offset


def warmup_is_hidden(samples: Samples) -> bool:
    """Whether the first logged rate is the highest, after step 0."""
    return _top(samples) == 0 and int(samples.steps[0]) > 0


def _top(samples: Samples) -> int:
    return int((samples.lr >= samples.lr.max() - samples.slack).argmax())


def hidden_warmup(samples: Samples) -> HiddenWarmup | None:
    """The simplest family that fits the rates of a log that begins after its warm-up.

    Args:
        samples: the logged rates.

    Returns:
        None if no family fits them.
    """
    fitting: list[tuple[tuple[bool, float], int, Explanation]] = []
    for shift in (0, *SHIFTS):
        steps = samples.steps + shift
        explained = recognise(replace(samples, steps=steps, warmup=0))
        if explained.best is not None and explained.disagreement <= LR_TOLERANCE:
            best = explained.best
            misses = bool(samples.total and best.length and best.length != samples.total)
            fitting.append(((misses, round(best.cost, 6)), shift, best))
            if samples.total and best.length == samples.total:
                break  # with another shift it would end at another step
    if not fitting:
        return None
    _, shift, best = min(fitting, key=lambda item: item[0])  # of equals, the one without a shift
    if not isinstance(best, DecayCandidate) or best.decay is None:
        return HiddenWarmup(best.words, None, False, 0)
    begins = best.decay_start
    if begins > int(samples.steps[0]) + shift:
        return HiddenWarmup(best.words, None, False, shift)
    # a decay without a scale fits from any step on, so only round numbers tell where it begins
    certain = begins == 0 and (not best.decay.scaleless or digits_of(best.peak) <= PEAK_DIGITS)
    if best.decay.scaleless and not certain:
        return HiddenWarmup(best.words, None, False, shift)
    return HiddenWarmup(best.words, begins, certain, shift)
