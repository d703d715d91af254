"""A thousand refits, and a comparison of laws, in this process and in several.

Writes `refits.md`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.machine import describe
from scaling_laws.common.files import write_text
from scaling_laws.common.pools import HERE, PoolOptions, cores, start_pool
from scaling_laws.data.runs import load_runs
from scaling_laws.inference.fitting.bootstrap import CHUNK_SIZE, BootstrapRequest, resample
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.multistart import MultiStartResult, multistart_fit
from scaling_laws.inference.fitting.objective import Huber
from scaling_laws.inference.fitting.priors import prior_of
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.models.laws import get_schedule_law

FOLDER = Path(__file__).resolve().parent
SET = FOLDER.parent / "data" / "proxy_nano"
FIT = ("constant_4000", "cosine_4000", "drop_to_0.1_4000")
FROM = 400
LAWS = ("multi_power", "norm_clock", "functional_noise")
REFITS = 1000
WORKERS = 2


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, seconds of this process's threads, and the result."""
    start, cpu_start = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - start, time.process_time() - cpu_start, result


def prepared(law: str) -> tuple[Data, MultiStartResult]:
    """A fit to three runs, ready for refits."""
    runs = load_runs(SET)
    with jax.enable_x64(True):
        data = prepare(get_schedule_law(law), [runs[name] for name in FIT], from_step=FROM)
        return data, multistart_fit(data, Huber(), prior_of(data.law, "weak"), 4, 0)


def numbers(outcomes: list[Solution]) -> np.ndarray:
    """Unconstrained parameters of refits: (refits, nonlinear)."""
    return np.array([solution.unconstrained for solution in outcomes])


def refits(law: str) -> str:
    """One row of the first table."""
    data, search = prepared(law)
    requests = [BootstrapRequest(search.best, REFITS)]

    def run_refits(pool: Any) -> list[Solution]:
        return resample(data, search.settings, requests, pool)[0]

    resample(data, search.settings, [BootstrapRequest(search.best, CHUNK_SIZE)])  # compiles
    wall, cpu_seconds, local = timed(lambda: run_refits(HERE))
    cells = [law, str(len(data.observed)), f"{wall:.1f}", f"{cpu_seconds / wall:.2f}"]
    for backend in ("joblib", "dask"):
        start = time.perf_counter()
        with start_pool(PoolOptions(backend, WORKERS), REFITS // CHUNK_SIZE) as pool:
            remote = run_refits(pool)
            cold = time.perf_counter() - start
            warm, _, repeated = timed(partial(run_refits, pool))
        same = all(
            np.array_equal(numbers(solutions), numbers(local)) for solutions in (remote, repeated)
        )
        cells += [f"{cold:.1f}", f"{warm:.1f}", f"{wall / warm:.2f}", "yes" if same else "no"]
    print(" | ".join(cells), flush=True)
    return f"| {' | '.join(cells)} |"


def commands() -> list[str]:
    """Rows of the second table: whole commands in fresh processes."""
    rows = []
    command_arguments = {
        f"fit --draws {REFITS}": [f"{SET}:{','.join(FIT)}"],
        "compare --laws all": [str(SET)],
    }
    with tempfile.TemporaryDirectory() as folder:
        for shown, arguments in command_arguments.items():
            verb, *options = shown.split()
            words = [verb, *arguments, "--from-step", str(FROM), *options]
            words += ["--out", f"{folder}/{verb}.json"]
            seconds = []
            for pool_options in ([], ["--backend", "joblib", "--workers", str(WORKERS)]):
                line = [sys.executable, str(FOLDER.parent / "cli.py"), *words, *pool_options]
                start = time.perf_counter()
                subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - start)
            local, joblib = seconds
            rows.append(f"| `{shown}` | {local:.0f} | {joblib:.0f} | {local / joblib:.2f} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write the tables."""
    busy = os.getloadavg()[0]
    lines = [
        "# Refits in several processes",
        "",
        f"`python -m benchmarks.refits` on {describe()}; {cores()} of them usable, load {busy:.1f} "
        "before the start.",
        "",
        f"{REFITS} refits to reweighted runs, in tasks of {CHUNK_SIZE}, of laws fitted to three "
        f"runs of `data/proxy_nano` from step {FROM}. Cold: with the start of {WORKERS} processes, "
        "their imports and compilations. Warm: repeated in the same processes.",
        "",
        "| law | points | this process, s | cores used | joblib, cold, s | warm, s | "
        "this process / warm | same bits | dask, cold, s | warm, s | this process / warm | "
        "same bits |",
        "|---" * 12 + "|",
        *(refits(law) for law in LAWS),
        "",
        "Whole commands, each in a fresh process:",
        "",
        f"| command | this process, s | {WORKERS} processes of joblib, s | ratio |",
        "|---" * 4 + "|",
        *commands(),
        "",
    ]
    write_text(FOLDER / "refits.md", "\n".join(lines))


if __name__ == "__main__":
    main()
