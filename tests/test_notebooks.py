"""Every notebook runs from top to bottom, and is committed without outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
RUN = (
    "import sys, nbformat, nbclient;"
    "nbclient.NotebookClient(nbformat.read(sys.argv[1], 4), timeout=600,"
    " resources={'metadata': {'path': sys.argv[2]}}).execute()"
)


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path) -> None:
    # in a process of its own: the notebook client's warnings are not ours to turn into errors
    command = [sys.executable, "-c", RUN, str(path), str(path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_has_no_outputs(path: Path) -> None:
    for cell in nbformat.read(path, 4).cells:
        assert not cell.get("outputs"), f"{path.name}: strip the outputs before committing"
