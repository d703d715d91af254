"""Arguments and output that the verbs share. Imports nothing heavy."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from scaling_laws.common import COMPILE_CACHE_VARIABLE, UsageError, shown, to_float, to_int

if TYPE_CHECKING:
    from scaling_laws.data import Run
    from scaling_laws.inference import CurveFit, PointFit
    from scaling_laws.models import PointLaw

__all__ = [
    "LAW_HELP",
    "Parser",
    "Verbs",
    "add_common",
    "add_fact_options",
    "add_frame_options",
    "add_run_arguments",
    "add_run_options",
    "clean",
    "given_facts",
    "interval_text",
    "names_in",
    "number",
    "number_or_range",
    "read_curve_fit",
    "read_law",
    "read_runs",
    "read_table",
    "step_or_warmup",
    "whole",
    "write_json",
]

Verbs = Any  # argparse's subparsers object has no public type


class Parser(argparse.ArgumentParser):
    """Reports bad usage as any bad input: one message, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(f"{message}; see {self.prog} --help")


def add_common(parser: argparse.ArgumentParser) -> None:
    """The arguments of every verb."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )
    parser.add_argument("--seed", type=whole, default=0, help="random seed (default 0)")
    parser.add_argument(
        "--no-compile-cache",
        action="store_true",
        help=f"do not keep compiled programs on disk (or set {COMPILE_CACHE_VARIABLE}=off)",
    )


def whole(text: str) -> int:
    """A whole number >= 0."""
    try:
        value = to_int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must be >= 0")
    return value


def number(text: str) -> float:
    """Any number."""
    try:
        return to_float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number") from None


def number_or_range(text: str) -> float | tuple[float, float]:
    """A number, or two separated by a colon."""
    low, colon, high = text.partition(":")
    return (number(low), number(high)) if colon else number(text)


def step_or_warmup(text: str) -> int | str:
    """A step, or the word ``warmup`` for the end of each run's warm-up."""
    if text == "warmup":
        return text
    try:
        return whole(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a whole number >= 0 nor the word warmup"
        ) from None


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    """Peak, warm-up and lowest learning rate of the schedules to search."""
    parser.add_argument(
        "--peak",
        type=number_or_range,
        required=True,
        metavar="X",
        help="peak learning rate; LOW:HIGH searches it (needs a law fitted to several peaks)",
    )
    parser.add_argument("--warmup", type=whole, default=0, help="warm-up steps (default 0)")
    parser.add_argument(
        "--end-min",
        type=number,
        default=0.0,
        metavar="X",
        help="lowest learning rate allowed (default 0)",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs to read, and what their files lack."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUNS",
        help="a folder of CSV files, FOLDER:name1,name2, or one CSV file",
    )
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What the files of runs lack, and which points to omit."""
    group = parser.add_argument_group("run properties missing from dataset.toml")
    group.add_argument("--warmup", type=whole, metavar="STEPS", help="linear warm-up steps")
    group.add_argument(
        "--between",
        choices=("hold", "linear"),
        help="how the learning rate changes between logged steps",
    )
    group.add_argument(
        "--window",
        type=whole,
        metavar="STEPS",
        help="each logged loss is the mean over this many steps, up to and including its own "
        "(default: from dataset.toml, else 1)",
    )
    add_fact_options(parser, "facts about the runs (override dataset.toml)")
    parser.add_argument(
        "--from-step",
        type=step_or_warmup,
        default=0,
        metavar="N",
        help="omit points before step N, or before the end of each run's warm-up (N = warmup) "
        "(default 0)",
    )


def add_fact_options(parser: argparse.ArgumentParser, title: str) -> None:
    """Numbers about a run that some laws need."""
    facts = parser.add_argument_group(title)
    facts.add_argument(
        "--model-params", type=number, metavar="N", help="number of model parameters"
    )
    facts.add_argument("--weight-decay", type=number, metavar="X", help="decoupled weight decay")
    facts.add_argument(
        "--transfer-step",
        type=number,
        metavar="N",
        help="first step on the new corpus (for the law continual)",
    )


def given_facts(arguments: argparse.Namespace) -> dict[str, float]:
    """The facts given on the command line."""
    from scaling_laws.data import FACTS

    values = {fact: getattr(arguments, fact, None) for fact in FACTS}
    return {fact: value for fact, value in values.items() if value is not None}


def names_in(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def read_runs(arguments: argparse.Namespace) -> dict[str, Run]:
    """The runs that the arguments of `add_run_arguments` name."""
    from scaling_laws.data import load_runs

    return load_runs(
        *arguments.runs,
        warmup=arguments.warmup,
        between=arguments.between,
        facts=given_facts(arguments),
        window=arguments.window,
    )


def read_table(arguments: argparse.Namespace, law: PointLaw) -> tuple[str, dict[str, Any]]:
    """The CSV of measurements that a tabular law is fitted to or evaluated on, and its name."""
    from scaling_laws.data import read_points

    if len(arguments.runs) != 1:
        raise UsageError(
            f"{law.name} takes one CSV with columns {', '.join(law.input_names)} and "
            f"{law.output}, one row per finished run; got {len(arguments.runs)} arguments"
        )
    for option in ("warmup", "between", "window", "model_params", "weight_decay", "transfer_step"):
        if getattr(arguments, option) is not None:
            flag = option.replace("_", "-")
            raise UsageError(
                f"--{flag} applies to runs, but {law.name} is fitted to a table; omit it"
            )
    if arguments.from_step:
        raise UsageError(
            f"--from-step applies to runs, but {law.name} is fitted to a table; omit it"
        )
    path = arguments.runs[0]
    if os.path.isdir(path) or (":" in path and not os.path.exists(path)):
        raise UsageError(
            f"{path}: {law.name} is a tabular law; pass one CSV with columns "
            f"{', '.join(law.input_names)} and {law.output}, one row per finished run",
            path=path,
        )
    return path, read_points(path, law)


LAW_HELP = "law file, or published parameters NAME:LABEL, e.g. multi_power:25M"


def read_law(text: str) -> CurveFit | PointFit:
    """A law file, or a law with published parameters (``NAME:LABEL``)."""
    from scaling_laws.inference import load_law, published

    name, colon, label = text.partition(":")
    if colon and not os.path.exists(text):
        return published(name, label)
    return load_law(text)


def read_curve_fit(text: str) -> CurveFit:
    """As `read_law`, for verbs that need a law of schedules.

    Raises:
        LawError: if it is a tabular law.
    """
    from scaling_laws.inference import require_curve_fit

    return require_curve_fit(read_law(text))


def clean(value: Any) -> Any:
    """The same value as JSON can represent it: NaN becomes null, arrays become lists."""
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
    sys.stdout.write(json.dumps(clean(result), allow_nan=False) + "\n")


def interval_text(interval: Any, form: str = ".4f") -> str:
    """An interval as `[lo, hi]`, or the reason why there is none."""
    if interval is None:
        return "no interval: held-out errors were not measured"
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]"
