"""The schedule value, the spec text, and the record of a schedule family.

The step convention of the whole package: ``lr[t]`` is the learning rate of update ``t``, 0-based. A
loss logged at step ``s`` comes after ``lr[0..s]``, both ends included. Decay families count the
same way and reach ``end`` at step ``steps``, just after the last update, whose rate is therefore
slightly above it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import MAX_STEPS, ScheduleError, unknown_name

__all__ = [
    "Family",
    "Key",
    "Schedule",
    "SearchBox",
    "SearchFrame",
    "end_between",
    "format_number",
    "warm_up",
    "with_warmup",
]

Values = Mapping[str, Any]
MAX_LR = 1e100  # sums and powers of rates are finite below it


@dataclass(frozen=True, eq=False)
class Schedule:
    """The learning rate of every optimizer step.

    Attributes:
        spec: the text that describes it, e.g. ``cosine:peak=3e-4,end=3e-5,steps=24000``.
        lr: learning rates of shape (steps,), float64, read-only, from 0 to `MAX_LR`.
        joins: steps at which a later part of a joined spec begins; empty for a plain one.
    """

    spec: str
    lr: NDArray[np.float64] = field(repr=False)
    joins: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lr = np.array(self.lr, dtype=np.float64, copy=True)
        if lr.ndim != 1 or lr.size == 0:
            raise ScheduleError(
                f"{self.spec}: a schedule is a non-empty 1-D array of LRs, got shape {lr.shape}"
            )
        bad = ~((lr >= 0) & (lr <= MAX_LR))  # NaN is bad too
        if bad.any():
            step = int(np.argmax(bad))
            raise ScheduleError(
                f"{self.spec}: LR {lr[step]} at step {step} is not a number from 0 to {MAX_LR:g}"
            )
        edges = (0, *self.joins, lr.size)
        if self.joins and any(after <= before for before, after in itertools.pairwise(edges)):
            raise ScheduleError(
                f"{self.spec}: joins={self.joins} must increase within 1..{lr.size - 1}"
            )
        lr.flags.writeable = False
        object.__setattr__(self, "lr", lr)

    @property
    def steps(self) -> int:
        """Number of updates, warm-up included."""
        return int(self.lr.size)

    @property
    def peak_lr(self) -> float:
        """The largest learning rate of any step."""
        return float(self.lr.max())

    @property
    def warmup(self) -> int:
        """Number of steps of the initial rise, up to and including its peak."""
        rising = np.diff(self.lr) > 0
        if not rising[:1].any():
            return 0
        return (int(np.argmin(rising)) if not rising.all() else int(rising.size)) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and np.array_equal(self.lr, other.lr)

    def __hash__(self) -> int:
        return hash((self.steps, self.lr.tobytes()))


def positive(text: str) -> float:
    """A finite number > 0."""
    value = _number(text)
    if not value > 0:
        raise ValueError("must be > 0")
    return value


def nonnegative(text: str) -> float:
    """A finite number >= 0."""
    value = _number(text)
    if value < 0:
        raise ValueError("must be >= 0")
    return value


def negative(text: str) -> float:
    """A finite number < 0."""
    value = _number(text)
    if not value < 0:
        raise ValueError("must be < 0")
    return value


def count(text: str) -> int:
    """A whole number >= 0; ``24000``, ``24_000`` and ``2.4e4`` are the same."""
    value = _number(text)
    if value != int(value) or value < 0:
        raise ValueError("must be a whole number >= 0")
    if value > MAX_STEPS:
        raise ValueError(f"is more than {MAX_STEPS:,} steps")
    return int(value)


def fraction(text: str) -> float:
    """A number strictly between 0 and 1."""
    value = _number(text)
    if not 0 < value < 1:
        raise ValueError("must be between 0 and 1")
    return value


def file_path(text: str) -> str:
    """A file; relative paths start from the `base` folder of `schedule`."""
    if not text:
        raise ValueError("the path is missing")
    return text


def choice(*options: str) -> Callable[[str], str]:
    """One of the options."""

    def convert(text: str) -> str:
        if text not in options:
            raise ValueError(unknown_name("choice", text, options))
        return text

    return convert


def row_of(convert: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Values separated by ``/``."""

    def convert_row(text: str) -> tuple[Any, ...]:
        return tuple(convert(part) for part in text.split("/"))

    return convert_row


def _number(text: str) -> float:
    try:
        value = float(text)
        if not text.isascii():
            raise ValueError
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(value):
        raise ValueError("is not finite")
    return value


@dataclass(frozen=True)
class Key:
    """One ``key=value`` of a family: parser, meaning, and default if any."""

    name: str
    convert: Callable[[str], Any]
    meaning: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class SearchFrame:
    """The fixed part of a schedule search; numbers, or arrays while traced."""

    peak: Any
    steps: Any
    warmup: Any
    end_min: Any


@dataclass(frozen=True)
class SearchBox:
    """The variable part of a family in a search: a box of numbers, decoded to spec values.

    Attributes:
        label: a name for messages.
        low: lower ends of the box, of shape (numbers,).
        high: upper ends.
        values: (unconstrained numbers, frame, numpy or jax.numpy) -> values for the family's keys
            except peak, steps, warmup; traceable.
    """

    label: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    values: Callable[[Sequence[Any], SearchFrame, Any], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """A schedule family: a name, its keys and a function from values to learning rates.

    Attributes:
        name: the word before the colon of a spec.
        formula: the learning rate after warm-up, with T the total steps, W the warm-up.
        citation: source of the family.
        keys: every key a spec may have.
        build: values by key name -> learning rates of shape (steps,).
        shapes: what a schedule search may vary; empty if the family is not searched.
        lr_after_warmup: (values, steps from the warm-up on, numpy or jax.numpy) -> their rates,
            traceable; every family with search boxes has it, and `build` uses it.
        breakpoints: values -> the steps, in increasing order, at which a new smooth segment of
            `lr_after_warmup` begins.
    """

    name: str
    formula: str
    citation: str
    keys: tuple[Key, ...]
    build: Callable[[Values], NDArray[np.float64]]
    shapes: tuple[SearchBox, ...] = ()
    lr_after_warmup: Callable[[Values, Any, Any], Any] | None = None
    breakpoints: Callable[[Values], tuple[Any, ...]] = lambda values: ()


PEAK = Key("peak", positive, "highest learning rate", required=True)
END = Key("end", nonnegative, "learning rate at step `steps`", default=0.0)
STEPS = Key("steps", count, "total steps, warm-up included", required=True)
WARMUP = Key("warmup", count, "warm-up steps, linear up to the peak", default=0)
WARMUP_FROM = Key(
    "warmup_from", nonnegative, "learning rate of the first warm-up step", default=0.0
)
COMMON_KEYS = (PEAK, STEPS, WARMUP, WARMUP_FROM)


def warm_up(
    values: Values, lr_after_warmup: Callable[[NDArray[np.float64]], Any], *, to_peak: bool = True
) -> NDArray[np.float64]:
    """Put a linear warm-up before a schedule.

    Args:
        values: must contain peak, steps, warmup and warmup_from.
        lr_after_warmup: steps from `warmup` on (float64) -> their learning rates.
        to_peak: whether the warm-up rises to the peak; else to the first rate of
            `lr_after_warmup`, for a family that may start below its peak, to avoid a drop at the
            end of the warm-up.

    Returns:
        Learning rates of shape (steps,).

    Raises:
        ScheduleError: if the warm-up does not fit, or its start or `end` is above the peak.
    """
    steps, warmup = values["steps"], values["warmup"]
    if steps < 1:
        raise ScheduleError("steps=0: a schedule needs at least one step")
    if warmup >= steps:
        raise ScheduleError(f"warmup={warmup} leaves no step of steps={steps}; shorten the warm-up")
    if values["warmup_from"] > values["peak"]:
        raise ScheduleError(
            f"warmup_from={values['warmup_from']:g} is above peak={values['peak']:g}"
        )
    if values.get("end", 0.0) > values["peak"]:
        raise ScheduleError(f"end={values['end']:g} is above peak={values['peak']:g}")
    lr = np.empty(steps)
    lr[warmup:] = lr_after_warmup(np.arange(warmup, steps, dtype=np.float64))
    top = values["peak"] if to_peak else float(lr[warmup])
    if warmup and values["warmup_from"] > top:
        raise ScheduleError(
            f"warmup_from={values['warmup_from']:g} is above {top:g}, the first rate after it"
        )
    lr[:warmup] = np.linspace(values["warmup_from"], top, warmup)
    return lr


def with_warmup(
    lr_after_warmup: Callable[[Values, Any, Any], Any],
) -> Callable[[Values], NDArray[np.float64]]:
    """The `Family.build` of a family that is a linear warm-up and then `lr_after_warmup`."""
    return lambda values: warm_up(values, lambda step: lr_after_warmup(values, step, np))


def decay_start(values: Values) -> int:
    """First step of a cooldown given as `decay_start` or as `decay_fraction` of all steps."""
    start, share = values["decay_start"], values["decay_fraction"]
    steps, warmup = int(values["steps"]), int(values["warmup"])
    if (start is None) == (share is None):
        raise ScheduleError("give exactly one of decay_start=STEP and decay_fraction=SHARE")
    first_step = int(start) if start is not None else steps - round(steps * float(share))
    if first_step < warmup:
        raise ScheduleError(f"the cooldown starts at step {first_step}, within warmup={warmup}")
    if first_step >= steps:
        raise ScheduleError(f"the cooldown starts at step {first_step}, not before steps={steps}")
    return first_step


def end_between(free: Sequence[Any], frame: SearchFrame, xp: Any) -> dict[str, Any]:
    """Search the end LR: the first number in [0, 1] maps to the lowest end up to the peak."""
    end = frame.end_min + free[0] * (frame.peak - frame.end_min)
    return {"end": xp.minimum(end, frame.peak)}  # rounding may put the sum above the peak


def format_number(value: float) -> str:
    """The shortest text that parses to the same number."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15 and abs(value) >= 1):
        return str(int(value))
    return repr(float(value))
