"""The command line: `scaling-laws VERB ...`. One file per verb; `VERBS` lists them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from scaling_laws._version import __version__
from scaling_laws.common import (
    COMPILE_CACHE_VARIABLE,
    PluginWarning,
    ScalingLawsError,
    ScalingLawsWarning,
    printable,
)
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
from scaling_laws.interface.cli.outputs import check_outputs, writes_standard_output
from scaling_laws.interface.cli.progress_display import progress_shown

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
Predict the training loss of learning-rate schedules before spending the compute.

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
        arguments: of the command line; default those of the process.

    Returns:
        0 on success, 1 where a verb was asked to fail on its result, 2 on bad usage or bad input
        (one message on standard error).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a formula's Σ must not end in a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _only_plugin_warnings():
            return _run(build_parser().parse_args(arguments))
    except ScalingLawsError as error:
        sys.stderr.write(f"scaling-laws: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("scaling-laws: interrupted; no file was left incomplete\n")
        return 130
    except BrokenPipeError:  # stdout closed early (e.g. `| head`): not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(parsed: argparse.Namespace) -> int:
    """Do the work of a verb, print its result, and return the exit code."""
    check_outputs(parsed)
    if parsed.no_compile_cache:
        os.environ[COMPILE_CACHE_VARIABLE] = "off"  # for worker processes, too
    display = progress_shown(sys.stderr, lines=not parsed.json)
    with contextlib.nullcontext() if "own_progress" in parsed else display:
        result = parsed.run(parsed)
    if result is None:  # one of several processes; only the first prints
        return 0
    if parsed.json:
        common.write_json(result)
    else:
        text = printable(parsed.render(result).rstrip("\n"), keep="\n\t") + "\n"
        (sys.stderr if writes_standard_output(parsed) else sys.stdout).write(text)
    sys.stdout.flush()
    if "exit_code" in parsed:  # a verb whose result may be a failure, though it ran well
        return int(parsed.exit_code(result))
    return 0


@contextlib.contextmanager
def _only_plugin_warnings() -> Iterator[None]:
    """Leave warnings about fits and predictions to the results, which list them as well."""
    with warnings.catch_warnings():
        show_other = warnings.showwarning

        def show(message: Any, category: type[Warning], *details: Any, **more: Any) -> None:
            if issubclass(category, PluginWarning):
                sys.stderr.write(f"scaling-laws: warning: {message}\n")
            else:
                show_other(message, category, *details, **more)

        warnings.simplefilter("ignore", ScalingLawsWarning)
        warnings.simplefilter("always", PluginWarning)
        warnings.showwarning = show
        yield
