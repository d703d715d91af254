"""Schedules and facts from the settings of known trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling_laws.models import format_number

__all__ = ["facts_of", "spec_of"]

# a trainer's name of a cooldown shape -> that of a spec
SHAPES = {"linear": "linear", "cosine": "cosine", "exp": "exponential", "sqrt": "1-sqrt"}
FACTS = {"weight_decay": "weight_decay", "parameters": "model_params"}


def _numbers(config: Mapping[str, Any], *names: str) -> list[float] | None:
    numbers = [config.get(name) for name in names]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        return None
    return [float(number) for number in numbers if isinstance(number, int | float)]


def spec_of(config: Mapping[str, Any]) -> str | None:
    """The spec of a trainer's settings; None if they are not of a known trainer.

    Known are trainers with `scheduler` cos or wsd beside `lr`, `iterations` and `warmup_steps`.
    The caller must check it against the logged rates: settings do not prove what was run.

    >>> spec_of({"scheduler": "cos", "lr": 1e-3, "iterations": 100, "warmup_steps": 10,
    ...          "cos_final_lr": 0.0})
    'cosine:peak=0.001,steps=100,warmup=10'
    """
    known = _numbers(config, "lr", "iterations", "warmup_steps")
    if known is None or known[0] <= 0:
        return None
    peak, steps, warmup = known
    common = f"peak={format_number(peak)}"
    length = f"steps={int(steps)}" + (f",warmup={int(warmup)}" if warmup else "")
    if config.get("scheduler") == "cos":
        end = _numbers(config, "cos_final_lr")
        if end is None or end[0] < 0:
            return None
        low = f",end={format_number(end[0])}" if end[0] else ""
        return f"cosine:{common}{low},{length}"
    if config.get("scheduler") == "wsd":
        rest = _numbers(config, "wsd_fract_decay", "wsd_final_lr_scale")
        shape = SHAPES.get(str(config.get("decay_type")))
        if rest is None or shape is None or not 0 <= rest[0] < 1 or rest[1] < 0:
            return None
        share, scale = rest
        if share == 0:
            return f"constant:{common},{length}"
        low = f",end={format_number(scale * peak)}" if scale else ""
        start = int(steps) - round(int(steps) * share)
        return f"wsd:{common}{low},{length},decay={shape},decay_start={start}"
    return None


def facts_of(config: Mapping[str, Any]) -> dict[str, float]:
    """Facts of the run that its settings state."""
    numbers = {fact: _numbers(config, name) for name, fact in FACTS.items()}
    return {fact: values[0] for fact, values in numbers.items() if values is not None}
