"""`scaling-laws export`: a schedule back in a trainer."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scaling_laws.common import UsageError
from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.decisions import Export

__all__ = ["add_parser", "render", "run"]

EPILOG = """\
targets:
  torch, optax          Python file: an object for LambdaLR; a function count -> LR
  hf, torchtitan, olmo, deepspeed, nanogpt
                        Python file for the trainer; --native: its own nearest schedule
  megatron, nemo        the nearest native schedule; --exact: a patch that gives the schedule
  csv, json, npy        a table of every step; knots; an array
  wsm                   weights of a merge of checkpoints in place of the cooldown

  scaling-laws export "wsd:peak=3e-4,steps=24000,warmup=500,decay_fraction=0.2" --to torch \\
      --out schedule.py
"""


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "export",
        help="write a schedule for a trainer",
        description="Write a schedule for a trainer, with a table to check the run's log against.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "schedule", metavar="SCHEDULE", help="spec, or a CSV as optimize --out writes it"
    )
    parser.add_argument("--to", required=True, metavar="TARGET", help="see the list below")
    parser.add_argument("--out", metavar="FILE", help="write it there (default: print it)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--exact",
        dest="kind",
        action="store_const",
        const="exact",
        help="what gives the schedule itself (default but for megatron and nemo)",
    )
    kinds.add_argument(
        "--native",
        dest="kind",
        action="store_const",
        const="native",
        help="the trainer's own nearest schedule",
    )
    parser.add_argument(
        "--form",
        choices=("multiplier", "absolute"),
        help="multipliers of the optimizer's LR, or learning rates (default: as the target likes)",
    )
    parser.add_argument(
        "--unit", choices=("steps", "samples", "tokens"), help="what is counted (default steps)"
    )
    parser.add_argument(
        "--samples-per-step", type=common.whole, metavar="N", help="sequences an update takes"
    )
    parser.add_argument(
        "--tokens-per-step", type=common.whole, metavar="N", help="tokens an update takes"
    )
    parser.add_argument(
        "--start-step",
        type=common.whole,
        default=0,
        metavar="K",
        help="step 0 of what is written is step K of the schedule, for a run that goes on under a "
        "new scheduler (default 0; a resumed checkpoint needs none)",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=common.whole,
        metavar="N",
        help="steps between checkpoints, for wsm (default: a tenth of the cooldown)",
    )
    parser.add_argument(
        "--every",
        type=common.whole,
        default=0,
        metavar="K",
        help="show every K-th step in the table to check (default: about 12 that tell most)",
    )
    parser.add_argument(
        "--law",
        metavar="LAW.json",
        help=f"predict final losses and choose the native schedule by them; {common.LAW_HELP}",
    )
    common.add_fact_options(parser, "facts of the run that override the law file's")
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
        raise UsageError("--to npy is no text to print; add --out FILE.npy")
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
    elif not arguments.json:  # standard output holds the text alone, fit for a pipe
        sys.stderr.writelines(f"note: {note}\n" for note in export.notes)
    place = {"schedule": arguments.schedule, "start_step": arguments.start_step}
    return {**place, **describe(export, arguments.out)}


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
    """Without a file what was asked for, nothing else; with one, what is in it."""
    if result["file"] is None:
        return str(result["text"])
    how = "exact" if result["exact"] else f"nearest {result['kind']} form"
    if result["kind"] == "exact" and not result["exact"]:
        how = "as near as it comes"
    lines = [
        f"wrote {result['file']}: {result['target']}, {how}, largest error "
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
    lines.append("check against the run's log:")
    lines += _table(result["table"])
    lines += [f"note: {note}" for note in result["notes"]]
    if result["exact"] and result["start_step"] == 0:
        lines.append(
            "once the run has logged its LR: scaling-laws verify RUN.csv --schedule "
            f'"{result["schedule"]}"'
        )
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    # a second column only where it says more than rounding does
    slack = 1e-9 * max(row["schedule_lr"] for row in rows)
    differs = any(abs(row["lr"] - row["schedule_lr"]) > slack for row in rows)
    lines = [f"  {'step':>9}  " + ("LR              schedule" if differs else "LR")]
    for row in rows:
        line = f"  {row['step']:>9}  {row['lr']:<14.9g}"
        lines.append((line + f"  {row['schedule_lr']:.9g}" if differs else line).rstrip())
    return lines
