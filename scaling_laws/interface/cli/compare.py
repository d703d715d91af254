"""`scaling-laws compare`: which law best predicts runs that it was not fitted to."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.pools import add_pool_options, given_pool
from scaling_laws.interface.report.text_table import text_table

__all__ = ["add_parser", "render", "run"]

HOLD_OUTS = ("run", "peak", "horizon", "last", "rest")
PRESETS = ("published", "three-runs", "lower-peak", "higher-peak", "longer")
DIGITS = 3  # significant digits of the smallest number in a column


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "compare",
        help="rank laws by their errors on held-out runs",
        description="Refit laws without some of the runs, predict those runs, and rank the laws by "
        "their prediction errors.",
    )
    common.add_run_arguments(parser)
    parser.add_argument(
        "--laws",
        default="all",
        metavar="A,B,C",
        help="laws to compare, or all: every registered law whose required facts the runs have "
        "(default all)",
    )
    parser.add_argument(
        "--hold-out",
        choices=HOLD_OUTS,
        help="run: each run in turn (default); peak: all runs of one peak LR in turn; horizon: fit "
        "the short runs, predict the long ones; last: fit the beginning of every run, predict its "
        "end; rest: fit --fit-runs, predict the others",
    )
    parser.add_argument("--fit-runs", metavar="A,B,C", help="runs to fit; the others are held out")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="a named split, in place of --hold-out; see benchmarks/accuracy.md",
    )
    parser.add_argument(
        "--last",
        type=common.number,
        metavar="SHARE",
        help="fraction of each run's logged steps that --hold-out last predicts (default 0.2)",
    )
    parser.add_argument(
        "--starts", type=common.whole, default=8, help="number of solver starts (default 8)"
    )
    parser.add_argument(
        "--prior",
        choices=("weak", "none"),
        default="weak",
        help="prior on the nonlinear parameters (default weak)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write metrics, one row per law and run")
    where = parser.add_argument_group("parallel execution (does not affect results)")
    add_pool_options(where, "local unless --workers or --scheduler is given")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare, write the file, and return the keys of the interface."""
    from scaling_laws.common import UsageError, check_writable, write_text

    if arguments.out:
        check_writable(arguments.out)
    if arguments.last is not None and arguments.hold_out != "last":
        raise UsageError(f"--last {arguments.last:g} requires --hold-out last")
    for flag, value in (
        ("--hold-out", arguments.hold_out),
        ("--fit-runs", arguments.fit_runs),
        ("--from-step", arguments.from_step or None),
    ):
        if arguments.preset and value is not None:
            raise UsageError(
                f"--preset {arguments.preset} sets {flag} itself; give only one of them"
            )
    if arguments.fit_runs and arguments.hold_out not in (None, "rest"):
        raise UsageError("--fit-runs requires --hold-out rest")
    runs = common.read_runs(arguments)
    from scaling_laws.inference import compare, preset_of

    options: dict[str, Any] = {"from_step": arguments.from_step}
    if arguments.last is not None:
        options["last"] = arguments.last
    if arguments.fit_runs:
        options |= {"hold_out": "rest", "fit_runs": common.names_in(arguments.fit_runs)}
    elif arguments.preset:
        preset = preset_of(arguments.preset)
        options |= {
            "hold_out": preset.hold_out,
            "fit_runs": preset.fit_runs(list(runs.values())),
            "from_step": preset.from_step,
        }
    else:
        options["hold_out"] = arguments.hold_out or "run"
    result = compare(
        arguments.laws,
        runs,
        starts=arguments.starts,
        seed=arguments.seed,
        prior=arguments.prior,
        backend=given_pool(arguments),
        **options,
    ).as_json()
    if arguments.out:
        write_text(arguments.out, _csv(result["laws"]))
    return {**result, "file": arguments.out}


def _csv(laws: Mapping[str, Any]) -> str:
    """One row per law and held-out run."""
    import csv
    import io

    text = io.StringIO()
    keys = list(next(iter(next(iter(laws.values()))["runs"].values())))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["law", "n_params", "run", *keys])
    for name, law in laws.items():
        for run_name, values in law["runs"].items():
            writer.writerow([name, law["n_params"], run_name, *(values[key] for key in keys)])
    return text.getvalue()


def render(result: dict[str, Any]) -> str:
    """The ranked laws, those skipped, and the advice."""
    laws = result["laws"]
    columns = {
        "PredE": [law["pred_e"] for law in laws.values()],
        "MAE": [law["mae"] for law in laws.values()],
        "|final|": [law["abs_final_error"] for law in laws.values()],
        "WorstE": [law["worst_e"] for law in laws.values()],
    }
    columns_of_text = {
        "law": list(laws),
        "parameters": [str(law["n_params"]) for law in laws.values()],
        **{head: _aligned(values) for head, values in columns.items()},
        "AIC": [f"{law['aic']:.1f}" for law in laws.values()],
        "BIC": [f"{law['bic']:.1f}" for law in laws.values()],
        "PredE minus that of the best": _differences(laws, _decimals(columns["PredE"]) + 1),
    }
    table = text_table(
        list(columns_of_text),
        zip(*columns_of_text.values(), strict=True),
        left=("law", "PredE minus that of the best"),
    )
    lines = [f"held out: {result['description']}", "", *table, ""]
    for kind in ("skipped", "failed"):
        lines += [f"{kind}: {reason}" for reason in result[kind].values()]
    lines += [
        "Errors are means over held-out runs: PredE and WorstE relative, MAE and |final| in nats.",
        "AIC and BIC refer to the fit to all runs.",
        f"Intervals (90 %): {result['interval']}. Not distinguishable: the interval contains zero.",
    ]
    if result["file"]:
        lines.append(f"wrote {result['file']}")
    return "\n".join([*lines, "", *result["notes"], result["advice"]])


def _decimals(values: Sequence[float]) -> int:
    """Decimal places that show `DIGITS` digits of the smallest number; at most six."""
    magnitudes = [abs(value) for value in values if value and math.isfinite(value)]
    smallest = min(magnitudes, default=1.0)
    return min(max(DIGITS - 1 - math.floor(math.log10(smallest)), 0), 6)


def _aligned(values: Sequence[float]) -> list[str]:
    decimals = _decimals(values)
    return [f"{value:.{decimals}f}" for value in values]


def _differences(laws: Mapping[str, Any], decimals: int) -> list[str]:
    """Each law's difference from the best, its interval, and whether it is distinguishable."""
    cells = []
    for index, law in enumerate(laws.values()):
        gap = law["difference"]
        if index == 0:
            cells.append("best")
            continue
        cell = f"{gap['pred_e']:+.{decimals}f}"
        if gap["pred_e_90"] is not None:
            low, high = gap["pred_e_90"]
            cell += f"  [{low:+.{decimals}f}, {high:+.{decimals}f}]"
        if not gap["distinguishable"]:
            cell += "  not distinguishable"
        cells.append(cell)
    return cells
