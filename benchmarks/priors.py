"""Priors on nonlinear parameters, from parameters in the literature and our own proxy data.

Prints, for every law with published parameters, the prior that the law ships: the mean of the
unconstrained parameters over the published fits and a fit of our proxy runs, and `WIDEN` times
their standard deviation, because a few similar fits underestimate it. The proxy runs are fitted
with a wide prior, a factor of e around the published fits, so that in directions that these runs do
not identify they agree with the published fits.
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
FEWEST = 3  # published fits that a prior requires


def unconstrained_values(law: Law, values: dict[str, float], peak: float) -> list[float]:
    """Unconstrained nonlinear parameters, for schedules scaled to a peak of 1."""
    assert law.rescale is not None
    scaled = law.rescale(values, 1.0 / peak)
    return [
        parameter.transform.inverse(float(scaled[parameter.name]))
        for parameter in law.nonlinear_parameters
    ]


def main() -> None:
    """Print the numbers."""
    runs = load_runs(PROXY)
    peak = max(run.schedule.peak_lr for run in runs.values())
    for law in schedule_laws():
        if law.name not in PEAK or len(law.published) < FEWEST:
            continue
        rows = [
            unconstrained_values(law, dict(params), PEAK[law.name])
            for params in law.published.values()
        ]
        names = [parameter.name for parameter in law.nonlinear_parameters]
        published_mean = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
        wide_prior = Prior(
            published_mean, dict.fromkeys(names, 1.0), "published fits, a factor of e around"
        )
        proxy_fit = fit(law, runs, from_step=FROM_STEP, prior=wide_prior, draws=0, hold_out=False)
        fits = [*rows, unconstrained_values(law, dict(proxy_fit.params), peak)]
        mean, sd = np.mean(fits, axis=0), WIDEN * np.std(fits, axis=0, ddof=1)
        print(f"{law.name}: {', '.join(law.published)} and {PROXY.name}")
        for label, row in zip([*law.published, PROXY.name], fits, strict=True):
            print(f"  {label:<12}", np.round(row, 3).tolist())
        print("  mean", {name: round(float(x), 2) for name, x in zip(names, mean, strict=True)})
        print("  sd", {name: round(float(x), 2) for name, x in zip(names, sd, strict=True)})


if __name__ == "__main__":
    main()
