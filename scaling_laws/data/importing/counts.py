"""Numbers of tokens and samples: per update, and of batch ramps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import UsageError
from scaling_laws.data.importing.options import Finding, Options
from scaling_laws.data.logs import LogTable
from scaling_laws.data.logs.repeated import resolve

__all__ = ["TokenCounts", "tokens_of"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
EVEN = 1e-6  # relative deviation from a straight line up to which the batch size is constant


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """The numbers of tokens of a run.

    Attributes:
        tokens: cumulative at each point, if the batch size changes during the run: (points,).
        per_step: tokens per update, if constant and known.
        findings: for the report.
    """

    tokens: Array | None = field(repr=False)
    per_step: float | None
    findings: tuple[Finding, ...]


def tokens_of(
    tables: Sequence[LogTable],
    keys: Mapping[str, str],
    options: Options,
    steps: Whole,
    series: Callable[[str], tuple[Whole, Array]],
) -> TokenCounts:
    """Tokens per update, from the options and the log.

    Args:
        tables: of the run.
        keys: the key of each role.
        options: of the import.
        steps: of the points: (points,).
        series: a role -> updates and values in the order of the files.

    Raises:
        UsageError: if the log contradicts an option.
    """
    stated = options.tokens_per_step
    if stated is None and options.samples_per_step is not None:
        stated = options.sequence_length and options.samples_per_step * options.sequence_length
    role = "tokens" if "tokens" in keys else "samples"
    scale = 1 if role == "tokens" else options.sequence_length
    if role not in keys or not scale:
        return TokenCounts(None, stated, ())
    at, values = series(role)
    good = np.isfinite(values)
    at, values, _ = resolve(at[good], values[good] * scale, options.repeats or "last")
    if at.size < 2:
        return TokenCounts(None, stated, ())
    rises = np.diff(values) / np.diff(at)
    rise = float(np.median(rises))
    line = values[0] + rise * (at - at[0])
    even = rise > 0 and bool((np.abs(values - line) <= EVEN * np.abs(values).max()).all())
    if even:
        if stated is not None and abs(rise - stated) > EVEN * stated:
            raise UsageError(
                f"{tables[0].source}, {keys[role]!r}: {rise:g} tokens per update are logged where "
                f"{stated:g} were given; correct --tokens-per-step, --samples-per-step or "
                "--sequence-length, or --steps-per-update",
                path=tables[0].source,
                column=keys[role],
                value=rise,
            )
        per_step = float(round(rise))
        words = f"{per_step:g} tokens per update, from {keys[role]}"
        return TokenCounts(None, per_step, (Finding("tokens", words),))
    words = (
        f"{keys[role]} does not rise evenly ({float(rises.min()):g} to {float(rises.max()):g} "
        "tokens per update): a batch ramp; a column tokens is kept"
    )
    return TokenCounts(np.interp(steps, at, values), None, (Finding("tokens", words),))
