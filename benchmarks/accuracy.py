"""Judge every law on the same splits: fit some runs, predict the others.

Writes `accuracy.md` and, when all sets are at hand, the tables in `README.md` and in
`docs/norm_clock.md`, which says how choices about a law (its form, its priors) were made: on other
splits than these.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe
from benchmarks.pages import fill
from scaling_laws import load_runs
from scaling_laws.comparison import PRESETS, LawScore, Preset, compare
from scaling_laws.files import write_text
from scaling_laws.laws import SCHEDULE_LAWS

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
PEAKS = {"1e-4": "llama_124m_peak0.0001", "5e-4": "llama_124m_peak0.0005"}
PEAKS["1e-3"] = "llama_124m_peak0.001"
ALL_PEAKS = [SHARED / name for name in PEAKS.values()]
PROXY = Preset(
    "constant, cosine and one drop, the rest unseen",
    "rest",
    ("constant_4000", "cosine_4000", "drop_to_0.1_4000"),
    400,
)
STARTS = 4


class Protocol(NamedTuple):
    """A split of some sets."""

    title: str
    folders: Sequence[Path]
    preset: Preset


PROTOCOLS = {
    "25M": Protocol("25M, published split", [SHARED / "mpl_25m"], PRESETS["published"]),
    "100M": Protocol("100M, published split", [SHARED / "mpl_100m"], PRESETS["published"]),
    **{
        f"124M {peak}": Protocol(
            f"124M, peak {peak}: three runs -> the rest", [SHARED / name], PRESETS["three-runs"]
        )
        for peak, name in PEAKS.items()
    },
    "lower peak": Protocol("124M: 5e-4 and 1e-3 -> 1e-4", ALL_PEAKS, PRESETS["lower-peak"]),
    "higher peak": Protocol("124M: 1e-4 and 5e-4 -> 1e-3", ALL_PEAKS, PRESETS["higher-peak"]),
    **{
        f"longer {peak}": Protocol(
            f"124M, peak {peak}: up to 25,000 steps -> 35,000 to 50,000",
            [SHARED / name],
            PRESETS["longer"],
        )
        for peak, name in PEAKS.items()
    },
    "proxy_nano": Protocol(
        "our proxy runs: three -> the rest", [HERE.parent / "data" / "proxy_nano"], PROXY
    ),
}
# laws of schedules that need nothing that these sets lack
LAWS = [law for law in SCHEDULE_LAWS if not law.needs_traces and "transfer_step" not in law.needs]
PUBLISHED = {
    "25M": "the public implementation of the Multi-Power Law: PredE .00110",
    "100M": "the public implementation of the Multi-Power Law: PredE .00142",
}


def _cells(each: LawScore) -> str:
    mean = each.mean
    cells = [f"{mean[key]:.5f}" for key in ("pred_e", "worst_e")]
    finals = f"{mean['abs_final_error']:.4f} | {each.worst_final_error:.4f}"
    return f"{' | '.join(cells)} | {finals} | {each.log_error:.5f}"


def _summary(scores: Mapping[str, Mapping[str, LawScore]]) -> list[str]:
    """PredE and mean absolute final error of every law and split."""
    names = list(scores)
    lines = [f"| law | parameters | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for law in LAWS:
        row = [scores[name].get(law.name) for name in names]
        cells = [
            "-"
            if each is None
            else f"{each.mean['pred_e']:.5f} / {each.mean['abs_final_error']:.4f}"
            for each in row
        ]
        lines.append(f"| {law.name} | {len(law.parameters)} | {' | '.join(cells)} |")
    return lines


def _laws(scores: Mapping[str, Mapping[str, LawScore]]) -> list[str]:
    """The table of laws in README.md."""
    sets = ["25M", "100M", "124M 1e-3", "higher peak", "proxy_nano"]
    rows = [
        f"| law | loss | parameters | {' | '.join(f'PredE {name}' for name in sets)} |",
        "|---|---|---|" + "---|" * len(sets),
    ]
    for law in LAWS:
        cells = []
        for name in sets:
            each = scores[name].get(law.name)
            cells.append("-" if each is None else f"{each.mean['pred_e']:.5f}")
        formula = law.formula.replace("|", "\\|")
        rows.append(f"| `{law.name}` | {formula} | {len(law.parameters)} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Measure and write the tables."""
    scores: dict[str, Mapping[str, LawScore]] = {}
    details: list[str] = []
    for name, (title, folders, preset) in PROTOCOLS.items():
        missing = [folder.name for folder in folders if not folder.is_dir()]
        if missing:
            details += ["", f"## {title}", "", f"left out: no {', '.join(missing)} here"]
            continue
        runs = load_runs(*folders)
        start = time.perf_counter()
        result = compare(
            runs,
            LAWS,
            hold_out=preset.hold_out,
            fit_runs=preset.fit_runs(list(runs.values())),
            from_step=preset.from_step,
            starts=STARTS,
        )
        spent = time.perf_counter() - start
        scores[name] = result.laws
        details += ["", f"## {title}", "", f"{result.hold_out.description}; {spent:.0f} s."]
        if name in PUBLISHED:
            details[-1] += f" For comparison, {PUBLISHED[name]}."
        details += [f"Not fitted: {reason}" for reason in result.failed.values()]
        details += [
            "",
            "| law | parameters | PredE | WorstE | mean \\|final\\| | worst \\|final\\| | log "
            "error of the fit to all runs |",
            "|---|---|---|---|---|---|---|",
        ]
        for law, each in result.laws.items():
            details.append(f"| {law} | {each.n_params} | {_cells(each)} |")
        print(name, f"{spent:.0f} s", result.best, flush=True)
    lines = [
        "# Accuracy",
        "",
        f"`python -m benchmarks.accuracy` on {describe()}.",
        "",
        "Every law that the sets have the facts for, by one machinery: the same objective, the "
        f"shipped priors, {STARTS} starts, seed 0. Each split fits some runs and predicts all the "
        "others; points of the 124M sets from step 1,000. Errors of losses: PredE and WorstE "
        "relative, final errors at the last logged step in nats. `scaling-laws compare SETS "
        "--preset NAME` does one of them.",
        "",
        "PredE / mean absolute final error, of runs not fitted:",
        "",
        *_summary(scores),
        *details,
    ]
    write_text(HERE / "accuracy.md", "\n".join(lines) + "\n")
    if len(scores) == len(PROTOCOLS):
        fill(HERE.parent / "README.md", "laws", _laws(scores))
        fill(HERE.parent / "docs" / "norm_clock.md", "accuracy", _summary(scores))


if __name__ == "__main__":
    main()
