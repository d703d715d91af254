"""Show progress: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence, Set
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scaling_laws.proxy.sweep.run_progress import RunProgress, count_states, read_progress
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["format_duration", "progress_table", "show_progress"]

COLUMNS = ("run", "step", "loss", "tokens/s", "left", "state")
NUMERIC = slice(1, 5)  # right-aligned columns
DISPLAY_ORDER = ("training", "failed", "interrupted", "waiting", "finished", "skipped")
COLOURS = {"training": "cyan", "finished": "green", "failed": "red", "interrupted": "yellow"}
ENDED = ("finished", "skipped", "failed")
POLL_SECONDS = 1.0  # between two reads of the progress files
POLLS_PER_LINE = 60  # between two lines about runs in training
LIVE_ROWS = 30  # of a live table


def format_duration(seconds: float | None) -> str:
    """A duration as text, in its two largest units.

    >>> [format_duration(seconds) for seconds in (None, 0.4, 75, 5000, 200_000)]
    ['-', '0 s', '1 min 15 s', '1 h 23 min', '2 d 7 h']
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    for unit, size, minor_unit, minor_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // minor_size} {minor_unit}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _cells(progress: RunProgress) -> tuple[str, ...]:
    speed, loss = progress.tokens_per_second, progress.loss
    return (
        progress.run,
        f"{progress.step}/{progress.steps}" if progress.steps else "-",
        "-" if loss is None else f"{loss:.4f}",
        "-" if speed is None else f"{speed:,.0f}",
        format_duration(progress.seconds_left) if progress.state == "training" else "-",
        progress.state,
    )


def progress_table(runs: Sequence[RunProgress]) -> str:
    """One line of text per run, then the errors, then the number of runs in each state."""
    table = [COLUMNS, *map(_cells, runs)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for name, *numbers, state in table:
        numeric = [cell.rjust(width) for cell, width in zip(numbers, widths[NUMERIC], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *numeric, state]))
    lines += [f"{progress.run}: {progress.error}" for progress in runs if progress.error]
    return "\n".join([*lines, count_states(runs)])


def _live_table(runs: Sequence[RunProgress]) -> Table:
    """The same for a terminal: the runs that matter most now, as many as fit."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=count_states(runs), caption_justify="left")
    for column in COLUMNS:
        numeric = column in COLUMNS[NUMERIC]
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    by_urgency = sorted(runs, key=lambda progress: DISPLAY_ORDER.index(progress.state))
    for progress in by_urgency[:LIVE_ROWS]:
        style = COLOURS.get(progress.state, "")
        table.add_row(*(Text(cell, style) for cell in _cells(progress)))
    return table


@contextlib.contextmanager
def show_progress(runs: Sequence[PlannedRun], work: Path, stream: IO[str]) -> Iterator[None]:
    """Show the progress of runs on `stream` during a block, whichever process trains them.

    Args:
        runs: of the sweep.
        work: work folder of the sweep.
        stream: a live table is shown if it is a terminal and rich is installed; otherwise one line
            per run that ends, and every minute one line per run in training.
    """
    if stream.isatty() and find_spec("rich") is not None:
        from rich.console import Console
        from rich.live import Live

        live = Live(
            get_renderable=lambda: _live_table(read_progress(work, runs)),
            console=Console(file=stream),
            refresh_per_second=2,
            transient=True,
        )
        with live:
            yield
        return
    stop = threading.Event()
    ended = {progress.run for progress in read_progress(work, runs) if progress.state in ENDED}
    writer = threading.Thread(
        target=_write_lines, args=(runs, work, stream, stop, ended), daemon=True
    )
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def _write_lines(
    runs: Sequence[PlannedRun],
    work: Path,
    stream: IO[str],
    stop: threading.Event,
    ended_before: Set[str],
) -> None:
    """One line per run that ends, and every minute one per run in training."""
    ended = set(ended_before)
    polls = 0
    stopped = False
    while not stopped:
        stopped = stop.wait(POLL_SECONDS)  # the last poll comes after the end
        polls += 1
        for progress in read_progress(work, runs):
            if progress.state in ENDED and progress.run not in ended:
                ended.add(progress.run)
                loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
                detail = f": {progress.error}" if progress.error else loss
                stream.write(f"{progress.run} {progress.state}{detail}\n")
            elif progress.state == "training" and not stopped and polls % POLLS_PER_LINE == 0:
                name, step, loss, speed, left, _ = _cells(progress)
                stream.write(f"{name}: step {step}, loss {loss}, {speed} tokens/s, {left} left\n")
        stream.flush()
