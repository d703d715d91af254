"""Ways to end a run: hold the present LR, then cool down; for budgets, and for every step."""

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
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)  # of the steps that are left
NEARER = (0.8, 0.9, 1.1, 1.25)  # times the best of those
COARSE = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
STOPS = 12
ROUND = (10, 25, 50)  # spacings, times powers of ten: multiples of five


def tail_spec(rate: float, steps: int, cooldown: int, shape: str, end: float) -> str:
    """The spec of steps that hold a rate and then cool down.

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
    """The cooldown with the lowest predicted final loss, of some lengths and shapes.

    Args:
        posterior: the law after the run so far.
        done: learning rates of the updates that are done.
        steps: of the whole run.
        end: learning rate at its end.
        shapes: of the cooldown.
        shares: its length, as a share of the steps that are left.
        refine: try lengths near the best one too.
    """
    left, rate = steps - len(done), float(done[-1])
    tried: dict[tuple[str, int], float] = {}

    def lr_of(shape: str, length: int) -> Array:
        return np.concatenate([done, schedule(tail_spec(rate, left, length, shape, end)).lr])

    def attempt(shape: str, share: float) -> None:
        length = min(max(round(share * left), 1), left)
        if (shape, length) not in tried:
            tried[shape, length] = posterior.end(lr_of(shape, length))[0]

    for shape in shapes:
        for share in shares:
            attempt(shape, share)
    shape, length = min(tried, key=lambda each: tried[each])
    if refine:
        for factor in NEARER:
            attempt(shape, factor * length / left)
        shape, length = min(tried, key=lambda each: tried[each])
    lr = lr_of(shape, length)
    value, draws = posterior.end(lr)
    interval = posterior.interval(value, lr, draws)
    spec = tail_spec(rate, left, length, shape, end)
    return Cooldown(steps, steps - length, shape, value, interval, spec)


def stops(
    posterior: Posterior, done: Array, plan: Array, end: float, last: int
) -> tuple[Stop, ...]:
    """The loss at a row of steps, cut short and cooled down, from now to step `last`.

    Args:
        posterior: the law after the run so far.
        done: learning rates of the updates that are done.
        plan: those of the current plan, (its steps,).
        end: learning rate at the end of a cooldown.
        last: where the row ends.
    """
    found = []
    steps = _stop_steps(len(done), last)
    for number, step in enumerate(steps, 1):
        cooled = best_cooldown(
            posterior, done, step, end, shapes=("linear",), shares=COARSE, refine=False
        )
        cut = posterior.end(plan[:step])[0] if step <= len(plan) else None
        found.append(Stop(step, cut, cooled.final_loss, cooled.interval_90, cooled.start))
        report_progress("losses if stopped early", number, len(steps))
    return tuple(found)


def _stop_steps(now: int, last: int) -> list[int]:
    """About `STOPS` round steps from just after now to the last.

    >>> _stop_steps(20_000, 50_000)[:3], _stop_steps(20_000, 50_000)[-2:]
    ([21000, 22500, 25000], [47500, 50000])
    """
    span = last - now
    spacing = next(
        factor * 10**power
        for power in range(12)
        for factor in ROUND
        if factor * 10**power >= span / STOPS
    )
    first = now + max(MIN_SHAPED_STEPS, span // 40)
    soon = -(-first // (spacing // 5 or 1)) * (spacing // 5 or 1)
    even = range((now // spacing + 1) * spacing, last, spacing)
    return sorted({min(soon, last), *(step for step in even if step >= first), last})


def default_budgets(now: int, steps: int) -> tuple[int, ...]:
    """A few round step counts between now and twice the plan, its own among them.

    >>> default_budgets(15_000, 50_000)
    (32000, 50000, 75000, 100000)
    """
    wanted = (0.5 * (now + steps), steps, 1.5 * steps, 2.0 * steps)
    rounded = {steps if each == steps else int(float(f"{each:.2g}")) for each in wanted}
    return tuple(sorted(each for each in rounded if each >= now + MIN_SHAPED_STEPS))
