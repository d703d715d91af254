"""Spikes get no weight, copies of a run are mentioned."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common import InputWarning
from scaling_laws.data import load_runs
from scaling_laws.data.runs.doubtful import loss_spikes
from tests.cli.calls import SPECS, write_curves

FALLING = 3.0 + 8.0 * np.exp(-np.arange(40) / 3.0)


@given(rows=st.sets(st.integers(12, 39), max_size=3), factor=st.floats(4.0, 1e6))
def test_spikes_are_found_and_nothing_else(rows: set[int], factor: float) -> None:
    loss = FALLING.copy()
    loss[list(rows)] *= factor
    assert set(loss_spikes(loss).tolist()) == rows


def test_a_run_that_diverges_has_no_spike() -> None:
    loss = np.append(FALLING, np.full(20, 50.0))
    assert loss_spikes(loss).size == 0


def test_a_spike_is_reported_and_gets_no_weight(tmp_path: Path) -> None:
    rows = [f"{10 * row},{loss}" for row, loss in enumerate(FALLING)]
    rows[20] = "200,1e6"
    (tmp_path / "a.csv").write_text("\n".join(["step,loss", *rows]))
    (tmp_path / "dataset.toml").write_text('[runs.a]\nschedule = "constant:peak=1e-3,steps=400"\n')
    with pytest.warns(InputWarning, match=r"a\.csv: .* 1e\+06 at step 200"):
        (run,) = load_runs(tmp_path).values()
    assert run.weight is not None
    assert np.flatnonzero(run.weight == 0).tolist() == [20]


def test_copies_of_a_run_are_mentioned(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_curves(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        load_runs(folder)
    for name in ("b", "c"):
        shutil.copy(folder / "cosine.csv", folder / f"{name}.csv")
    with (folder / "dataset.toml").open("a") as file:
        for name in ("b", "c"):
            file.write(f'[runs.{name}]\nschedule = "{SPECS["cosine"]}"\n')
    with pytest.warns(InputWarning, match="b and c, cosine contain the same losses"):
        load_runs(folder)
