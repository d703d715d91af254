"""The cache of compiled programs on disk: used by default, off on request, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_laws.common.compile_cache import COMPILE_CACHE_VARIABLE as ENVIRONMENT
from scaling_laws.common.compile_cache import compile_cache_folder

PROGRAM = """
import jax
from scaling_laws.common import use_compile_cache
print(use_compile_cache())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # this one is quick
x = jax.numpy.ones(1000)
with jax.enable_x64(True):
    jax.jit(lambda x: jax.numpy.cumsum(jax.numpy.sin(x) ** 3))(x).block_until_ready()
"""


def run(program: str, **environment: str) -> str:
    names = ("JAX_COMPILATION_CACHE_DIR", ENVIRONMENT)
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def programs(folder: Path) -> int:
    return len(list(folder.rglob("*-cache")))


def test_programs_are_kept_in_the_chosen_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    folder = run(PROGRAM, **{ENVIRONMENT: str(tmp_path)})
    assert Path(folder) == compile_cache_folder() and Path(folder).parent == tmp_path
    assert programs(tmp_path) >= 1


def test_off_means_off(tmp_path: Path) -> None:
    assert run(PROGRAM, **{ENVIRONMENT: "off", "XDG_CACHE_HOME": str(tmp_path)}) == "None"
    assert programs(tmp_path) == 0


def test_the_default_is_the_cache_folder_of_the_platform(tmp_path: Path) -> None:
    folder = run(PROGRAM, XDG_CACHE_HOME=str(tmp_path))
    if sys.platform == "linux":
        assert Path(folder).is_relative_to(tmp_path / "scaling-laws" / "compiled")


def test_a_cache_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    assert run(PROGRAM, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == "None"


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    assert run(PROGRAM, **{ENVIRONMENT: str(blocked)}) == "None"


def test_empty_entries_of_killed_processes_are_dropped(tmp_path: Path) -> None:
    folder = Path(run(PROGRAM, **{ENVIRONMENT: str(tmp_path)}))
    old, new = folder / "old-cache", folder / "new-cache"
    for entry in (old, new):
        entry.write_bytes(b"")
    os.utime(old, (0, 0))
    run(PROGRAM, **{ENVIRONMENT: str(tmp_path)})
    assert not old.exists() and new.exists() and programs(tmp_path) >= 2


@pytest.mark.parametrize("words", [(), ("--no-compile-cache",)])
def test_the_command_line_can_do_without(tmp_path: Path, words: tuple[str, ...]) -> None:
    command = ["predict", "multi_power:25M", "--schedule", "linear:peak=3e-4,steps=700", *words]
    program = f"from scaling_laws.interface import main; raise SystemExit(main({command!r}))"
    run(program, **{ENVIRONMENT: str(tmp_path)})
    assert (programs(tmp_path) == 0) == bool(words)
