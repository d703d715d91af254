"""Contents that no target supports are reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import ScheduleError
from scaling_laws.decisions.export import export_schedule, read_schedule
from scaling_laws.models.schedules import schedule, write_schedule


def test_a_searched_weight_decay_is_reported(tmp_path: Path) -> None:
    plan = schedule("linear:peak=1e-3,steps=50")
    both = write_schedule(tmp_path / "both.csv", plan, weight_decay=np.linspace(0.2, 0.1, 50))
    rates = write_schedule(tmp_path / "rates.csv", plan)
    assert any(
        "weight decay of each step" in note for note in export_schedule(both, to="json").notes
    )
    assert not any("weight decay" in note for note in export_schedule(rates, to="json").notes)
    assert read_schedule(str(both)) == plan


def test_a_missing_file_is_not_reported_as_a_family() -> None:
    with pytest.raises(ScheduleError, match=r"best\.csv: no such file, and not a spec"):
        read_schedule("best.csv")
