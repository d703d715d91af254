"""Kinds of input, a valid sample of each, and what must hold for whatever is accepted."""

from __future__ import annotations

import json
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import scaling_laws as sl
from scaling_laws.common import MAX_STEPS, ScalingLawsError, ScalingLawsWarning
from scaling_laws.data import Options
from scaling_laws.data.logs import read_tables
from scaling_laws.data.runs import load_runs
from scaling_laws.decisions.screening.reduction import empty
from scaling_laws.decisions.screening.screen_state import load_state, save_state
from scaling_laws.inference.results import CurveFit, load_law
from scaling_laws.proxy.sweep.sweep_plan import read_plan
from scaling_laws.proxy.training.settings import SETTINGS
from tests.fuzz.mutations import mutated
from tests.logs.fixtures import TEXTS
from tests.logs.test_wandb_offline import LOGGED, file_of, run

__all__ = ["KINDS", "Kind", "Outcome", "try_inputs"]

LIMIT = 30  # seconds, after which an input counts as hung
SPEC = "cosine:peak=1e-3,steps=3000,warmup=100"
SET = 'weight_decay = 0.1\nwindow = 2\n[runs.a]\nschedule = "constant:peak=1e-3,steps=400"\n'
CURVE = "step,lr,loss,weight\n" + "".join(f"{10 * i},0.001,{4 - 0.05 * i},1\n" for i in range(20))
PLAN = """\
[defaults]
size = "nano"
out = "runs/{size}"
seed = 1
[[run]]
name = "constant_{peak}"
peak = [1e-3, 2e-3]
schedule = "constant:peak={peak},steps=40,warmup=10"
[[run]]
name = "wsd"
from = "constant_0.001@32"
schedule = "wsd:peak=1e-3,steps=40,warmup=10,decay_fraction=0.2"
"""
SPECS = [
    *(SPEC, "constant:peak=3e-4,steps=100", "linear:peak=1e-3,end=1e-4,steps=50,warmup_from=1e-5"),
    "wsd:peak=3e-4,end=3e-5,steps=200,warmup=20,decay=1-sqrt,decay_start=150",
    "multistage:peak=1e-3,at=30/60,to=3e-4/1e-4,steps=90",
    "cosine:peak=3e-4,steps=100 + linear:peak=2e-4,steps=80,warmup=10",
    "cosine_restarts:peak=0.0003,steps=100,end=3e-05,cycle=30,warmup=10",
    "eight_one_one:peak=1e-3,steps=100",
    "csv:rates.csv,between=hold",
]


class Hung(BaseException):
    """An input took longer than `LIMIT`."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: in the table.
        samples: makes valid inputs in a folder: file name -> content.
        check: reads the file; raises a `ScalingLawsError` if it is refused, and anything else if
            what was accepted is wrong.
        weight: its share of the inputs.
    """

    name: str
    samples: Callable[[Path], dict[str, bytes]]
    check: Callable[[Path], None]
    weight: float = 1.0


@dataclass
class Outcome:
    """What became of the inputs of a kind: numbers by outcome, and what was wrong."""

    counts: Counter[str]
    faults: list[str]
    slowest: float = 0.0


def _logs(folder: Path) -> dict[str, bytes]:
    samples = {f"{key}-{name}": text.encode() for key, (name, text) in TEXTS.items()}
    steps = "".join(f"{s},{1e-3 * (1 - s / 400)},{3 + 1 / (1 + s)}\n" for s in range(0, 400, 20))
    samples["table.csv"] = ("step,lr,loss\n" + steps).encode()
    samples["several.csv"] = b"run,step,loss\na,0,4\na,10,3.5\nb,0,4.1\nb,10,3.6\n"
    lines = [json.dumps({"step": s, "lr": 1e-3, "train/loss": 4.0 - s / 100}) for s in range(20)]
    samples["log.jsonl"] = "\n".join(lines).encode() + b"\n"
    samples["run.wandb"] = file_of(run("small", weight_decay=0.1), *LOGGED)
    samples["table.parquet"] = _parquet(folder)
    samples["events.out.tfevents.1"] = _events(folder)
    samples["mlflow.db"] = _database(folder)
    return samples


def _parquet(folder: Path) -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"step": [0, 10, 20], "loss": [4.0, 3.5, 3.2], "lr": [1e-3] * 3})
    pyarrow.parquet.write_table(table, folder / "a.parquet")
    return (folder / "a.parquet").read_bytes()


def _events(folder: Path) -> bytes:
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder / "events")) as writer:
        for step in range(5):
            writer.add_scalar("train/loss", 4.0 - step / 10, step)
    return max((folder / "events").iterdir()).read_bytes()


def _database(folder: Path) -> bytes:
    import sqlite3

    with closing(sqlite3.connect(folder / "made.db")) as connection:
        connection.executescript(
            "create table runs (run_uuid text, name text, start_time bigint);"
            "create table params (key text, value text, run_uuid text);"
            "create table metrics (key text, value double, timestamp bigint, run_uuid text,"
            " step bigint, is_nan boolean);"
            "insert into runs values ('abc', 'llama', 5);"
            "insert into metrics values ('loss', 3.2, 1, 'abc', 0, 0), ('loss', 3, 2, 'abc', 9, 0);"
        )
    return (folder / "made.db").read_bytes()


def _check_log(path: Path) -> None:
    """A log is read, imported under a given schedule, and read back as a set."""
    real = path.with_name(path.name.partition("-")[2] or path.name)
    path.rename(real)
    _, tables = read_tables(real)
    for table in tables:
        assert len(table.lines) >= 0
        for column in table.columns.values():
            assert len(column.rows) == len(column.values)
    out = path.parent / "set"
    try:
        imported = sl.import_logs([real], out, options=Options(schedule=SPEC))
    except ScalingLawsError as error:  # it is a log, but lacks something that options would give
        assert str(error).isprintable() and not out.exists()
        return
    for read in load_runs(out).values():
        _check_run(read)
    assert len(load_runs(out)) == len(imported.reports)


def _check_run(read: sl.Run) -> None:
    assert np.isfinite(read.loss).all() and (read.loss > 0).all()
    assert (np.diff(read.steps) > 0).all() and read.steps[-1] < read.schedule.steps
    assert 1 <= read.window <= MAX_STEPS


def _check_spec(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    (path.parent / "rates.csv").write_text(CURVE)
    plan = sl.schedule(text, base=path.parent)
    assert 0 < plan.steps <= MAX_STEPS and np.isfinite(plan.lr).all() and (plan.lr >= 0).all()


def _law(folder: Path) -> dict[str, bytes]:
    from tests.fitted.test_lawfile import DOCUMENT

    bare = CurveFit.of("linear_drop", {"L0": 2.5, "A": 0.25, "alpha": 0.5, "B": 150.0})
    return {
        "full.json": json.dumps(DOCUMENT, indent=1).encode(),
        "bare.json": bare.save(folder / "bare.json").read_bytes(),
    }


def _check_law(path: Path) -> None:
    law = load_law(path)
    assert str(law.summary())
    if isinstance(law, CurveFit):
        prediction = law.predict("cosine:peak=1e-3,steps=64,warmup=4")
        assert np.isfinite(prediction.loss).all() and (prediction.loss > 0).all()
        if law.uncertainty is not None:
            low, high = prediction.interval()
            assert np.isfinite([low, high]).all() and (low <= high).all()


def _check_plan(path: Path) -> None:
    plan = read_plan(path, tuple(setting.name for setting in SETTINGS))
    for planned in plan.runs:
        assert "/" not in planned.name and planned.name not in (".", "..")


def _check_set(path: Path) -> None:
    """A manifest or a curve of a set whose other files are valid."""
    for name, text in (("dataset.toml", SET), ("a.csv", CURVE)):
        if path.name != name:
            (path.parent / name).write_text(text)
    for read in load_runs(path.parent).values():
        _check_run(read)


def _state(folder: Path) -> dict[str, bytes]:
    save_state(folder / "state.npz", {"law": "x"}, 3, empty(4, 2, 1, 8))
    return {"state.npz": (folder / "state.npz").read_bytes()}


KINDS = (
    Kind("logs of every format", _logs, _check_log, 5.0),
    Kind("specs", lambda _: {f"{i}": spec.encode() for i, spec in enumerate(SPECS)}, _check_spec),
    Kind("law files", _law, _check_law, 2.0),
    Kind("plans", lambda _: {"plan.toml": PLAN.encode()}, _check_plan),
    Kind(
        "manifests and curves of sets",
        lambda _: {"dataset.toml": SET.encode(), "a.csv": CURVE.encode()},
        _check_set,
        2.0,
    ),
    Kind("states of a screen", _state, lambda path: _load_state(path), 0.5),
)


def _load_state(path: Path) -> None:
    stored = load_state(path, {"law": "x"})
    assert stored is not None


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def hung(number: int, frame: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_inputs(kind: Kind, count: int, seed: int, keep: Path | None = None) -> Outcome:
    """Try mutated inputs of a kind.

    Args:
        kind: of the inputs.
        count: number of inputs.
        seed: of the mutations.
        keep: folder that receives inputs that are wrong or hung.
    """
    generator = random.Random(f"{kind.name} {seed}")
    outcome = Outcome(Counter(), [])
    with tempfile.TemporaryDirectory() as base:
        made = Path(base) / "samples"
        made.mkdir()
        samples = kind.samples(made)
        for sample, content in samples.items():  # what is valid must be accepted
            verdict = _try(kind, Path(base), sample, content)
            assert verdict == "accepted", f"{kind.name}, {sample} unchanged: {verdict}"
        names, others = list(samples), list(samples.values())
        for number in range(count):
            name = generator.choice(names)
            content = mutated(samples[name], others, generator)
            start = time.perf_counter()
            verdict = _try(kind, Path(base), name, content)
            outcome.slowest = max(outcome.slowest, time.perf_counter() - start)
            outcome.counts[verdict.partition(":")[0]] += 1
            if verdict not in ("accepted", "refused"):
                outcome.faults.append(f"{kind.name}, {name}, number {number}: {verdict}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{kind.name.replace(' ', '_')}-{number}-{name}").write_bytes(content)
    return outcome


def _try(kind: Kind, base: Path, name: str, content: bytes) -> str:
    """Write an input and read it: accepted, refused, hung, or what is wrong."""
    folder = base / "tried"
    folder.mkdir()
    try:
        (folder / name).write_bytes(content)
        with warnings.catch_warnings(), _limited(LIMIT):
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ScalingLawsWarning)
            kind.check(folder / name)
    except ScalingLawsError as error:
        if not str(error).isprintable() or not str(error):
            return f"wrong: the message {str(error)!r}"
        return "refused"
    except Hung:
        return "hung"
    except Exception as error:
        return f"wrong: {type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    return "accepted"
