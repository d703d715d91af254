"""Do predictions hold and do found schedules win, in training that the laws have not seen?

    python -m benchmarks.proof search     # laws from cheap runs, schedules for data/proof/plan.toml
    scaling-laws proxy sweep data/proof/plan.toml
    python -m benchmarks.proof            # docs/proof.md with its figures

The cheap runs are those of data/ladder/nano with at most 2,000 steps, half of the horizon.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import scaling_laws as sl
from scaling_laws.fitted import FittedLaw
from scaling_laws.runs import Run, read_run
from scaling_laws.schedules import write_schedule

ROOT = Path(__file__).resolve().parents[1]
LADDER, PROOF = ROOT / "data" / "ladder", ROOT / "data" / "proof"
CHEAP_STEPS, STEPS, PEAK, WARMUP = 2000, 4000, 4e-3, 100
FROM_STEP = 400
LAWS = ("norm_clock", "multi_power")


def cheap_runs(folder: Path = LADDER / "nano") -> dict[str, Run]:
    """Every run of at most `CHEAP_STEPS`, and the constant run up to there."""
    runs = {name: run for name, run in sl.load_runs(folder).items() if name.endswith("_2000")}
    constant = read_run(folder / "constant_4000.csv", before=CHEAP_STEPS)
    return {"constant_2000": constant} | runs


def fit_cheap(law: str, runs: Mapping[str, Run] | None = None) -> FittedLaw:
    """A law fitted to the cheap runs."""
    return sl.fit(law, runs or cheap_runs(), from_step=FROM_STEP, seed=0)


def search() -> None:
    """Fit each law to the cheap runs and write the schedule it finds for twice the horizon."""
    for name in LAWS:
        fitted = fit_cheap(name)
        found = sl.optimize(fitted, steps=STEPS, peak=PEAK, warmup=WARMUP)
        path = write_schedule(PROOF / f"found_{name}.csv", found.schedule)
        sys.stdout.write(f"{name}: {found.final_loss:.4f} -> {path}\n")
        for spec, loss in sorted(found.baselines.items(), key=lambda item: item[1]):
            sys.stdout.write(f"  {loss:.4f} {spec}\n")
        sys.stdout.write(f"  {found.family}\n" + "\n".join(found.notes) + "\n")


if __name__ == "__main__":
    search()
