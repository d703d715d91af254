"""Coverage of the 90 % intervals on held-out runs; fills `coverage.md`.

python -m benchmarks.coverage few      # fits of three runs, the other runs of the set held out
python -m benchmarks.coverage every    # every run held out once
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from benchmarks.accuracy import DATA, HERE, LADDER, SHARED
from benchmarks.machine import describe
from benchmarks.pages import fill
from scaling_laws import Run, fit, load_runs

# folder, first step of the points used
SETS = {
    "mpl_25m": (SHARED / "mpl_25m", 0),
    "mpl_100m": (SHARED / "mpl_100m", 0),
    "llama_124m_peak0.0001": (SHARED / "llama_124m_peak0.0001", 1000),
    "llama_124m_peak0.0005": (SHARED / "llama_124m_peak0.0005", 1000),
    "llama_124m_peak0.001": (SHARED / "llama_124m_peak0.001", 1000),
    "proxy_nano": (DATA / "proxy_nano", 400),
    "ladder/pico": (LADDER / "pico", 400),
    "ladder/nano": (LADDER / "nano", 400),
    "ladder/micro": (LADDER / "micro", 400),
}
COLUMNS = ("set", "law", "fits", "runs", "points covered", "finals covered", "width", "final width")
LAWS = {"few": ("norm_clock", "multi_power"), "every": ("multi_power",)}
TRIPLES = 4  # per set
TYPES = {"constant": "constant", "cosine": "cosine", "linear": "cosine", "rewarm": "other"}


class RunCoverage(NamedTuple):
    """Coverage and width of the intervals of one held-out run."""

    points: float  # share of points inside
    final: bool
    width: float  # median half width, relative
    final_width: float


def schedule_type(name: str) -> str:
    """The type of a schedule by the run's name; a triple has three different types."""
    return next((type_ for prefix, type_ in TYPES.items() if name.startswith(prefix)), "decay")


def splits(runs: dict[str, Run], how: str) -> Iterator[list[str]]:
    """Names of the runs to fit, per split."""
    if how == "every":
        yield from ([other_name for other_name in runs if other_name != name] for name in runs)
        return
    generator = np.random.default_rng(5)
    for _ in range(TRIPLES):
        yield [
            str(generator.choice([name for name in runs if schedule_type(name) == type_]))
            for type_ in ("constant", "cosine", "decay")
        ]


def measure(name: str, law: str, how: str) -> tuple[int, list[RunCoverage], float]:
    """Number of fits, the coverage of every held-out run, and seconds."""
    start = time.perf_counter()
    folder, from_step = SETS[name]
    runs = {key: run for key, run in load_runs(folder).items() if run.steps[-1] >= from_step}
    results, fits = [], 0
    for names in splits(runs, how):
        fitted = fit(law, [runs[key] for key in names], from_step=from_step, starts=4)
        fits += 1
        for key, run in runs.items():
            if key in names:
                continue
            points = run.from_step(from_step)
            prediction = fitted.predict(run.schedule, points.steps.tolist(), facts=run.facts)
            low, high = prediction.interval(0.9)
            inside = (points.loss >= low) & (points.loss <= high)
            half_width = 0.5 * (high - low) / points.loss
            results.append(
                RunCoverage(
                    float(np.mean(inside)),
                    bool(inside[-1]),
                    float(np.median(half_width)),
                    float(half_width[-1]),
                )
            )
    return fits, results, time.perf_counter() - start


def row(name: str, law: str, fits: int, results: Sequence[RunCoverage]) -> str:
    """A line of the table."""
    points, finals, width, final_width = np.array(results, dtype=float).T
    cells = [
        name, law, str(fits), str(len(results)), f"{points.mean():.3f}", f"{finals.mean():.3f}",
        f"±{100 * np.median(width):.2f} %", f"±{100 * np.median(final_width):.2f} %",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and fill a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=list(LAWS))
    how: str = parser.parse_args().how
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    total_seconds = 0.0
    with ProcessPoolExecutor(2, get_context("spawn"), max_tasks_per_child=1) as pool:
        for law in LAWS[how]:
            available = [name for name, (folder, _) in SETS.items() if folder.is_dir()]
            pending = {name: pool.submit(measure, name, law, how) for name in available}
            all_results: list[RunCoverage] = []
            total = 0
            for name in SETS:
                if name not in pending:
                    lines.append(f"| {name} | {law} | not on this machine |")
                    continue
                fits, results, seconds = pending[name].result()
                lines.append(row(name, law, fits, results))
                all_results, total, total_seconds = (
                    all_results + results,
                    total + fits,
                    total_seconds + seconds,
                )
                print(lines[-1], flush=True)
            lines.append(row("**all**", law, total, all_results))
            print(lines[-1], flush=True)
    lines += ["", f"{describe()}; {total_seconds:.0f} s of fits, two at a time."]
    fill(HERE / "coverage.md", how, lines)


if __name__ == "__main__":
    main()
