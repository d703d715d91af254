"""Arguments, progress and output that every verb shares. Imports nothing heavy."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_laws.runs import Run

__all__ = [
    "Verbs",
    "add_common",
    "add_run_arguments",
    "clean",
    "interval_text",
    "read_runs",
    "whole",
    "write_json",
]

Verbs = Any  # argparse's subparsers object has no public type


def add_common(parser: argparse.ArgumentParser) -> None:
    """The arguments of every verb."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--seed", type=whole, default=0, help="of everything random (default 0)")


def whole(text: str) -> int:
    """A whole number >= 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must be >= 0")
    return value


def add_run_arguments(parser: argparse.ArgumentParser, *, from_step: bool = True) -> None:
    """Which runs, and what their files do not say."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUNS",
        help="a folder of CSV files, FOLDER:name1,name2, or one CSV file",
    )
    group = parser.add_argument_group("runs without a schedule in dataset.toml")
    group.add_argument("--warmup", type=whole, metavar="STEPS", help="linear warm-up steps")
    group.add_argument(
        "--between", choices=("hold", "linear"), help="learning rate between logged steps"
    )
    facts = parser.add_argument_group("facts that override dataset.toml")
    facts.add_argument("--model-params", type=float, metavar="N", help="parameters of the model")
    facts.add_argument("--weight-decay", type=float, metavar="X", help="decoupled weight decay")
    if from_step:
        parser.add_argument(
            "--from-step",
            type=whole,
            default=0,
            metavar="N",
            help="leave out points before step N (default 0)",
        )


def read_runs(arguments: argparse.Namespace) -> dict[str, Run]:
    """The runs that the arguments of `add_run_arguments` name."""
    from scaling_laws.errors import UsageError
    from scaling_laws.runs import FACTS, load_runs

    facts = {}
    for fact, smallest in FACTS.items():
        value = getattr(arguments, fact, None)
        if value is None:
            continue
        if not (math.isfinite(value) and value >= smallest):
            flag = "--" + fact.replace("_", "-")
            raise UsageError(f"{flag} {value:g} must be a number >= {smallest:g}")
        facts[fact] = value
    return load_runs(
        *arguments.runs, warmup=arguments.warmup, between=arguments.between, facts=facts
    )


def progress() -> Callable[[str], None] | None:
    """A one-line progress display on standard error, or None when that is no terminal."""
    if not sys.stderr.isatty():
        return None

    def report(line: str) -> None:
        sys.stderr.write(f"\r\x1b[K{line[:100]}")
        sys.stderr.flush()

    return report


def end_progress() -> None:
    """Clear the progress line."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def clean(value: Any) -> Any:
    """The same value with what JSON lacks made plain: NaN becomes null, arrays become lists."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return clean(value.tolist())
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(result: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(clean(result), ensure_ascii=False, allow_nan=False) + "\n")


def interval_text(interval: Any) -> str:
    """An interval as `[lo, hi]`, or words when there is none."""
    if interval is None:
        return "no interval: the law's errors were not measured"
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"
