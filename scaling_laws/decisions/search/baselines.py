"""Common schedules that an optimised schedule is compared with."""

from __future__ import annotations

from typing import Any

from scaling_laws.decisions.constraints import ScheduleConstraints
from scaling_laws.models import Schedule, SearchFrame, format_spec, get_family, schedule

__all__ = ["baseline_specs", "baselines_of"]


def baseline_specs(frame: SearchFrame) -> list[str]:
    """Common schedules with the same peak, steps, warm-up and lowest allowed LR.

    Constant; cosine to a tenth and to the lowest LR; linear to the lowest LR; WSD with linear
    cooldowns of 10 and 20 %, with 1-sqrt over 20 %, and with power 1.5 over 12 % (the best simple
    cooldown found under the published multi-power fits).
    """
    common = {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup}
    low = frame.end_min

    def cooldown(share: float, **shape: Any) -> dict[str, Any]:
        start = frame.steps - max(1, round(share * frame.steps))
        return {"end": low, "decay_start": max(start, frame.warmup), **shape}

    choices: list[tuple[str, dict[str, Any]]] = [
        ("constant", {}),
        ("cosine", {"end": max(low, float(f"{0.1 * frame.peak:.6g}"))}),
        ("cosine", {"end": low}),
        ("linear", {"end": low}),
        ("wsd", cooldown(0.1, decay="linear")),
        ("wsd", cooldown(0.2, decay="linear")),
        ("wsd", cooldown(0.2, decay="1-sqrt")),
        ("wsd", cooldown(0.12, decay="power", power=1.5)),
    ]
    specs = [format_spec(get_family(name), {**common, **shape}) for name, shape in choices]
    return list(dict.fromkeys(specs))  # a high end_min makes some of them the same


def baselines_of(constraints: ScheduleConstraints) -> list[Schedule]:
    """The baselines as whole runs, after the prefix if there is one."""
    return [
        constraints.complete(schedule(spec)) for spec in baseline_specs(constraints.search_frame)
    ]
