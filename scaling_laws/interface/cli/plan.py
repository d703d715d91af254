"""`scaling-laws plan`: which runs to train next, to know the final loss of a target best."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.interface.cli import common

__all__ = ["add_parser", "render", "run"]

SHOWN = 5  # of the ranking


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "plan",
        help="say which runs to train next",
        description="Choose the runs that are expected to tell most about the final loss of a "
        "target schedule, from what the fitted runs leave open.",
    )
    parser.add_argument("law", metavar="LAW.json", help="law file that fit wrote")
    parser.add_argument(
        "--target",
        required=True,
        metavar="SPEC",
        help="the schedule whose final loss is wanted, e.g. linear:peak=3e-4,steps=24000,warmup=500"
        " (families: scaling-laws schedules)",
    )
    parser.add_argument(
        "--runs", type=common.whole, default=3, metavar="N", help="runs to choose (default 3)"
    )
    parser.add_argument(
        "--step-budget",
        type=common.whole,
        metavar="S",
        help="steps that the chosen runs may take together",
    )
    parser.add_argument(
        "--candidate",
        action="append",
        metavar="SPEC",
        help="a schedule to choose from; may be repeated (default: constant, cosine, linear, wsd "
        "and abrupt drops over the target's steps, half and a quarter of them)",
    )
    common.add_fact_options(parser, "facts of the runs that override the law file's")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Plan and return the keys of the interface."""
    from scaling_laws.decisions import plan

    fitted = common.read_curve_fit(arguments.law)
    found = plan(
        fitted,
        arguments.target,
        runs=arguments.runs,
        step_budget=arguments.step_budget,
        candidates=arguments.candidate,
        facts=common.given_facts(arguments),
    )
    return {"law": fitted.law.name, **found.as_json()}


def render(result: dict[str, Any]) -> str:
    """The target today, the runs to train in order, the best few on their own, notes."""
    target, now, floor = result["target"], result["now"], result["floor"]
    lines = [
        f"target {target['spec']}",
        f"predicted final loss {target['final_loss']:.4f}, 90 % interval "
        f"{common.interval_text(now['interval_90'])}, half width {now['half_width_90']:.5f} nats; "
        f"were the parameters known: {floor['half_width_90']:.5f}",
        "train next, in this order (90 % interval and half width expected once it is fitted too):",
    ]
    for number, each in enumerate(result["choices"], start=1):
        interval = common.interval_text(each["expected_interval_90"])
        lines.append(
            f"  {number}. {interval}  {each['expected_half_width_90']:.5f}  {each['spec']}"
        )
    if not result["choices"]:
        lines.append("  none")
    ranking = result["ranking"]
    lines.append(f"each alone, best {min(SHOWN, len(ranking))} of {len(ranking)} (half width):")
    for each in ranking[:SHOWN]:
        lines.append(f"  {each['expected_half_width_90']:.5f}  {each['spec']}")
    lines += [f"note: {note}" for note in result["notes"]]
    return "\n".join(lines)
