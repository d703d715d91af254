"""Faults of processes: killed, terminated, two at once, a full disk, a folder without permission.

A command runs in a process forked from this one, which has imported everything but has not started
JAX. Afterwards its files must be those from before or from after it, and the same command must
complete.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from scaling_laws.data import import_logs
from scaling_laws.data.runs import load_runs
from scaling_laws.inference.results import CurveFit, load_law
from scaling_laws.interface.cli import main

__all__ = ["try_faults"]

# everything that an import needs, because a process without permission may not load modules
assert import_logs and tomli_w
LIMIT = 300  # seconds, after which a process counts as hung
NOBODY = 65534
LOG = "step,lr,loss\n" + "".join(f"{10 * i},0.001,{4 - 0.05 * i}\n" for i in range(60))
OTHER = "step,lr,loss\n" + "".join(f"{10 * i},0.002,{5 - 0.06 * i}\n" for i in range(60))
OLD = "import old.csv --out set --schedule constant:peak=2e-3,steps=600"
LAW = {"L0": 2.5, "A": 0.25, "alpha": 0.5, "B": 150.0}
PLAN = """\
[defaults]
size = "new"
width = 32
layers = 1
heads = 2
context = 16
batch = 2
validation_windows = 2
corpus = "synthetic"
every = 4
out = "set"
[[run]]
name = "constant_{peak}"
peak = [1e-3, 2e-3]
schedule = "constant:peak={peak},steps=12,warmup=2"
"""
TRAIN = (
    "proxy train --schedule constant:peak=1e-2,steps=12 --size new --width 32 --layers 1 --heads 2 "
    "--context 16 --batch 2 --validation-windows 2 --corpus synthetic --every 4"
)


@dataclass(frozen=True)
class Command:
    """A command that faults hit.

    Attributes:
        name: in the table.
        words: of the command line, in its folder.
        prepare: makes the inputs in the current folder.
        check: raises unless the files are those from before the command or, if `done`, after it.
        share: of the faults.
    """

    name: str
    words: str
    prepare: Callable[[], None]
    check: Callable[[bool], None]
    share: float


def _write_log() -> None:
    Path("new.csv").write_text(LOG)
    Path("old.csv").write_text(OTHER)
    assert _finish(_start(OLD)) == 0


def _check_import(done: bool) -> None:
    runs = load_runs("set")
    assert set(runs) in ({"old"}, {"old", "new"}), f"the set contains {sorted(runs)}"
    assert runs["old"].schedule.peak_lr == 2e-3 and len(runs["old"].loss) == 60
    if "new" in runs:
        assert runs["new"].schedule.peak_lr == 1e-3 and len(runs["new"].loss) == 60
    assert not done or "new" in runs, "the run is missing"


def _check_fit(done: bool) -> None:
    assert Path("new.csv").read_text() == LOG
    if done or Path("law.json").exists():
        assert load_law("law.json").params, "the law file has no parameters"


def _write_law() -> None:
    CurveFit.of("linear_drop", LAW).save("law.json")


def _write_plan() -> None:
    Path("plan.toml").write_text(PLAN)


def _check_screen(done: bool) -> None:
    assert dict(load_law("law.json").params) == LAW
    if done or Path("best.csv").exists():
        assert len(Path("best.csv").read_text().splitlines()) == 6


def _check_runs(*expected: str) -> Callable[[bool], None]:
    def check(done: bool) -> None:
        found = load_runs("set") if Path("set", "dataset.toml").exists() else {}
        assert set(found) <= set(expected), f"the set contains {sorted(found)}"
        assert not done or set(found) == set(expected), f"the set contains {sorted(found)} only"
        for run in found.values():
            assert run.schedule.steps == 12 and run.steps[-1] == 11

    return check


IMPORT = Command(
    "import",
    "import new.csv --out set --schedule constant:peak=1e-3,steps=600 --overwrite",
    _write_log,
    _check_import,
    8.0,
)
COMMANDS = (
    IMPORT,
    Command(
        "fit",
        "fit new.csv --law power --warmup 0 --between hold --starts 2 --draws 2 --out law.json",
        _write_log,
        _check_fit,
        2.0,
    ),
    Command(
        "screen --state",
        "screen law.json --steps 300 --peak 1e-3 --families cosine --candidates 40000 --top 5 "
        "--block 1 --state state.npz --out best.csv",
        _write_law,
        _check_screen,
        1.0,
    ),
    Command("proxy train", f"{TRAIN} --out set --name a", lambda: None, _check_runs("a"), 1.0),
    Command(
        "proxy sweep",
        "proxy sweep plan.toml --backend local --no-probe --checkpoint-every 0",
        _write_plan,
        _check_runs("constant_0.001", "constant_0.002"),
        1.0,
    ),
)


def _start(words: str, limit: Callable[[], None] = lambda: None) -> int:
    """Run a command in a process of its own; its id."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        limit()
        code = main(words.split())
    except KeyboardInterrupt:  # before or after the command
        code = 130
    finally:
        os._exit(code)


def _finish(process: int) -> int:
    """The exit code of a process, negative for a signal.

    Raises:
        AssertionError: if it does not end within `LIMIT`.
    """
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError("the process hangs")


def _signalled(number: int) -> Callable[[Command, float, random.Random], None]:
    def fault(command: Command, seconds: float, generator: random.Random) -> None:
        process = _start(command.words)
        time.sleep(generator.uniform(0.0, seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        code = _finish(process)
        assert code in (0, -number, 130, 143), f"exit code {code}"

    return fault


def _two_at_once(command: Command, seconds: float, generator: random.Random) -> None:
    Path("third.csv").write_text(LOG.replace(",4", ",6"))
    other = _start(command.words.replace("new.csv", "third.csv"))
    time.sleep(generator.uniform(0.0, 0.2 * seconds))
    codes = _finish(_start(command.words)), _finish(other)
    assert codes == (0, 0), f"exit codes {codes}"
    assert set(load_runs("set")) == {"old", "new", "third"}, sorted(load_runs("set"))
    # the check of the command knows two runs
    assert (
        _finish(_start("import old.csv --out other --schedule constant:peak=2e-3,steps=600")) == 0
    )
    Path("set").rename("both")
    Path("other").rename("set")


def _full_disk(command: Command, seconds: float, generator: random.Random) -> None:
    """Files may not grow beyond a few hundred bytes, as on a disk with that much left."""
    size = generator.randrange(0, 2000)
    code = _finish(
        _start(command.words, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    )
    assert code in (0, 2), f"exit code {code}"


def _without_permission(command: Command, seconds: float, generator: random.Random) -> None:
    """Root may write anywhere, so the process becomes another user."""
    for folder in (Path(), *Path().glob("set")):
        folder.chmod(0o555)

    def become_nobody() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    code = _finish(_start(command.words, become_nobody))
    for folder in (Path(), *Path().glob("set")):
        folder.chmod(0o755)
    assert code == 2, f"exit code {code}"


FAULTS: dict[str, tuple[Callable[[Command, float, random.Random], None], tuple[Command, ...]]] = {
    "kill -9": (_signalled(signal.SIGKILL), COMMANDS),
    "SIGTERM": (_signalled(signal.SIGTERM), COMMANDS),
    "Ctrl-C": (_signalled(signal.SIGINT), (IMPORT,)),
    "two writers at once": (_two_at_once, (IMPORT,)),
    "full disk": (_full_disk, (IMPORT,)),
    "folder without permission": (_without_permission, (IMPORT,)),
}


def try_faults(
    count: int, seed: int, *, imports_only: bool = False
) -> Iterator[tuple[str, int, list[str]]]:
    """Try faults at random times.

    Args:
        count: number of faults.
        seed: of the times.
        imports_only: whether to leave out the commands that need JAX.

    Yields:
        Name of the fault and the command, how often it was tried, and what was lost.
    """
    cases = [
        (f"{name} in {command.name}", command, fault)
        for name, (fault, commands) in FAULTS.items()
        for command in commands
        if command is IMPORT or not imports_only
    ]
    whole = sum(command.share for _, command, _ in cases)
    before = Path.cwd()
    for name, command, fault in cases:
        generator = random.Random(f"{name} {seed}")
        tries = round(count * command.share / whole)
        lost = []
        seconds = _duration(command) if tries else 0.0
        for number in range(tries):
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                try:
                    command.prepare()
                    fault(command, seconds, generator)
                    command.check(False)
                    code = _finish(_start(command.words))
                    assert code == 0, f"exit code {code} when repeated"
                    command.check(True)
                except Exception as error:
                    lost.append(f"{name}, number {number}: {type(error).__name__}: {error}")
                finally:
                    os.chdir(before)
        if tries:
            yield name, tries, lost


def _duration(command: Command) -> float:
    """Seconds that a command takes."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            command.prepare()
            start = time.perf_counter()
            code = _finish(_start(command.words))
            assert code == 0, f"{command.name}: exit code {code} without a fault"
            command.check(True)
            return time.perf_counter() - start
        finally:
            os.chdir(before)
