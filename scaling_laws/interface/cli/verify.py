"""`scaling-laws verify`: whether a run logged the learning rates of its schedule."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

__all__ = ["add_parser", "render", "run"]

OPTIONS = (
    "format",
    "run_key",
    "split_restarts",
    "step_key",
    "lr_key",
    "lr_group",
    "first_step",
    "lr_offset",
    "repeats",
)


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "verify",
        help="check a run's logged LR against a schedule",
        description="Compare the learning rates that a run logged with its schedule, and identify "
        "the scheduler bug if they differ: an off-by-one, a factor, another warm-up or length, a "
        "restart, a held rate, a shift, a late cooldown. Exits with code 3 if they differ.",
    )
    parser.add_argument(
        "log", metavar="LOG", help="a CSV with columns step and lr, or any log that import reads"
    )
    parser.add_argument(
        "--schedule",
        required=True,
        metavar="SCHEDULE",
        help="spec, or a CSV written by optimize --out",
    )
    parser.add_argument(
        "--tolerance",
        type=common.number,
        metavar="X",
        help="allowed difference, as a fraction of the peak (default 0.002)",
    )
    parser.add_argument(
        "--run", dest="only", metavar="NAME", help="run to check, if the log contains several"
    )
    parser.add_argument(
        "--run-key", metavar="KEY", help="key whose values tell several runs apart; see --run"
    )
    parser.add_argument(
        "--split-restarts", action="store_true", help="each part that begins anew is a run"
    )
    parser.add_argument("--format", metavar="NAME", help="format of the log (default: detected)")
    for role, meaning in (("step", "optimizer step"), ("lr", "learning rate")):
        parser.add_argument(f"--{role}-key", metavar="KEY", help=f"key of the {meaning}")
    parser.add_argument(
        "--lr-group", type=common.whole, metavar="N", help="parameter group whose LR to check"
    )
    parser.add_argument(
        "--first-step",
        type=common.whole,
        choices=(0, 1),
        help="step number of the first update (default: that of the format)",
    )
    parser.add_argument(
        "--lr-offset",
        type=int,
        metavar="N",
        help="the LR in a row is that of N updates later (default: that of the format)",
    )
    parser.add_argument(
        "--repeats",
        choices=("last", "first", "mean"),
        help="which row to use for a step that was logged again (default last, unless the file "
        "begins anew with other losses)",
    )
    common.add_common(parser)
    parser.set_defaults(run=run, render=render, exit_code=exit_code)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare and return the keys of the interface."""
    from scaling_laws.data import Options
    from scaling_laws.decisions import verify_schedule

    check = verify_schedule(
        arguments.log,
        arguments.schedule,
        tolerance=arguments.tolerance,
        run=arguments.only,
        options=Options(**{name: getattr(arguments, name) for name in OPTIONS}),
    )
    return {
        "matches": check.matches,
        "n_rows": check.n_rows,
        "max_deviation": check.max_deviation,
        "max_relative": check.max_relative,
        "tolerance": check.tolerance,
        "first_bad_step": check.first_bad_step,
        "fault": check.fault,
        "diagnosis": check.diagnosis,
        "table": [asdict(row) for row in check.table],
        "remarks": list(check.remarks),
    }


def exit_code(result: dict[str, Any]) -> int:
    """3 for a mismatch, which is a result and not an error."""
    return 0 if result["matches"] else 3


def render(result: dict[str, Any]) -> str:
    """The verdict, the diagnosis, and the relevant rows."""
    verdict = "matches" if result["matches"] else "does not match"
    lines = [
        f"{verdict}: largest deviation {result['max_deviation']:.3g} in LR, "
        f"{result['max_relative']:.3g} of the peak, over {result['n_rows']} rows "
        f"(tolerance {result['tolerance']:g})"
    ]
    if result["first_bad_step"] is not None:
        lines.append(f"first difference beyond the tolerance at step {result['first_bad_step']}")
    lines.append(result["diagnosis"])
    lines += [f"note: {remark}" for remark in result["remarks"]]
    head = ("step", "logged", "schedule", "mark")
    rows = [("step", "logged", "schedule", "")]
    for row in result["table"]:
        mark = "" if row["good"] else "<-"
        rows.append((str(row["step"]), f"{row['lr']:.8g}", f"{row['schedule_lr']:.8g}", mark))
    lines += text_table(head, rows, left=head[1:], show_head=False)
    return "\n".join(lines)
