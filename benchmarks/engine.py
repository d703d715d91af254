"""The engine against the dense sum over all changes, in one run; writes `engine.md`.

python -m benchmarks.engine
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import machine
from benchmarks.machine import describe
from scaling_laws import final_losses
from scaling_laws.common.files import write_text
from scaling_laws.inference.results import CurveFit
from scaling_laws.inference.results.prediction import compiled_loss
from scaling_laws.models.laws.multi_power import MULTI_POWER
from scaling_laws.models.numerics.discretisations.every_step import EVERY_STEP
from scaling_laws.models.numerics.discretisations.final import FINAL
from scaling_laws.models.schedules import FAMILIES, schedule

HERE = Path(__file__).resolve().parent
PARAMS = dict(MULTI_POWER.published["25M"])
COSINE = "cosine:peak=3e-4,end=3e-5,steps={steps},warmup=2160"
LENGTHS = (24_000, 100_000, 200_000, 400_000, 1_000_000, 2_000_000, 4_000_000)
EXPONENTS = [(beta, gamma) for beta in (0.02, 0.3, 0.58, 1.5, 3.0) for gamma in (0.0, 0.64, 2.0)]
# one schedule per family, with the lowest LR that the family allows
SPECS = {
    "constant": "constant:peak=3e-4,steps=1500,warmup=100",
    "cosine": "cosine:peak=3e-4,steps=1500,warmup=100",
    "linear": "linear:peak=3e-4,steps=1500,warmup=100",
    "wsd": "wsd:peak=3e-4,steps=1500,warmup=100,decay=1-sqrt,decay_fraction=0.2",
    "multistage": "multistage:peak=3e-4,at=700/1100,to=0/1e-4,steps=1500,warmup=100",
    "cosine_restarts": "cosine_restarts:peak=3e-4,steps=1500,warmup=100,cycle=350",
    "cyclic": "cyclic:peak=3e-4,steps=1500,warmup=100,period=400",
    "eight_one_one": "eight_one_one:peak=3e-4,steps=1500,warmup=100",
    "exponential": "exponential:peak=3e-4,end=1e-9,steps=1500,warmup=100",
    "infinite": "infinite:peak=3e-4,end=1e-9,constant_lr=1e-4,cooldown=400,anneal_start=1200,"
    "steps=1500,warmup=100",
    "inverse_linear": "inverse_linear:peak=3e-4,end=1e-9,steps=1500,warmup=100",
    "inverse_sqrt": "inverse_sqrt:peak=3e-4,steps=1500,warmup=100",
    "lowered_linear": "lowered_linear:peak=3e-4,steps=1500,warmup=100,decay_fraction=0.3",
    "one_cycle": "one_cycle:peak=3e-4,steps=1500",
    "power_cool": "power_cool:peak=3e-4,steps=1500,warmup=100,decay_fraction=0.5",
    "power": "power:peak=3e-4,steps=1500,warmup=100,power=2",
    "power_scheduler": "power_scheduler:peak=3e-4,steps=1500,warmup=100,tokens_per_step=4e6,"
    "batch_size=1,amplitude=1e6,decay_fraction=0.3,end=1e-9",
    "rex": "rex:peak=3e-4,steps=1500,warmup=100",
    "uba": "uba:peak=3e-4,steps=1500,warmup=100,phi=4",
    "wsd_s": "wsd_s:peak=3e-4,end=1e-9,steps=1500,warmup=100,decay_ends=500/1000/1500",
    "wsm": "wsm:peak=3e-4,steps=1500,warmup=100,weights=1/1/1/1,every=100",
}


def dense(lr: np.ndarray, steps: np.ndarray, params: dict[str, float] = PARAMS) -> np.ndarray:
    """The law at chosen steps by the sum over every change, in NumPy."""
    clock, change = np.cumsum(lr), np.concatenate([[0.0], lr[:-1] - lr[1:]])
    speed = params["C"] * np.maximum(lr, 1e-6 * lr.max()) ** -params["gamma"]
    before = clock - lr
    power = np.maximum(clock, 1e-9 * lr.max()) ** -params["alpha"]
    losses = []
    for step in steps:
        kernel = (
            1.0 - (1.0 + speed[: step + 1] * (clock[step] - before[: step + 1])) ** -params["beta"]
        )
        drop = np.dot(change[: step + 1], kernel)
        losses.append(params["L0"] + params["A"] * power[step] - params["B"] * drop)
    return np.array(losses)


def best_of(function: Callable[[], Any], repeats: int = 5) -> float:
    """Shortest wall time of a few calls, after one to warm up."""
    jax.block_until_ready(function())  # type: ignore[no-untyped-call]
    return machine.best_of(lambda: jax.block_until_ready(function()), repeats)  # type: ignore[no-untyped-call]


def lengths() -> list[str]:
    """Every step of a cosine, and the gradient of its final loss, at growing lengths."""
    lines = [
        "## Every step of a cosine to a tenth",
        "",
        "Warm, best of 5; the dense sum is measured at 240 steps and scaled by its number of "
        "terms. The gradient is that of the final loss in every LR.",
        "",
        "| steps | every step, s | dense NumPy, s | ratio | largest error, nats | final loss, s "
        "| its gradient, s | gradient / loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    losses_of = compiled_loss(MULTI_POWER)
    final = jax.jit(lambda lr: MULTI_POWER.loss(PARAMS, MULTI_POWER.history(FINAL, lr))[0])
    gradient = jax.jit(
        jax.grad(lambda lr: MULTI_POWER.loss(PARAMS, MULTI_POWER.history(FINAL, lr))[0])
    )
    seconds = {}
    for steps in LENGTHS:
        lr = schedule(COSINE.format(steps=steps)).lr
        history = jax.tree.map(jnp.asarray, MULTI_POWER.history(EVERY_STEP, lr))
        seconds[steps] = best_of(partial(losses_of, PARAMS, history))
        losses = np.asarray(losses_of(PARAMS, history))
        sample = np.unique(np.linspace(2160, steps - 1, 240).astype(int))
        start = time.perf_counter()
        expected = dense(lr, sample)
        # a step of the dense sum costs in proportion to its index: extrapolate from the sample
        scale = steps * (steps + 1) / 2 / float(np.sum(sample + 1.0))
        dense_seconds = (time.perf_counter() - start) * scale
        error = float(np.abs(losses[sample] - expected).max())
        rates = jnp.asarray(lr)
        loss_seconds, gradient_seconds = (
            best_of(partial(final, rates), 20),
            best_of(partial(gradient, rates), 20),
        )
        lines.append(
            f"| {steps:,} | {seconds[steps]:.4f} | {dense_seconds:.3g} "
            f"| {dense_seconds / seconds[steps]:.0f} | {error:.1e} | {loss_seconds:.5f} "
            f"| {gradient_seconds:.5f} | {gradient_seconds / loss_seconds:.1f} |"
        )
        print(lines[-1], flush=True)
    ratios = [
        f"{2 * steps:,}: {seconds[2 * steps] / seconds[steps]:.2f}"
        for steps in LENGTHS
        if 2 * steps in seconds
    ]
    used = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", "memory"],
        capture_output=True,
        text=True,
        check=True,
        cwd=HERE.parent,
    ).stdout.strip()
    lines += [
        "",
        f"Cost at twice the steps over cost at the steps, {'; '.join(ratios)}. Peak memory of a "
        f"process that predicts every step of 1,000,000: {used}.",
        "",
    ]
    return lines


def memory() -> None:
    """Print this process' peak memory after every step of a 1,000,000-step cosine."""
    plan = schedule(COSINE.format(steps=1_000_000))
    CurveFit.published("multi_power", "25M").predict(plan)
    # getrusage would include the parent process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"{int(peak) / 1024:.0f} MB, the schedule, Python and its libraries included")


def accuracy() -> list[str]:
    """Error against the dense sum over exponents, for a member of every family."""
    lines = [
        "## Error against the dense sum",
        "",
        f"Largest over beta in {sorted({b for b, _ in EXPONENTS})} and gamma in "
        f"{sorted({g for _, g in EXPONENTS})}, every step, 1,500 steps; B and C as published.",
        "",
        "| family | lowest LR after the peak, share of it | float64, nats | float32, nats |",
        "|---|---|---|---|",
    ]
    losses_of = compiled_loss(MULTI_POWER)
    missing = {family.name for family in FAMILIES.values()} - set(SPECS) - {"csv", "refined"}
    assert not missing, f"no schedule for {missing}"  # csv and refined need files
    worst, worst_single = 0.0, 0.0
    for name, spec in SPECS.items():
        lr = schedule(spec).lr
        double = single = 0.0
        for beta, gamma in EXPONENTS:
            params = {**PARAMS, "beta": beta, "gamma": gamma}
            params["C"] = PARAMS["C"] * 3e-4 ** (gamma - PARAMS["gamma"])  # as fast at the peak
            history = MULTI_POWER.history(EVERY_STEP, lr)
            exact = dense(lr, np.arange(1, len(lr)), params)
            losses = np.asarray(losses_of(params, history))[1 : len(lr)]
            double = max(double, float(np.abs(losses - exact).max()))
            params_single = {key: np.float32(value) for key, value in params.items()}
            losses = np.asarray(losses_of(params_single, jax.tree.map(np.float32, history)))[
                1 : len(lr)
            ]
            late = slice(100, None)  # the power law itself is 1e4 nats at the first steps
            single = max(single, float(np.abs(losses[late] - exact[late]).max()))
        low = lr[int(lr.argmax()) :].min() / lr.max()
        lines.append(f"| {name} | {low:.2g} | {double:.1e} | {single:.1e} |")
        worst, worst_single = max(worst, double), max(worst_single, single)
        print(lines[-1], flush=True)
    lines += ["", f"Worst of all: {worst:.1e} (float64), {worst_single:.1e} (float32).", ""]
    return lines


def throughput() -> list[str]:
    """Final losses of 1,000 schedules, against what exp, log and the like alone would take."""
    lr = schedule(COSINE.format(steps=24_000)).lr
    lr_of_schedules = np.linspace(0.3, 1.0, 1000)[:, None] * lr
    law = CurveFit.published("multi_power", "25M")
    lines = [
        "## Final losses of 1,000 schedules of 24,000 steps",
        "",
        "`final_losses`, input checks included, warm, best of 5. A step costs one each of exp, "
        "log, exp(x) - 1 and log(1 + x): the share is their time alone, on 16 rows at once, over "
        "the whole.",
        "",
        "| arithmetic | s | schedules·steps/s | exp and log alone, s | share |",
        "|---|---|---|---|---|",
    ]
    for dtype in (np.float64, np.float32):
        seconds = best_of(partial(final_losses, law, lr_of_schedules, dtype=dtype))
        rows = jnp.asarray(lr_of_schedules[:16], dtype=dtype)
        alone = 0.0
        for function in (jnp.exp, jnp.log, jnp.expm1, jnp.log1p):
            total = jax.jit(lambda x, f=function: jnp.sum(f(x), axis=-1))
            alone += best_of(partial(total, rows), 20) * len(lr_of_schedules) / 16
        lines.append(
            f"| {np.dtype(dtype).name} | {seconds:.3f} | {lr_of_schedules.size / seconds:.3g} "
            f"| {alone:.3f} | {100 * alone / seconds:.0f} % |"
        )
        print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    """Measure and write the tables."""
    lines = [
        "# Engine",
        "",
        f"`python -m benchmarks.engine` on {describe()}; float64 unless said otherwise, "
        "multi_power at the published 25M parameters.",
        "",
    ]
    with jax.enable_x64(True):
        for part in (accuracy, throughput, lengths):
            lines += part()
    write_text(HERE / "engine.md", "\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    memory() if "memory" in sys.argv else main()
