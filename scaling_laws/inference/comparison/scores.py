"""How laws did on what they had not seen, and whether the runs can tell them apart."""

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
FEW = 5  # fewer held-out runs than this: Student t, because resampling them shows too little
ALIKE = 1e-6  # of the loss: smaller differences are where the solver happened to stop
CLOSE = 1.25  # times the best's error: wide intervals do not recommend a law that is further off


@dataclass(frozen=True)
class Difference:
    """A law against the best one: means over held-out runs, positive where the law is worse.

    Attributes:
        pred_e: difference of `pred_e`.
        pred_e_90: 90 % interval of it; None if only one run was held out.
        abs_final_error: difference of the sizes of the final errors, in nats.
        abs_final_error_90: 90 % interval of it.
        distinguishable: whether the interval of `pred_e` leaves out zero.
    """

    pred_e: float
    pred_e_90: tuple[float, float] | None
    abs_final_error: float
    abs_final_error_90: tuple[float, float] | None
    distinguishable: bool


@dataclass(frozen=True)
class LawScore:
    """How one law did.

    Attributes:
        mean: mean metrics over held-out runs; see `scaling_laws.inference.metrics`.
        runs: metrics of what was held out, by run.
        n_params: parameters of the law.
        log_error: root mean square of log(observed / predicted) of the fit to all runs.
        effective_points: n of `aic` and `bic`.
        aic: n·log(log_error²) + 2·k for k parameters; see `compare`.
        bic: n·log(log_error²) + k·log(n).
        difference: to the best law.
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
        """The largest size of a final error of a held-out run, in nats."""
        return max(abs(each["final_error"]) for each in self.runs.values())

    def as_json(self) -> dict[str, Any]:
        """The mean metrics, and the rest beside them."""
        rest = asdict(self)
        return {**rest.pop("mean"), "worst_final_error": self.worst_final_error, **rest}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Laws in order of their mean error on what they had not seen, best first.

    Attributes:
        hold_out: what was held out.
        laws: how each law did, by name, ranked by mean `pred_e`.
        skipped: laws that need what the runs do not say, with the reason.
        failed: laws that could not be fitted, with the reason.
        interval: how the intervals of differences were made, in words.
        units: how many held-out runs there are, or peaks where the runs of one share their fate.
        seed: of starts and resamples.
        repeats: how far apart the runs are where their schedules are the same, if any are.
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

        The one with the fewest parameters of those that are not distinguishable from the best and
        have at most `CLOSE` times its error.
        """
        if len(self.laws) == 1:
            return f"Only {self.best} was compared; name more laws to choose between them."
        if self.units < 2:
            return (
                f"{self.best} has the lowest error, but one held-out run cannot tell laws apart; "
                "hold out more runs before you choose."
            )
        best = self.laws[self.best]
        limit = CLOSE * best.mean["pred_e"] + ALIKE
        close = [
            name
            for name, each in self.laws.items()
            if not each.difference.distinguishable and each.mean["pred_e"] <= limit
        ]
        chosen = min(close, key=lambda name: self.laws[name].n_params)
        if self.laws[chosen].n_params == best.n_params:
            return f"Use {self.best}: no law with fewer parameters predicts as well."
        return (
            f"Use {chosen}: of the laws that these runs cannot tell from the best ({self.best}, "
            f"{best.n_params} parameters), it has the fewest parameters, "
            f"{self.laws[chosen].n_params}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the order of the laws hides: what no law can do, and who is better at the end."""
        floor = () if self.repeats is None else (str(self.repeats),)
        return floor + self._better_at_the_end

    @property
    def _better_at_the_end(self) -> tuple[str, ...]:
        best = self.laws[self.best].mean["abs_final_error"]
        name = min(self.laws, key=lambda name: self.laws[name].mean["abs_final_error"])
        ends = self.laws[name].difference.abs_final_error_90
        if ends is None or ends[1] >= 0.0:
            return ()
        found = self.laws[name].mean["abs_final_error"]
        return (
            f"Final losses alone are predicted better by {name}: {found:.3g} nats off on average, "
            f"{self.best} {best:.3g}.",
        )

    def as_json(self) -> dict[str, Any]:
        """The keys of ``scaling-laws compare --json``."""
        return {
            "hold_out": self.hold_out.name,
            "laws": {name: each.as_json() for name, each in self.laws.items()},
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
        for name, each in self.laws.items():
            gap = each.difference
            low, high = gap.pred_e_90 or (np.nan, np.nan)
            rows[name] = {
                **each.mean,
                "n_params": each.n_params,
                "aic": each.aic,
                "bic": each.bic,
                "difference": gap.pred_e,
                "difference_low": low,
                "difference_high": high,
                "distinguishable": gap.distinguishable,
            }
        return pd.DataFrame.from_dict(rows, orient="index")


def score(
    fits: Mapping[str, HeldOutFit], held: HoldOut, seed: int
) -> tuple[dict[str, LawScore], str, int]:
    """Ranked scores, how intervals were made, and of how many units.

    Args:
        fits: of each law, with predictions of the same runs.
        held: what was held out.
        seed: of the resamples.
    """
    runs = {
        name: {each.run: metrics(each.observed, each.predicted) for each in fit.held}
        for name, fit in fits.items()
    }
    means = {name: mean_metrics(list(each.values())) for name, each in runs.items()}
    ranked = sorted(fits, key=lambda name: (means[name]["pred_e"], fits[name].n_params, name))
    best = runs[ranked[0]]
    fold_of = {run: place for place, fold in enumerate(held.folds) for run in fold}
    group = np.array([fold_of[run] if held.by_fold else place for place, run in enumerate(best)])
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
        gaps, group, seed, "peaks" if held.by_fold else "runs"
    )
    scores = {}
    for place, name in enumerate(ranked):
        fit = fits[name]
        aic, bic = information_criteria(fit.log_error, fit.effective_points, fit.n_params)
        ends = [(float(low[place, each]), float(high[place, each])) for each in (0, 1)]
        apart = units > 1 and bool(ends[0][0] > ALIKE or ends[0][1] < -ALIKE)
        mean_gap = gaps[place].mean(axis=0)
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
                apart,
            ),
        )
    return scores, method, units


def mean_intervals(
    values: Array, group: NDArray[np.int64], seed: int, kind: str = "runs"
) -> tuple[Array, Array, str, int]:
    """90 % intervals of means over runs, where the runs of a group are kept together.

    A bootstrap over groups, of `RESAMPLES` resamples; of fewer than `FEW` groups a Student t
    interval from the spread of the groups' sums.

    Args:
        values: (..., runs, measures).
        group: of each run: (runs,).
        seed: of the resamples; they are the same for all values.
        kind: what a group is called.

    Returns:
        Lower and upper ends, each (..., measures), NaN with one group only; the method in words;
        how many groups there are.
    """
    names, place = np.unique(group, return_inverse=True)
    units = len(names)
    member = (place[None, :] == np.arange(units)[:, None]).astype(float)  # (groups, runs)
    sizes = member.sum(axis=1)
    sums = np.einsum("gr,...rm->...gm", member, values)
    mean = values.mean(axis=-2)
    if units == 1:
        nothing = np.full(mean.shape, np.nan)
        return nothing, nothing, "none: only one run was held out", units
    if units < FEW:
        spread = (sums - sizes[:, None] * mean[..., None, :]) / sizes.sum()
        error = np.sqrt(units / (units - 1) * np.sum(spread**2, axis=-2))
        half = float(stdtrit(units - 1, 0.95)) * error
        method = f"paired Student t; {units} {kind} are few, so they are wide"
        return mean - half, mean + half, method, units
    counts = np.random.default_rng(seed).multinomial(
        units, np.full(units, 1.0 / units), size=RESAMPLES
    )
    drawn = np.einsum("bg,...gm->...bm", counts, sums) / (counts @ sizes)[:, None]
    low, high = np.quantile(drawn, [0.05, 0.95], axis=-2)
    method = f"paired bootstrap over {units} {kind}, {RESAMPLES} resamples"
    return low, high, method, units
