"""`scaling-laws export`: write a schedule for a trainer."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

if TYPE_CHECKING:
    from scaling_laws.decisions import Export

__all__ = ["add_parser", "render", "run"]

EPILOG = """\
targets:
  torch, optax          Python file: an object for LambdaLR; a function count -> LR
  hf, torchtitan, olmo, deepspeed, nanogpt
                        Python file for the trainer; --native: its nearest built-in schedule
  megatron, nemo        the nearest built-in schedule; --exact: a patch that reproduces it
  csv, json, npy        every step as a table; interpolation knots; an array
  wsm                   weights for merging checkpoints in place of a cooldown

  scaling-laws export "wsd:peak=3e-4,steps=24000,warmup=500,decay_fraction=0.2" --to torch \\
      --out schedule.py
"""


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "export",
        help="write a schedule for a trainer",
        description="Write a schedule for a trainer, with a table of learning rates to check the "
        "run's log against.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "schedule", metavar="SCHEDULE", help="spec, or a CSV written by optimize --out"
    )
    parser.add_argument(
        "--to", required=True, metavar="TARGET", help="one of the targets listed below"
    )
    parser.add_argument("--out", metavar="FILE", help="file to write (default: print it)")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--exact",
        dest="kind",
        action="store_const",
        const="exact",
        help="reproduce the schedule exactly (default except for megatron and nemo)",
    )
    forms.add_argument(
        "--native",
        dest="kind",
        action="store_const",
        const="native",
        help="use the trainer's nearest built-in schedule",
    )
    parser.add_argument(
        "--form",
        choices=("multiplier", "absolute"),
        help="multipliers of the optimizer's LR, or learning rates (default depends on the target)",
    )
    parser.add_argument(
        "--unit",
        choices=("steps", "samples", "tokens"),
        help="unit of the schedule's time axis (default steps)",
    )
    parser.add_argument(
        "--samples-per-step",
        type=common.whole,
        metavar="N",
        help="sequences per optimizer step (global batch size)",
    )
    parser.add_argument(
        "--tokens-per-step", type=common.whole, metavar="N", help="tokens per optimizer step"
    )
    parser.add_argument(
        "--start-step",
        type=common.whole,
        default=0,
        metavar="K",
        help="write the schedule from step K on as step 0, for a run that continues under a new "
        "scheduler (default 0; not needed when a checkpoint restores the scheduler)",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=common.whole,
        metavar="N",
        help="steps between checkpoints (wsm only; default: a tenth of the cooldown)",
    )
    parser.add_argument(
        "--every",
        type=common.whole,
        default=0,
        metavar="K",
        help="show every K-th step in the table (default: about 12 informative steps)",
    )
    parser.add_argument(
        "--law",
        metavar="LAW.json",
        help=f"predict final losses and choose the built-in schedule by them; {common.LAW_HELP}",
    )
    common.add_fact_options(parser, "facts about the run (override the law file)")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Export and return the keys of the interface."""
    from scaling_laws.common import check_writable
    from scaling_laws.decisions import export_schedule, get_target

    target = get_target(arguments.to)
    if arguments.out:
        check_writable(arguments.out)
    elif target.name == "npy":
        raise UsageError("--to npy cannot be printed; add --out FILE.npy")
    facts: dict[str, float] = {}
    law = None
    if arguments.law is not None:
        law = common.read_curve_fit(arguments.law)
        facts = common.given_facts(arguments)
    export = export_schedule(
        arguments.schedule,
        to=arguments.to,
        form=arguments.form,
        unit=arguments.unit,
        kind=arguments.kind,
        start_step=arguments.start_step,
        samples_per_step=arguments.samples_per_step,
        tokens_per_step=arguments.tokens_per_step,
        checkpoint_every=arguments.checkpoint_every,
        every=arguments.every,
        law=law,
        facts=facts,
    )
    if arguments.out:
        export.save(arguments.out)
    elif not arguments.json:  # standard output gets only the text, for pipes
        sys.stderr.writelines(f"note: {note}\n" for note in export.notes)
    request = {"schedule": arguments.schedule, "start_step": arguments.start_step}
    return {**request, **describe(export, arguments.out)}


def describe(export: Export, file: str | None) -> dict[str, Any]:
    """An export as the keys of the interface."""
    from scaling_laws.decisions import native_summary

    return {
        "target": export.target,
        "kind": export.kind,
        "form": export.form,
        "unit": export.unit,
        "exact": export.exact,
        "max_lr_error": export.max_lr_error,
        "text": export.text,
        "file": file,
        "table": [asdict(row) for row in export.table],
        "native": native_summary(export),
        "law": export.outlook.law,
        "final_loss": export.outlook.final_loss,
        "interval_90": export.outlook.interval,
        "native_final_loss": export.native_final_loss,
        "cost_nats": export.cost_nats,
        "notes": list(export.notes),
    }


def render(result: dict[str, Any]) -> str:
    """The exported text, or a description of the file it was written to."""
    if result["file"] is None:
        return str(result["text"])
    accuracy = "exact" if result["exact"] else f"nearest {result['kind']} form"
    if result["kind"] == "exact" and not result["exact"]:
        accuracy = "closest representation"
    lines = [
        f"wrote {result['file']}: {result['target']}, {accuracy}, largest error "
        f"{result['max_lr_error']:.2g} in LR"
    ]
    if result["final_loss"] is not None:
        interval = common.interval_text(result["interval_90"])
        lines.append(f"predicted final loss: {result['final_loss']:.5f}  {interval}")
    if result["native_final_loss"] is not None:
        lines.append(
            f"native {result['native']['name']}: {result['native_final_loss']:.5f}, "
            f"{result['cost_nats']:+.5f} nats"
        )
    lines.append("compare with the run's log:")
    lines += _table(result["table"])
    lines += [f"note: {note}" for note in result["notes"]]
    if result["exact"] and result["start_step"] == 0:
        lines.append(
            "after the run has logged its LR: scaling-laws verify RUN.csv --schedule "
            f"{shlex.quote(result['schedule'])}"
        )
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    # the schedule's column is shown only if it differs by more than rounding
    tolerance = 1e-9 * max(row["schedule_lr"] for row in rows)
    differs = any(abs(row["lr"] - row["schedule_lr"]) > tolerance for row in rows)
    head = ("step", "LR", "schedule")[: 3 if differs else 2]
    cells = [
        (str(row["step"]), f"{row['lr']:.9g}", f"{row['schedule_lr']:.9g}")[: len(head)]
        for row in rows
    ]
    return text_table(head, cells, left=("LR", "schedule"))
