"""Proxy training against plain matrix products, fleets, and the cost of logging; writes `proxy.md`.

python -m benchmarks.proxy
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe
from scaling_laws.common.files import write_text
from scaling_laws.models.schedules import schedule
from scaling_laws.proxy import Destination, ProxyConfig, TrainingRun, load_corpus, train_fleet
from scaling_laws.proxy.training import compiled_steps as compiled
from scaling_laws.proxy.training.model_sizes import SIZES, Size, get_size
from scaling_laws.proxy.training.proxy_config import BACKWARD

HERE = Path(__file__).resolve().parent
NAMES = ("pico", "nano", "micro")
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
UPDATES = 20


def best(work: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest of several calls, after a first one."""
    jax.block_until_ready(work())  # type: ignore[no-untyped-call]
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(work())  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def plain_products(size: Size) -> tuple[float, float]:
    """Operations and seconds of all matrix products of one update, timed separately.

    The forward product and both products of its derivative, in the layouts of the model.
    """
    tokens, width, mlp_width = size.tokens_per_step, size.width, size.mlp_width
    dense = [
        (width, width, 4 * size.layers),
        (width, mlp_width, size.layers),
        (mlp_width, width, size.layers),
        (width, size.vocabulary, 1),
    ]
    key = jax.random.key(0)
    operations = seconds = 0.0
    for inputs, outputs, count in dense:
        x = jax.random.normal(key, (tokens, inputs), jnp.float32)
        w = jax.random.normal(key, (inputs, outputs), jnp.float32)
        d = jax.random.normal(key, (tokens, outputs), jnp.float32)
        products = (
            (lambda x, w: x @ w, x, w),
            (lambda d, w: d @ w.T, d, w),
            (lambda x, d: x.T @ d, x, d),
        )
        for (
            product,
            left_factor,
            right_factor,
        ) in products:  # as arguments: constants would be folded away
            seconds += count * best(partial(jax.jit(product), left_factor, right_factor), 30)
            operations += count * 2.0 * tokens * inputs * outputs
    shape = (size.batch, size.heads, size.context)
    q = jax.random.normal(key, (*shape, size.head_width), jnp.float32)
    s = jax.random.normal(key, (*shape, size.context), jnp.float32)
    for form in ("bhqd,bhkd->bhqk", "bhqk,bhkd->bhqd", "bhqk,bhqd->bhkd"):
        left_input = q if form.startswith("bhqd") else s
        call = partial(jax.jit(partial(jnp.einsum, form)), left_input, q)
        seconds += 2 * size.layers * best(call, 30)  # scores and mixing, three products each
        operations += 2 * size.layers * 2.0 * q.size * size.context
    return operations, seconds


def updates(size: Size, members: int = 1) -> float:
    """Seconds of one update of all members, batched if there are several."""
    corpus = load_corpus("synthetic")
    config = ProxyConfig(size, schedule(f"constant:peak=1e-3,steps={UPDATES}"), corpus)
    shapes, fleet = compiled.shapes_of(config), members > 1
    keys = jax.random.split(jax.random.key(0), members)
    lead = (members,) if fleet else ()
    state = compiled.initialize(keys if fleet else keys[0], shapes, fleet=fleet)
    rates = jnp.full((*lead, UPDATES), 1e-3, jnp.float32)
    windows = jnp.asarray(
        np.random.default_rng(0)
        .integers(64, size=(*lead, UPDATES, size.batch, size.context + 1))
        .astype(np.uint8)
    )
    decay = jnp.full(lead, 0.1, jnp.float32)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        state, logged = compiled.update(state, rates, windows, decay, shapes=shapes, fleet=fleet)
        logged.block_until_ready()
        seconds.append((time.perf_counter() - start) / UPDATES)
    return min(seconds[1:])


def two_processes(name: str, batch: int) -> float:
    """Seconds per update of two concurrent processes with one thread each."""
    code = (
        "from dataclasses import replace; from benchmarks.proxy import *; "
        f"print(updates(replace(get_size({name!r}), batch={batch})))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | ONE_THREAD,
            stdout=subprocess.PIPE,
            cwd=HERE.parent,
            text=True,
        )
        for _ in range(2)
    ]
    return max(float(process.communicate()[0]) for process in processes)


def overhead(steps: int = 1200, checkpoint_every: float = 5.0) -> dict[str, float]:
    """Seconds of a nano run: bare updates, with logs and checkpoints, and with held-out text."""
    corpus, size = load_corpus("stdlib"), get_size("nano")
    plan = schedule(f"constant:peak=1e-3,steps={steps},warmup=100")
    seconds_by_label = {"bare": updates(size) * steps}
    for label, windows, seconds in (
        ("logged", 1, 1e9),
        ("checkpoints", 1, checkpoint_every),
        ("held-out", size.validation_windows, checkpoint_every),
    ):
        config = ProxyConfig(replace(size, validation_windows=windows), plan, corpus)
        with tempfile.TemporaryDirectory() as folder:
            short_config = replace(
                config, schedule=schedule("constant:peak=1e-3,steps=20,warmup=10")
            )
            folder_path = Path(folder)
            for name, run_config in (
                ("short", short_config),
                ("long", config),
            ):  # the first one compiles
                (result,) = train_fleet(
                    [TrainingRun(run_config, Destination(folder_path, name))],
                    work=folder_path / "work",
                    checkpoint_every=seconds,
                )
            seconds_by_label[label] = result.seconds
    return seconds_by_label


def main() -> None:
    """Measure and write the page."""
    lines = [
        "# Training proxy models",
        "",
        describe() + f", jax on {jax.default_backend()}.",
        "",
        "One update compared with its plain matrix products, timed separately in the same "
        "process, forward and backward, in the same layouts. Operations are those of the "
        "products: 3 x forward, the embedding counts as a lookup.",
        "",
        "| size | parameters | tokens per update | ms | GFLOP/s | plain products, GFLOP/s | share "
        "|",
        "|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        if size.name in NAMES:
            operations, seconds = plain_products(size)
            counted = BACKWARD * size.forward_flops * size.tokens_per_step
            assert operations == counted, (operations, counted)
            update_seconds = updates(size)
            lines.append(
                f"| {size.name} | {size.parameters:,} | {size.tokens_per_step:,} | "
                f"{1e3 * update_seconds:.1f} | {counted / update_seconds / 1e9:.0f} | "
                f"{operations / seconds / 1e9:.0f} | {seconds / update_seconds:.0%} |"
            )
    lines += [
        "",
        "Thousands of tokens per second, all runs together. On a CPU `auto` trains one run after "
        "another (vmap gives no gain there, and results do not depend on the other runs) and a "
        "sweep starts one process per core; on an accelerator it uses vmap.",
        "",
        "| pico, sequences per update | one run | 4 runs, vmap | 16 runs, vmap | 2 processes |",
        "|---|---|---|---|---|",
    ]
    for batch in (4, 16, 64):
        size = replace(get_size("pico"), batch=batch)
        tokens = size.tokens_per_step / 1e3
        cells = [tokens / updates(size)]
        cells += [members * tokens / updates(size, members) for members in (4, 16)]
        cells.append(2 * tokens / two_processes("pico", batch))
        lines.append(f"| {batch} | " + " | ".join(f"{rate:.0f}" for rate in cells) + " |")
    timings = overhead()
    added = {label: value / timings["bare"] - 1 for label, value in timings.items()}
    lines += [
        "",
        "Time added to 1,200 bare updates of nano with one row per 20: "
        f"batches, norms and rows {added['logged']:+.1%}; checkpoints every 5 s (12 "
        f"times as often as by default) {added['checkpoints']:+.1%} in all; the loss "
        f"on 65,536 held-out bytes at every row {added['held-out']:+.1%} in all "
        "(fewer bytes with `--validation-windows`, fewer rows with `--every`).",
        "",
    ]
    write_text(HERE / "proxy.md", "\n".join(lines))
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
