"""The engine against the dense sum over all changes, in one run; writes `engine.md`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe
from scaling_laws.files import write_text
from scaling_laws.fitted.predict import compiled_loss
from scaling_laws.laws import get_law
from scaling_laws.numerics.history import every_step, last_step
from scaling_laws.schedules import schedule
from scaling_laws.laws.multi_power import MULTI_POWER

HERE = Path(__file__).resolve().parent
PARAMS = MULTI_POWER.published["25M"]


def dense(lr: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The law at chosen steps by the sum over every change, in NumPy."""
    clock, change = np.cumsum(lr), np.concatenate([[0.0], lr[:-1] - lr[1:]])
    speed = PARAMS["C"] * np.maximum(lr, 1e-6 * lr.max()) ** -PARAMS["gamma"]
    before = clock - lr
    power = np.maximum(clock, 1e-9 * lr.max()) ** -PARAMS["alpha"]
    losses = []
    for step in steps:
        kernel = (
            1.0 - (1.0 + speed[: step + 1] * (clock[step] - before[: step + 1])) ** -PARAMS["beta"]
        )
        drop = np.dot(change[: step + 1], kernel)
        losses.append(PARAMS["L0"] + PARAMS["A"] * power[step] - PARAMS["B"] * drop)
    return np.array(losses)


def best_of(function: Callable[[], Any], repeats: int = 5) -> float:
    """Shortest wall time of a few calls, after one to warm up."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure and write the table."""
    law = get_law("multi_power")
    lines = [
        "# Engine",
        "",
        f"`python -m benchmarks.engine` on {describe()}; float64, multi_power at the published 25M "
        "parameters, cosine to a tenth.",
        "",
        "| steps | every step, s | dense NumPy, s | ratio | largest error, nats "
        "| gradient of the final loss in every LR, s |",
        "|---|---|---|---|---|---|",
    ]
    with jax.enable_x64(True):
        every = compiled_loss(law)
        gradient = jax.jit(
            jax.grad(lambda lr: law.loss(dict(PARAMS), last_step(lr))[0]),
        )
        for steps in (24_000, 100_000, 200_000, 1_000_000, 2_000_000):
            lr = schedule(f"cosine:peak=3e-4,end=3e-5,steps={steps},warmup=2160").lr
            history = jax.tree.map(jnp.asarray, every_step(lr))
            seconds = best_of(lambda history=history: every(dict(PARAMS), history), 3)
            losses = np.asarray(every(dict(PARAMS), history))
            sample = np.unique(np.linspace(2160, steps - 1, 240).astype(int))
            start = time.perf_counter()
            expected = dense(lr, sample)
            # every step of the dense sum costs in proportion to its number: scale the sample up
            scale = steps * (steps + 1) / 2 / float(np.sum(sample + 1.0))
            slow = (time.perf_counter() - start) * scale
            error = float(np.abs(losses[sample] - expected).max())
            final = best_of(lambda lr=lr: gradient(jnp.asarray(lr)), 3)
            lines.append(
                f"| {steps:,} | {seconds:.3f} | {slow:.3g} (from 240 steps) | {slow / seconds:.0f} "
                f"| {error:.1e} | {final:.4f} |"
            )
            print(lines[-1], flush=True)
    write_text(HERE / "engine.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
