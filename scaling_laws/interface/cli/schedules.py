"""`scaling-laws schedules`: the schedule families."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.interface.cli import common

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "schedules", help="list the schedule families", description="List the schedule families."
    )
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every family with formula, keys and citation."""
    from scaling_laws.models import FAMILIES

    return {
        "schedules": {
            family.name: {
                "formula": family.formula,
                "params": {
                    key.name: {
                        "meaning": key.meaning,
                        "required": key.required,
                        "default": key.default,
                    }
                    for key in family.keys
                },
                "citation": family.citation,
            }
            for family in FAMILIES.values()
        }
    }


def render(result: dict[str, Any]) -> str:
    """A paragraph a family."""
    lines = []
    for name, family in result["schedules"].items():
        lines += [name, f"  {family['formula']}", f"  {family['citation']}"]
        for key, about in family["params"].items():
            default = "" if about["default"] is None else f" (default {about['default']})"
            mark = "required" if about["required"] else "optional"
            lines.append(f"    {key:<15} {mark}  {about['meaning']}{default}")
    return "\n".join(lines)
