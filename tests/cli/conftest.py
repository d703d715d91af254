"""A set of curves and its fitted law, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaling_laws.interface.cli import progress_display
from tests.cli.calls import call_json, write_curves


@pytest.fixture(scope="session", autouse=True)
def _no_progress_lines() -> Iterator[None]:
    """On a slow machine a line of progress must not look like a message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress_display, "LINE_SECONDS", float("inf"))
        yield


@pytest.fixture(scope="session")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "curves"
    write_curves(folder)
    return folder


@pytest.fixture(scope="session")
def fitted(curves: Path) -> dict[str, Any]:
    """What `fit` says of all three curves."""
    out = curves.parent / "law.json"
    return call_json("fit", curves, "--law", "linear_drop", "--starts", 2, "--out", out)


@pytest.fixture(scope="session")
def law_file(curves: Path, fitted: dict[str, Any]) -> Path:
    return curves.parent / "law.json"


@pytest.fixture(scope="session")
def optimum(law_file: Path) -> dict[str, Any]:
    """What `optimize` says, with the schedule written beside the law file."""
    frame = ("--steps", 300, "--peak", 1e-3, "--warmup", 20, "--end-min", 1e-5)
    return call_json("optimize", law_file, *frame, "--out", law_file.parent / "best.csv")
