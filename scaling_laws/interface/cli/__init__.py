"""The command line: `scaling-laws VERB ...`. One file per verb; `VERBS` lists them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from scaling_laws._version import __version__
from scaling_laws.common import (
    COMPILE_CACHE_VARIABLE,
    InputWarning,
    OutputError,
    PluginWarning,
    ScalingLawsError,
    ScalingLawsWarning,
    message_text,
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

SHOWN = (PluginWarning, InputWarning)  # warnings that no result contains
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
    _open_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a formula's Σ must not end in a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _few_warnings(), _terminated_as_interrupted():
            return _run(build_parser().parse_args(arguments))
    except ScalingLawsError as error:
        return _fail(str(error))
    except KeyboardInterrupt as error:
        _fail("interrupted; no file was left incomplete")
        return 143 if isinstance(error, _Terminated) else 130
    except BrokenPipeError:  # stdout closed early (e.g. `| head`): not an error
        _discard_standard_output()
        return 0
    except MemoryError:
        return _fail("not enough memory; use fewer steps, runs or columns")
    except RecursionError:
        return _fail("an input is nested too deeply")


class _Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def _fail(message: str) -> int:
    """Write a message to standard error, as far as that is possible; the exit code."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"scaling-laws: {message_text(message)}\n")
        sys.stderr.flush()
    return 2


def _open_missing_streams() -> None:
    """Replace a closed standard error, which is None, by one that discards what is written."""
    if sys.stderr is None:  # as `2>&-` leaves it
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _discard_standard_output() -> None:
    """Let the interpreter write the rest of standard output nowhere when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that temporary files are removed."""

    def interrupt(number: int, frame: Any) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are of the main one
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """An error of standard output as an error of the package; a broken pipe is none.

    Raises:
        OutputError: if standard output is closed, or its disk is full.
    """
    if sys.stdout is None:  # as `>&-` leaves it
        raise OutputError("standard output is closed")
    try:
        yield
    except (BrokenPipeError, ScalingLawsError):
        raise
    except OSError as error:
        _discard_standard_output()
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


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
    with _writing():
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
def _few_warnings() -> Iterator[None]:
    """Show those of `SHOWN`; the results list those about fits and predictions."""
    with warnings.catch_warnings():
        show_other = warnings.showwarning

        def show(message: Any, category: type[Warning], *details: Any, **more: Any) -> None:
            if issubclass(category, SHOWN):
                sys.stderr.write(f"scaling-laws: warning: {message}\n")
            else:
                show_other(message, category, *details, **more)

        warnings.simplefilter("ignore", ScalingLawsWarning)
        for shown in SHOWN:
            warnings.simplefilter("always", shown)
        warnings.showwarning = show
        yield
