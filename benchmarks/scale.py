"""Times from one schedule to a million, on one device and several; fills `docs/scale.md`.

    python -m benchmarks.scale
    python -m benchmarks.scale --reference CHECKOUT    # of thu-yao-01-luo/MultiPowerLaw, timed too

Every measurement runs in a new process, so that memory and compilation are separate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import best_of, describe
from benchmarks.pages import fill

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scale.md"
STEPS, WARMUP, PEAK = 24_000, 2160, 3e-4
COMMAND = [sys.executable, str(ROOT / "cli.py")]
FACTS = {"weight_decay": 0.1}
KERNEL = 4  # log, exp, log1p, expm1 per event


def child(*words: object) -> dict[str, Any]:
    """The output of one of the measurements below, run in a new process."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "child", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    measured: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return measured


def candidates(law: str, label: str, count: int, devices: int, draws: int, steps: int) -> None:
    """A screen, cold and warm."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)  # type: ignore[no-untyped-call]
    from scaling_laws.decisions.screening import screen
    from scaling_laws.inference.results import CurveFit

    fitted = CurveFit.published(law, label)
    if draws:
        noise = np.random.default_rng(0).standard_normal((len(fitted.params), draws))
        fitted = replace(
            fitted,
            draws={
                name: value * np.exp(0.01 * row)
                for (name, value), row in zip(fitted.params.items(), noise, strict=True)
            },
        )

    def run_screen(seed: int) -> Any:
        return screen(
            fitted, steps=steps, peak=PEAK, warmup=WARMUP, candidates=count, draws=draws,
            facts=FACTS if "norm" in law else None, seed=seed,
        )  # fmt: skip

    cold, warm = (
        run_screen(0),
        min((run_screen(seed) for seed in (1, 2)), key=lambda result: result.seconds),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        json.dumps(
            {
                "cold": cold.total_seconds,
                "warm": warm.total_seconds,
                "pass": warm.seconds,
                "gigabytes": peak,
                "cells": warm.cells,
                "off": max(warm.disagreement, warm.rescored_disagreement),
            }
        )
    )


def ceiling(cells: int, count: int) -> None:
    """The four functions of the kernel alone, on as many events and in tiles as in the screen."""
    import jax
    import jax.numpy as jnp

    tile = jnp.asarray(np.random.default_rng(0).random((1024, 2 * cells + 4)), jnp.float32)

    @jax.jit
    def all_tiles(values: Any) -> Any:
        def tile_sum(before: Any, _: None) -> Any:
            speed = jnp.exp(0.6 * jnp.log(values + before))
            kernel = -jnp.expm1(-0.5 * jnp.log1p(speed * values))
            return jnp.sum(kernel) * 1e-12, None

        return jax.lax.scan(tile_sum, jnp.float32(0), None, length=count // 1024)[0]

    all_tiles(tile).block_until_ready()
    print(json.dumps({"seconds": best_of(lambda: all_tiles(tile).block_until_ready())}))


def other_parts() -> None:
    """Engine, search and fit, warm, in one process."""
    import scaling_laws as sl
    from benchmarks.engine import dense
    from scaling_laws.inference.results import CurveFit
    from scaling_laws.inference.results.prediction import predict_losses

    law = CurveFit.published("multi_power", "25M")
    lr = sl.schedule(f"cosine:peak={PEAK},end=3e-5,steps={STEPS},warmup={WARMUP}").lr
    points = np.arange(0, STEPS, 100)

    def predict_all() -> Any:
        return predict_losses(law.law, law.params, lr, {})

    def search() -> Any:
        return sl.optimize(law, steps=STEPS, peak=PEAK, warmup=WARMUP)

    runs = sl.load_runs(ROOT / "data" / "proxy_nano")
    fit_runs = [runs[name] for name in ("constant_4000", "cosine_4000", "drop_to_0.1_4000")]

    def fit() -> Any:
        return sl.fit("multi_power", fit_runs)

    seconds = {}
    for name, function in (("engine", predict_all), ("search", search), ("fit", fit)):
        start = time.perf_counter()
        function()
        seconds[f"{name}_cold"] = time.perf_counter() - start
        seconds[name] = best_of(function)
    start = time.perf_counter()
    dense(lr, points)
    seconds["dense"] = (time.perf_counter() - start) * STEPS * STEPS / 2 / float(points.sum())
    start = time.perf_counter()
    for _ in range(20):
        dense(lr, np.array([STEPS - 1]))
    seconds["dense_final"] = (time.perf_counter() - start) / 20
    print(json.dumps(seconds))


def command(*words: object, repeats: int = 3) -> float:
    """Seconds of a command, including the start of the process."""
    line = [*COMMAND, *map(str, words)]
    return best_of(lambda: subprocess.run(line, capture_output=True, check=True), repeats)


def importing() -> dict[str, float]:
    """A million rows of CSV to a set."""
    from benchmarks.logs import ROWS, csv

    steps = np.arange(ROWS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        loss = 3.0 + 10.0 / np.sqrt(steps + 100.0)
        rates = 3e-4 * np.minimum(1.0, (steps + 1) / 2000.0)
        path.write_text("\n".join(csv(steps, rates, loss)) + "\n")
        seconds = command("import", path, "--out", Path(folder) / "set", repeats=1)
    return {"seconds": seconds, "rows": ROWS}


def two_processes(count: int) -> float:
    """Seconds of the pass of two processes of one device each, compilation included."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    line = [
        *COMMAND, "screen", "multi_power:25M", "--steps", STEPS, "--peak", PEAK, "--warmup",
        WARMUP, "--candidates", count, "--json", "--coordinator", f"127.0.0.1:{port}",
        "--processes", 2,
    ]  # fmt: skip
    processes = [
        subprocess.Popen(
            [*map(str, line), "--process", str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        for number in (0, 1)
    ]
    result = json.loads(processes[0].communicate()[0])
    processes[1].wait()
    return float(result["seconds"])


def reference(checkout: Path) -> str:
    """Time of the command of the public implementation: fit and search of the 25M set."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "main.py", "-f", "25"], cwd=checkout, check=True)
    return f"| public implementation, `main.py -f 25`, whole | {time.perf_counter() - start:.1f} |"


def report(checkout: Path | None) -> None:
    """Run all measurements and fill the page."""
    million = 1_000_000
    rows = ["| what | s | per schedule, µs | peak memory, GB |", "|---|---|---|---|"]
    results: dict[str, dict[str, Any]] = {}
    for title, words in {
        "multi_power, 10⁵": ("multi_power", "25M", million // 10, 1, 0, STEPS),
        "multi_power, 10⁶": ("multi_power", "25M", million, 1, 0, STEPS),
        "multi_power, 4·10⁶": ("multi_power", "25M", 4 * million, 1, 0, STEPS),
        "multi_power, 10⁶, of 1,000,000 steps": ("multi_power", "25M", million, 1, 0, million),
        "multi_power, 10⁵ under 50 draws": ("multi_power", "25M", million // 10, 1, 50, STEPS),
        "norm_clock, 10⁶": ("norm_clock", "25M", million, 1, 0, STEPS),
        "multi_power, 10⁶ on 2 devices": ("multi_power", "25M", million, 2, 0, STEPS),
        "multi_power, 2·10⁶ on 2 devices": ("multi_power", "25M", 2 * million, 2, 0, STEPS),
    }.items():
        result = results[title] = child("candidates", *words)
        rows.append(
            f"| {title} ({result['cells']} cells, off by {result['off']:.0e}) | "
            f"{result['warm']:.1f}, cold {result['cold']:.1f} | "
            f"{1e6 * result['pass'] / words[2]:.2f} | {result['gigabytes']:.2f} |"
        )
        print(rows[-1], flush=True)
    small, large = two_processes(million), two_processes(3 * million)
    rows.append(
        "| multi_power, two processes of one device, between 10⁶ and 3·10⁶ | "
        f"{large - small:.1f} | {(large - small) / 2:.2f} | – |"
    )
    main = results["multi_power, 10⁶"]
    ceiling_seconds = child("ceiling", main["cells"], million)["seconds"]
    events = 2 * main["cells"] + 4
    rows.append(
        f"| the kernel's {KERNEL} functions alone, {events} events per schedule | "
        f"{ceiling_seconds:.1f} | {1e6 * ceiling_seconds / million:.2f} | – |"
    )
    fill(PAGE, "candidates", rows)
    parts = child("other_parts")
    imported = importing()
    predicted = command(
        "predict", "multi_power:25M", "--schedule", f"cosine:peak={PEAK},steps={STEPS}"
    )
    lines = [
        "| what | ours, s | against | ratio |",
        "|---|---|---|---|",
        f"| every step of a cosine of 24,000 | {parts['engine']:.4f} | dense NumPy "
        f"{parts['dense']:.2f} s | {parts['dense'] / parts['engine']:.0f} |",
        f"| one candidate's final loss, of 10⁶ | {main['pass'] / million:.1e} | dense NumPy "
        f"{parts['dense_final']:.1e} s | {parts['dense_final'] * million / main['pass']:.0f} |",
        f"| search for 24,000 steps | {parts['search']:.2f}, cold {parts['search_cold']:.1f} | | |",
        f"| fit of `multi_power` to three runs, with intervals | {parts['fit']:.2f}, cold "
        f"{parts['fit_cold']:.1f} | | |",
        f"| import of 10⁶ rows of CSV | {imported['seconds']:.1f} | asked 10 | |",
        f"| `scaling-laws --help` | {command('--help'):.2f} | asked 0.3 | |",
        f"| `scaling-laws predict`, one schedule, cold | {predicted:.2f} | asked 2.5 | |",
    ]
    if checkout is not None:
        lines.append(reference(checkout) + " | |")
    fill(PAGE, "parts", lines)
    fill(PAGE, "machine", [describe() + "."])
    fill(PAGE, "plan", plan(results, imported))
    print("\n".join(lines))


def plan(results: dict[str, dict[str, Any]], imported: dict[str, float]) -> list[str]:
    """Extrapolated times of larger work, from the measured constants."""
    per_schedule = results["multi_power, 10⁶, of 1,000,000 steps"]["pass"] / 1e6
    per_norm_schedule = results["norm_clock, 10⁶"]["pass"] / 1e6
    per_schedule_drawn = results["multi_power, 10⁵ under 50 draws"]["pass"] / 1e5
    per_row = imported["seconds"] / imported["rows"]
    work = {
        "10⁹ candidates × 10⁶ steps, multi_power": 1e9 * per_schedule,
        "10⁹ candidates, norm_clock": 1e9 * per_norm_schedule,
        "10⁷ candidates × 50 draws, multi_power": 1e7 * per_schedule_drawn,
        "10⁵ runs of 10⁴ logged rows imported": 1e9 * per_row,
    }
    lines = ["| work | 1 device or process | 8 | 512 |", "|---|---|---|---|"]
    for name, seconds in work.items():
        cells = " | ".join(_time(seconds / devices) for devices in (1, 8, 512))
        lines.append(f"| {name} | {cells} |")
    return lines


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """One measurement in a child, or all."""
    if sys.argv[1:2] == ["child"]:
        name, *words = sys.argv[2:]
        numbers = [int(word) if word.isdigit() else word for word in words]
        children: dict[str, Callable[..., None]] = {
            "candidates": candidates,
            "ceiling": ceiling,
            "other_parts": other_parts,
        }
        children[name](*numbers)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--reference", type=Path)
    report(parser.parse_args().reference)


if __name__ == "__main__":
    main()
