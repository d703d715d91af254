"""Arguments, progress and output that every verb shares. Imports nothing heavy."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from scaling_laws.common import UsageError

if TYPE_CHECKING:
    from scaling_laws.data import Run
    from scaling_laws.inference import FittedLaw
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
    "read_law",
    "read_runs",
    "read_table",
    "step_or_warmup",
    "whole",
    "write_json",
]

Verbs = Any  # argparse's subparsers object has no public type


class Parser(argparse.ArgumentParser):
    """Bad usage is reported as all bad input is: one message, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(f"{message}; see {self.prog} --help")


def add_common(parser: argparse.ArgumentParser) -> None:
    """The arguments of every verb."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--seed", type=whole, default=0, help="of everything random (default 0)")


def whole(text: str) -> int:
    """A whole number >= 0."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must be >= 0")
    return value


def number(text: str) -> float:
    """Any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def number_or_range(text: str) -> float | tuple[float, float]:
    """A number, or two with a colon between them."""
    low, colon, high = text.partition(":")
    return (number(low), number(high)) if colon else number(text)


def step_or_warmup(text: str) -> int | str:
    """A step, or the word that stands for the end of each run's warm-up."""
    if text == "warmup":
        return text
    try:
        return whole(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or the word warmup") from None


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    """Peak, warm-up and lowest rate of schedules that are searched."""
    parser.add_argument(
        "--peak",
        type=number_or_range,
        required=True,
        metavar="X",
        help="peak learning rate; LOW:HIGH searches it, with a law fitted to several peaks",
    )
    parser.add_argument("--warmup", type=whole, default=0, help="warm-up steps (default 0)")
    parser.add_argument(
        "--end-min", type=float, default=0.0, metavar="X", help="lowest LR allowed (default 0)"
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and what their files do not say."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUNS",
        help="a folder of CSV files, FOLDER:name1,name2, or one CSV file",
    )
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What the files of runs do not say, and which points to leave out."""
    group = parser.add_argument_group("what dataset.toml does not say of runs")
    group.add_argument("--warmup", type=whole, metavar="STEPS", help="linear warm-up steps")
    group.add_argument(
        "--between", choices=("hold", "linear"), help="learning rate between logged steps"
    )
    group.add_argument(
        "--window",
        type=whole,
        metavar="STEPS",
        help="steps that each logged loss averages, up to its own (default: dataset.toml, else 1)",
    )
    add_fact_options(parser, "facts that override dataset.toml")
    parser.add_argument(
        "--from-step",
        type=step_or_warmup,
        default=0,
        metavar="N",
        help="leave out points before step N, or 'warmup': before each run's ends (default 0)",
    )


def add_fact_options(parser: argparse.ArgumentParser, title: str) -> None:
    """Numbers of a run that some laws need."""
    facts = parser.add_argument_group(title)
    facts.add_argument("--model-params", type=float, metavar="N", help="parameters of the model")
    facts.add_argument("--weight-decay", type=float, metavar="X", help="decoupled weight decay")
    facts.add_argument(
        "--transfer-step", type=float, metavar="N", help="first step on a new corpus (continual)"
    )


def given_facts(arguments: argparse.Namespace) -> dict[str, float]:
    """The facts given on the command line."""
    from scaling_laws.data import FACTS

    given = {fact: getattr(arguments, fact, None) for fact in FACTS}
    return {fact: value for fact, value in given.items() if value is not None}


def names_in(text: str) -> list[str]:
    """Names between commas."""
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
    """The one CSV of measurements that a point law is fitted to or judged on, and its name."""
    from scaling_laws.data import read_points

    if len(arguments.runs) != 1:
        raise UsageError(
            f"{law.name} takes one CSV with columns {', '.join(law.input_names)} and "
            f"{law.output}, a row a finished run; {len(arguments.runs)} were given"
        )
    for option in ("warmup", "between", "window", "model_params", "weight_decay", "transfer_step"):
        if getattr(arguments, option) is not None:
            flag = option.replace("_", "-")
            raise UsageError(f"--{flag} is about runs; {law.name} takes a table, so leave it out")
    if arguments.from_step:
        raise UsageError(f"--from-step is about runs; {law.name} takes a table, so leave it out")
    path = arguments.runs[0]
    return path, read_points(path, law)


LAW_HELP = "law file, or published parameters as NAME:LABEL, e.g. multi_power:25M"


def read_law(text: str) -> FittedLaw:
    """A law file, or a law with published parameters (``NAME:LABEL``)."""
    import os

    from scaling_laws.inference import FittedLaw, load_law

    name, colon, label = text.partition(":")
    if colon and not os.path.exists(text):
        return FittedLaw.published(name, label)
    return load_law(text)


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
    sys.stdout.write(json.dumps(clean(result), allow_nan=False) + "\n")


def interval_text(interval: Any, form: str = ".4f") -> str:
    """An interval as `[lo, hi]`, or words when there is none."""
    if interval is None:
        return "no interval: the law's errors were not measured"
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]"
