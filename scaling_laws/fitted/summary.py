"""A fit as text, in the idiom of lmfit and statsmodels."""

from __future__ import annotations

from collections.abc import Mapping

from scaling_laws.fitted.value import FittedLaw

__all__ = ["run_table", "summary"]


def summary(fitted: FittedLaw) -> str:
    """Statistics, parameters, errors per run and warnings of a fitted law."""
    law = fitted.law
    lines = [f"{law.name}: {law.formula}", f"  {law.citation}", "", "[[Fit]]"]
    record = fitted.record
    if record is None:
        lines.append("  parameters were given, not fitted")
    else:
        lines += [
            f"  objective      {record.objective:.6g}  "
            f"(sum of Huber {record.huber_delta:g} of log residuals)",
            f"  points, runs   {record.n_points}, {len(record.runs)}",
            f"  starts         {record.starts}, of which {record.starts_at_best} "
            "within 0.1 % of the best",
            f"  seconds        {record.seconds:.1f}",
        ]
    if fitted.uncertainty is not None:
        uncertainty = fitted.uncertainty
        lines.append(
            f"  held-out error {100 * uncertainty.log_error:.3f} %  "
            f"({uncertainty.method.replace('_', ' ')}, {uncertainty.folds} folds); "
            f"90 % interval ±{100 * uncertainty.half_width(0.9):.2f} %"
        )
    lines += ["", "[[Parameters]]"]
    width = max(len(name) for name in law.names)
    for parameter in law.parameters:
        lines.append(
            f"  {parameter.name:<{width}}  {fitted.params[parameter.name]:<12.6g} "
            f"{parameter.unit}: {parameter.meaning}"
        )
    if record is not None:
        lines += ["", "[[Runs]]", *run_table(record.runs)]
        if record.warnings:
            lines += ["", "[[Warnings]]", *(f"  {warning}" for warning in record.warnings)]
    return "\n".join(lines)


def run_table(runs: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Metrics per run as aligned lines, a header first."""
    width = max(len(name) for name in runs)
    heads = ("n", "MAE", "RMSE", "PredE", "WorstE", "R2", "final error")
    lines = [f"  {'run':<{width}}  " + "".join(f"{head:>12}" for head in heads)]
    for name, run in runs.items():
        cells = [f"{run['n']:>12.0f}"]
        cells += [f"{run[key]:>12.5f}" for key in ("mae", "rmse", "pred_e", "worst_e", "r2")]
        cells.append(f"{run['final_error']:>+12.5f}")
        lines.append(f"  {name:<{width}}  " + "".join(cells))
    return lines
