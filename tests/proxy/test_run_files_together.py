"""Several processes, and processes that are killed: no entry is lost and none is wrong."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common import files
from scaling_laws.common.errors import ProxyError
from scaling_laws.data.runs import load_runs
from scaling_laws.proxy import Destination, TrainedCurve, check_destination, write_run
from scaling_laws.proxy.training.run_files import finished_settings
from tests.proxy.conftest import make_corpus

write = importlib.import_module("scaling_laws.proxy.training.run_files")


def manifest(folder: Path) -> dict:
    return tomllib.loads((folder / "dataset.toml").read_text())


class Killed(BaseException):
    """Nothing is tidied up after it."""


@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_write_that_is_killed_can_be_done_again(
    configure, logged: TrainedCurve, tmp_path: Path, monkeypatch, calls: int, overwrite: bool
) -> None:
    if overwrite:
        write_run(Destination(tmp_path, "a"), configure(), replace(logged, loss=logged.loss + 1))
    write_run(Destination(tmp_path, "b"), configure(), logged)
    left = [calls]

    def killed(path: Path, content: str) -> Path:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return files.write_text(path, content)

    config = configure(weight_decay=0.4)
    with monkeypatch.context() as patch:
        patch.setattr(write, "write_text", killed)
        patch.setattr(write, "all_or_none", lambda files: contextlib.nullcontext())
        with pytest.raises(Killed):
            write_run(
                Destination(tmp_path, "a", overwrite), config, logged, extra={"settings": "new"}
            )
    assert finished_settings(Destination(tmp_path, "a")) is None  # not the old curve by new facts
    check_destination(Destination(tmp_path, "a"), config)
    write_run(Destination(tmp_path, "a"), config, logged, extra={"settings": "new"})
    assert finished_settings(Destination(tmp_path, "a")) == "new"
    runs = load_runs(tmp_path)
    assert runs["a"].facts["weight_decay"] == 0.4 and set(runs) == {"a", "b"}
    np.testing.assert_allclose(runs["a"].loss, logged.loss)


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
    real = write.FileLock

    def lock(path: Path):
        monkeypatch.setattr(write, "FileLock", real)
        write_run(Destination(folder, "first"), configure(), logged)
        return real(path)

    monkeypatch.setattr(write, "FileLock", lock)
    with pytest.raises(ProxyError, match=r"corpus_hash = .* would not be comparable"):
        write_run(Destination(folder, "second"), configure(corpus=make_corpus(1)), logged)
    assert set(load_runs(folder)) == {"first"}
    assert not (folder / "second.csv").exists()
