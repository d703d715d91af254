"""Two processes with four devices give the result of one device; a lost process is an error."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [
    sys.executable, str(ROOT / "cli.py"), "screen", "multi_power:25M", "--steps", "600",
    "--peak", "3e-4", "--warmup", "50", "--families", "cosine", "--top", "6", "--block", "1",
]  # fmt: skip


def start(*options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    return subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def pair(*options: str) -> list[subprocess.Popen[str]]:
    """A cluster of two processes with four forced devices."""
    where = f"127.0.0.1:{free_port()}"
    return [
        start(
            "--coordinator", where, "--processes", "2", "--process", str(number),
            "--devices", "4", *options,
        )
        for number in (0, 1)
    ]  # fmt: skip


def test_two_processes_give_the_result_of_one_device() -> None:
    several = pair("--candidates", "20000", "--json")
    alone = start("--candidates", "20000", "--json")
    outputs = [each.communicate(timeout=300) for each in (*several, alone)]
    assert [each.returncode for each in (*several, alone)] == [0, 0, 0], outputs
    together, silent, single = (out for out, _ in outputs)
    assert silent.strip() == ""  # only the first process prints
    found, expected = json.loads(together), json.loads(single)
    assert (found["devices"], found["processes"]) == (8, 2)
    assert (expected["devices"], expected["processes"]) == (1, 1)
    for name in ("ranked", "best_by_shape", "counts", "margin", "refused", "best"):
        assert found[name] == expected[name], name


def test_a_lost_process_is_reported_and_the_state_remains(tmp_path: Path) -> None:
    state = tmp_path / "screen.npz"
    options = ("--candidates", "400000000", "--state", str(state))
    first, second = pair(*options)
    deadline = time.monotonic() + 240
    while not state.exists():
        assert first.poll() is None and second.poll() is None, (
            first.communicate(), second.communicate()
        )  # fmt: skip
        assert time.monotonic() < deadline, "no state was kept"
        time.sleep(0.2)
    second.send_signal(signal.SIGKILL)
    _, error = first.communicate(timeout=240)
    second.communicate()
    assert first.returncode == 2, error
    assert "a worker process died" in error
    assert "they resume from the stored state" in error
    assert state.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--processes", "2"], "--processes needs --coordinator"),
        (["--coordinator", "here"], "is not HOST:PORT"),
        (["--coordinator", "127.0.0.1:1", "--processes", "2"], "--processes N --process I"),
        (["--coordinator", "a:1", "--processes", "2", "--process", "2"], "from 0 to below"),
    ],
)
def test_refused(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    from scaling_laws.interface.cli import main

    assert main([*COMMAND[2:], *options]) == 2
    assert says in capsys.readouterr().err
