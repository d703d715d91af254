"""Coverage of the 90 % intervals: leave every run of every set out once, and predict it.

Writes `coverage.md`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from scaling_laws import fit, load_runs
from scaling_laws.files import write_text

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
# folder, first step of the points used
SETS = {
    "mpl_25m": (SHARED / "mpl_25m", 0),
    "mpl_100m": (SHARED / "mpl_100m", 0),
    "llama_124m_peak0.0001": (SHARED / "llama_124m_peak0.0001", 1000),
    "llama_124m_peak0.0005": (SHARED / "llama_124m_peak0.0005", 1000),
    "llama_124m_peak0.001": (SHARED / "llama_124m_peak0.001", 1000),
    "proxy_nano": (HERE.parent / "data" / "proxy_nano", 400),
}
LAWS = ("multi_power",)  # others by name on the command line
COLUMNS = ("set", "law", "runs", "points covered", "finals covered", "width", "final width", "s")


def measure(folder: Path, law: str, from_step: int) -> tuple[list[str], dict[str, float]]:
    """Cells of one row, and the counts behind them."""
    began = time.perf_counter()
    runs = load_runs(folder)
    points, finals, width, final_width = [], [], [], []
    for name, run in runs.items():
        others = [each for key, each in runs.items() if key != name]
        fitted = fit(law, others, from_step=from_step, starts=4)
        kept = run.from_step(from_step)
        low, high = fitted.predict(run.schedule, kept.steps, facts=run.facts).interval(0.9)
        inside = (kept.loss >= low) & (kept.loss <= high)
        points.append(float(np.mean(inside)))
        finals.append(bool(inside[-1]))
        half = 0.5 * (high - low) / kept.loss
        width.append(float(np.median(half)))
        final_width.append(float(half[-1]))
    counts = {"runs": len(runs), "points": sum(points), "finals": sum(finals)}
    cells = [
        str(len(runs)),
        f"{np.mean(points):.3f}",
        f"{np.mean(finals):.3f}",
        f"±{100 * np.median(width):.2f} %",
        f"±{100 * np.median(final_width):.2f} %",
        f"{time.perf_counter() - began:.0f}",
    ]
    return cells, counts


def main() -> None:
    """Measure and write the table."""
    laws = sys.argv[1:] or list(LAWS)
    lines = [
        "# Coverage",
        "",
        f"`python -m benchmarks.coverage` on {describe()}.",
        "",
        "Every run of a set is left out once; the law is fitted to the others (4 starts, default "
        "prior and draws), and its 90 % intervals are held against the run left out. Points "
        "covered: mean over runs of the share of points inside; finals covered: share of last "
        "logged losses inside; widths: median half width over runs, of a point and of the final "
        "loss, relative. Points from step 1,000 in the 124M sets and from 400 in ours.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for law in laws:
        total = {"runs": 0.0, "points": 0.0, "finals": 0.0}
        for name, (folder, from_step) in SETS.items():
            if not folder.is_dir():
                lines.append(f"| {name} | {law} | not on this machine |")
                continue
            cells, counts = measure(folder, law, from_step)
            total = {key: total[key] + counts[key] for key in total}
            lines.append(f"| {name} | {law} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
        lines.append(
            f"| **all** | **{law}** | {total['runs']:.0f} | "
            f"**{total['points'] / total['runs']:.3f}** | "
            f"**{total['finals'] / total['runs']:.3f}** | | | |"
        )
        print(lines[-1], flush=True)
    if not sys.argv[1:]:
        write_text(HERE / "coverage.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
