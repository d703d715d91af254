"""Several processes, and processes that are killed: no entry is lost and none is wrong."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from scaling_laws.common.errors import ProxyError
from scaling_laws.data.runs import load_runs
from scaling_laws.proxy import Destination, TrainedCurve, write_run
from tests.proxy.conftest import make_corpus

write = importlib.import_module("scaling_laws.proxy.training.run_files")


def manifest(folder: Path) -> dict:
    return tomllib.loads((folder / "dataset.toml").read_text())


WRITER = """
import sys, time
from pathlib import Path
from tests.proxy.conftest import TINY, make_corpus
from scaling_laws.proxy import TrainedCurve, Destination, ProxyConfig, write_run
from scaling_laws.proxy.training.training_loop import COLUMNS
from scaling_laws.models.schedules import schedule
import numpy as np

folder, who = Path(sys.argv[1]), sys.argv[2]
config = ProxyConfig(TINY, schedule("constant:peak=1e-2,steps=6,warmup=2"), make_corpus(), every=6)
columns = {name: np.ones(1) for name in COLUMNS}
columns |= {"step": np.array([5]), "tokens": np.array([384]), "lr": np.array([1e-2])}
(folder / f"ready_{who}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
for number in range(12):
    write_run(Destination(folder / "set", f"run_{who}_{number}"), config, TrainedCurve(**columns))
"""


@pytest.mark.slow
def test_several_processes_write_one_set_at_once(root: Path, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(who)], cwd=root)
        for who in range(3)
    ]
    while len(list(tmp_path.glob("ready_*"))) < 3 and all(p.poll() is None for p in processes):
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.wait() for process in processes] == [0, 0, 0]
    expected = {f"run_{who}_{number}" for who in range(3) for number in range(12)}
    assert set(manifest(tmp_path / "set")["runs"]) == expected
    assert set(load_runs(tmp_path / "set")) == expected


def test_a_set_that_another_process_has_begun_meanwhile(
    configure, logged: TrainedCurve, tmp_path: Path, monkeypatch
) -> None:
    """Both saw no set; the second must still not enter a run that does not compare."""
    folder = tmp_path / "set"
    real = write.changed_folder

    def changed_folder(folder: Path):
        monkeypatch.setattr(write, "changed_folder", real)
        write_run(Destination(folder, "first"), configure(), logged)
        return real(folder)

    monkeypatch.setattr(write, "changed_folder", changed_folder)
    with pytest.raises(ProxyError, match=r"corpus_hash = .* would not be comparable"):
        write_run(Destination(folder, "second"), configure(corpus=make_corpus(1)), logged)
    assert set(load_runs(folder)) == {"first"}
    assert not (folder / "second.csv").exists()
