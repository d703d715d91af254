"""`scaling-laws inspect`: what a log is, what is odd in it, and the command that imports it."""

from __future__ import annotations

import argparse
from typing import Any

from scaling_laws.common import DataError
from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.import_ import wrapped
from scaling_laws.interface.cli.log_options import add_log_options, read_options

__all__ = ["add_parser", "render", "run"]

KEYS = 30  # keys shown of a run; --json has all


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "inspect",
        help="say what a training log holds and how to import it",
        description="Say what a log is, which keys are step, LR and loss, what is odd in it "
        "(restarts, gaps, NaN, spikes, rounding), and print the command that imports it. Nothing "
        "is written. Options that import takes may be given to see what they change.",
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="log file, or folder of a tracker")
    parser.add_argument("--format", metavar="NAME", help="reader (default: the one that fits)")
    parser.add_argument(
        "--out", default="runs", metavar="DIR", help="folder in the printed command (default runs)"
    )
    add_log_options(parser)
    common.add_common(parser)
    parser.set_defaults(run=run, render=render, exit_code=exit_code)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Inspect each log; of several, one that cannot be read is named beside the others."""
    from scaling_laws.data import inspect_log

    options = read_options(arguments)
    found: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for log in arguments.logs:
        try:
            inspected = inspect_log(log, out=arguments.out, options=options)
        except DataError as error:
            if len(arguments.logs) == 1:
                raise
            # one bad file of many must not hide the others
            refused.append({"source": str(log), "problem": str(error)})
        else:
            found += [each.as_json() for each in inspected]
    return {"runs": found, "refused": refused}


def exit_code(result: dict[str, Any]) -> int:
    """2 if a log could not be read."""
    return 2 if result["refused"] else 0


def render(result: dict[str, Any]) -> str:
    """A paragraph a run, then what could not be read."""
    told = ["\n".join(_run(each)) for each in result["runs"]]
    if result["refused"]:
        lines = [f"cannot be read ({len(result['refused'])}):"]
        for each in result["refused"]:
            lines += wrapped("problem", each["problem"])
        told.append("\n".join(lines))
    return "\n\n".join(told)


def _run(each: dict[str, Any]) -> list[str]:
    lines = [f"{each['source']}: {each['reader']}, run {each['name']}, {each['rows']} rows"]
    lines += wrapped("format", each["meaning"])
    shown = sorted(each["keys"], key=lambda key: (key["role"] in ("", "words"), 0))[:KEYS]
    width = min(max([len(key["name"]) for key in shown], default=3), 34)
    lines.append(f"  {'key':<{width}}  {'role':<8} {'rows':>9}  {'first':>10}  {'last':>10}")
    for key in shown:
        ends = (f"{'-' if key[end] is None else format(key[end], '.5g'):>10}" for end in _ENDS)
        name = key["name"] if len(key["name"]) <= width else key["name"][: width - 1] + "…"
        lines.append(f"  {name:<{width}}  {key['role']:<8} {key['rows']:>9}  {'  '.join(ends)}")
    if len(each["keys"]) > KEYS:
        lines.append(f"  and {len(each['keys']) - KEYS} keys more (--json lists them)")
    for role in dict.fromkeys(key["role"] for key in each["keys"]):
        if role.endswith("?"):
            lines += wrapped("choose", _choice(each["keys"], role.removesuffix("?")))
    if each["schedule"]:
        lines += wrapped("schedule", each["schedule"])
        lines += wrapped("", f"({each['schedule_from']})")
    for finding in each["findings"]:
        lines += wrapped("resolved" if finding["changed"] else "odd", finding["words"])
    if each["problem"]:
        lines += wrapped("problem", each["problem"])
    lines.append("")
    if each["ready"]:
        lines.append(f"import it ({each['points']} losses):")
    else:
        lines.append("import it, once the problem above is mended:")
    # one line, however long: it must run as it is printed
    lines.append(f"  {each['command']}")
    return lines


def _choice(keys: list[dict[str, Any]], role: str) -> str:
    """That several keys may have a role, and which one the command takes."""
    names = [key["name"] for mark in ("", "?") for key in keys if key["role"] == role + mark]
    word = {"lr": "learning rate"}.get(role, role)
    return (
        f"several keys may be the {word}: {', '.join(names)}; the command takes {names[0]}, "
        f"--{role}-key takes another"
    )


_ENDS = ("first", "last")
