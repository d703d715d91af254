"""A million logged rows from file to set: seconds and memory of `import`; writes `logs.md`.

python -m benchmarks.logs
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import scaling_laws as sl
from benchmarks.machine import describe
from scaling_laws.common.files import write_text

HERE = Path(__file__).resolve().parent
ROWS = 1_000_000
SPEC = f"cosine:peak=3e-4,end=3e-5,steps={ROWS},warmup=2000"


def csv(steps: np.ndarray, lr: np.ndarray, loss: np.ndarray) -> Iterator[str]:
    """A table with a header."""
    yield "step,lr,loss"
    for row in zip(steps.tolist(), lr.tolist(), loss.tolist(), strict=True):
        yield "{},{:.8e},{:.6f}".format(*row)


def jsonl(steps: np.ndarray, lr: np.ndarray, loss: np.ndarray) -> Iterator[str]:
    """One object per line."""
    for step, rate, value in zip(steps.tolist(), lr.tolist(), loss.tolist(), strict=True):
        yield json.dumps({"step": step, "lr": rate, "loss": round(value, 6)})


def megatron(steps: np.ndarray, lr: np.ndarray, loss: np.ndarray) -> Iterator[str]:
    """Text in the format of Megatron-LM: completed updates, and the rate of the next one."""
    after = np.append(lr[1:], lr[-1]).tolist()
    for step, rate, value in zip(steps.tolist(), after, loss.tolist(), strict=True):
        yield (
            f" iteration {step + 1:8d}/{ROWS:8d} | consumed samples: {512 * (step + 1):12d} | "
            f"elapsed time per iteration (ms): 812.3 | learning rate: {rate:.6E} | global batch "
            f"size:   512 | lm loss: {value:.6E} | loss scale: 1.0 | grad norm: 0.312 |"
        )


FORMATS: dict[str, tuple[str, Callable[..., Iterator[str]]]] = {
    "CSV": ("log.csv", csv),
    "JSONL": ("log.jsonl", jsonl),
    "Megatron-LM text": ("log.txt", megatron),
}


def main() -> None:
    """Measure and write the page."""
    plan = sl.schedule(SPEC)
    steps = np.arange(ROWS)
    noise = np.random.default_rng(0).normal(0.0, 0.02, ROWS)
    loss = 2.6 + 8.0 * (steps + 200.0) ** -0.3 + noise
    lines = [
        "# Importing a million rows",
        "",
        describe() + ".",
        "",
        f"One run of {ROWS:,} logged rows under `{SPEC}`, by `scaling-laws import` in a separate "
        "process: reading, recognising the schedule, writing the set.",
        "",
        "| format | file, MB | seconds | CPU seconds | largest memory, GB | recognised schedule |",
        "|---|---|---|---|---|---|",
    ]
    for name, (file, write) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file
            path.write_text("\n".join(write(steps, plan.lr, loss)) + "\n", encoding="utf-8")
            words = [sys.executable, str(HERE.parent / "cli.py"), "import", str(path), "--json"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            process = subprocess.run(
                [*words, "--out", str(Path(folder) / "set")], capture_output=True, text=True
            )
            seconds = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if process.returncode:
                sys.exit(process.stderr)
            (run,) = json.loads(process.stdout)["runs"].values()
            cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            lines.append(
                f"| {name} | {path.stat().st_size / 1e6:.0f} | {seconds:.1f} | {cpu_seconds:.1f} | "
                f"{after.ru_maxrss * 1024 / 1e9:.2f} | `{run['schedule']}` |"
            )
            sys.stdout.write(lines[-1] + "\n")
    lines += [
        "",
        "Memory is the maximum over all child processes so far, so it cannot decrease.",
        "",
    ]
    write_text(HERE / "logs.md", "\n".join(lines))


if __name__ == "__main__":
    main()
