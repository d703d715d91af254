"""`scaling-laws optimize`: search for the schedule with the lowest predicted final loss."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.cli import common

if TYPE_CHECKING:
    from scaling_laws.search import Optimum

__all__ = ["add_parser", "describe", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "optimize",
        help="search for a better schedule",
        description="Search for the schedule with the lowest predicted final loss.",
    )
    parser.add_argument("law", metavar="LAW.json", help=common.LAW_HELP)
    parser.add_argument("--steps", type=common.whole, required=True, help="total steps")
    parser.add_argument("--peak", type=float, required=True, help="peak learning rate")
    parser.add_argument("--warmup", type=common.whole, default=0, help="warm-up steps (default 0)")
    parser.add_argument(
        "--end-min", type=float, default=0.0, metavar="X", help="lowest LR allowed (default 0)"
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the schedule, one row a step")
    common.add_fact_options(parser, "facts of the run that override the law file's")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Search and return the keys of the interface."""
    from scaling_laws.files import check_writable
    from scaling_laws.search import optimize

    if arguments.out:
        check_writable(arguments.out)
    fitted = common.read_law(arguments.law)
    best = optimize(
        fitted,
        steps=arguments.steps,
        peak=arguments.peak,
        warmup=arguments.warmup,
        end_min=arguments.end_min,
        facts=common.given_facts(arguments),
        seed=arguments.seed,
        report=common.progress(),
    )
    if arguments.out:
        from scaling_laws.schedules import write_schedule

        write_schedule(arguments.out, best.schedule)
    return describe(best, arguments.out)


def describe(best: Optimum, file: str | None) -> dict[str, Any]:
    """An optimum as the keys of the interface."""
    return {
        "spec": best.schedule.spec,
        "final_loss": best.final_loss,
        "interval_90": best.interval(0.9),
        "schedule_file": file,
        "baselines": dict(best.baselines),
        "family": {"spec": best.family.schedule.spec, "final_loss": best.family.final_loss},
        "passed_over": {each.schedule.spec: each.final_loss for each in best.rough},
        "notes": list(best.notes),
        "seconds": best.seconds,
    }


def render(result: dict[str, Any]) -> str:
    """The found schedule against the baselines."""
    best = result["final_loss"]
    lines = [
        f"best: {best:.5f}  {common.interval_text(result['interval_90'])}  {result['spec']}",
        f"best of the families: {result['family']['final_loss']:.5f}  {result['family']['spec']}",
        "baselines (predicted final loss, and what the best gains on them):",
    ]
    for spec, loss in sorted(result["baselines"].items(), key=lambda item: float(item[1])):
        lines.append(f"  {loss:.5f}  {loss - best:+.5f}  {spec}")
    interval = result["interval_90"]
    if interval is not None:
        nearest = min(result["baselines"].values())
        if nearest - best < 0.5 * (interval[1] - interval[0]):
            lines.append(
                f"The gain over the best baseline ({nearest - best:.5f}) is within the law's "
                f"held-out error: not distinguishable until both are trained."
            )
    for spec, loss in result["passed_over"].items():
        lines.append(f"passed over: {loss:.5f}  {spec} (a short moving average removes its gain)")
    lines += [f"note: {note}" for note in result["notes"]]
    if result["schedule_file"]:
        lines.append(f"wrote {result['schedule_file']} ({result['seconds']:.1f} s)")
    else:
        lines.append("pass --out FILE.csv to write the schedule, one row a step")
    return "\n".join(lines)
