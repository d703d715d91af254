"""The command line: `scaling-laws VERB ...`. One file a verb; `VERBS` lists them."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from scaling_laws._version import __version__
from scaling_laws.common import ScalingLawsError
from scaling_laws.interface.cli import (
    common,
    compare,
    evaluate,
    export,
    fit,
    import_,
    inspect,
    laws,
    optimize,
    plan,
    predict,
    proxy,
    quickstart,
    replan,
    schedules,
    screen,
    verify,
)

__all__ = ["VERBS", "build_parser", "main"]

VERBS: tuple[ModuleType, ...] = (
    quickstart,
    inspect,
    import_,
    fit,
    evaluate,
    compare,
    predict,
    optimize,
    screen,
    export,
    verify,
    plan,
    replan,
    proxy,
    laws,
    schedules,
)

DESCRIPTION = """\
What a learning-rate schedule will cost in loss, before the compute is spent.

  scaling-laws fit data/ladder/micro:constant_4000,cosine_4000,drop_to_0.1_2000 --out law.json
  scaling-laws predict law.json --schedule "linear:peak=4e-3,steps=4000,warmup=100"
  scaling-laws optimize law.json --steps 4000 --peak 4e-3 --warmup 100 --out schedule.csv
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = common.Parser(
        prog="scaling-laws",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scaling-laws {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb.add_parser(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: default the process's.

    Returns:
        0 on success, 1 where a verb was asked to fail on what it found, 2 on bad usage or bad
        input (one message on standard error).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a formula's Σ must not end in a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        parsed = build_parser().parse_args(arguments)
        result = parsed.run(parsed)
        common.end_progress()
        if result is None:  # one of several processes, of which another one speaks
            return 0
        if parsed.json:
            common.write_json(result)
        else:
            sys.stdout.write(parsed.render(result).rstrip("\n") + "\n")
        sys.stdout.flush()
        if "exit_code" in parsed:  # a verb whose result may be a failure, though it ran well
            return int(parsed.exit_code(result))
    except ScalingLawsError as error:
        common.end_progress()
        sys.stderr.write(f"scaling-laws: {error}\n")
        return 2
    except KeyboardInterrupt:
        common.end_progress()
        sys.stderr.write("scaling-laws: interrupted; nothing half-written is left\n")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; its business, not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0
