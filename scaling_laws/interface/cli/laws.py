"""`scaling-laws laws`: the registered laws."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.interface.cli import common
from scaling_laws.interface.report.text_table import text_table

if TYPE_CHECKING:
    from scaling_laws.models import AnyLaw

__all__ = ["about", "add_parser", "describe", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "laws",
        help="list the laws, or describe one",
        description="List the registered laws, including those of plug-ins; with NAME, describe "
        "each of these in full.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="law to describe (default: list all)"
    )
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every law with formula, parameters and citation."""
    from scaling_laws.models import LAWS, get_law

    chosen = [get_law(name) for name in arguments.names] or LAWS.values()
    return {"laws": {law.name: describe(law) for law in chosen}, "whole": bool(arguments.names)}


def describe(law: AnyLaw) -> dict[str, Any]:
    """A law as the keys of the interface."""
    from scaling_laws.models import Law, PointLaw

    inputs, needs = {}, []
    if isinstance(law, PointLaw):
        inputs = {column.name: column.meaning for column in law.inputs}
    if isinstance(law, Law):
        needs = sorted({*law.required_facts, *law.required_traces})
    return {
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
        "of": "numbers" if isinstance(law, PointLaw) else "schedules",
        "inputs": inputs,
        "output": law.output if isinstance(law, PointLaw) else "loss",
        "needs": needs,
        "published": {label: dict(values) for label, values in law.published.items()},
        "about": about(law),
    }


def about(law: AnyLaw) -> str:
    """The docstring of the law's module: what the law is, and its known limits."""
    import inspect

    return inspect.cleandoc(law.module.__doc__ or "")


def render(result: dict[str, Any]) -> str:
    """One paragraph per law; the full description of those that were named."""
    lines: list[str] = []
    for name, law in result["laws"].items():
        lines += [name, f"  {law['formula']}", f"  {law['citation']}"]
        if law["inputs"]:
            lines.append(f"  predicts {law['output']} from {', '.join(law['inputs'])}")
        if law["needs"]:
            lines.append(f"  needs {', '.join(law['needs'])}")
        if law["published"]:
            labels = ", ".join(f"{name}:{label}" for label in law["published"])
            lines.append(f"  published: {labels}")
        head = ("parameter", "support", "meaning")
        rows = [
            (parameter, about["support"], f"{about['meaning']} [{about['unit']}]")
            for parameter, about in law["params"].items()
        ]
        lines += text_table(head, rows, left=head, show_head=False, indent="    ")
        if result["whole"]:
            lines += ["", law["about"], "", f"Conventions: {law['conventions']}", ""]
    if not result["whole"]:
        lines += ["", "scaling-laws laws NAME describes one in full."]
    return "\n".join(lines)
