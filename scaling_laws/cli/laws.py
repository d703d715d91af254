"""`scaling-laws laws`: the registered laws."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.cli import common

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser("laws", help="list the laws", description="List the laws.")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every law with formula, parameters and citation."""
    from scaling_laws.laws import LAWS

    return {
        "laws": {
            law.name: {
                "formula": law.formula,
                "params": {
                    parameter.name: {
                        "meaning": parameter.meaning,
                        "support": parameter.support.value,
                        "unit": parameter.unit,
                    }
                    for parameter in law.parameters
                },
                "citation": law.citation,
                "conventions": law.conventions,
                "needs": sorted(law.needs),
            }
            for law in LAWS
        }
    }


def render(result: dict[str, Any]) -> str:
    """A paragraph a law."""
    lines = []
    for name, law in result["laws"].items():
        lines += [name, f"  {law['formula']}", f"  {law['citation']}"]
        for parameter, about in law["params"].items():
            lines.append(
                f"    {parameter:<6} {about['support']:<10} {about['meaning']} [{about['unit']}]"
            )
    return "\n".join(lines)
