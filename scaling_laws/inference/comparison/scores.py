"""Scores of laws on held-out data, and whether the runs distinguish them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from scaling_laws.inference.comparison.hold_outs import HoldOut
from scaling_laws.inference.comparison.repeats import Repeats
from scaling_laws.inference.fitting import HeldOutFit
from scaling_laws.inference.metrics import information_criteria, mean_metrics, metrics
from scaling_laws.inference.results.html import html_page, html_table

__all__ = ["Comparison", "Difference", "LawScore", "mean_intervals", "score"]

Array = NDArray[np.float64]
RESAMPLES = 10_000
MIN_BOOTSTRAP = 5  # fewer held-out runs: Student t, since a bootstrap of so few is too narrow
TOLERANCE = 1e-6  # of the loss: smaller differences depend on where the solver stopped
MAX_RATIO = 1.25  # of the best law's error: wide intervals do not recommend a worse law


@dataclass(frozen=True)
class Difference:
    """Difference between a law and the best one: means over held-out runs, positive if worse.

    Attributes:
        pred_e: difference of `pred_e`.
        pred_e_90: 90 % interval of it; None if only one run was held out.
        abs_final_error: difference of the absolute final errors, in nats.
        abs_final_error_90: 90 % interval of it.
        distinguishable: whether the interval of `pred_e` excludes zero.
    """

    pred_e: float
    pred_e_90: tuple[float, float] | None
    abs_final_error: float
    abs_final_error_90: tuple[float, float] | None
    distinguishable: bool


@dataclass(frozen=True)
class LawScore:
    """Scores of one law.

    Attributes:
        mean: mean metrics over held-out runs; see `scaling_laws.inference.metrics`.
        runs: metrics of the held-out points, by run.
        n_params: parameters of the law.
        log_error: root mean square of log(observed / predicted) of the fit to all runs.
        effective_points: n of `aic` and `bic`.
        aic: of the fit to all runs; see `scaling_laws.inference.metrics.information_criteria`.
        bic: likewise.
        difference: from the best law.
    """

    mean: Mapping[str, float]
    runs: Mapping[str, Mapping[str, float]]
    n_params: int
    log_error: float
    effective_points: float
    aic: float
    bic: float
    difference: Difference

    @property
    def worst_final_error(self) -> float:
        """The largest absolute final error of a held-out run, in nats."""
        return max(abs(run["final_error"]) for run in self.runs.values())

    def as_json(self) -> dict[str, Any]:
        """The mean metrics and the other fields in one mapping."""
        other = asdict(self)
        return {**other.pop("mean"), "worst_final_error": self.worst_final_error, **other}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Laws ranked by their mean error on held-out data, best first.

    Attributes:
        hold_out: what was held out.
        laws: scores by name, ranked by mean `pred_e`.
        skipped: laws that need a fact or trace that the runs lack, with the reason.
        failed: laws that could not be fitted, with the reason.
        interval: how the intervals of differences were computed, in words.
        units: number of held-out runs, or of peaks where the runs of one are resampled together.
        seed: of starts and resamples.
        repeats: differences between runs with the same schedule, if there are any.
    """

    hold_out: HoldOut
    laws: Mapping[str, LawScore]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]
    interval: str
    units: int
    seed: int
    repeats: Repeats | None = None

    @property
    def best(self) -> str:
        """The law with the lowest mean error."""
        return next(iter(self.laws))

    @property
    def advice(self) -> str:
        """Which law to use, in a sentence.

        It is the law with the fewest parameters among those that are not distinguishable from the
        best and have at most `MAX_RATIO` times its error.
        """
        if len(self.laws) == 1:
            return f"Only {self.best} was compared; name more laws to choose between them."
        if self.units < 2:
            return (
                f"{self.best} has the lowest error, but one held-out run does not distinguish "
                "laws; hold out more runs before you choose."
            )
        best = self.laws[self.best]
        limit = MAX_RATIO * best.mean["pred_e"] + TOLERANCE
        close = [
            name
            for name, law in self.laws.items()
            if not law.difference.distinguishable and law.mean["pred_e"] <= limit
        ]
        chosen = min(close, key=lambda name: self.laws[name].n_params)
        if self.laws[chosen].n_params == best.n_params:
            return f"Use {self.best}: no law with fewer parameters predicts as well."
        return (
            f"Use {chosen}: of the laws that these runs do not distinguish from the best "
            f"({self.best}, {best.n_params} parameters), it has the fewest parameters, "
            f"{self.laws[chosen].n_params}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the ranking does not show: irreducible error, and which law is better at the end."""
        floor = () if self.repeats is None else (str(self.repeats),)
        return floor + self._better_at_the_end

    @property
    def _better_at_the_end(self) -> tuple[str, ...]:
        best = self.laws[self.best].mean["abs_final_error"]
        name = min(self.laws, key=lambda name: self.laws[name].mean["abs_final_error"])
        ends = self.laws[name].difference.abs_final_error_90
        if ends is None or ends[1] >= 0.0:
            return ()
        error = self.laws[name].mean["abs_final_error"]
        return (
            f"Final losses alone are predicted better by {name}: its mean absolute error is "
            f"{error:.3g} nats, that of {self.best} {best:.3g}.",
        )

    def as_json(self) -> dict[str, Any]:
        """The keys of ``scaling-laws compare --json``."""
        return {
            "hold_out": self.hold_out.name,
            "laws": {name: law.as_json() for name, law in self.laws.items()},
            "skipped": dict(self.skipped),
            "failed": dict(self.failed),
            "best": self.best,
            "advice": self.advice,
            "notes": list(self.notes),
            "description": self.hold_out.description,
            "folds": [dict(fold) for fold in self.hold_out.folds],
            "interval": self.interval,
            "units": self.units,
            "seed": self.seed,
            "repeats": None if self.repeats is None else self.repeats.as_json(),
        }

    def __repr__(self) -> str:
        ranks = ", ".join(f"{name} {law.mean['pred_e']:.5f}" for name, law in self.laws.items())
        return f"Comparison(mean PredE of {self.hold_out.description}: {ranks})"

    def _repr_html_(self) -> str:
        rows = []
        for name, law in self.laws.items():
            interval = law.difference.pred_e_90
            rows.append(
                [
                    name,
                    f"{law.mean['pred_e']:.5f}",
                    f"{law.difference.pred_e:+.5f}",
                    "" if interval is None else f"{interval[0]:+.5f} to {interval[1]:+.5f}",
                    f"{law.mean['abs_final_error']:.4f}",
                    f"{law.n_params}",
                    f"{law.aic:.1f}",
                    f"{law.bic:.1f}",
                ]
            )
        header = (
            "law",
            "PredE",
            "to the best",
            "90 %",
            "|final error|",
            "parameters",
            "AIC",
            "BIC",
        )
        failures = [f"{name}: {reason}" for name, reason in self.failed.items()]
        return html_page(
            self.hold_out.description,
            [html_table((*header, "AIC", "BIC"), rows)],
            (self.advice, *self.notes, *failures),
        )

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per law, best first: mean metrics and the difference."""
        import pandas as pd

        rows = {}
        for name, law in self.laws.items():
            gap = law.difference
            low, high = gap.pred_e_90 or (np.nan, np.nan)
            rows[name] = {
                **law.mean,
                "n_params": law.n_params,
                "aic": law.aic,
                "bic": law.bic,
                "difference": gap.pred_e,
                "difference_low": low,
                "difference_high": high,
                "distinguishable": gap.distinguishable,
            }
        return pd.DataFrame.from_dict(rows, orient="index")


def score(
    fits: Mapping[str, HeldOutFit], hold_out: HoldOut, seed: int
) -> tuple[dict[str, LawScore], str, int]:
    """Ranked scores, how intervals were computed, and the number of units.

    Args:
        fits: of each law, with predictions of the same runs.
        hold_out: what was held out.
        seed: of the resamples.
    """
    runs = {
        name: {points.run: metrics(points.observed, points.predicted) for points in fit.held}
        for name, fit in fits.items()
    }
    means = {name: mean_metrics(list(metric.values())) for name, metric in runs.items()}
    ranked = sorted(fits, key=lambda name: (means[name]["pred_e"], fits[name].n_params, name))
    best = runs[ranked[0]]
    fold_of = {run: index for index, fold in enumerate(hold_out.folds) for run in fold}
    group = np.array(
        [fold_of[run] if hold_out.by_fold else index for index, run in enumerate(best)]
    )
    gaps = np.array(
        [
            [
                [
                    runs[name][run]["pred_e"] - best[run]["pred_e"],
                    abs(runs[name][run]["final_error"]) - abs(best[run]["final_error"]),
                ]
                for run in best
            ]
            for name in ranked
        ]
    )
    low, high, method, units = mean_intervals(
        gaps, group, seed, "peaks" if hold_out.by_fold else "runs"
    )
    scores = {}
    for index, name in enumerate(ranked):
        fit = fits[name]
        aic, bic = information_criteria(fit.log_error, fit.effective_points, fit.n_params)
        ends = [(float(low[index, item]), float(high[index, item])) for item in (0, 1)]
        distinguishable = units > 1 and bool(ends[0][0] > TOLERANCE or ends[0][1] < -TOLERANCE)
        mean_gap = gaps[index].mean(axis=0)
        scores[name] = LawScore(
            means[name],
            runs[name],
            fit.n_params,
            fit.log_error,
            fit.effective_points,
            aic,
            bic,
            Difference(
                float(mean_gap[0]),
                ends[0] if units > 1 else None,
                float(mean_gap[1]),
                ends[1] if units > 1 else None,
                distinguishable,
            ),
        )
    return scores, method, units


def mean_intervals(
    values: Array, group: NDArray[np.int64], seed: int, unit_name: str = "runs"
) -> tuple[Array, Array, str, int]:
    """90 % intervals of means over runs, where the runs of a group are resampled together.

    A bootstrap over groups with `RESAMPLES` resamples; for fewer than `MIN_BOOTSTRAP` groups, a
    Student t interval from the spread of the groups' sums.

    Args:
        values: (..., runs, measures).
        group: of each run: (runs,).
        seed: of the resamples; they are the same for all values.
        unit_name: plural name of the groups, for the description.

    Returns:
        Lower and upper ends, each (..., measures), NaN with one group only; the method in words;
        the number of groups.
    """
    names, index = np.unique(group, return_inverse=True)
    units = len(names)
    member = (index[None, :] == np.arange(units)[:, None]).astype(float)  # (groups, runs)
    sizes = member.sum(axis=1)
    sums = np.einsum("gr,...rm->...gm", member, values)
    mean = values.mean(axis=-2)
    if units == 1:
        unknown = np.full(mean.shape, np.nan)
        return unknown, unknown, "none: only one run was held out", units
    if units < MIN_BOOTSTRAP:
        spread = (sums - sizes[:, None] * mean[..., None, :]) / sizes.sum()
        error = np.sqrt(units / (units - 1) * np.sum(spread**2, axis=-2))
        half = float(stdtrit(units - 1, 0.95)) * error
        method = f"paired Student t; {units} {unit_name} are few, so they are wide"
        return mean - half, mean + half, method, units
    counts = np.random.default_rng(seed).multinomial(
        units, np.full(units, 1.0 / units), size=RESAMPLES
    )
    drawn = np.einsum("bg,...gm->...bm", counts, sums) / (counts @ sizes)[:, None]
    low, high = np.quantile(drawn, [0.05, 0.95], axis=-2)
    method = f"paired bootstrap over {units} {unit_name}, {RESAMPLES} resamples"
    return low, high, method, units
