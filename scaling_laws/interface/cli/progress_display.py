"""Progress of a command on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from scaling_laws.common import LOGGER_NAME

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressDisplay", "progress_shown"]

LINE_SECONDS = 10.0  # between two lines where there is no terminal


class ProgressDisplay(logging.Handler):
    """Shows the records of `scaling_laws.common.report_progress` on a stream.

    On a terminal one bar with stage, count and elapsed time, removed when the handler is closed.
    Elsewhere one line every `LINE_SECONDS`, so that a quick command prints nothing.

    Args:
        stream: where to show them.
        lines: whether to write lines where the stream is not a terminal.
    """

    def __init__(self, stream: IO[str], *, lines: bool = True) -> None:
        super().__init__(logging.INFO)
        self._stream = stream
        self._terminal = stream.isatty()
        self._lines = lines
        self._start = self._last_line = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None
        self._shown: tuple[str, int, int | None] = ("", 0, None)

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record; a record of anything but progress is shown by its message."""
        stage = str(getattr(record, "stage", record.getMessage()))
        done, total = getattr(record, "done", None), getattr(record, "total", None)
        try:
            if self._terminal:
                self._update_bar(stage, done, total)
            elif self._lines:
                self._write_line(record.getMessage())
        except Exception:  # a display must not stop the work
            self.handleError(record)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
        super().close()

    def _update_bar(self, stage: str, done: int | None, total: int | None) -> None:
        shown, done_before, total_before = self._shown
        # the text may change with every record while the count continues
        continues = stage == shown or (total is not None and total == total_before)
        count = "" if done is None else f"{done:,}" + ("" if total is None else f"/{total:,}")
        state: dict[str, Any] = {"total": total, "completed": done or 0, "count": count}
        if self._bar is None:
            progress = _new_bar(self._stream)
            self._bar = progress, progress.add_task(stage, **state)
            progress.start()
        elif continues and (done or 0) >= done_before:
            self._bar[0].update(self._bar[1], description=stage, **state)
        else:
            self._bar[0].reset(self._bar[1], description=stage, **state)
        self._shown = stage, done or 0, total

    def _write_line(self, message: str) -> None:
        now = time.monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._stream.write(f"{now - self._start:6.0f} s  {message}\n")
            self._stream.flush()


def _new_bar(stream: IO[str]) -> Progress:
    """A bar of one stage; Rich is imported here, so that quick commands do not wait for it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream),
        transient=True,
        redirect_stdout=False,  # standard output carries results only
    )


@contextlib.contextmanager
def progress_shown(stream: IO[str], *, lines: bool = True) -> Iterator[None]:
    """Show progress on a stream until the block ends; the logger is then as it was before."""
    logger = logging.getLogger(LOGGER_NAME)
    level = logger.level
    display = ProgressDisplay(stream, lines=lines)
    logger.addHandler(display)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(display)
        display.close()
