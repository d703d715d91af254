"""`scaling-laws evaluate`: compare a fitted law with runs."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.interface.cli import common

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "evaluate",
        help="measure how well a law predicts runs",
        description="Compare predicted with logged losses, run by run.",
    )
    parser.add_argument("law", metavar="LAW.json", help=common.LAW_HELP)
    common.add_run_arguments(parser)
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluate and return the keys of the interface."""
    from scaling_laws.inference import PointFit, evaluate

    fitted = common.read_law(arguments.law)
    if isinstance(fitted, PointFit):
        source, table = common.read_table(arguments, fitted.law)
        result = evaluate(fitted, table, source=source).as_json()
    else:
        runs = common.read_runs(arguments)
        result = evaluate(fitted, runs, from_step=arguments.from_step).as_json()
    unit = fitted.law.unit if isinstance(fitted, PointFit) else "nats"
    return {"law": fitted.law.name, "unit": unit, **result}


def render(result: dict[str, Any]) -> str:
    """A table of metrics: one row per run, then the mean."""
    from scaling_laws.inference import run_table

    lines = [result["law"], *run_table({**result["runs"], "mean": result["mean"]})]
    coverage = result["mean"].get("coverage_90")
    if coverage is not None:
        lines.append(f"  {100 * coverage:.0f} % of points lie inside the 90 % intervals")
    lines.append(
        f"  errors in {result.get('unit', 'nats')}; PredE and WorstE are relative; "
        "final error = predicted - observed"
    )
    return "\n".join(lines)
