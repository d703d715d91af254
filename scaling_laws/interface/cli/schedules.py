"""`scaling-laws schedules`: the schedule families."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

__all__ = ["add_parser", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "schedules",
        help="list the schedule families",
        description="List the registered schedule families, including those of plug-ins.",
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
    """One paragraph per family."""
    lines: list[str] = []
    head = ("key", "required", "meaning")
    for name, family in result["schedules"].items():
        lines += [name, f"  {family['formula']}", f"  {family['citation']}"]
        rows = []
        for key, about in family["params"].items():
            default = "" if about["default"] is None else f" (default {about['default']})"
            mark = "required" if about["required"] else "optional"
            rows.append((key, mark, about["meaning"] + default))
        lines += text_table(head, rows, left=head, show_head=False, indent="    ")
    return "\n".join(lines)
