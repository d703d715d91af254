"""Averages over rows: which rows they take, and that a fit knows the window they cover."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.common.errors import UsageError
from scaling_laws.data.importing import Options, import_logs
from scaling_laws.data.importing.moving_average import average_rows
from scaling_laws.data.runs import Run
from tests.cli.calls import SPECS, TRUTH


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 30)), min_size=1, max_size=6),
    st.integers(1, 7),
    st.integers(1, 9),
)
def test_means_of_whole_blocks(stretches: list[tuple[int, int]], rows: int, window: int) -> None:
    """Every mean is of consecutive rows of one stretch, used once, and covers its window."""
    stride, steps = 5, [0]
    for gap, count in stretches:
        steps += [steps[-1] + stride * (gap + 1)]
        steps += [steps[-1] + stride * (each + 1) for each in range(count)]
    at = np.array(steps)
    loss = np.random.default_rng(len(steps)).uniform(2.0, 9.0, at.size)
    if int(np.median(np.diff(at))) != stride:
        return
    try:
        found = average_rows("log", at, loss, rows, window)
    except UsageError as error:
        assert "follow each other evenly" in str(error)
        return
    used: set[int] = set()
    for step, mean in zip(found.steps.tolist(), found.loss.tolist(), strict=True):
        wanted = [step - stride * back for back in range(rows)]
        places = [steps.index(each) for each in wanted]  # they are all logged
        assert mean == pytest.approx(float(loss[places].mean()), rel=1e-12)
        assert not used & set(places)
        used |= set(places)
    assert found.window == (rows - 1) * stride + window
    assert f"{at.size} points became {found.steps.size}" in found.finding.words
    if rows == 1:
        assert found.steps.tolist() == steps


def log_of(folder: Path, name: str, every: int, mean_of_rows: bool) -> Path:
    """A run that follows the known law, a row every so many steps."""
    plan = sl.schedule(SPECS[name])
    truth = Run(name, plan, np.arange(plan.steps), TRUTH.predict(plan).loss)
    losses = Run(name, plan, np.arange(plan.steps), truth.loss, window=every).averaged(truth.loss)
    shown = losses if mean_of_rows else truth.loss
    rows = "".join(
        f"{step},{plan.lr[step]:.17g},{shown[step]:.17g}\n"
        for step in range(every - 1, plan.steps, every)
    )
    file = folder / f"{name}.csv"
    file.write_text("step,lr,loss\n" + rows)
    return file


@pytest.mark.parametrize("mean_of_rows", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_fit_knows_the_window(tmp_path: Path, mean_of_rows: bool) -> None:
    every, rows = 4, 10
    logs = [log_of(tmp_path, name, every, mean_of_rows) for name in SPECS]
    for log, spec in zip(logs, SPECS.values(), strict=True):
        import_logs(
            [log],
            tmp_path / "set",
            options=Options(
                average_window=rows, window=every if mean_of_rows else None, schedule=spec
            ),
        )
    said = tomllib.loads((tmp_path / "set" / "dataset.toml").read_text())["runs"]["cosine"]
    window = 40 if mean_of_rows else 37
    assert said["window"] == window
    assert any(each.startswith("average_window: ") for each in said["import"]["changed"])
    runs = sl.load_runs(tmp_path / "set")
    assert {run.window for run in runs.values()} == {window}

    def fitted(values: dict[str, Run]) -> dict[str, float]:
        law = sl.fit(
            "linear_drop", values, from_step=60, starts=2, draws=0, prior=None, hold_out=False
        )
        return dict(law.params)

    found = fitted(runs)
    unaware = fitted(sl.load_runs(tmp_path / "set", window=1))
    truth = TRUTH.params
    # means of single steps that lie apart are those of their window to second order only
    for name, value in truth.items():
        assert found[name] == pytest.approx(value, rel=0.005 if mean_of_rows else 0.03), name
    # a smoothed curve lags behind: read as losses of single steps, it shows another law
    for name in ("A", "alpha", "B"):
        assert abs(unaware[name] / truth[name] - 1) > 0.08, name


def test_too_few_rows(tmp_path: Path) -> None:
    log = log_of(tmp_path, "cosine", 100, False)
    options = Options(average_window=9, schedule=SPECS["cosine"])
    message = r"cosine\.csv: --average-window 9: at most 4 rows follow .* choose 4 or fewer"
    with pytest.raises(UsageError, match=message):
        import_logs([log], tmp_path / "set", options=options)
    with pytest.raises(UsageError, match="--average-window 0 must be >= 1"):
        import_logs([log], tmp_path / "set", options=Options(average_window=0))
    assert not (tmp_path / "set").exists()
