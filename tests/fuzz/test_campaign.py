"""A part of the campaign, with fixed seeds: about half a minute."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz import inputs
from tests.fuzz.inputs import KINDS, Kind, try_inputs
from tests.fuzz.mutations import mutated


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_inputs(kind: Kind, tmp_path: Path) -> None:
    outcome = try_inputs(kind, round(200 * kind.weight), 0)
    assert not outcome.faults, "\n".join(outcome.faults)
    assert outcome.counts["refused"] > 0 and outcome.counts["accepted"] > 0


def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inputs, "LIMIT", 0.05)

    def check(path: Path) -> None:
        content = path.read_bytes()
        if content == b"valid":
            return
        if len(content) % 3 == 0:
            raise RuntimeError("a traceback")
        while len(content) % 3 == 1:
            pass

    kind = Kind("wrong", lambda _: {"file": b"valid"}, check)
    outcome = try_inputs(kind, 20, 0, tmp_path / "kept")
    assert outcome.counts["wrong"] and outcome.counts["hung"]
    assert len(outcome.faults) == len(list((tmp_path / "kept").iterdir()))


def test_mutations_depend_on_the_seed_only() -> None:
    data = b"step,loss\n0,4.0\n10,3.5\n"
    first, again = (
        [mutated(data, [data], random.Random(seed)) for seed in range(50)] for _ in range(2)
    )
    assert first == again
    assert Counter(first).most_common(1)[0][1] < 10


@pytest.mark.slow
def test_faults(root: Path) -> None:
    """In a process of its own, because it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inputs", "0", "--faults", "12", "--imports-only"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
