"""The branched plan, trained once without a break: what every other way must repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sweep.plans import call_json, lasting, write_plan


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plan = write_plan(tmp_path_factory.mktemp("whole"))
    found = call_json(plan, "--backend", "local", "--no-probe")
    assert {run["state"] for run in found["runs"].values()} == {"finished"}
    return lasting(Path(plan.parent) / "runs")
