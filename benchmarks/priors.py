"""Priors on shape parameters, from parameters in the literature and our own proxy data.

Prints, for every law with published parameters, the numbers that the law ships:
the mean of the free numbers over the published fits and a fit of our proxy runs, and
`WIDEN` times their standard deviation: few fits, alike in how they were made, know less than they
seem to. The proxy runs are fitted with a wide prior, a factor of e around the published fits: along
directions that they do not tell apart they say nothing against those.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scaling_laws import fit, load_runs
from scaling_laws.inference.fitting.priors import Prior
from scaling_laws.models.laws import Law, schedule_laws

PROXY = Path(__file__).resolve().parents[1] / "data" / "proxy_nano"
FROM_STEP = 400
PEAK = {"multi_power": 3e-4}  # of the published fits: their values are for LRs as logged
WIDEN = 2.0
FEWEST = 3  # published fits that make a prior worth while


def free_numbers(law: Law, values: dict[str, float], peak: float) -> list[float]:
    """The shape parameters as the solver sees them, for schedules scaled to a peak of 1."""
    assert law.rescale is not None
    scaled = law.rescale(values, 1.0 / peak)
    return [each.transform.inverse(float(scaled[each.name])) for each in law.nonlinear_parameters]


def main() -> None:
    """Print the numbers."""
    runs = load_runs(PROXY)
    peak = max(run.schedule.peak_lr for run in runs.values())
    for law in schedule_laws():
        if law.name not in PEAK or len(law.published) < FEWEST:
            continue
        rows = [free_numbers(law, dict(each), PEAK[law.name]) for each in law.published.values()]
        names = [each.name for each in law.nonlinear_parameters]
        middle = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
        first = Prior(middle, dict.fromkeys(names, 1.0), "published fits, a factor of e around")
        ours = fit(law, runs, from_step=FROM_STEP, prior=first, draws=0, hold_out=False)
        fits = [*rows, free_numbers(law, dict(ours.params), peak)]
        centre, spread = np.mean(fits, axis=0), WIDEN * np.std(fits, axis=0, ddof=1)
        print(f"{law.name}: {', '.join(law.published)} and {PROXY.name}")
        for label, row in zip([*law.published, PROXY.name], fits, strict=True):
            print(f"  {label:<12}", np.round(row, 3).tolist())
        print("  centre", {name: round(float(x), 2) for name, x in zip(names, centre, strict=True)})
        print("  spread", {name: round(float(x), 2) for name, x in zip(names, spread, strict=True)})


if __name__ == "__main__":
    main()
