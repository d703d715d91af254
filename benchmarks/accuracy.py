"""Evaluate every law on the same splits: fit some runs, predict the others.

Writes `accuracy.md` and, if all sets are available, the tables in `README.md` and in
`docs/norm_clock.md`. The form and the priors of the laws were chosen on other splits (see
`docs/norm_clock.md`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe
from benchmarks.pages import fill
from scaling_laws import Run, load_runs
from scaling_laws.common.files import write_text
from scaling_laws.inference.comparison import (
    PRESETS,
    Comparison,
    LawScore,
    Preset,
    Repeats,
    compare,
)
from scaling_laws.models.laws import Law, across_sizes, schedule_laws

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
PEAKS = {"1e-4": "llama_124m_peak0.0001", "5e-4": "llama_124m_peak0.0005"}
PEAKS["1e-3"] = "llama_124m_peak0.001"
ALL_PEAKS = [SHARED / name for name in PEAKS.values()]
DATA = HERE.parent / "data"
LADDER = DATA / "ladder"
STARTS = 4


def _ours(description: str, fit: Sequence[str] | str) -> Preset:
    """A split of our proxy runs, which are short: points from step 400."""
    return Preset(description, "rest", fit if isinstance(fit, str) else tuple(fit), 400)


def _names(folder: str) -> list[str]:
    """Names of all runs of a set of the ladder."""
    return [path.stem for path in sorted((LADDER / folder).glob("*.csv"))]


def _beside(*folders: str) -> list[str]:
    """Names with the folder in front, for sets that share names."""
    return [f"{folder}/{name}" for folder in folders for name in _names(folder)]


def _of_decay(*decays: str) -> list[str]:
    return [name for name in _names("nano_decays") if name.endswith(decays)]


class Protocol(NamedTuple):
    """A split of some sets."""

    title: str
    folders: Sequence[Path]
    preset: Preset
    across: bool = False  # laws of one model size are extended to several


PUBLIC = {
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
}
SIZES = [LADDER / "pico", LADDER / "nano", LADDER / "micro"]
NANO_PEAKS = [LADDER / "nano", LADDER / "nano_peaks"]
NANO_DECAYS = [LADDER / "nano", LADDER / "nano_decays"]
OURS = {
    "proxy_nano": Protocol(
        "far below the best peak: three runs -> the rest",
        [DATA / "proxy_nano"],
        _ours("three runs", ("constant_4000", "cosine_4000", "drop_to_0.1_4000")),
    ),
    "micro": Protocol(
        "micro, at the best peak: three runs -> the rest",
        [LADDER / "micro"],
        _ours("three runs", ("constant_4000", "cosine_4000", "drop_to_0.1_2000")),
    ),
    "next size": Protocol(
        "sizes: pico and nano -> micro",
        SIZES,
        _ours("two sizes", _beside("pico", "nano")),
        True,
    ),
    "next size, one run": Protocol(
        "sizes: pico, nano and one constant run of micro -> the rest of micro",
        SIZES,
        _ours("two sizes and a run", [*_beside("pico", "nano"), "micro/constant_4000"]),
        True,
    ),
    "half peak": Protocol(
        "nano, peaks: 4e-3 and 8e-3 -> 2e-3", NANO_PEAKS, _ours("two peaks", "lowest")
    ),
    "double peak": Protocol(
        "nano, peaks: 2e-3 and 4e-3 -> 8e-3", NANO_PEAKS, _ours("two peaks", "highest")
    ),
    "other decays": Protocol(
        "nano, weight decay: 0.1 -> 0, 0.4 and 1.6", NANO_DECAYS, _ours("0.1", _names("nano"))
    ),
    "decay between": Protocol(
        "nano, weight decay: 0, 0.1 and 1.6 -> 0.4",
        NANO_DECAYS,
        _ours("0, 0.1, 1.6", [*_names("nano"), *_of_decay("_0.0", "_1.6")]),
    ),
}
PROTOCOLS = PUBLIC | OURS
# laws of schedules whose required facts these sets have; our runs also log the weight norm
LAWS = [law for law in schedule_laws() if not law.required_traces and not law.break_facts]
MEASURED = [law for law in schedule_laws() if law.required_traces == {"param_norm"}]
PUBLISHED = {
    "25M": "the public implementation of the Multi-Power Law: PredE .00110",
    "100M": "the public implementation of the Multi-Power Law: PredE .00142",
}


def _cells(score: LawScore) -> str:
    mean = score.mean
    cells = [f"{mean[key]:.5f}" for key in ("pred_e", "worst_e")]
    finals = f"{mean['abs_final_error']:.4f} | {score.worst_final_error:.4f}"
    return f"{' | '.join(cells)} | {finals} | {score.log_error:.5f}"


def _judged(protocol: Protocol) -> dict[str, Law]:
    """The laws that a split can evaluate, by the name of the law of one size."""
    if protocol.across:
        return {
            law.name: law if law.uses_model_params else across_sizes(law)
            for law in LAWS
            if not law.name.startswith("norm_clock_")
        }
    ours = protocol.folders[0].is_relative_to(DATA)
    return {law.name: law for law in ([*LAWS, *MEASURED] if ours else LAWS)}


def _summary(
    scores: Mapping[str, Mapping[str, LawScore]],
    repeats: Mapping[str, Repeats | None],
    order: Sequence[str],
) -> list[str]:
    """PredE and mean absolute final error of every law and split, and the floor by repeats."""
    names = [name for name in order if name in scores]
    lines = [f"| law | parameters | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for law in [*LAWS, *MEASURED]:
        row = [scores[name].get(law.name) for name in names]
        if not any(row):
            continue
        cells = [
            "-"
            if score is None
            else f"{score.mean['pred_e']:.5f} / {score.mean['abs_final_error']:.4f}"
            for score in row
        ]
        lines.append(f"| {law.name} | {len(law.parameters)} | {' | '.join(cells)} |")
    floors = [repeats[name] for name in names]
    if any(floors):
        cells = ["-" if score is None else f"{score.floor:.5f}" for score in floors]
        lines.append(f"| *the mean of repeated runs* | | {' | '.join(cells)} |")
    return lines


def _laws(scores: Mapping[str, Mapping[str, LawScore]]) -> list[str]:
    """The table of laws in README.md."""
    sets = ["25M", "100M", "124M 1e-3", "higher peak", "micro", "other decays"]
    rows = [
        f"| law | loss | parameters | {' | '.join(f'PredE {name}' for name in sets)} |",
        "|---|---|---|" + "---|" * len(sets),
    ]
    for law in LAWS:
        cells = []
        for name in sets:
            score = scores[name].get(law.name)
            cells.append("-" if score is None else f"{score.mean['pred_e']:.5f}")
        formula = law.formula.replace("|", "\\|")
        rows.append(f"| `{law.name}` | {formula} | {len(law.parameters)} | {' | '.join(cells)} |")
    return rows


def _runs(protocol: Protocol) -> tuple[dict[str, Run], list[str]]:
    """The runs of a split, and the names of those to fit."""
    runs = load_runs(*protocol.folders)
    return runs, protocol.preset.fit_runs(list(runs.values()))


def judge(name: str) -> tuple[Comparison, float]:
    """Scores of every law on a split, and the seconds."""
    protocol = PROTOCOLS[name]
    runs, fitted = _runs(protocol)
    start = time.perf_counter()
    result = compare(
        list(_judged(protocol).values()),
        runs,
        hold_out=protocol.preset.hold_out,
        fit_runs=fitted,
        from_step=protocol.preset.from_step,
        starts=STARTS,
    )
    return result, time.perf_counter() - start


def _details(name: str, result: Comparison, seconds: float) -> list[str]:
    """All scores of a split."""
    lines = [f"{result.hold_out.description}; {seconds:.0f} s."]
    if name in PUBLISHED:
        lines[-1] += f" For comparison, {PUBLISHED[name]}."
    if result.repeats is not None:
        lines[-1] += f" {result.repeats}"
    lines += [f"Not fitted: {reason}" for reason in result.failed.values()]
    lines += [
        "",
        "| law | parameters | PredE | WorstE | mean \\|final\\| | worst \\|final\\| | log "
        "error of the fit to all runs |",
        "|---|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {law} | {score.n_params} | {_cells(score)} |" for law, score in result.laws.items()
    ]


def main() -> None:
    """Measure and write the tables."""
    scores: dict[str, Mapping[str, LawScore]] = {}
    repeats: dict[str, Repeats | None] = {}
    details: list[str] = []
    missing = {
        name: [folder.name for folder in protocol.folders if not folder.is_dir()]
        for name, protocol in PROTOCOLS.items()
    }
    for name, absent in missing.items():
        if not absent:
            _runs(PROTOCOLS[name])  # an impossible split raises before the work
    # one process per split: compiled code is only freed when a process ends
    with ProcessPoolExecutor(2, get_context("spawn"), max_tasks_per_child=1) as pool:
        judged = {name: pool.submit(judge, name) for name, absent in missing.items() if not absent}
        for name, protocol in PROTOCOLS.items():
            details += ["", f"## {protocol.title}", ""]
            if missing[name]:
                details.append(f"left out: no {', '.join(missing[name])} here")
                continue
            result, seconds = judged[name].result()
            repeats[name] = result.repeats
            scores[name] = {
                base_name: result.laws[law.name]
                for base_name, law in _judged(protocol).items()
                if law.name in result.laws
            }
            details += _details(name, result, seconds)
            print(name, f"{seconds:.0f} s", result.best, flush=True)
    lines = [
        "# Accuracy",
        "",
        f"`python -m benchmarks.accuracy` on {describe()}.",
        "",
        "Every law whose required facts the sets have, fitted by the same procedure: one "
        f"objective, the shipped priors, {STARTS} starts, seed 0. Each split fits some runs and "
        "predicts all the others; points of the 124M sets from step 1,000. Errors of losses: "
        "PredE and WorstE relative, final errors at the last logged step in nats. "
        "`scaling-laws compare SETS --preset NAME` evaluates one of them.",
        "",
        "PredE / mean absolute final error on held-out runs. Last row: repeated runs differ where "
        "their schedules are the same; a law that predicted the mean of all repeats would still "
        "have this PredE there.",
        "",
        *_summary(scores, repeats, list(PUBLIC)),
        "",
        "Our proxy runs, points from step 400; between sizes, laws of one size are extended by "
        "power laws of it (`NAME_across_sizes`):",
        "",
        *_summary(scores, repeats, list(OURS)),
        *details,
    ]
    write_text(HERE / "accuracy.md", "\n".join(lines) + "\n")
    if len(scores) == len(PROTOCOLS):
        fill(HERE.parent / "README.md", "laws", _laws(scores))
        page = HERE.parent / "docs" / "norm_clock.md"
        fill(page, "accuracy", _summary(scores, repeats, list(PUBLIC)))
        fill(page, "accuracy-ours", _summary(scores, repeats, list(OURS)))


if __name__ == "__main__":
    main()
