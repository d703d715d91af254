"""Learn the prior of the norm clock from the predictions of fits to a few runs.

Prints the means and sds that the law ships, and held-out errors on other random splits before and
after. Needs the public curves next to the project.

The optimum of a fit depends on the prior's means μ and sds s: with H the Hessian of its objective
and P = strength/s² that of the prior,

    dθ/dμ = H^-1·P,    dθ/d(log s) = 2·H^-1·P·(θ - μ),

so that its predictions of other runs are differentiable in all of them. Gauss-Newton steps minimise
the sum over splits of log(mean square error + 3e-4²), with a penalty on the distance from the
initial prior.
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
from benchmarks.coverage import schedule_type
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
NAMES = [parameter.name for parameter in LAW.nonlinear_parameters]
SIZE = len(NAMES)
POINTS = 110  # per run
SMALLEST = 3e-4  # relative error that is negligible
FINAL = 8.0 / 9.0  # weight of the final loss beside the mean of the curve
WEIGHTS = {"two": 0.5, "many": 0.5, **dict.fromkeys(OURS, 0.35), "ours": 0.35}
SOFT_LIMITS = (0.9, 0.7)  # soft limits of the changes of means (in sds) and of log sds


class Split(NamedTuple):
    """Runs to fit and runs to predict."""

    group: str
    fitted: Index
    held_out: Index


class Stack(NamedTuple):
    """All runs, padded to one shape."""

    name: list[str]
    set: NDArray[np.str_]
    schedule_type: NDArray[np.str_]
    peak: Array
    history: Any
    observed: Array  # (runs, points)
    counts: NDArray[np.bool_]  # (runs, points)
    scale: Array  # logged initial norm over the prior mean, (runs,)


def thinned(run: Run, from_step: int) -> Run:
    """At most `POINTS` points of a run, including the last twenty."""
    late = run.from_step(from_step)
    count = len(late.steps)
    coarse = np.linspace(0, count - 1, min(count, POINTS - 20)).round().astype(int)
    chosen = np.unique(np.concatenate([coarse, np.arange(max(0, count - 20), count)]))
    return Run(run.name, run.schedule, late.steps[chosen], late.loss[chosen], run.facts)


def stack(prior: Prior) -> Stack:
    """Read the runs."""
    runs, sets, scales = [], [], []
    for name, (folder, from_step) in SETS.items():
        run_list = list(load_runs(folder).values())
        start = logged_start(run_list)
        scale = 1.0 if start is None else start / np.exp(prior.mean["initial_norm"])
        for run in run_list:
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
        np.array([schedule_type(run.name) for run in runs]),
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
    """(unconstrained and linear parameters, histories, observed, scales) -> errors, Jacobian."""
    transforms = [parameter.transform for parameter in LAW.nonlinear_parameters]

    def columns(unconstrained: Any, history: Any, scale: Any) -> Any:
        values = {
            name: transform.forward(number, jnp)
            for name, transform, number in zip(NAMES, transforms, unconstrained, strict=True)
        }
        values["initial_norm"] = values["initial_norm"] * scale
        return LAW.design_matrix(values, history)

    def errors(parameters: Any, history: Any, observed: Any, scale: Any) -> Any:
        all_columns = jax.vmap(columns, in_axes=(None, 0, 0))(parameters[:SIZE], history, scale)
        return (all_columns @ parameters[SIZE:]) / observed - 1.0, all_columns / observed[..., None]

    def errors_and_jacobian(parameters: Any, *run: Any) -> Any:
        def errors_of(unconstrained: Any) -> Any:
            return errors(jnp.concatenate([unconstrained, parameters[SIZE:]]), *run)[0]

        relative_errors, by_amplitude = errors(parameters, *run)
        by_nonlinear = jax.jacfwd(errors_of)(parameters[:SIZE])
        return relative_errors, jnp.concatenate([by_nonlinear, by_amplitude], axis=-1)

    return jax.jit(errors_and_jacobian)


def predict_errors(
    runs: Stack, chosen: Index, parameters: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Relative errors (runs, points), their Jacobian, and a mask of padding."""
    padded_size = 3
    while padded_size < len(chosen):  # few sizes, few compilations
        padded_size *= 2
    rows = np.concatenate([chosen, np.repeat(chosen[-1:], padded_size - len(chosen))])
    history = jax.tree.map(lambda row: row[rows], runs.history)
    results = compiled()(parameters, history, runs.observed[rows], runs.scale[rows])
    error, jacobian = (np.asarray(part)[: len(chosen)] for part in results)
    return error, jacobian, runs.counts[chosen]


def strength(runs: Stack, chosen: Index, most: float) -> float:
    """Strength of the prior, as in `Settings.strength`."""
    points = float(runs.counts[chosen].sum())
    return float(MISFIT**2 * max(1.0, points / (BLOCKS * min(len(chosen), most))))


def fit_split(
    runs: Stack, chosen: Index, mean: Array, precision: Array, start: Array | None
) -> tuple[Array, Array]:
    """Levenberg-Marquardt: unconstrained and linear parameters, and the Hessian at the optimum."""
    full_mean, full_precision = np.append(mean, np.zeros(3)), np.append(precision, np.zeros(3))
    if start is None:
        _, jacobian, counts = predict_errors(runs, chosen, np.append(mean, np.ones(3)))
        terms = jacobian[counts][:, SIZE:]
        start = np.append(mean, np.linalg.lstsq(terms, np.ones(len(terms)), rcond=None)[0])

    def evaluate(parameters: Array) -> tuple[float, Array, Array]:
        error, jacobian, counts = predict_errors(runs, chosen, parameters)
        residuals, jacobian_rows = error[counts], jacobian[counts]
        if not np.isfinite(residuals).all():
            return np.inf, np.zeros_like(full_mean), np.zeros((len(full_mean), len(full_mean)))
        magnitude = np.abs(residuals)
        inside = np.minimum(magnitude, HUBER_DELTA)
        offset = parameters - full_mean
        prior_cost = 0.5 * np.sum(full_precision * offset**2)
        cost = np.sum(inside * (magnitude - 0.5 * inside)) + prior_cost
        robust = np.minimum(1.0, HUBER_DELTA / np.maximum(magnitude, 1e-15))
        gradient = jacobian_rows.T @ (robust * residuals) + full_precision * offset
        hessian = jacobian_rows.T @ (jacobian_rows * robust[:, None]) + np.diag(full_precision)
        return float(cost), gradient, hessian

    parameters, damping = start, 1e-3
    cost, gradient, hessian = evaluate(parameters)
    for _ in range(60):
        step = -np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
        trial_parameters = parameters + step * min(1.0, 1.0 / np.abs(step[:SIZE]).max())
        trial_result = evaluate(trial_parameters)
        if trial_result[0] < cost:
            done = cost - trial_result[0] < 1e-7 * cost
            parameters, (cost, gradient, hessian), damping = (
                trial_parameters,
                trial_result,
                0.2 * damping,
            )
            if done:
                break
        elif damping > 1e6:
            break
        else:
            damping = max(5.0 * damping, 1e-6)
    return parameters, hessian


def random_splits(runs: Stack, seed: int) -> list[Split]:
    """Splits of the public sets and of ours: within a peak, over two peaks, to a third one."""
    random, splits = np.random.default_rng(seed), []

    def runs_of_set(name: str) -> Index:
        return np.flatnonzero(runs.set == name)

    def draw(pool: Index, type_: str) -> int:
        return int(random.choice(pool[runs.schedule_type[pool] == type_]))

    for name, count in [*[(item, 6) for item in PUBLIC], *[(item, 5) for item in OURS]]:
        pool = runs_of_set(name)
        while count:
            triple = np.array([draw(pool, type_) for type_ in ("constant", "cosine", "decay")])
            if {runs.name[item] for item in triple} not in REPORTED:
                splits.append(Split(name, triple, np.setdiff1d(pool, triple)))
                count -= 1
    for round_ in range(12):
        unseen = list(PEAKS)[round_ % 3]
        first_peak, second_peak = random.permutation([item for item in PEAKS if item != unseen])
        last = "cosine" if round_ % 4 < 2 else "decay"
        chosen = [
            draw(runs_of_set(first_peak), "constant"),
            draw(runs_of_set(first_peak), "decay"),
            draw(runs_of_set(second_peak), last),
        ]
        pool = np.concatenate([runs_of_set(first_peak), runs_of_set(second_peak)])
        splits.append(Split("two", np.array(chosen), np.setdiff1d(pool, chosen)))
        splits.append(Split(f"to {unseen}", np.array(chosen), runs_of_set(unseen)))
        if round_ % 4 == 0:
            several = random.choice(pool, 16 + 8 * (round_ // 4), replace=False)
            splits.append(Split("many", several, np.setdiff1d(pool, several)))
            splits.append(Split(f"many to {unseen}", several, runs_of_set(unseen)))
    peaks = runs_of_set("nano peaks")
    ladder = [peaks[runs.peak[peaks] < 3e-3], runs_of_set("nano"), peaks[runs.peak[peaks] > 5e-3]]
    for round_ in range(6):
        unseen_peak = ladder[round_ % 3]
        first_peak, second_peak = (item for item in ladder if item is not unseen_peak)
        chosen = [
            draw(first_peak, "constant"),
            draw(first_peak, "decay"),
            draw(second_peak, "cosine"),
        ]
        splits.append(Split("ours", np.array(chosen), unseen_peak))
    return splits


def shares(split: Split, counts: NDArray[np.bool_]) -> Array:
    """Weights of the held-out points: (runs, points)."""
    table = counts / counts.sum(axis=1, keepdims=True)
    last = counts.sum(axis=1) - 1
    table[np.arange(len(last)), last] += FINAL
    return np.asarray(table / len(split.held_out))


class Pass(NamedTuple):
    """All splits under one prior: the objective, its gradient and Hessian, and the fits."""

    value: float
    gradient: Array
    hessian: Array
    fits: list[Array | None]


def judge(
    runs: Stack, splits: Sequence[Split], numbers: Array, most: float, fits: Sequence[Array | None]
) -> Pass:
    """Fit every split and predict its held-out runs."""
    mean, sd = numbers[:SIZE], np.exp(numbers[SIZE:])
    value, gradient, hessian = 0.0, np.zeros(2 * SIZE), np.zeros((2 * SIZE, 2 * SIZE))
    fits_now: list[Array | None] = []
    for split, start in zip(splits, fits, strict=True):
        precision = strength(runs, split.fitted, most) / sd**2
        parameters, fit_hessian = fit_split(runs, split.fitted, mean, precision, start)
        fits_now.append(parameters)
        error, jacobian, counts = predict_errors(runs, split.held_out, parameters)
        point_share, weight = shares(split, counts), WEIGHTS.get(split.group, 1.0)
        mean_square = float(np.sum(point_share * np.clip(error, -0.02, 0.02) ** 2)) + SMALLEST**2
        value += weight * np.log(mean_square)
        by_mean = np.linalg.inv(fit_hessian)[:, :SIZE] * precision
        by_log_sd = 2.0 * by_mean * (parameters[:SIZE] - mean)
        rows = jacobian[counts] @ np.concatenate([by_mean, by_log_sd], axis=1)
        point_weight = 2.0 * weight / mean_square * point_share[counts]
        gradient += rows.T @ (point_weight * error[counts])
        hessian += rows.T @ (rows * point_weight[:, None])
    return Pass(value, gradient, hessian, fits_now)


def learn(runs: Stack, splits: Sequence[Split], prior: Prior, rounds: int = 10) -> Prior:
    """The prior near an initial one that predicts best."""
    initial = np.array(
        [*[prior.mean[name] for name in NAMES], *[np.log(prior.sd[name]) for name in NAMES]]
    )
    precision = (
        np.append(SOFT_LIMITS[0] * np.exp(initial[SIZE:]), np.full(SIZE, SOFT_LIMITS[1])) ** -2.0
    )

    def regular(numbers: Array, fits: Sequence[Array | None]) -> Pass:
        judged, offset = judge(runs, splits, numbers, prior.most_runs, fits), numbers - initial
        return Pass(
            judged.value + 0.5 * float(np.sum(precision * offset**2)),
            judged.gradient + precision * offset,
            judged.hessian + np.diag(precision),
            judged.fits,
        )

    numbers, current = initial, regular(initial, [None] * len(splits))
    damping = 1e-2
    for round_ in range(rounds):
        damped = current.hessian + damping * np.diag(np.diag(current.hessian))
        trial = numbers + np.clip(-np.linalg.solve(damped, current.gradient), -0.7, 0.7)
        judged = regular(trial, current.fits)
        print(f"round {round_}: {judged.value:.3f}, before {current.value:.3f}", flush=True)
        if judged.value >= current.value:
            damping *= 6.0
            continue
        converged = current.value - judged.value < 0.03
        numbers, current, damping = trial, judged, 0.3 * damping
        if converged:
            break
    mean = dict(zip(NAMES, numbers[:SIZE].tolist(), strict=True))
    sd = dict(zip(NAMES, np.exp(numbers[SIZE:]).tolist(), strict=True))
    return Prior(mean, sd, prior.source, prior.most_runs)


def report(runs: Stack, splits: Sequence[Split], prior: Prior, title: str) -> None:
    """Geometric means over the splits of a group: mean relative error, final error in nats."""
    mean = np.array([prior.mean[name] for name in NAMES])
    sd = np.array([prior.sd[name] for name in NAMES])
    groups: dict[str, list[tuple[float, float]]] = {}
    for split in splits:
        precision = strength(runs, split.fitted, prior.most_runs) / sd**2
        parameters, _ = fit_split(runs, split.fitted, mean, precision, None)
        error, _, counts = predict_errors(runs, split.held_out, parameters)
        last = counts.sum(axis=1) - 1
        rows = np.arange(len(last))
        curve = np.mean(np.sum(np.abs(error) * counts, axis=1) / counts.sum(axis=1))
        final = np.mean(np.abs(error * runs.observed[split.held_out])[rows, last])
        groups.setdefault(split.group, []).append((float(curve), float(final)))
    means = {name: np.exp(np.mean(np.log(rows), axis=0)) for name, rows in groups.items()}
    print(title, "; ".join(f"{name} {a:.5f}/{b:.4f}" for name, (a, b) in means.items()), flush=True)


@in_float64
def main() -> None:
    """Learn a prior, and evaluate it on new random splits."""
    prior = prior_of(LAW, "weak")
    assert prior is not None
    runs = stack(prior)
    splits = [*random_splits(runs, 0), *random_splits(runs, 1)]
    test_splits = random_splits(runs, 2)
    report(runs, test_splits, prior, "shipped:")
    learnt = learn(runs, splits, prior)
    report(runs, test_splits, learnt, "learnt: ")
    print("mean", {name: round(value, 3) for name, value in learnt.mean.items()})
    print("sd", {name: round(value, 3) for name, value in learnt.sd.items()})


if __name__ == "__main__":
    main()
