"""Progress for people: a live table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import IO, TYPE_CHECKING

from scaling_laws.proxy.sweep.run_progress import RunProgress, count_states, read_progress
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["format_duration", "progress_table", "show_progress"]

COLUMNS = ("run", "step", "loss", "tokens/s", "left", "state")
URGENT = ("training", "failed", "interrupted", "waiting", "finished", "skipped")  # shown first
MINUTE = 60.0
TICK = 1.0  # seconds between two looks at the files
ROOM = 30  # rows of a live table


def format_duration(seconds: float | None) -> str:
    """A time in words.

    >>> [format_duration(each) for each in (None, 0.4, 75, 5000, 200_000)]
    ['-', '0 s', '1 min 15 s', '1 h 23 min', '2 d 7 h']
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    for unit, size, minor, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {minor}"
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


def progress_table(found: Sequence[RunProgress]) -> str:
    """Every run in a row of text, what failed below, and the counts."""
    cells = [COLUMNS, *map(_cells, found)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:5], widths[1:5], strict=True)]
            + [row[5]]
        )
        for row in cells
    ]
    lines += [f"{each.run}: {each.error}" for each in found if each.error]
    return "\n".join([*lines, count_states(found)])


def _live_table(found: Sequence[RunProgress]) -> Table:
    """The same for a terminal: the runs that matter now, as many as fit."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=count_states(found), caption_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if 0 < number < 5 else "left", no_wrap=True)
    colours = {"training": "cyan", "finished": "green", "failed": "red", "interrupted": "yellow"}
    for progress in sorted(found, key=lambda each: URGENT.index(each.state))[:ROOM]:
        style = colours.get(progress.state, "")
        table.add_row(*(Text(cell, style) for cell in _cells(progress)))
    return table


@contextlib.contextmanager
def show_progress(rows: Sequence[PlannedRun], work: Path, stream: IO[str]) -> Iterator[None]:
    """Show the progress of rows on `stream` until the block ends, whoever trains them."""
    if stream.isatty() and _has_rich():
        from rich.console import Console
        from rich.live import Live

        live = Live(
            get_renderable=lambda: _live_table(read_progress(work, rows)),
            console=Console(file=stream),
            refresh_per_second=2,
            transient=True,
        )
        with live:
            yield
        return
    stop = threading.Event()
    before = {each.run for each in read_progress(work, rows) if _has_ended(each)}
    lines = threading.Thread(
        target=_write_lines, args=(rows, work, stream, stop, before), daemon=True
    )
    lines.start()
    try:
        yield
    finally:
        stop.set()
        lines.join()


def _has_rich() -> bool:
    import importlib.util

    return importlib.util.find_spec("rich") is not None


def _write_lines(
    rows: Sequence[PlannedRun], work: Path, stream: IO[str], stop: threading.Event, before: Set[str]
) -> None:
    """A line for each run that ends, and one a minute for those that train."""
    ended = set(before)
    ticks = 0
    over = False
    while not over:
        over = stop.wait(TICK)  # look once more after the end
        ticks += 1
        found = read_progress(work, rows)
        for progress in found:
            if _has_ended(progress) and progress.run not in ended:
                ended.add(progress.run)
                loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
                reason = f": {progress.error}" if progress.error else loss
                stream.write(f"{progress.run} {progress.state}{reason}\n")
        if not over and ticks % round(MINUTE / TICK) == 0:
            for progress in found:
                if progress.state == "training":
                    run, step, loss, speed, left, _ = _cells(progress)
                    stream.write(
                        f"{run}: step {step}, loss {loss}, {speed} tokens/s, {left} left\n"
                    )
        stream.flush()


def _has_ended(progress: RunProgress) -> bool:
    return progress.state in ("finished", "skipped", "failed")
