"""What people see of a sweep while it runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from scaling_laws.proxy.sweep.run_progress import RunProgress, claimed, write_progress
from scaling_laws.proxy.sweep.sweep_display import progress_table, show_progress
from scaling_laws.proxy.sweep.sweep_plan import PlannedRun

ROWS = tuple(PlannedRun(name, Path("/set"), {}, None, "here") for name in ("one", "two"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    write_progress(tmp_path, RunProgress("one", "finished", 9, 9, 3.5))
    stream = io.StringIO()
    with show_progress(ROWS, tmp_path, stream):
        write_progress(tmp_path, RunProgress("two", "failed", 4, 9, error="it diverged"))
    assert stream.getvalue() == "two failed: it diverged\n"  # and nothing of what was over before


def test_a_table_on_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    with claimed(tmp_path, ["one"]):
        write_progress(tmp_path, RunProgress("one", "training", 4, 9, 3.25, 1234.0, 75.0))
        with show_progress(ROWS, tmp_path, stream):
            pass
    shown = stream.getvalue()
    for text in ("one", "4/9", "3.2500", "1,234", "1 min 15 s", "training", "two", "waiting"):
        assert text in shown
    assert "2 runs: 1 waiting, 1 training" in shown


def test_the_plain_table() -> None:
    lines = progress_table(
        [
            RunProgress("one", "training", 4, 9, 3.25, 1234.0, 75.0),
            RunProgress("two", "failed", error="x"),
        ]
    ).splitlines()
    assert lines == [
        "run  step    loss  tokens/s        left  state",
        "one   4/9  3.2500     1,234  1 min 15 s  training",
        "two     -       -         -           -  failed",
        "two: x",
        "2 runs: 1 training, 1 failed",
    ]
