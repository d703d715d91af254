"""`scaling-laws laws`: the registered laws."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.models import AnyLaw

__all__ = ["about", "add_parser", "describe", "render", "run"]


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "laws",
        help="list the laws",
        description="List the laws; with NAME, all there is to know of one.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a law (default: all, in short)")
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
        inputs = {each.name: each.meaning for each in law.inputs}
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
    """The text at the head of the law's file: what it is, and its known limits."""
    import inspect

    return inspect.cleandoc(law.module.__doc__ or "")


def render(result: dict[str, Any]) -> str:
    """A paragraph a law; the whole story where one was asked for."""
    lines: list[str] = []
    for name, law in result["laws"].items():
        lines += [name, f"  {law['formula']}", f"  {law['citation']}"]
        if law["inputs"]:
            lines.append(f"  gives {law['output']} from {', '.join(law['inputs'])}")
        if law["needs"]:
            lines.append(f"  needs {', '.join(law['needs'])}")
        if law["published"]:
            lines.append(f"  published: {', '.join(f'{name}:{each}' for each in law['published'])}")
        width = max(len(parameter) for parameter in law["params"])
        for parameter, each in law["params"].items():
            lines.append(
                f"    {parameter:<{width}} {each['support']:<13} {each['meaning']} [{each['unit']}]"
            )
        if result["whole"]:
            lines += ["", law["about"], "", f"Conventions: {law['conventions']}", ""]
    if not result["whole"]:
        lines += ["", "scaling-laws laws NAME tells all there is to know of one."]
    return "\n".join(lines)
