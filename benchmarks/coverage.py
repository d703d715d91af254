"""Coverage of the 90 % intervals, on runs that fits did not see; fills `coverage.md`.

python -m benchmarks.coverage few      # fits of three runs, the rest of the set unseen
python -m benchmarks.coverage every    # every run left out once
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
TRIPLES = 4  # of a set
KINDS = {"constant": "constant", "cosine": "cosine", "linear": "cosine", "rewarm": "other"}


class Seen(NamedTuple):
    """What one unseen run showed."""

    points: float  # share inside
    final: bool
    width: float  # median half width, relative
    final_width: float


def kind_of(name: str) -> str:
    """What a schedule is: a triple has one of each of three kinds."""
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), "decay")


def splits(runs: dict[str, Run], how: str) -> Iterator[list[str]]:
    """Names of the runs to fit, split by split."""
    if how == "every":
        yield from ([other for other in runs if other != name] for name in runs)
        return
    generator = np.random.default_rng(5)
    for _ in range(TRIPLES):
        yield [
            str(generator.choice([name for name in runs if kind_of(name) == kind]))
            for kind in ("constant", "cosine", "decay")
        ]


def measure(name: str, law: str, how: str) -> tuple[int, list[Seen], float]:
    """Fits, what every unseen run showed, and seconds."""
    began = time.perf_counter()
    folder, from_step = SETS[name]
    runs = {key: run for key, run in load_runs(folder).items() if run.steps[-1] >= from_step}
    found, fits = [], 0
    for chosen in splits(runs, how):
        fitted = fit(law, [runs[key] for key in chosen], from_step=from_step, starts=4)
        fits += 1
        for key, run in runs.items():
            if key in chosen:
                continue
            kept = run.from_step(from_step)
            seen = fitted.predict(run.schedule, kept.steps.tolist(), facts=run.facts)
            low, high = seen.interval(0.9)
            inside = (kept.loss >= low) & (kept.loss <= high)
            half = 0.5 * (high - low) / kept.loss
            found.append(
                Seen(
                    float(np.mean(inside)),
                    bool(inside[-1]),
                    float(np.median(half)),
                    float(half[-1]),
                )
            )
    return fits, found, time.perf_counter() - began


def row(name: str, law: str, fits: int, found: Sequence[Seen]) -> str:
    """A line of the table."""
    points, finals, width, final_width = np.array(found, dtype=float).T
    cells = [
        name, law, str(fits), str(len(found)), f"{points.mean():.3f}", f"{finals.mean():.3f}",
        f"±{100 * np.median(width):.2f} %", f"±{100 * np.median(final_width):.2f} %",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and fill a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=list(LAWS))
    how: str = parser.parse_args().how
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    spent = 0.0
    with ProcessPoolExecutor(2, get_context("spawn"), max_tasks_per_child=1) as pool:
        for law in LAWS[how]:
            here = [name for name, (folder, _) in SETS.items() if folder.is_dir()]
            waiting = {name: pool.submit(measure, name, law, how) for name in here}
            every: list[Seen] = []
            total = 0
            for name in SETS:
                if name not in waiting:
                    lines.append(f"| {name} | {law} | not on this machine |")
                    continue
                fits, found, seconds = waiting[name].result()
                lines.append(row(name, law, fits, found))
                every, total, spent = every + found, total + fits, spent + seconds
                print(lines[-1], flush=True)
            lines.append(row("**all**", law, total, every))
            print(lines[-1], flush=True)
    lines += ["", f"{describe()}; {spent:.0f} s of fits, two at a time."]
    fill(HERE / "coverage.md", how, lines)


if __name__ == "__main__":
    main()
