"""`export_schedule`: from a schedule and the name of a target to what the target is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_laws.common import ScheduleError, UsageError, read_header
from scaling_laws.decisions.export.knots import TOLERANCE, choose_knots, steps_to_check
from scaling_laws.decisions.export.native import NativeFit
from scaling_laws.decisions.export.nearest import fit_families
from scaling_laws.decisions.export.target import (
    Export,
    PredictedLosses,
    Request,
    ScheduleRow,
    Target,
    one_line,
)
from scaling_laws.decisions.export.targets import TARGETS, get_target
from scaling_laws.models import Schedule, schedule

if TYPE_CHECKING:
    from scaling_laws.inference import CurveFit

__all__ = ["export_schedule", "native_summary", "read_schedule"]

MANY_KNOTS = 5000
NEAR = 0.01  # of the peak: native schedules this near on average are alike but for their loss
NOTABLE = 1e-3  # nats: what a law tells apart


def read_schedule(text: str) -> Schedule:
    """A spec, or the path of a CSV as `optimize --out` writes.

    Raises:
        ScheduleError: if it is neither.
        DataError: if the file cannot be used.
    """
    if ":" not in text and not os.path.isfile(text):
        raise ScheduleError(f"{text}: no such file, and no spec (family:key=value,...)")
    return schedule(f"csv:{text}" if os.path.isfile(text) else text)


def export_schedule(
    plan: Schedule | str | Path,
    *,
    to: str,
    form: str | None = None,
    unit: str | None = None,
    kind: str | None = None,
    start_step: int = 0,
    samples_per_step: int | None = None,
    tokens_per_step: int | None = None,
    checkpoint_every: int | None = None,
    every: int = 0,
    law: CurveFit | None = None,
    facts: Mapping[str, float] | None = None,
) -> Export:
    """Write a schedule for a trainer.

    Args:
        plan: a schedule, its spec, or the path of a CSV file with columns step,lr.
        to: name of a target, see `TARGETS`.
        form: ``multiplier`` of the peak or ``absolute`` learning rates; default what suits the
            target.
        unit: what positions are counted in: ``steps``, ``samples`` or ``tokens``.
        kind: ``exact`` or ``native``; default exact, native where exact needs a patch.
        start_step: the schedule's step that becomes step 0 of what is written.
        samples_per_step: sequences an update takes (the global batch size).
        tokens_per_step: tokens an update takes.
        checkpoint_every: steps between checkpoints, for a merge; default a tenth of the cooldown.
        every: show every so many steps in the table to check; 0 chooses about 12.
        law: predicts final losses, and chooses the native schedule by them.
        facts: numbers of the run that override the law's.

    Returns:
        The export: its text, the table to check and how far it is from the schedule.

    Raises:
        UsageError: if the arguments do not fit the target.
        ScheduleError: if there is no such schedule.
        DataError: if a file of a schedule cannot be used.
        LawError: if the law sees no schedule or needs a fact that nothing gives.

    >>> export = export_schedule("linear:peak=1e-3,steps=100", to="hf")
    >>> export.exact, export.native_arguments["lr_scheduler_type"], export.native.exact
    (True, 'linear', True)
    """
    whole = plan if isinstance(plan, Schedule) else read_schedule(str(plan))
    target = get_target(to)
    form, unit, kind = _choices(target, form, unit, kind)
    per_step = _per_step(unit, samples_per_step, tokens_per_step)
    _check_numbers(target, whole, start_step, every, checkpoint_every)
    part = Schedule(one_line(whole.spec), whole.lr[start_step:])
    if not part.peak_lr > 0:
        raise ScheduleError(f"{part.spec}: every learning rate is 0; nothing is trained")
    outlook = PredictedLosses()
    if law is not None:
        from scaling_laws.decisions.export.predicted_losses import (
            outlook_of,  # needs JAX; a law only
        )

        outlook = outlook_of(law, whole, facts)
    choice = _nearest(target, whole, part, start_step, law, facts, outlook.final_loss)
    native = choice.fit
    native_kind = kind == "native"
    if native_kind and native is None:
        raise UsageError(
            f"--to {target.name} --native: none of its schedules has as few as {part.steps} steps"
        )
    run_lr = part.lr
    if native_kind and native is not None:
        run_lr = native.lr
    elif target.run_lr is not None:
        run_lr = target.run_lr(part, checkpoint_every)
    shown = steps_to_check(part.lr, part.warmup, every)
    rows = tuple(ScheduleRow(step, float(run_lr[step]), float(part.lr[step])) for step in shown)
    request = Request(
        part,
        one_line(whole.spec),
        whole.peak_lr,
        start_step,
        choose_knots(part.lr),
        form,
        unit,
        per_step,
        rows,
        outlook,
        native,
        choice.loss,
        checkpoint_every,
        samples_per_step,
    )
    native_text, arguments = None, {}
    if target.native is not None and native is not None:
        of_native = tuple(replace(row, lr=float(native.lr[row.step])) for row in rows)
        native_text = target.native.write(replace(request, rows=of_native))
        arguments = target.native.arguments(request)
    if native_kind and native is not None and native_text is not None:
        written: str | bytes = native_text
        error = native.max_error
    else:
        written = target.exact(request)
        error = request.knots.max_error if target.max_error is None else target.max_error(request)
    text = written if isinstance(written, str) else None
    return Export(
        target.name,
        form,
        unit,
        kind,
        error <= TOLERANCE * part.peak_lr,
        error,
        text,
        written.encode("utf-8") if isinstance(written, str) else written,
        rows,
        native,
        arguments,
        native_text,
        outlook,
        choice.loss,
        (*_left_out(plan), *_notes(target, request, kind, choice.remark)),
    )


def _choices(
    target: Target, form: str | None, unit: str | None, kind: str | None
) -> tuple[str, str, str]:
    """Form, unit and kind, checked and with the target's defaults."""
    for name, value, known in (("form", form, target.forms), ("unit", unit, target.units)):
        if value is not None and value not in known:
            raise UsageError(
                f"--{name} {value} does not suit --to {target.name}; it takes {' or '.join(known)}"
            )
    if kind not in (None, "exact", "native"):
        raise UsageError(f"kind={kind!r}: known are 'exact' and 'native'")
    if kind == "native" and target.native is None:
        having = ", ".join(each.name for each in TARGETS if each.native is not None)
        raise UsageError(
            f"--to {target.name} takes any schedule, so there is no native form; leave --native "
            f"out (targets with one: {having})"
        )
    default = "native" if target.prefers_native else "exact"
    return form or target.forms[0], unit or target.units[0], kind or default


def _per_step(unit: str, samples: int | None, tokens: int | None) -> int:
    for name, value in (("samples", samples), ("tokens", tokens)):
        if value is not None and value < 1:
            raise UsageError(f"--{name}-per-step {value} must be >= 1")
    given = {"steps": 1, "samples": samples, "tokens": tokens}[unit]
    if given is None:
        raise UsageError(f"--unit {unit} needs --{unit}-per-step N, how many an update takes")
    return given


def _check_numbers(
    target: Target, plan: Schedule, start_step: int, every: int, checkpoint_every: int | None
) -> None:
    if not 0 <= start_step < plan.steps:
        raise UsageError(f"--start-step {start_step} is not in 0..{plan.steps - 1} of {plan.spec}")
    if every < 0:
        raise UsageError(f"--every {every} must be >= 0")
    if checkpoint_every is not None:
        if target.run_lr is None:
            raise UsageError(f"--checkpoint-every is about merges; --to {target.name} makes none")
        if checkpoint_every < 1:
            raise UsageError(f"--checkpoint-every {checkpoint_every} must be >= 1")
    if start_step and target.run_lr is not None:
        raise UsageError(
            f"--to {target.name} counts the updates of the whole run; leave --start-step out"
        )


@dataclass(frozen=True, eq=False)
class _Choice:
    """The native schedule to offer, its predicted final loss, and a remark about others."""

    fit: NativeFit | None = None
    loss: float | None = None
    remark: str | None = None


def _nearest(
    target: Target,
    whole: Schedule,
    part: Schedule,
    start_step: int,
    law: CurveFit | None,
    facts: Mapping[str, float] | None,
    wanted: float | None,
) -> _Choice:
    """Without a law the nearest in LR; with one, of those about as near, the nearest in loss.

    The lowest predicted loss is no reason to choose: the user asked for this schedule. But a
    native one with a lower loss is worth a remark.
    """
    fits = fit_families(part, target.native.families) if target.native is not None else []
    if law is None or wanted is None or not fits:
        return _Choice(fits[0] if fits else None)
    from scaling_laws.decisions.export.predicted_losses import losses_of

    before = whole.lr[:start_step]
    rows = np.stack([np.concatenate([before, fit.lr]) for fit in fits])
    losses = losses_of(law, whole, rows, facts)
    near = max(2 * fits[0].mean_error, NEAR * part.peak_lr)
    known = [place for place, fit in enumerate(fits) if fit.mean_error <= near]
    best = 0 if fits[0].exact else min(known, key=lambda place: abs(losses[place] - wanted))
    lowest = int(np.argmin(losses))
    remark = None
    if losses[lowest] < min(wanted, losses[best]) - NOTABLE:
        remark = (
            f"another schedule of {target.name}, {fits[lowest].label}, is predicted to end "
            f"{wanted - losses[lowest]:.4f} nats below this one"
        )
    return _Choice(fits[best], float(losses[best]), remark)


def _left_out(plan: Schedule | str | Path) -> list[str]:
    """What a file holds beside the rates and no target takes."""
    if isinstance(plan, Schedule) or not os.path.isfile(plan):
        return []
    if "weight_decay" not in read_header(plan):
        return []
    return [
        f"{plan} holds a weight decay of each step, which belongs to these rates: no target takes "
        "it, so set it in the trainer; predictions here are for the law's constant weight decay"
    ]


def _notes(target: Target, request: Request, kind: str, remark: str | None) -> tuple[str, ...]:
    """What to know before the export is used."""
    notes = [] if remark is None else [remark]
    fit, peak = request.native, request.plan.peak_lr
    if kind == "exact" and fit is not None and fit.exact:
        notes.append(f"{target.name} knows this schedule: --native gives it as {fit.label}")
    if kind == "native" and fit is not None and not fit.exact:
        notes.append(
            f"the nearest native schedule, {fit.label}, is off by up to {fit.max_error / peak:.2g} "
            f"of the peak, {fit.mean_error / peak:.2g} on average; "
            "--exact gives the schedule itself"
        )
    if kind == "exact" and len(request.knots.steps) > MANY_KNOTS and target.max_error is None:
        notes.append(f"{len(request.knots.steps)} knots: the schedule bends at most of its steps")
    return tuple(notes)


def native_summary(export: Export) -> dict[str, Any]:
    """The native schedule as plain values; empty if the target has none."""
    fit = export.native
    if fit is None:
        return {}
    return {
        "name": fit.label,
        "arguments": dict(export.native_arguments),
        "exact": fit.exact,
        "max_lr_error": fit.max_error,
        "mean_lr_error": fit.mean_error,
        "text": export.native_text,
    }
