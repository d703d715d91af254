"""`scaling-laws compare`: which law predicts best what it has not seen."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scaling_laws.interface.cli import common
from scaling_laws.interface.cli.pools import add_pool_options, given_pool

__all__ = ["add_parser", "render", "run"]

HOLD_OUTS = ("run", "peak", "horizon", "last", "rest")
PRESETS = ("published", "three-runs", "lower-peak", "higher-peak", "longer")
DIGITS = 3  # significant ones that the smallest number of a column keeps


def add_parser(verbs: common.Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "compare",
        help="which law predicts best what it has not seen",
        description="Refit laws without some of the runs, predict those, and rank the laws by the "
        "error of these predictions.",
    )
    common.add_run_arguments(parser)
    parser.add_argument(
        "--laws",
        default="all",
        metavar="A,B,C",
        help="laws, or all that the runs have the facts for (default all)",
    )
    parser.add_argument(
        "--hold-out",
        choices=HOLD_OUTS,
        help="run: each run in turn (default); peak: all runs of a peak LR in turn; horizon: fit "
        "the short runs, predict the long; last: fit the beginning of every run, predict its end; "
        "rest: fit --fit-runs, predict the others",
    )
    parser.add_argument("--fit-runs", metavar="A,B,C", help="runs to fit; the others are held out")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help="a split that laws are judged by here, instead of --hold-out; see benchmarks/accuracy",
    )
    parser.add_argument(
        "--last",
        type=float,
        metavar="SHARE",
        help="share of each run's logged steps that --hold-out last predicts (default 0.2)",
    )
    parser.add_argument(
        "--starts", type=common.whole, default=8, help="starts of the solver (default 8)"
    )
    parser.add_argument(
        "--prior",
        choices=("weak", "none"),
        default="weak",
        help="on shape parameters (default weak)",
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write metrics, one row a law and run")
    where = parser.add_argument_group("where laws are fitted; it does not change them")
    add_pool_options(where, "local, unless --workers or --scheduler is given")
    common.add_common(parser)
    parser.set_defaults(run=run, render=render)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare, write the file, and return the keys of the interface."""
    from scaling_laws.common import UsageError, check_writable, write_text

    if arguments.out:
        check_writable(arguments.out)
    if arguments.last is not None and arguments.hold_out != "last":
        raise UsageError(f"--last {arguments.last:g} only means something with --hold-out last")
    for flag, given in (
        ("--hold-out", arguments.hold_out),
        ("--fit-runs", arguments.fit_runs),
        ("--from-step", arguments.from_step or None),
    ):
        if arguments.preset and given is not None:
            raise UsageError(f"--preset {arguments.preset} says itself what {flag} would: drop one")
    if arguments.fit_runs and arguments.hold_out not in (None, "rest"):
        raise UsageError("--fit-runs only means something with --hold-out rest")
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
        runs,
        arguments.laws,
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
    """A row a law and held-out run."""
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
    """The ranked laws, those left out, and the advice."""
    laws = result["laws"]
    columns = {
        "PredE": [law["pred_e"] for law in laws.values()],
        "MAE": [law["mae"] for law in laws.values()],
        "|final|": [law["abs_final_error"] for law in laws.values()],
        "WorstE": [law["worst_e"] for law in laws.values()],
    }
    table = {
        "law": list(laws),
        "parameters": [str(law["n_params"]) for law in laws.values()],
        **{head: _aligned(values) for head, values in columns.items()},
        "AIC": [f"{law['aic']:.1f}" for law in laws.values()],
        "BIC": [f"{law['bic']:.1f}" for law in laws.values()],
        "PredE less that of the best": _differences(laws, _places(columns["PredE"]) + 1),
    }
    lines = [f"held out: {result['description']}", "", *_table(table), ""]
    for kind in ("skipped", "failed"):
        lines += [f"{kind}: {reason}" for reason in result[kind].values()]
    lines += [
        "Errors are means over held-out runs: PredE and WorstE relative, MAE and |final| in nats.",
        "AIC and BIC are of the fit to all runs.",
        f"Intervals (90 %): {result['interval']}. Not distinguishable: the interval holds zero.",
    ]
    if result["file"]:
        lines.append(f"wrote {result['file']}")
    return "\n".join([*lines, "", *result["notes"], result["advice"]])


def _places(values: Sequence[float]) -> int:
    """Decimal places that leave the smallest number its digits; six at most."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    smallest = min(sizes, default=1.0)
    return min(max(DIGITS - 1 - math.floor(math.log10(smallest)), 0), 6)


def _aligned(values: Sequence[float]) -> list[str]:
    places = _places(values)
    return [f"{value:.{places}f}" for value in values]


def _differences(laws: Mapping[str, Any], places: int) -> list[str]:
    """Each law's difference to the best, with its interval, and what follows from it."""
    cells = []
    for place, law in enumerate(laws.values()):
        gap = law["difference"]
        if place == 0:
            cells.append("best")
            continue
        cell = f"{gap['pred_e']:+.{places}f}"
        if gap["pred_e_90"] is not None:
            low, high = gap["pred_e_90"]
            cell += f"  [{low:+.{places}f}, {high:+.{places}f}]"
        if not gap["distinguishable"]:
            cell += "  not distinguishable"
        cells.append(cell)
    return cells


def _table(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Columns under their heads: the first and last to the left, numbers to the right."""
    first, *_, last = columns
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{width}}" if head in (first, last) else f"{cell:>{width}}"
            for head, cell, width in zip(columns, row, widths, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
