"""Options that describe a log, shared by `import` and `inspect`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaling_laws.interface.cli import common

if TYPE_CHECKING:
    from scaling_laws.data import Options

__all__ = ["add_log_options", "read_option_tables", "read_options"]


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Keys, steps, cleaning, the schedule, facts."""
    keys = parser.add_argument_group("keys (default: recognised by name)")
    for role, meaning in (
        ("step", "optimizer step"),
        ("lr", "learning rate"),
        ("loss", "loss"),
        ("tokens", "tokens seen"),
        ("samples", "samples seen"),
    ):
        keys.add_argument(f"--{role}-key", metavar="KEY", help=f"key of the {meaning}")
    keys.add_argument(
        "--lr-group", type=common.whole, metavar="N", help="parameter group whose LR to use"
    )
    steps = parser.add_argument_group("step numbering (default: that of the format)")
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
        help="the LR in a row is that of N updates later (1: logged after the scheduler step)",
    )
    steps.add_argument(
        "--step-offset",
        type=common.whole,
        metavar="N",
        help="updates before the first logged one, for a branch whose log restarts at 0 (see "
        "--parent)",
    )
    for name, meaning in (
        ("steps-per-update", "logged steps (micro-batches) per update"),
        ("tokens-per-step", "tokens per update"),
        ("samples-per-step", "samples per update"),
        ("sequence-length", "tokens per sample"),
    ):
        steps.add_argument(f"--{name}", type=_positive, metavar="N", help=meaning)
    clean = parser.add_argument_group("cleaning (recorded in the set)")
    clean.add_argument(
        "--repeats",
        choices=("last", "first", "mean"),
        help="which row to use for a step that was logged again (default last, unless the file "
        "begins anew with other losses)",
    )
    clean.add_argument(
        "--run-key",
        metavar="KEY",
        help="key whose values tell several runs apart: a run per value; KEY,KEY for combinations",
    )
    clean.add_argument(
        "--split-restarts", action="store_true", help="each part that begins anew is a run"
    )
    clean.add_argument(
        "--window",
        type=_positive,
        metavar="N",
        help="each logged loss is the mean of N updates (default: that of the format, else 1)",
    )
    clean.add_argument(
        "--average-window",
        type=_positive,
        metavar="N",
        help="average every N rows into one point; the set records this, and fit predicts averages",
    )
    clean.add_argument("--drop-spikes", action="store_true", help="omit spikes")
    clean.add_argument(
        "--drop-skipped", action="store_true", help="omit points with skipped updates"
    )
    clean.add_argument(
        "--from-step",
        type=common.step_or_warmup,
        default=0,
        metavar="N",
        help="omit points before step N, or before the end of the warm-up (N = warmup)",
    )
    schedule = parser.add_argument_group("schedule (default: recognised from the logged LR)")
    schedule.add_argument(
        "--schedule", metavar="SCHEDULE", help="spec or FILE.csv, if the LR is not logged"
    )
    schedule.add_argument("--steps", type=_positive, metavar="N", help="planned number of updates")
    schedule.add_argument(
        "--warmup", type=common.whole, metavar="N", help="warm-up steps, if the log lacks them"
    )
    schedule.add_argument(
        "--between",
        choices=("hold", "linear"),
        help="how the LR changes between logged rows, if no family matches them",
    )
    schedule.add_argument(
        "--parent",
        metavar="RUN@STEP",
        help="run from which this one branched (FOLDER:NAME or FILE.csv), and its first new step",
    )
    common.add_fact_options(parser, "facts about the run")
    parser.add_argument(
        "--options",
        metavar="FILE.toml",
        help='options of single logs: a table for each name or pattern, ["a*.csv"], with the '
        "names of the options above; they override those given here",
    )


def read_option_tables(arguments: argparse.Namespace) -> Mapping[str, Mapping[str, Any]]:
    """Options of single logs, by pattern; each must match a log.

    Raises:
        ScalingLawsError: if the file cannot be used, or a table matches no log.
    """
    from scaling_laws.data import check_patterns, read_log_options

    if arguments.options is None:
        return {}
    tables = read_log_options(arguments.options)
    check_patterns(tables, arguments.logs)
    return tables


def _positive(text: str) -> int:
    value = common.whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be >= 1")
    return value


def read_options(arguments: argparse.Namespace) -> Options:
    """The options that were given."""
    from dataclasses import fields

    from scaling_laws.data import Options

    options = {
        field.name: getattr(arguments, field.name)
        for field in fields(Options)
        if getattr(arguments, field.name, None) is not None
    }
    facts = common.given_facts(arguments)
    facts.pop("tokens_per_step", None)  # it has an option of its own
    return Options(**{**options, "facts": facts})
