"""What a user waits for: every command with its defaults and the default law, fresh and warm.

    python -m benchmarks.default_path
    python -m benchmarks.default_path --reference CHECKOUT   # of MultiPowerLaw, timed too

Every row is the shipped command in a new process, first with an empty cache of compiled programs
and then with the cache that this left; and the same work twice in one process. Writes
`default_path.md`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import describe
from scaling_laws import CurveFit, schedule
from scaling_laws.common import COMPILE_CACHE_VARIABLE, write_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHARED = HERE.parents[1] / "shared" / "data" / "llama_124m_peak0.0005"
MICRO = ROOT / "data" / "ladder" / "micro"
THREE = f"{MICRO}:constant_4000,cosine_4000,drop_to_0.1_2000"
LONG_STEPS = 152_587
LONG_POINTS = 900
LONG_NOISE = 2e-3  # of the loss
COMMAND = (sys.executable, "-m", "scaling_laws")


class Work(NamedTuple):
    """One row: words of the command, what it is called, and the seconds asked for."""

    label: str
    words: tuple[str, ...]
    warm: str | None  # Python that defines `work()`, with `fitted` at hand
    asked: str


def long_set(folder: Path) -> Path:
    """Three runs of 900 points: the default law at published parameters, with noise."""
    law = CurveFit.published("norm_clock", "124M")
    generator = np.random.default_rng(0)
    folder.mkdir()
    manifest = ['title = "long"', "weight_decay = 0.1"]
    for name, spec in (
        ("constant", f"constant:peak=5e-4,steps={LONG_STEPS},warmup=300"),
        ("cosine", f"cosine:peak=5e-4,end=5e-5,steps={LONG_STEPS},warmup=300"),
        ("drop", f"multistage:peak=5e-4,at=100000,to=5e-5,steps={LONG_STEPS},warmup=300"),
    ):
        plan = schedule(spec)
        steps = np.linspace(1000, LONG_STEPS - 1, LONG_POINTS).astype(int)
        loss = law.predict(plan, steps.tolist(), facts={"weight_decay": 0.1}).loss
        loss = loss * (1.0 + LONG_NOISE * generator.standard_normal(len(steps)))
        lr = plan.lr[steps].tolist()
        rows = [
            f"{step},{rate!r},{value:.6f}"
            for step, rate, value in zip(steps, lr, loss, strict=True)
        ]
        write_text(folder / f"{name}.csv", "step,lr,loss\n" + "\n".join(rows) + "\n")
        manifest += [f'[runs."{name}"]', f'schedule = "{spec}"']
    write_text(folder / "dataset.toml", "\n".join(manifest) + "\n")
    return folder


def fit_code(selection: Path | str) -> str:
    """Python of a warm fit."""
    return f"runs = sl.load_runs({str(selection)!r})\ndef work(): sl.fit('norm_clock', runs)"


def search_code(steps: int) -> str:
    """Python of a warm search."""
    return f"def work(): sl.optimize(fitted, steps={steps}, peak=4e-3, warmup=100)"


def works(folder: Path, law: Path) -> Iterable[Work]:
    """The rows."""
    spec = "wsd:peak=4e-3,steps=4000,warmup=100,decay_fraction=0.1"
    out = ("--out", str(folder / "out.json"))
    yield Work("fit, three runs of micro", ("fit", THREE, *out), fit_code(THREE), "7 / 3 / 1")
    long = long_set(folder / "long")
    label = f"fit, three runs of {LONG_POINTS} points, {LONG_STEPS:,} steps"
    yield Work(label, ("fit", str(long), *out), fit_code(long), "12 / 8 / 4")
    if SHARED.is_dir():
        label = "fit, all runs of one 124M peak"
        yield Work(label, ("fit", str(SHARED), *out), fit_code(SHARED), "- / - / 8")
    search = ("optimize", str(law), "--peak", "4e-3", "--warmup", "100", "--steps")
    for steps in (4000, 24_000):
        label = f"optimize, {steps:,} steps"
        yield Work(label, (*search, str(steps)), search_code(steps), "6 / 2.5 / 0.6")
    code = f"def work(): fitted.predict({spec!r}).interval(0.9)"
    predict = ("predict", str(law), "--schedule", spec)
    yield Work("predict with interval", predict, code, "1.5 / 1 / -")
    quickstart = ("quickstart", str(MICRO), "--fit", THREE.split(":")[1], "--from-step", "400")
    written = (*quickstart, "--out", str(folder / "quickstart"))
    yield Work("the README's main command", written, None, "15 / 7 / -")
    screen = ("screen", str(law), "--steps", "24000", "--peak", "4e-3", "--warmup", "200")
    million = (*screen, "--candidates", "1000000")
    code = "def work(): sl.screen(fitted, steps=24000, peak=4e-3, warmup=200, candidates=10**6)"
    yield Work("screen of a million schedules", million, code, "16 / 12 / 10")


def seconds(call: Callable[[], Any]) -> float:
    """Wall time."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def run_python(words: Iterable[str], cache: Path) -> str:
    """Output of a process with its own cache of compiled programs."""
    environment = {**os.environ, COMPILE_CACHE_VARIABLE: str(cache)}
    done = subprocess.run(
        list(words), capture_output=True, text=True, env=environment, check=False, cwd=ROOT
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def warm_seconds(code: str, law: Path, cache: Path) -> float:
    """The faster of two further calls in one process."""
    program = (
        "import time, warnings; warnings.simplefilter('ignore'); import scaling_laws as sl\n"
        f"fitted = sl.load_law({str(law)!r})\n{code}\nwork()\ntimes = []\n"
        "for _ in range(2):\n    start = time.perf_counter(); work()\n"
        "    times.append(time.perf_counter() - start)\nprint(min(times))"
    )
    return float(run_python((sys.executable, "-c", program), cache))


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path)
    checkout = parser.parse_args().reference
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        law = folder / "law.json"
        run_python((*COMMAND, "fit", THREE, "--out", str(law)), folder / "first")
        for number, work in enumerate(works(folder, law)):
            cache = folder / f"cache_{number}"
            words = (*COMMAND, *work.words)
            empty, cached = (seconds(lambda: run_python(words, cache)) for _ in range(2))  # noqa: B023
            warm = "" if work.warm is None else f"{warm_seconds(work.warm, law, cache):.2f}"
            row = f"| {work.label} | {empty:.1f} | {cached:.1f} | {warm} | {work.asked} |"
            print(row, flush=True)
            rows.append(row)
    if checkout is not None:
        total = seconds(lambda: run_python((sys.executable, str(checkout / "main.py")), checkout))
        rows.append(f"| public implementation, its `main.py` (one start) | {total:.1f} | | | |")
    lines = [
        "# The default path",
        "",
        f"`python -m benchmarks.default_path` on {describe()}.",
        "",
        "Seconds of whole commands with their defaults and the default law: a new process with an "
        "empty cache of compiled programs, with the cache, and the same work once more in one "
        "process. Asked: what was aimed at, in the same order.",
        "",
        "| work | empty cache | with the cache | warm | asked |",
        "|---" * 5 + "|",
        *rows,
    ]
    write_text(HERE / "default_path.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
