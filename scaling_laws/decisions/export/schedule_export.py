"""`export_schedule`: write a schedule in the form that a target needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling_laws.common import ScheduleError, UsageError, one_line, read_header
from scaling_laws.decisions.export.knots import TOLERANCE, choose_knots, steps_to_check
from scaling_laws.decisions.export.native import NativeFit
from scaling_laws.decisions.export.nearest import fit_families
from scaling_laws.decisions.export.target import (
    Export,
    PredictedLosses,
    Request,
    ScheduleRow,
    Target,
)
from scaling_laws.decisions.export.targets import TARGETS, get_target
from scaling_laws.models import Schedule, schedule

if TYPE_CHECKING:
    from scaling_laws.inference import CurveFit

__all__ = ["export_schedule", "native_summary", "read_schedule"]

MANY_KNOTS = 5000
SIMILAR = 0.01  # mean error as a share of the peak, below which native schedules count as similar
NOTABLE_LOSS = 1e-3  # nats: difference that a law can resolve


def read_schedule(text: str) -> Schedule:
    """A spec, or the path of a CSV as `optimize --out` writes.

    Raises:
        ScheduleError: if it is neither.
        DataError: if the file cannot be used.
    """
    if ":" not in text and not os.path.isfile(text.partition(",")[0]):
        raise ScheduleError(f"{text}: no such file, and not a spec (family:key=value,...)")
    return schedule(text)


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
        form: ``multiplier`` of the peak or ``absolute`` learning rates; the default depends on the
            target.
        unit: of positions: ``steps``, ``samples`` or ``tokens``.
        kind: ``exact`` or ``native``; default exact, or native if exact needs a patch.
        start_step: the schedule's step that becomes step 0 of the export.
        samples_per_step: sequences per optimizer step (global batch size).
        tokens_per_step: tokens per optimizer step.
        checkpoint_every: steps between checkpoints, for a merge; default a tenth of the cooldown.
        every: spacing in steps of the table to check; 0 chooses about 12 rows.
        law: predicts final losses, by which the native schedule is chosen.
        facts: facts of the run that override the law's.

    Returns:
        The export: its text, the table to check and its error.

    Raises:
        UsageError: if the arguments do not suit the target.
        ScheduleError: if the schedule is invalid.
        DataError: if the file of a schedule cannot be used.
        LawError: if the law does not take a schedule or needs a fact that is missing.

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
        # needs JAX
        from scaling_laws.decisions.export.predicted_losses import outlook_of

        outlook = outlook_of(law, whole, facts)
    choice = _nearest(target, whole, part, start_step, law, facts, outlook.final_loss)
    native = choice.fit
    native_kind = kind == "native"
    if native is not None and not target.states_distance and not _is_near(native, part):
        if native_kind:
            raise UsageError(
                f"--to {target.name} --native: no schedule of its own is near this one (the "
                f"nearest, {native.label}, differs by up to {native.max_error / part.peak_lr:.2g} "
                "of the peak); omit --native for the exact schedule"
            )
        choice, native = _Choice(remark=choice.remark), None
    if native_kind and native is None:
        raise UsageError(
            f"--to {target.name} --native: none of its schedules can have only {part.steps} steps"
        )
    run_lr = part.lr
    if native_kind and native is not None:
        run_lr = native.lr
    elif target.run_lr is not None:
        run_lr = target.run_lr(part, checkpoint_every)
    checked = steps_to_check(part.lr, part.warmup, every)
    rows = tuple(ScheduleRow(step, float(run_lr[step]), float(part.lr[step])) for step in checked)
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
        native_rows = tuple(replace(row, lr=float(native.lr[row.step])) for row in rows)
        native_text = target.native.write(replace(request, rows=native_rows))
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
        (*_omission_notes(plan), *_notes(target, request, kind, choice.remark)),
    )


def _is_near(fit: NativeFit, plan: Schedule) -> bool:
    """Whether at most 1 % of the rates differ by more than a tenth of the peak."""
    far = np.abs(fit.lr - plan.lr) > 0.1 * plan.peak_lr
    return bool(far.mean() <= 0.01)


def _choices(
    target: Target, form: str | None, unit: str | None, kind: str | None
) -> tuple[str, str, str]:
    """Form, unit and kind, checked and with the target's defaults."""
    for name, value, choices in (("form", form, target.forms), ("unit", unit, target.units)):
        if value is not None and value not in choices:
            raise UsageError(
                f"--{name} {value} does not suit --to {target.name}; use {' or '.join(choices)}"
            )
    if kind not in (None, "exact", "native"):
        raise UsageError(f"kind={kind!r} is not one of 'exact' and 'native'")
    if kind == "native" and target.native is None:
        with_native = ", ".join(other.name for other in TARGETS if other.native is not None)
        raise UsageError(
            f"--to {target.name} takes any schedule, so there is no native form; omit --native "
            f"(targets with one: {with_native})"
        )
    default = "native" if target.prefers_native else "exact"
    return form or target.forms[0], unit or target.units[0], kind or default


def _per_step(unit: str, samples: int | None, tokens: int | None) -> int:
    for name, value in (("samples", samples), ("tokens", tokens)):
        if value is not None and value < 1:
            raise UsageError(f"--{name}-per-step {value} must be >= 1")
    per_step = {"steps": 1, "samples": samples, "tokens": tokens}[unit]
    if per_step is None:
        raise UsageError(f"--unit {unit} needs --{unit}-per-step N, {unit} per optimizer step")
    return per_step


def _check_numbers(
    target: Target, plan: Schedule, start_step: int, every: int, checkpoint_every: int | None
) -> None:
    if not 0 <= start_step < plan.steps:
        raise UsageError(f"--start-step {start_step} is not in 0..{plan.steps - 1} of {plan.spec}")
    if every < 0:
        raise UsageError(f"--every {every} must be >= 0")
    if checkpoint_every is not None:
        if target.run_lr is None:
            raise UsageError(
                f"--checkpoint-every applies to merges only; --to {target.name} is not a merge"
            )
        if checkpoint_every < 1:
            raise UsageError(f"--checkpoint-every {checkpoint_every} must be >= 1")
    if start_step and target.run_lr is not None:
        raise UsageError(
            f"--to {target.name} counts the updates of the whole run; omit --start-step"
        )


@dataclass(frozen=True, eq=False)
class _Choice:
    """The native schedule, its predicted final loss, and a remark about a better one."""

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
    final_loss: float | None,
) -> _Choice:
    """Without a law the nearest in LR; with one, the nearest in loss among those similar in LR.

    A native schedule with a lower predicted loss is not chosen, because the user requested this
    schedule, but is mentioned.
    """
    fits = fit_families(part, target.native.families) if target.native is not None else []
    if law is None or final_loss is None or not fits:
        return _Choice(fits[0] if fits else None)
    from scaling_laws.decisions.export.predicted_losses import losses_of

    before = whole.lr[:start_step]
    rows = np.stack([np.concatenate([before, fit.lr]) for fit in fits])
    losses = losses_of(law, whole, rows, facts)
    max_error = max(2 * fits[0].mean_error, SIMILAR * part.peak_lr)
    similar = [i for i, fit in enumerate(fits) if fit.mean_error <= max_error]
    best = 0 if fits[0].exact else min(similar, key=lambda i: abs(losses[i] - final_loss))
    lowest = int(np.argmin(losses))
    remark = None
    if losses[lowest] < min(final_loss, losses[best]) - NOTABLE_LOSS:
        remark = (
            f"another schedule of {target.name}, {fits[lowest].label}, is predicted to end "
            f"{final_loss - losses[lowest]:.4f} nats below this one"
        )
    return _Choice(fits[best], float(losses[best]), remark)


def _omission_notes(plan: Schedule | str | Path) -> list[str]:
    """Contents of a file that no target supports."""
    if isinstance(plan, Schedule) or not os.path.isfile(plan):
        return []
    if "weight_decay" not in read_header(plan):
        return []
    return [
        f"{plan} has a weight decay of each step, optimised with these rates: no target supports "
        "it, so set it in the trainer; predictions here assume the law's constant weight decay"
    ]


def _notes(target: Target, request: Request, kind: str, remark: str | None) -> tuple[str, ...]:
    """Caveats of the export."""
    notes = [] if remark is None else [remark]
    fit, peak = request.native, request.plan.peak_lr
    if kind == "exact" and fit is not None and fit.exact:
        notes.append(f"{target.name} has this schedule: --native gives it as {fit.label}")
    if kind == "native" and fit is not None and not fit.exact:
        notes.append(
            f"the nearest native schedule, {fit.label}, differs by up to "
            f"{fit.max_error / peak:.2g} of the peak, {fit.mean_error / peak:.2g} on average; "
            "--exact gives the exact schedule"
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
