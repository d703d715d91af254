"""Sections of the report of a fit as text: aligned tables, as many digits as are significant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scaling_laws.inference.results.report_parts import (
    Correlation,
    IntervalReport,
    ParameterReport,
    Statistics,
)

__all__ = [
    "correlation_lines",
    "interval_lines",
    "matched",
    "parameter_lines",
    "run_table",
    "statistics_lines",
]

TINY, HUGE = 1e-4, 1e6  # numbers of such sizes are written with an exponent
WIDE = 1e3  # ratio of the ends of an interval above which each number has digits of its own


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(head) for head, _ in rows)
    return [f"  {head:<{width}}  {text}" for head, text in rows]


def statistics_lines(fit: Statistics, parameters: Sequence[ParameterReport]) -> list[str]:
    """How the fit was made."""
    fixed = [row.name for row in parameters if row.fixed]
    tied = [f"{row.name} = {row.tied_to}" for row in parameters if row.tied_to]
    pulled = [row.name for row in parameters if row.prior]
    lowest = "" if fit.lowest is None else f"; lowest value without the prior {fit.lowest:.6g}"
    counts = f"{fit.n_parameters} searched"
    counts += f"; fixed: {', '.join(fixed)}" if fixed else ""
    counts += f"; tied: {', '.join(tied)}" if tied else ""
    ends = ", ".join(
        f"{count} {status.replace('_', ' ')}" for status, count in fit.statuses.items()
    )
    rows = [
        ("minimised", f"{fit.minimised} of log residuals{lowest}"),
        ("objective", f"{fit.objective:.6g}  (sum of Huber {fit.huber_delta:g}, at these values)"),
        ("points, runs", f"{fit.n_points}, {fit.n_runs}  (from step: {fit.from_step})"),
        ("parameters", counts),
        ("degrees of freedom", f"{fit.degrees_of_freedom}"),
        (
            "starts",
            f"{fit.starts}, of which {fit.starts_at_best} within 0.1 % of the best"
            + (f"; {ends}" if ends else ""),
        ),
    ]
    if fit.condition is not None:
        rows.append(("condition number", f"{fit.condition:.2g}"))
    if pulled:
        rows.append(("prior", f"on {', '.join(pulled)}: {fit.prior_source}"))
    if fit.aic is not None and fit.bic is not None:
        rows.append(("AIC, BIC", f"{fit.aic:.1f}, {fit.bic:.1f}"))
    rows.append(("seed, seconds", f"{fit.seed}, {fit.seconds:.1f}"))
    return _table(rows)


def interval_lines(report: IntervalReport, fit: Statistics | None) -> list[str]:
    """Predictive uncertainty."""
    method = report.method.replace("_", " ")
    folds = f"{report.folds} fold" + ("" if report.folds == 1 else "s")
    rows = [("held-out error", f"{_percent(report.held_out_error)}  ({method}, {folds})")]
    if report.sigma_decay is None or report.final is None:
        rows.append(("90 % interval", f"±{_percent(report.point)} of a row"))
        return _table(rows)
    assert report.point_decayed is not None and report.final_decayed is not None
    rows += [
        (
            "error of the law",
            f"{_percent(report.sigma_constant)} at full LR, and a further "
            f"{_percent(report.sigma_decay)} where the LR has decayed to zero",
        ),
        (
            "90 % at full LR",
            f"±{_percent(report.point)} of a point, ±{_percent(report.final)} of a final loss",
        ),
        (
            "90 % at zero LR",
            f"±{_percent(report.point_decayed)} of a point, "
            f"±{_percent(report.final_decayed)} of a final loss",
        ),
    ]
    if fit is not None and fit.draws:
        rows.append(("draws", f"{fit.draws}; a prediction adds their spread to these widths"))
    return _table(rows)


def _percent(share: float) -> str:
    return f"{100.0 * share:#.3g}".rstrip(".") + " %"


def parameter_lines(parameters: Sequence[ParameterReport]) -> list[str]:
    """Values, intervals and errors of the parameters, a header first."""
    drawn = any(row.interval_90 for row in parameters)
    heads = (
        "name",
        "value",
        *(("90 % interval", "std. error") if drawn else ()),
        "",
        "unit: meaning",
    )
    rows = []
    for row in parameters:
        numbers = [f"{row.value:.6g}"]
        if row.interval_90 is not None and row.standard_error is not None:
            value, low, high, error = matched(row.value, row.interval_90, row.standard_error)
            numbers = [value, f"[{low}, {high}]", error]
        elif drawn:
            numbers += ["", ""]
        kind = "fixed" if row.fixed else "prior" if row.prior else ""
        kind = f"= {row.tied_to}" if row.tied_to else kind
        rows.append((row.name, *numbers, kind, f"{row.unit}: {row.meaning}"))
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads) - 1)]
    if drawn:
        widths = [max(w, len(head)) for w, head in zip(widths, heads[:-1], strict=True)]
        rows.insert(0, heads)
    keep = [place for place, width in enumerate(widths) if width]
    return [
        "  " + "  ".join([*(f"{row[place]:<{widths[place]}}" for place in keep), row[-1]])
        for row in rows
    ]


def correlation_lines(pairs: Sequence[Correlation]) -> list[str]:
    """Correlations of parameters, one per line."""
    if not pairs:
        return ["  none"]
    width = max(len(f"{pair.name}, {pair.other}") for pair in pairs)
    return [f"  {f'{pair.name}, {pair.other}':<{width}}  {pair.value:+.3f}" for pair in pairs]


def matched(value: float, interval: tuple[float, float], error: float) -> tuple[str, str, str, str]:
    """A value, the ends of its interval and its error with as many decimals as they deserve.

    Two significant digits of the half width, and three of the value at least.
    """
    low, high = interval
    sizes = [abs(number) for number in (value, low, high) if number]
    width = 0.5 * (high - low)
    if not sizes or width <= 0 or not math.isfinite(width):
        return f"{value:.6g}", f"{low:.6g}", f"{high:.6g}", f"{error:.2g}"
    if max(sizes) > WIDE * min(sizes):
        return f"{value:.3g}", f"{low:.3g}", f"{high:.3g}", f"{error:.2g}"
    if max(sizes) >= HUGE or max(sizes) < TINY:
        digits = math.floor(math.log10(max(sizes))) - math.floor(math.log10(width)) + 1
        form = f".{min(max(digits, 2), 9)}e"
        return f"{value:{form}}", f"{low:{form}}", f"{high:{form}}", f"{error:.1e}"
    decimals = 1 - math.floor(math.log10(width))
    if value:
        decimals = max(decimals, 2 - math.floor(math.log10(abs(value))))
    decimals = min(max(decimals, 0), 9)
    whole, first, last = (f"{number:.{decimals}f}" for number in (value, low, high))
    gone = error < 0.5 * 10.0**-decimals  # near a bound: wide, and yet most draws are alike
    return whole, first, last, f"{error:.2g}" if gone else f"{error:.{decimals}f}"


def _aligned(values: Sequence[float], sign: str = "") -> list[str]:
    """Numbers of one column with as many decimals as three significant digits need.

    Those far below the largest have fewer, so that the points line up.
    """
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        sign, form = "", ".0f"
    else:
        form = _form(min(sizes), max(sizes), signed=bool(sign))
    return [f"{value:{sign if math.isfinite(value) else ''}{form}}" for value in values]


def _form(smallest: float, largest: float, *, signed: bool) -> str:
    apart = not signed and largest > WIDE * smallest  # a signed error may be near zero by chance
    if largest >= HUGE or largest < TINY or apart:
        return ".2e"
    decimals = 2 - math.floor(math.log10(max(smallest, 0.1 * largest)))
    return f".{max(0, decimals)}f"


def run_table(runs: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Metrics per run as aligned lines, a header first."""
    width = max(len(name) for name in runs)
    heads = {"MAE": "mae", "RMSE": "rmse", "PredE": "pred_e", "WorstE": "worst_e", "R2": "r2"}
    columns = [["n", *(f"{run['n']:.0f}" for run in runs.values())]]
    for head, key in (*heads.items(), ("final error", "final_error")):
        values = [float(run.get(key, math.nan)) for run in runs.values()]
        sizes = [abs(value) for value in values if math.isfinite(value)]
        if key == "r2" and max(sizes, default=0.0) < 100.0:
            cells = [f"{value:.5f}" for value in values]  # what counts is how far it is from one
        else:
            cells = _aligned(values, "+" if key == "final_error" else "")
        columns.append([head, *cells])
    lines = [f"  {name:<{width}}  " for name in ("run", *runs)]
    return [
        line + "".join(f"{column[place]:>12}" for column in columns)
        for place, line in enumerate(lines)
    ]
