"""What a person may say of a log; `import` and `inspect` share it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.data import Options

__all__ = ["add_log_options", "read_options"]


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Keys, steps, cleaning, the schedule, facts."""
    keys = parser.add_argument_group("which keys (default: the known ones)")
    for role, words in (
        ("step", "optimizer steps"),
        ("lr", "learning rate"),
        ("loss", "loss"),
        ("tokens", "tokens seen"),
        ("samples", "samples seen"),
    ):
        keys.add_argument(f"--{role}-key", metavar="KEY", help=words)
    keys.add_argument(
        "--lr-group", type=common.whole, metavar="N", help="parameter group whose LR counts"
    )
    steps = parser.add_argument_group("how steps are counted (default: what the format says)")
    steps.add_argument(
        "--first-step",
        type=common.whole,
        choices=(0, 1),
        help="step number of the first update (default 0)",
    )
    steps.add_argument(
        "--lr-offset",
        type=int,
        metavar="N",
        help="a row's LR belongs to the update N after its own (1: read after the scheduler step)",
    )
    steps.add_argument(
        "--step-offset",
        type=common.whole,
        metavar="N",
        help="updates before the log's first, for a branch whose log counts anew (see --parent)",
    )
    for name, words in (
        ("steps-per-update", "logged steps (micro-batches) that make one update"),
        ("tokens-per-step", "tokens of one update"),
        ("samples-per-step", "samples of one update"),
        ("sequence-length", "tokens of one sample"),
    ):
        steps.add_argument(f"--{name}", type=_positive, metavar="N", help=words)
    clean = parser.add_argument_group("cleaning (all of it is recorded)")
    clean.add_argument(
        "--repeats",
        choices=("last", "first", "mean"),
        default="last",
        help="which row of a step that was logged again counts (default last)",
    )
    clean.add_argument(
        "--window",
        type=_positive,
        metavar="N",
        help="updates that each logged loss averages (default: what the format says, else 1)",
    )
    clean.add_argument(
        "--average-window",
        type=_positive,
        metavar="N",
        help="average N rows to one point; the set says so and fit predicts the average",
    )
    clean.add_argument("--drop-spikes", action="store_true", help="leave spikes out")
    clean.add_argument(
        "--drop-skipped", action="store_true", help="leave points with skipped updates out"
    )
    clean.add_argument(
        "--from-step",
        type=common.step_or_warmup,
        default=0,
        metavar="N",
        help="leave out points before step N, or before the warm-up's end: warmup",
    )
    plan = parser.add_argument_group("the schedule (default: recognised from the logged LR)")
    plan.add_argument("--schedule", metavar="SPEC", help="spec, where the LR is not logged")
    plan.add_argument("--steps", type=_positive, metavar="N", help="updates that were planned")
    plan.add_argument(
        "--warmup", type=common.whole, metavar="N", help="warm-up steps, where the log lacks them"
    )
    plan.add_argument(
        "--between",
        choices=("hold", "linear"),
        help="LR between logged rows, where no family explains them",
    )
    plan.add_argument(
        "--parent",
        metavar="RUN@STEP",
        help="run that this one branched off (FOLDER:NAME or FILE.csv), and its first own step",
    )
    common.add_fact_options(parser, "facts of the run that laws use")


def _positive(text: str) -> int:
    value = common.whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be >= 1")
    return value


def read_options(arguments: argparse.Namespace) -> Options:
    """What was said."""
    from dataclasses import fields

    from scaling_laws.data import Options

    given = {
        field.name: getattr(arguments, field.name)
        for field in fields(Options)
        if getattr(arguments, field.name, None) is not None
    }
    facts = common.given_facts(arguments)
    facts.pop("tokens_per_step", None)  # it has an option of its own
    return Options(**{**given, "facts": facts})
