"""Learn the prior of the norm clock from what fits of a few runs predict.

Prints the centres and spreads that the law ships, and held-out errors on other random splits
before and after. Needs the public curves beside the project.

A fit's optimum moves with the prior's centres μ and spreads s: with H the curvature of its
objective and P = strength/s² that of the prior,

    dθ/dμ = H^-1·P,    dθ/d(log s) = 2·H^-1·P·(θ - μ),

so that what it predicts of other runs has a derivative in all of them. Gauss-Newton steps go down
the sum over splits of log(mean square error + 3e-4²), and no further from where they began than
the data of some splits justify.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import PEAKS, SHARED
from benchmarks.coverage import kind_of
from scaling_laws import load_runs
from scaling_laws.data.runs import Run
from scaling_laws.inference import BLOCKS, MISFIT
from scaling_laws.inference.fitting.objective import HUBER_DELTA
from scaling_laws.inference.fitting.priors import Prior, prior_of
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.laws.norm_start import logged_start
from scaling_laws.models.numerics.discretisations.at_points import AtPoints
from scaling_laws.models.numerics.history import bucket
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.models.numerics.stacking import pad_points

Array = NDArray[np.float64]
Index = NDArray[np.int64]
ROOT = Path(__file__).resolve().parents[1]
SETS = {
    "25M": (SHARED / "mpl_25m", 0),
    "100M": (SHARED / "mpl_100m", 0),
    **{peak: (SHARED / name, 1000) for peak, name in PEAKS.items()},
    "proxy": (ROOT / "data" / "proxy_nano", 400),
    "pico": (ROOT / "data" / "ladder" / "pico", 400),
    "nano": (ROOT / "data" / "ladder" / "nano", 400),
    "micro": (ROOT / "data" / "ladder" / "micro", 400),
    "nano peaks": (ROOT / "data" / "ladder" / "nano_peaks", 400),
}
PUBLIC, OURS = ("25M", "100M", *PEAKS), ("proxy", "pico", "nano", "micro")
REPORTED = (  # triples of benchmarks/accuracy.md
    {"constant_24000", "cosine_24000", "wsdcon_9"},
    {"constant_50000", "cosine_to10_25000", "wsd_linear_0.2_25000"},
)
LAW = get_schedule_law("norm_clock")
NAMES = [each.name for each in LAW.nonlinear_parameters]
SIZE = len(NAMES)
POINTS = 110  # of a run
SMALLEST = 3e-4  # relative error that is as good as none
FINAL = 8.0 / 9.0  # weight of the final loss beside the mean of the curve
WEIGHTS = {"two": 0.5, "many": 0.5, **dict.fromkeys(OURS, 0.35), "ours": 0.35}
FREEDOM = (0.9, 0.7)  # by how much centres (spreads) and spreads (logarithm) may move, softly


class Split(NamedTuple):
    """Runs to fit and runs to predict."""

    group: str
    fitted: Index
    held: Index


class Stack(NamedTuple):
    """All runs, padded to one shape."""

    name: list[str]
    set: NDArray[np.str_]
    kind: NDArray[np.str_]
    peak: Array
    history: Any
    observed: Array  # (runs, points)
    counts: NDArray[np.bool_]  # (runs, points)
    scale: Array  # logged start of the norm over the prior's centre, (runs,)


def thinned(run: Run, from_step: int) -> Run:
    """At most `POINTS` of a run's points, the last twenty among them."""
    late = run.from_step(from_step)
    count = len(late.steps)
    some = np.linspace(0, count - 1, min(count, POINTS - 20)).round().astype(int)
    kept = np.unique(np.concatenate([some, np.arange(max(0, count - 20), count)]))
    return Run(run.name, run.schedule, late.steps[kept], late.loss[kept], run.facts)


def stack(prior: Prior) -> Stack:
    """Read the runs."""
    runs, sets, scales = [], [], []
    for name, (folder, from_step) in SETS.items():
        every = list(load_runs(folder).values())
        start = logged_start(every)
        scale = 1.0 if start is None else start / np.exp(prior.mean["initial_norm"])
        for run in every:
            if np.sum(run.steps >= from_step) >= 5:
                runs.append(thinned(run, from_step))
                sets.append(name)
                scales.append(scale)
    single = [LAW.history(AtPoints(run.steps), run.schedule.lr, facts=run.facts) for run in runs]
    points = max(len(run.steps) for run in runs)
    cells = max(history.grid.lr.shape[-1] for history in single)
    padded = [pad_points(history, points, bucket(cells)) for history in single]
    fill = [points - len(run.steps) for run in runs]
    return Stack(
        [run.name for run in runs],
        np.array(sets),
        np.array([kind_of(run.name) for run in runs]),
        np.array([run.schedule.peak_lr for run in runs]),
        jax.tree.map(lambda *rows: np.concatenate(rows), *padded),
        np.stack(
            [np.pad(run.loss, (0, n), mode="edge") for run, n in zip(runs, fill, strict=True)]
        ),
        np.stack([np.arange(points) < points - n for n in fill]),
        np.array(scales),
    )


@cache
def compiled() -> Any:
    """(free numbers and amplitudes, histories, observed, scales) -> errors, Jacobian, columns."""
    transforms = [each.transform for each in LAW.nonlinear_parameters]

    def columns(free: Any, history: Any, scale: Any) -> Any:
        values = {
            name: transform.forward(number, jnp)
            for name, transform, number in zip(NAMES, transforms, free, strict=True)
        }
        values["initial_norm"] = values["initial_norm"] * scale
        return LAW.design_matrix(values, history)

    def errors(both: Any, history: Any, observed: Any, scale: Any) -> Any:
        every = jax.vmap(columns, in_axes=(None, 0, 0))(both[:SIZE], history, scale)
        return (every @ both[SIZE:]) / observed - 1.0, every / observed[..., None]

    def everything(both: Any, *run: Any) -> Any:
        slope = jax.jacfwd(lambda free: errors(jnp.concatenate([free, both[SIZE:]]), *run)[0])
        found, by_amplitude = errors(both, *run)
        return found, jnp.concatenate([slope(both[:SIZE]), by_amplitude], axis=-1)

    return jax.jit(everything)


def seen(runs: Stack, chosen: Index, both: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Relative errors (runs, points), their Jacobian, and which count."""
    size = 3
    while size < len(chosen):  # few sizes, few compilations
        size *= 2
    rows = np.concatenate([chosen, np.repeat(chosen[-1:], size - len(chosen))])
    history = jax.tree.map(lambda row: row[rows], runs.history)
    found = compiled()(both, history, runs.observed[rows], runs.scale[rows])
    error, slope = (np.asarray(each)[: len(chosen)] for each in found)
    return error, slope, runs.counts[chosen]


def strength(runs: Stack, chosen: Index, most: float) -> float:
    """That of the prior; as `Settings.strength`."""
    points = float(runs.counts[chosen].sum())
    return float(MISFIT**2 * max(1.0, points / (BLOCKS * min(len(chosen), most))))


def fit_split(
    runs: Stack, chosen: Index, centre: Array, pull: Array, start: Array | None
) -> tuple[Array, Array]:
    """Levenberg-Marquardt: free numbers with amplitudes, and the curvature at the optimum."""
    aim, weight = np.append(centre, np.zeros(3)), np.append(pull, np.zeros(3))
    if start is None:
        _, slope, counts = seen(runs, chosen, np.append(centre, np.ones(3)))
        terms = slope[counts][:, SIZE:]
        start = np.append(centre, np.linalg.lstsq(terms, np.ones(len(terms)), rcond=None)[0])

    def look(both: Array) -> tuple[float, Array, Array]:
        error, slope, counts = seen(runs, chosen, both)
        rest, rows = error[counts], slope[counts]
        if not np.isfinite(rest).all():
            return np.inf, np.zeros_like(aim), np.zeros((len(aim), len(aim)))
        size = np.abs(rest)
        inside = np.minimum(size, HUBER_DELTA)
        cost = np.sum(inside * (size - 0.5 * inside)) + 0.5 * np.sum(weight * (both - aim) ** 2)
        robust = np.minimum(1.0, HUBER_DELTA / np.maximum(size, 1e-15))
        gradient = rows.T @ (robust * rest) + weight * (both - aim)
        return float(cost), gradient, rows.T @ (rows * robust[:, None]) + np.diag(weight)

    both, damping = start, 1e-3
    cost, gradient, curvature = look(both)
    for _ in range(60):
        step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
        trial = both + step * min(1.0, 1.0 / np.abs(step[:SIZE]).max())
        found = look(trial)
        if found[0] < cost:
            done = cost - found[0] < 1e-7 * cost
            both, (cost, gradient, curvature), damping = trial, found, 0.2 * damping
            if done:
                break
        elif damping > 1e6:
            break
        else:
            damping = max(5.0 * damping, 1e-6)
    return both, curvature


def random_splits(runs: Stack, seed: int) -> list[Split]:
    """Of public sets and of ours: within a peak, over two peaks, to a third."""
    random, found = np.random.default_rng(seed), []

    def of(name: str) -> Index:
        return np.flatnonzero(runs.set == name)

    def one(pool: Index, kind: str) -> int:
        return int(random.choice(pool[runs.kind[pool] == kind]))

    for name, count in [*[(each, 6) for each in PUBLIC], *[(each, 5) for each in OURS]]:
        pool = of(name)
        while count:
            triple = np.array([one(pool, kind) for kind in ("constant", "cosine", "decay")])
            if {runs.name[each] for each in triple} not in REPORTED:
                found.append(Split(name, triple, np.setdiff1d(pool, triple)))
                count -= 1
    for turn in range(12):
        unseen = list(PEAKS)[turn % 3]
        first, second = random.permutation([each for each in PEAKS if each != unseen])
        last = "cosine" if turn % 4 < 2 else "decay"
        triple = [one(of(first), "constant"), one(of(first), "decay"), one(of(second), last)]
        pool = np.concatenate([of(first), of(second)])
        found.append(Split("two", np.array(triple), np.setdiff1d(pool, triple)))
        found.append(Split(f"to {unseen}", np.array(triple), of(unseen)))
        if turn % 4 == 0:
            several = random.choice(pool, 16 + 8 * (turn // 4), replace=False)
            found.append(Split("many", several, np.setdiff1d(pool, several)))
            found.append(Split(f"many to {unseen}", several, of(unseen)))
    peaks = of("nano peaks")
    ladder = [peaks[runs.peak[peaks] < 3e-3], of("nano"), peaks[runs.peak[peaks] > 5e-3]]
    for turn in range(6):
        unseen_peak = ladder[turn % 3]
        first, second = (each for each in ladder if each is not unseen_peak)
        triple = [one(first, "constant"), one(first, "decay"), one(second, "cosine")]
        found.append(Split("ours", np.array(triple), unseen_peak))
    return found


def shares(split: Split, counts: NDArray[np.bool_]) -> Array:
    """How much each held-out point counts: (runs, points)."""
    table = counts / counts.sum(axis=1, keepdims=True)
    last = counts.sum(axis=1) - 1
    table[np.arange(len(last)), last] += FINAL
    return np.asarray(table / len(split.held))


class Pass(NamedTuple):
    """All splits under one prior: the objective, its gradient and curvature, and the fits."""

    value: float
    gradient: Array
    curvature: Array
    fits: list[Array | None]


def judge(
    runs: Stack, splits: Sequence[Split], numbers: Array, most: float, fits: Sequence[Array | None]
) -> Pass:
    """Fit every split and predict what it holds out."""
    centre, spread = numbers[:SIZE], np.exp(numbers[SIZE:])
    value, gradient, curvature = 0.0, np.zeros(2 * SIZE), np.zeros((2 * SIZE, 2 * SIZE))
    found: list[Array | None] = []
    for split, start in zip(splits, fits, strict=True):
        pull = strength(runs, split.fitted, most) / spread**2
        both, bend = fit_split(runs, split.fitted, centre, pull, start)
        found.append(both)
        error, slope, counts = seen(runs, split.held, both)
        share, weight = shares(split, counts), WEIGHTS.get(split.group, 1.0)
        square = float(np.sum(share * np.clip(error, -0.02, 0.02) ** 2)) + SMALLEST**2
        value += weight * np.log(square)
        moves = np.linalg.inv(bend)[:, :SIZE] * pull
        moves = np.concatenate([moves, 2.0 * moves * (both[:SIZE] - centre)], axis=1)
        rows = slope[counts] @ moves
        each = 2.0 * weight / square * share[counts]
        gradient += rows.T @ (each * error[counts])
        curvature += rows.T @ (rows * each[:, None])
    return Pass(value, gradient, curvature, found)


def learn(runs: Stack, splits: Sequence[Split], prior: Prior, rounds: int = 10) -> Prior:
    """The prior that predicts best, near the one given."""
    before = np.array(
        [*[prior.mean[name] for name in NAMES], *[np.log(prior.sd[name]) for name in NAMES]]
    )
    room = np.append(FREEDOM[0] * np.exp(before[SIZE:]), np.full(SIZE, FREEDOM[1])) ** -2.0

    def regular(numbers: Array, fits: Sequence[Array | None]) -> Pass:
        found, away = judge(runs, splits, numbers, prior.most_runs, fits), numbers - before
        return Pass(
            found.value + 0.5 * float(np.sum(room * away**2)),
            found.gradient + room * away,
            found.curvature + np.diag(room),
            found.fits,
        )

    numbers, now = before, regular(before, [None] * len(splits))
    damping = 1e-2
    for turn in range(rounds):
        bent = now.curvature + damping * np.diag(np.diag(now.curvature))
        trial = numbers + np.clip(-np.linalg.solve(bent, now.gradient), -0.7, 0.7)
        found = regular(trial, now.fits)
        print(f"round {turn}: {found.value:.3f}, before {now.value:.3f}", flush=True)
        if found.value >= now.value:
            damping *= 6.0
            continue
        done = now.value - found.value < 0.03
        numbers, now, damping = trial, found, 0.3 * damping
        if done:
            break
    centre = dict(zip(NAMES, numbers[:SIZE].tolist(), strict=True))
    spread = dict(zip(NAMES, np.exp(numbers[SIZE:]).tolist(), strict=True))
    return Prior(centre, spread, prior.source, prior.most_runs)


def report(runs: Stack, splits: Sequence[Split], prior: Prior, title: str) -> None:
    """Geometric means over the splits of a group: mean relative error, final error in nats."""
    centre = np.array([prior.mean[name] for name in NAMES])
    spread = np.array([prior.sd[name] for name in NAMES])
    groups: dict[str, list[tuple[float, float]]] = {}
    for split in splits:
        pull = strength(runs, split.fitted, prior.most_runs) / spread**2
        both, _ = fit_split(runs, split.fitted, centre, pull, None)
        error, _, counts = seen(runs, split.held, both)
        last = counts.sum(axis=1) - 1
        rows = np.arange(len(last))
        curve = np.mean(np.sum(np.abs(error) * counts, axis=1) / counts.sum(axis=1))
        final = np.mean(np.abs(error * runs.observed[split.held])[rows, last])
        groups.setdefault(split.group, []).append((float(curve), float(final)))
    shown = {name: np.exp(np.mean(np.log(rows), axis=0)) for name, rows in groups.items()}
    print(title, "; ".join(f"{name} {a:.5f}/{b:.4f}" for name, (a, b) in shown.items()), flush=True)


@in_float64
def main() -> None:
    """Learn, and judge on splits drawn anew."""
    prior = prior_of(LAW, "weak")
    assert prior is not None
    runs = stack(prior)
    splits = [*random_splits(runs, 0), *random_splits(runs, 1)]
    other = random_splits(runs, 2)
    report(runs, other, prior, "shipped:")
    learnt = learn(runs, splits, prior)
    report(runs, other, learnt, "learnt: ")
    print("centre", {name: round(value, 3) for name, value in learnt.mean.items()})
    print("spread", {name: round(value, 3) for name, value in learnt.sd.items()})


if __name__ == "__main__":
    main()
