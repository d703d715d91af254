"""What people see of a sweep while it runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from scaling_laws.proxy.sweep.display import displayed, plain_table
from scaling_laws.proxy.sweep.sweep_plan import Row
from scaling_laws.proxy.sweep.sweep_progress import Progress, claimed, write_progress

ROWS = tuple(Row(name, Path("/set"), {}, None, "here") for name in ("one", "two"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    write_progress(tmp_path, Progress("one", "finished", 9, 9, 3.5))
    stream = io.StringIO()
    with displayed(ROWS, tmp_path, stream):
        write_progress(tmp_path, Progress("two", "failed", 4, 9, error="it diverged"))
    assert stream.getvalue() == "two failed: it diverged\n"  # and nothing of what was over before


def test_a_table_on_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    with claimed(tmp_path, ["one"]):
        write_progress(tmp_path, Progress("one", "training", 4, 9, 3.25, 1234.0, 75.0))
        with displayed(ROWS, tmp_path, stream):
            pass
    shown = stream.getvalue()
    for text in ("one", "4/9", "3.2500", "1,234", "1 min 15 s", "training", "two", "waiting"):
        assert text in shown
    assert "2 runs: 1 waiting, 1 training" in shown


def test_the_plain_table() -> None:
    lines = plain_table(
        [
            Progress("one", "training", 4, 9, 3.25, 1234.0, 75.0),
            Progress("two", "failed", error="x"),
        ]
    ).splitlines()
    assert lines == [
        "run  step    loss  tokens/s        left  state",
        "one   4/9  3.2500     1,234  1 min 15 s  training",
        "two     -       -         -           -  failed",
        "two: x",
        "2 runs: 1 training, 1 failed",
    ]
