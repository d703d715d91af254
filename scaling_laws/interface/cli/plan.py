"""`scaling-laws plan`: which runs to train next to predict a target schedule best."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.interface.cli import common

__all__ = ["add_parser", "render", "run"]

SHOWN = 5  # candidates of the ranking


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "plan",
        help="choose which runs to train next",
        description="Choose the runs that are expected to reduce the uncertainty of a target "
        "schedule's final loss most, given the runs fitted so far.",
    )
    parser.add_argument("law", metavar="LAW.json", help="law file written by fit")
    parser.add_argument(
        "--target",
        required=True,
        metavar="SPEC",
        help="schedule whose final loss is to be predicted, e.g. "
        "linear:peak=3e-4,steps=24000,warmup=500 (families: scaling-laws schedules)",
    )
    parser.add_argument(
        "--runs",
        type=common.whole,
        default=3,
        metavar="N",
        help="number of runs to choose (default 3)",
    )
    parser.add_argument(
        "--step-budget",
        type=common.whole,
        metavar="S",
        help="total steps of the chosen runs, at most",
    )
    parser.add_argument(
        "--candidate",
        action="append",
        metavar="SPEC",
        help="schedule to choose from; may be repeated (default: constant, cosine, linear, wsd "
        "and abrupt drops, over the target's steps, half and a quarter of them)",
    )
    common.add_fact_options(parser, "facts about the runs (override the law file)")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Plan and return the keys of the interface."""
    from scaling_laws.decisions import plan

    fitted = common.read_curve_fit(arguments.law)
    result = plan(
        fitted,
        arguments.target,
        runs=arguments.runs,
        step_budget=arguments.step_budget,
        candidates=arguments.candidate,
        facts=common.given_facts(arguments),
    )
    return {"law": fitted.law.name, **result.as_json()}


def render(result: dict[str, Any]) -> str:
    """The target today, the runs to train in order, the best single runs, notes."""
    target, now, floor = result["target"], result["now"], result["floor"]
    lines = [
        f"target {target['spec']}",
        f"predicted final loss {target['final_loss']:.4f}, 90 % interval "
        f"{common.interval_text(now['interval_90'])}, half width {now['half_width_90']:.5f} nats; "
        f"with all parameters known: {floor['half_width_90']:.5f}",
        "train next, in this order (expected 90 % interval and half width after fitting it too):",
    ]
    for number, choice in enumerate(result["choices"], start=1):
        interval = common.interval_text(choice["expected_interval_90"])
        half_width = choice["expected_half_width_90"]
        lines.append(f"  {number}. {interval}  {half_width:.5f}  {choice['spec']}")
    if not result["choices"]:
        lines.append("  none")
    ranking = result["ranking"]
    lines.append(
        f"single runs, best {min(SHOWN, len(ranking))} of {len(ranking)} (expected half width):"
    )
    for choice in ranking[:SHOWN]:
        lines.append(f"  {choice['expected_half_width_90']:.5f}  {choice['spec']}")
    lines += [f"note: {note}" for note in result["notes"]]
    return "\n".join(lines)
