"""Progress on standard error: a bar on a terminal, lines elsewhere, and nothing is left behind."""

from __future__ import annotations

import io
import logging
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from scaling_laws.common import (
    LOGGER_NAME,
    IdentifiabilityWarning,
    PluginWarning,
    report_progress,
    warn,
)
from scaling_laws.interface.cli import laws, progress_display
from scaling_laws.interface.cli.progress_display import progress_shown
from tests.cli.calls import call


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress_display, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_one_line_every_ten_seconds(clock: SimpleNamespace, monkeypatch: Any) -> None:
    monkeypatch.setattr(progress_display, "LINE_SECONDS", 10.0)
    stream = io.StringIO()
    with progress_shown(stream):
        for second in range(0, 35):
            clock.seconds = second
            report_progress("power: starts", second, 64)
    assert stream.getvalue().splitlines() == [
        f"{second:6.0f} s  power: starts, {second} of 64" for second in (10, 20, 30)
    ]


def test_no_lines_when_they_are_not_wanted(clock: SimpleNamespace) -> None:
    stream = io.StringIO()
    with progress_shown(stream, lines=False):
        clock.seconds = 1e6
        report_progress("power: starts", 1, 64)
    assert stream.getvalue() == ""


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    with progress_shown(stream):
        report_progress("power: starts", 3, 64)
        report_progress("power: [refits]", 1, 100)
        report_progress("power: [refits]")
    text = stream.getvalue()
    assert "power: starts" in text and "3/64" in text and "power: [refits]" in text
    assert "\x1b[2K" in text.rpartition("refits")[2]  # the bar is erased at the end


def test_changing_text_of_one_count_is_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer reports the loss with every step; its elapsed time must not start again."""
    monkeypatch.setenv("TERM", "xterm")
    resets = []
    with progress_shown(Terminal()):
        (display,) = logging.getLogger(LOGGER_NAME).handlers[-1:]
        report_progress("run: loss 3.1; steps", 10, 100)
        assert isinstance(display, progress_display.ProgressDisplay) and display._bar is not None
        monkeypatch.setattr(display._bar[0], "reset", lambda *_, **state: resets.append(state))
        report_progress("run: loss 3.0; steps", 20, 100)
        assert resets == []
        report_progress("other: loss 4.0; steps", 0, 100)
    assert len(resets) == 1


def test_logger_is_left_as_it_was() -> None:
    logger = logging.getLogger(LOGGER_NAME)
    before = (logger.level, list(logger.handlers))
    assert call("laws", "power").code == 0
    assert call("laws", "powr").code == 2
    assert (logger.level, logger.handlers) == before


def test_nothing_is_shown_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_display, "LINE_SECONDS", 0.0)
    plain = call("laws", "power")
    work = laws.run

    def run(arguments: Any) -> dict[str, Any]:
        report_progress("power: starts", 3, 64)
        return work(arguments)

    monkeypatch.setattr(laws, "run", run)
    result = call("laws", "power")
    assert result.out == plain.out and "power: starts, 3 of 64" in result.err
    assert call("laws", "power", "--json").err == ""


def test_warnings_of_fits_are_left_to_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: Any) -> dict[str, Any]:
        warn("beta is not identified", IdentifiabilityWarning)
        warn("the plug-in 'x' was not loaded", PluginWarning)
        return {"laws": {}, "whole": True}

    monkeypatch.setattr(laws, "run", run)
    filters = list(warnings.filters)
    result = call("laws")
    assert result.err == "scaling-laws: warning: the plug-in 'x' was not loaded\n"
    assert warnings.filters == filters
