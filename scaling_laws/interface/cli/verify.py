"""`scaling-laws verify`: whether a run's logged learning rates are those of its schedule."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from scaling_laws.interface.cli import common

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "verify",
        help="check a run's logged LR against a schedule",
        description="Compare the learning rates that a run logged with its schedule, and name the "
        "fault where they differ: off by one, a factor, another warm-up, another length, a "
        "restart, a late cooldown.",
    )
    parser.add_argument("run_file", metavar="RUN.csv", help="CSV with columns step and lr")
    parser.add_argument(
        "--schedule",
        required=True,
        metavar="SCHEDULE",
        help="spec, or a CSV as optimize --out writes it",
    )
    parser.add_argument(
        "--tolerance",
        type=_share,
        metavar="X",
        help="what may differ, as a share of the peak (default 0.002)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 1 when the rates do not match"
    )
    common.add_common(parser)
    parser.set_defaults(run=run, render=render, exit_code=exit_code)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare and return the keys of the interface."""
    from scaling_laws.decisions import verify_schedule

    found = verify_schedule(arguments.run_file, arguments.schedule, tolerance=arguments.tolerance)
    return {
        "matches": found.matches,
        "n_rows": found.n_rows,
        "max_deviation": found.max_deviation,
        "max_relative": found.max_relative,
        "tolerance": found.tolerance,
        "first_bad_step": found.first_bad_step,
        "fault": found.fault,
        "diagnosis": found.diagnosis,
        "table": [asdict(row) for row in found.table],
        "strict": arguments.strict,
    }


def exit_code(result: dict[str, Any]) -> int:
    """1 for a mismatch under ``--strict``; a mismatch is a result, not bad input."""
    return int(result["strict"] and not result["matches"])


def render(result: dict[str, Any]) -> str:
    """The verdict, the fault, the rows that tell."""
    verdict = "matches" if result["matches"] else "does not match"
    lines = [
        f"{verdict}: largest deviation {result['max_deviation']:.3g} in LR, "
        f"{result['max_relative']:.3g} of the peak, over {result['n_rows']} rows "
        f"(tolerance {result['tolerance']:g})"
    ]
    if result["first_bad_step"] is not None:
        lines.append(f"first beyond the tolerance at step {result['first_bad_step']}")
    lines.append(result["diagnosis"])
    lines.append(f"  {'step':>9}  {'logged':<13}  schedule")
    for row in result["table"]:
        mark = "" if row["good"] else "  <-"
        lines.append(f"  {row['step']:>9}  {row['lr']:<13.8g}  {row['schedule_lr']:.8g}{mark}")
    return "\n".join(lines)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
