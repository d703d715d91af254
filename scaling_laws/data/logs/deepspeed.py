"""Text that DeepSpeed prints, every `steps_per_print` updates.

``[Rank 0] step=10, skipped=0, lr=[0.0003], mom=[(0.9, 0.95)]`` counts updates done. Its rates are
read after the scheduler has stepped: they are those of the next update. `skipped` is a sum over the
run. ``steps: 10 loss: 9.5000 iter time (s): ...`` comes from the pipeline engine only; without it
the loss is elsewhere. Source: `_take_model_step` in deepspeed/runtime/engine.py, `train_batch` in
deepspeed/runtime/pipe/engine.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from scaling_laws.data.logs.megatron import MEGATRON
from scaling_laws.data.logs.patterns import (
    NUMBER,
    LineFormat,
    match_signatures,
    pairs_of,
    read_line_formats,
)
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader

__all__ = ["DEEPSPEED"]

RATES = re.compile(r"(?:^|\s)step=(\d+), skipped=(?=\d)")
RATES_REST = re.compile(rf"(\d+), lr=\[({NUMBER}(?:, {NUMBER})*)\], mom=\[.*\]\s*$")
LOSS = re.compile(r"(?:^|\s)steps: (\d+) (?=loss: )")
LOSS_FIELD = re.compile(rf"\s*([a-z][\w/ ()]*): ({NUMBER})(?=\s|$)")
SIGNATURES = (
    re.compile(rf"(?:^|\s)step=\d+, skipped=\d+, lr=\[{NUMBER}"),
    re.compile(rf"(?:^|\s)steps: \d+ loss: {NUMBER} iter time \(s\): "),
)


def detect(head: Head) -> Match:
    """By a line with rates or a loss, unless Megatron prints fuller ones beside them."""
    return (
        Match.NO if MEGATRON.detect(head) is Match.SPECIFIC else match_signatures(head, *SIGNATURES)
    )


def parse_rates(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """The rates, a key for each parameter group."""
    rest = RATES_REST.match(line, start.end())
    if rest is None:
        return None
    rates = [float(rate) for rate in rest[2].split(", ")]
    names = ["lr"] if len(rates) == 1 else [f"lr_{group}" for group in range(len(rates))]
    return {
        "step": float(start[1]),
        "skipped": float(rest[1]),
        **dict(zip(names, rates, strict=True)),
    }


def parse_loss(line: str, start: re.Match[str]) -> Mapping[str, float] | None:
    """The loss of the pipeline engine."""
    pairs = pairs_of(line[start.end() :], LOSS_FIELD)
    return None if pairs is None else {"step": float(start[1]), **pairs}


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: if no line is complete, or the file cannot be read.
    """
    formats = [LineFormat(RATES, parse_rates), LineFormat(LOSS, parse_loss)]
    example = "steps: 10 loss: 9.5000 iter time (s): 0.500"
    return (read_line_formats(path, formats, example, step="step", first_step=1, lr_offset=1),)


DEEPSPEED = Reader(
    name="deepspeed",
    meaning="text that DeepSpeed prints: step=N, skipped=..., lr=[...] and steps: N loss: ...",
    detect=detect,
    read=read,
)
