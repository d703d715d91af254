"""Ways to end a run: keep the current LR, then cool down; per budget, and at a grid of steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import report_progress
from scaling_laws.decisions.constraints import MIN_SHAPED_STEPS
from scaling_laws.decisions.replanning.posterior import Posterior
from scaling_laws.decisions.replanning.replan_result import Cooldown, Stop
from scaling_laws.models import format_spec, get_family, schedule

__all__ = ["SHAPES", "best_cooldown", "default_budgets", "stops", "tail_spec"]

Array = NDArray[np.float64]
SHAPES = ("linear", "1-sqrt")
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)  # of the remaining steps
REFINEMENTS = (0.8, 0.9, 1.1, 1.25)  # factors on the best of those
COARSE_SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
STOPS = 12
ROUND_SPACINGS = (10, 25, 50)  # times powers of ten


def tail_spec(rate: float, steps: int, cooldown: int, shape: str, end: float) -> str:
    """The spec of a constant rate followed by a cooldown.

    >>> tail_spec(1e-3, 100, 20, "linear", 0.0)
    'wsd:peak=0.001,steps=100,decay_start=80'
    """
    values = {"peak": rate, "end": end, "steps": steps, "decay": shape}
    return format_spec(get_family("wsd"), {**values, "decay_start": steps - cooldown})


def best_cooldown(
    posterior: Posterior,
    done: Array,
    steps: int,
    end: float,
    *,
    shapes: Iterable[str] = SHAPES,
    shares: Iterable[float] = SHARES,
    refine: bool = True,
) -> Cooldown:
    """The cooldown with the lowest predicted final loss, over lengths and shapes.

    Args:
        posterior: the law conditioned on the run so far.
        done: learning rates of the completed updates.
        steps: of the whole run.
        end: learning rate at its end.
        shapes: of the cooldown.
        shares: its lengths, as shares of the remaining steps.
        refine: whether to try lengths near the best one too.
    """
    remaining, rate = steps - len(done), float(done[-1])
    tried: dict[tuple[str, int], float] = {}

    def lr_of(shape: str, length: int) -> Array:
        return np.concatenate([done, schedule(tail_spec(rate, remaining, length, shape, end)).lr])

    def attempt(shape: str, share: float) -> None:
        length = min(max(round(share * remaining), 1), remaining)
        if (shape, length) not in tried:
            tried[shape, length] = posterior.end(lr_of(shape, length))[0]

    for shape in shapes:
        for share in shares:
            attempt(shape, share)
    shape, length = min(tried, key=tried.__getitem__)
    if refine:
        for factor in REFINEMENTS:
            attempt(shape, factor * length / remaining)
        shape, length = min(tried, key=tried.__getitem__)
    lr = lr_of(shape, length)
    value, draws = posterior.end(lr)
    interval = posterior.interval(value, lr, draws)
    spec = tail_spec(rate, remaining, length, shape, end)
    return Cooldown(steps, steps - length, shape, value, interval, spec)


def stops(
    posterior: Posterior, done: Array, plan: Array, end: float, last: int
) -> tuple[Stop, ...]:
    """The losses at a grid of steps from now to step `last`, truncated and cooled down.

    Args:
        posterior: the law conditioned on the run so far.
        done: learning rates of the completed updates.
        plan: learning rates of the current plan: (its steps,).
        end: learning rate at the end of a cooldown.
        last: last step of the grid.
    """
    results = []
    steps = _stop_steps(len(done), last)
    for number, step in enumerate(steps, 1):
        cooled = best_cooldown(
            posterior, done, step, end, shapes=("linear",), shares=COARSE_SHARES, refine=False
        )
        truncated = posterior.end(plan[:step])[0] if step <= len(plan) else None
        results.append(Stop(step, truncated, cooled.final_loss, cooled.interval_90, cooled.start))
        report_progress("losses if stopped early", number, len(steps))
    return tuple(results)


def _stop_steps(now: int, last: int) -> list[int]:
    """About `STOPS` round steps from just after now to the last.

    >>> _stop_steps(20_000, 50_000)[:3], _stop_steps(20_000, 50_000)[-2:]
    ([21000, 22500, 25000], [47500, 50000])
    """
    span = last - now
    spacing = next(
        factor * 10**power
        for power in range(12)
        for factor in ROUND_SPACINGS
        if factor * 10**power >= span / STOPS
    )
    earliest = now + max(MIN_SHAPED_STEPS, span // 40)
    finer = spacing // 5 or 1
    first = -(-earliest // finer) * finer
    even = range((now // spacing + 1) * spacing, last, spacing)
    return sorted({min(first, last), *(step for step in even if step >= earliest), last})


def default_budgets(now: int, steps: int) -> tuple[int, ...]:
    """A few round step counts between now and twice the plan, including the plan's.

    >>> default_budgets(15_000, 50_000)
    (32000, 50000, 75000, 100000)
    """
    wanted = (0.5 * (now + steps), steps, 1.5 * steps, 2.0 * steps)
    rounded = {steps if end == steps else int(float(f"{end:.2g}")) for end in wanted}
    return tuple(sorted(end for end in rounded if end >= now + MIN_SHAPED_STEPS))
