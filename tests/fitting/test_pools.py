"""Pools of processes: the same refits wherever they run, pieces run again, clear refusals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import FitError, UsageError
from scaling_laws.common.pools import HERE, PoolError, PoolOptions, backends, collect, start_pool
from scaling_laws.common.pools.pieces import TRIES
from scaling_laws.common.progress import LOGGER_NAME
from scaling_laws.data.runs import Run, load_runs
from scaling_laws.inference.fitting.bootstrap import (
    CHUNK_SIZE,
    BootstrapRequest,
    block_weights,
    resample,
)
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.multistart import (
    FOLDS_PER_TASK,
    MultiStartResult,
    multistart_fit,
    refit_folds,
)
from scaling_laws.inference.fitting.objective import Huber
from scaling_laws.inference.fitting.priors import prior_of
from scaling_laws.inference.fitting.problem import Solution
from scaling_laws.models.laws import (
    get_schedule_law,
)
from tests.cli.calls import call, call_json, write_curves

cloudpickle = pytest.importorskip("cloudpickle")
LAW = "power"
TWO = {"joblib": PoolOptions("joblib", 2), "dask": PoolOptions("dask", 2)}


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pools") / "curves"
    write_curves(folder)
    return folder


@pytest.fixture(scope="module")
def runs(curves: Path) -> dict[str, Run]:
    return dict(load_runs(curves))


@pytest.fixture(scope="module")
def data(runs: dict[str, Run]) -> Data:
    with jax.enable_x64(True):
        return prepare(get_schedule_law(LAW), runs)


@pytest.fixture(scope="module")
def search(data: Data) -> MultiStartResult:
    with jax.enable_x64(True):
        return multistart_fit(data, Huber(), prior_of(data.law, "weak"), 2, 0)


def same(one: list[Solution], other: list[Solution]) -> bool:
    """Whether outcomes agree to the last bit."""
    return len(one) == len(other) and all(
        left.objective == right.objective
        and left.iterations == right.iterations
        and np.array_equal(left.unconstrained, right.unconstrained)
        and np.array_equal(left.amplitudes, right.amplitudes)
        for left, right in zip(one, other, strict=True)
    )


def travelled(value: Any) -> Any:
    """A copy, as another process gets it."""
    return cloudpickle.loads(cloudpickle.dumps(value))


class Lost(Exception):
    """What a pool of these tests raises for a process that has died."""


class Frail:
    """A pool in this process, some of whose calls end as if their process had died."""

    workers = 2
    here = False
    leader = 0
    lost: tuple[type[BaseException], ...] = (Lost,)

    def __init__(self, fate: Callable[[int], BaseException | None]) -> None:
        self.calls = 0
        self._fate = fate

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()
        error = self._fate(self.calls)
        self.calls += 1
        if error is None:
            future.set_result(function(*travelled(arguments)))
        else:
            future.set_exception(error)
        return future


def square(number: int) -> int:
    return number * number


def die_once(flag: Path, number: int) -> int:
    """Kills its process the first time that it is called with a flag that is not there."""
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(number: int) -> int:
    if number == 2:
        raise FitError("piece 2 cannot be done")
    return number


# ---------------------------------------------------------------- pieces


def test_results_in_order_and_progress(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger=LOGGER_NAME):
        found = collect(HERE, square, [(n,) for n in range(5)], "squares")
    assert found == [0, 1, 4, 9, 16]
    assert [(each.stage, each.done, each.total) for each in caplog.records] == [  # type: ignore[attr-defined]
        ("squares", done, 5) for done in range(1, 6)
    ]
    assert collect(HERE, square, [], "squares") == []


def test_what_a_piece_raises_is_raised() -> None:
    with pytest.raises(FitError, match="piece 2 cannot be done"):
        collect(HERE, refuse, [(n,) for n in range(9)], "numbers")


@given(st.sets(st.integers(0, 30), max_size=10), st.integers(1, 12))
def test_lost_pieces_are_run_again(dead: set[int], count: int) -> None:
    """Whichever calls die, results are those of a pool where none does, unless one dies thrice."""
    pool = Frail(lambda call: Lost() if call in dead else None)
    try:
        found = collect(pool, square, [(n,) for n in range(count)], "squares")
    except PoolError:
        assert len(dead) >= TRIES
    else:
        assert found == [n * n for n in range(count)]
        assert pool.calls == count + len([call for call in dead if call < pool.calls])


def test_a_piece_that_always_dies_ends_the_work() -> None:
    pool = Frail(lambda call: Lost())
    with pytest.raises(PoolError) as caught:
        collect(pool, square, [(3,)], "power: refits")
    assert pool.calls == TRIES
    assert str(caught.value) == (
        "power: refits, piece 1 of 1: its process died 3 times (Lost); check the memory, "
        "or use fewer --workers"
    )


def test_a_scheduler_that_goes_away_ends_the_work() -> None:
    class Gone(Frail):
        def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(PoolError, match="piece 1 of 3: the dask scheduler dropped it"):
        collect(Gone(lambda call: None), square, [(n,) for n in range(3)], "squares")


# ---------------------------------------------------------------- refits


def test_random_numbers_are_of_the_refit_alone(data: Data) -> None:
    def generator(number: int) -> np.random.Generator:
        return np.random.default_rng(number)

    together = block_weights(data, data.weight, [generator(1), generator(2)])
    alone = block_weights(data, data.weight, [generator(2)])
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 59))
def test_weights_have_mean_one_and_keep_what_is_left_out(data: Data, seed: int, first: int) -> None:
    base = np.where(np.arange(len(data.observed)) < first, 0.0, data.weight)
    (weight,) = block_weights(data, base, [np.random.default_rng(seed)])
    assert np.sum(weight) == pytest.approx(np.sum(base))
    assert np.array_equal(weight > 0, base > 0)
    for place in range(len(data.runs)):  # ten blocks of a run: its points move together
        assert len(np.unique(weight[data.run == place])) <= 11


def test_runs_are_resampled_and_blocks_within_them(data: Data) -> None:
    generators = [np.random.default_rng(number) for number in range(300)]
    weight = block_weights(data, np.ones(len(data.observed)), generators)
    of_runs = np.stack(
        [weight[:, data.run == index].mean(axis=1) for index in range(len(data.runs))], axis=1
    )
    # exponential weights of runs that share a fixed sum; of ten blocks alone it would be half
    count = len(data.runs)
    assert np.all(of_runs.std(axis=0) > 0.85 * np.sqrt((count - 1) / (count + 1)))
    first = weight[:, data.run == 0] / of_runs[:, :1]
    assert np.all(first.std(axis=0) > 0.7)  # 0.9 for ten exponential weights of mean one


def test_more_refits_begin_with_the_same(data: Data, search: MultiStartResult) -> None:
    few, more = (
        resample(data, search.settings, [BootstrapRequest(search.best, count)])[0]
        for count in (10, CHUNK_SIZE + 20)
    )
    assert len(more) == CHUNK_SIZE + 20
    for one, other in zip(few, more[:10], strict=True):
        np.testing.assert_array_equal(one.unconstrained, other.unconstrained)
    (other,) = resample(data, search.settings, [BootstrapRequest(search.best, 10, stream=1)])
    assert not np.allclose(few[0].unconstrained, other[0].unconstrained)
    (seeded,) = resample(
        data, replace(search.settings, seed=1), [BootstrapRequest(search.best, 10)]
    )
    assert not np.allclose(few[0].unconstrained, seeded[0].unconstrained)


def test_pieces_and_copies_give_the_same_bits(data: Data, search: MultiStartResult) -> None:
    """BootstrapRequest and folds of runs that have travelled, with calls that die on the way."""
    asked = [
        BootstrapRequest(search.best, CHUNK_SIZE + 6),
        BootstrapRequest(search.best, 5, 2, data.weight * 2.0),
    ]
    folds = [
        np.flatnonzero(np.arange(60) % (FOLDS_PER_TASK + 2) == each)
        for each in range(FOLDS_PER_TASK + 2)
    ]
    here = resample(data, search.settings, asked)
    with jax.enable_x64(True):
        left_out = refit_folds(data, search.best, search.settings, folds)
    frail = Frail(lambda call: Lost() if call in (0, 3) else None)
    there = resample(data, search.settings, asked, frail)
    assert [len(each) for each in there] == [CHUNK_SIZE + 6, 5]
    assert all(same(*pair) for pair in zip(here, there, strict=True))
    frail = Frail(lambda call: Lost() if call == 1 else None)
    assert same(refit_folds(data, search.best, search.settings, folds, frail), left_out)
    assert frail.calls == 3


class Elsewhere(Frail):
    """A pool in this process whose calls are given copies, as other processes are."""

    def __init__(self) -> None:
        super().__init__(lambda call: None)


# ---------------------------------------------------------------- options


REFUSED = {
    "--backend ray": "--backend: invalid choice: 'ray' (choose from",
    "--backend local --workers 2": "use --backend joblib",
    "--backend joblib --workers 0": "--workers 0 must be >= 1",
    "--workers two": "--workers: 'two' is not a whole number",
    "--backend joblib --scheduler tcp://x:1": "--scheduler requires --backend dask",
    "--scheduler tcp://x:1 --workers 2": "the one at --scheduler has its own",
}


@pytest.mark.parametrize("verb", ["fit", "compare"])
@pytest.mark.parametrize("words", REFUSED)
def test_refused_options(verb: str, words: str, curves: Path, tmp_path: Path) -> None:
    options = {
        "fit": ["--law", LAW, "--out", tmp_path / "law.json"],
        "compare": ["--laws", LAW, "--out", tmp_path / "table.csv"],
    }[verb]
    result = call(verb, curves, *options, *words.split())
    assert (result.code, result.out) == (2, "")
    assert REFUSED[words] in result.err and result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["--backend local", "--workers 1", "--scheduler tcp://x:1"])
def test_tables_refuse_pools(words: str, tmp_path: Path) -> None:
    result = call("fit", "runs.csv", "--law", "chinchilla", "--out", tmp_path / "l", *words.split())
    assert result.code == 2 and words.split()[0] in result.err and "chinchilla" in result.err


def test_backends_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(*fields: Any) -> str:
        return backends.choose_backend(PoolOptions(*fields), 5).name

    assert name() == name("auto", 1) == name("local") == "local"
    assert name("auto", 3) == name("joblib") == "joblib"
    assert name("auto", None, "tcp://x:1") == name("dask", 2) == "dask"
    with pytest.raises(UsageError, match="unknown backend 'joblb'; did you mean 'joblib'"):
        name("joblb")
    with start_pool(PoolOptions("joblib", 7), 3) as pool:  # no process starts without a call
        assert pool.workers == 3 and not pool.here
    with start_pool("local", 3) as pool:
        assert pool is HERE
    monkeypatch.setattr(backends, "_installed", lambda library: False)
    with pytest.raises(UsageError, match=r"needs joblib; pip install 'scaling-laws\[sweep\]'"):
        name("joblib")


class Client:
    """A stand-in for dask's: workers with other versions, without the package, or none."""

    def __init__(self, there: dict[str, str] | Exception) -> None:
        self._there = there

    def run(self, function: Callable[[], dict[str, str]]) -> dict[str, dict[str, str]]:
        if isinstance(self._there, Exception):
            raise self._there
        return {"tcp://w:1": function(), "tcp://w:2": function() | self._there}


def test_workers_that_would_give_other_results_are_refused() -> None:
    backends._check_workers(Client({}), "tcp://s:1")
    with pytest.raises(UsageError, match=r"worker tcp://w:2 has jax 0\.1 and this machine .*there"):
        backends._check_workers(Client({"jax": "0.1"}), "tcp://s:1")
    missing = ModuleNotFoundError("No module named 'scaling_laws'")
    with pytest.raises(UsageError, match=r"a worker cannot import scaling_laws .* install"):
        backends._check_workers(Client(missing), "tcp://s:1")


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")

    def silent(address: str, timeout: str) -> None:
        raise OSError(f"timed out after {timeout}")

    monkeypatch.setattr(distributed, "Client", silent)
    with (
        pytest.raises(UsageError, match=r"tcp://x:1: no dask scheduler responds there \(timed out"),
        start_pool(PoolOptions(scheduler="tcp://x:1"), 2),
    ):
        pass


def test_processes_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")

    def broken(**options: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", broken)
    with (
        pytest.raises(UsageError, match=r"do not start \(Nanny failed.*if __name__ == '__main__'"),
        start_pool(TWO["dask"], 2),
    ):
        pass


# ---------------------------------------------------------------- processes


@pytest.mark.slow
@pytest.mark.parametrize("name", TWO)
def test_processes_give_the_same_bits_though_one_is_killed(
    name: str, data: Data, search: MultiStartResult, tmp_path: Path
) -> None:
    pytest.importorskip("distributed" if name == "dask" else name)
    asked = [BootstrapRequest(search.best, 2 * CHUNK_SIZE + 6)]
    folds = [np.flatnonzero(data.run == each) for each in range(3)]
    here = resample(data, search.settings, asked)
    with jax.enable_x64(True):
        left_out = refit_folds(data, search.best, search.settings, folds)
    with start_pool(TWO[name], 3) as pool:
        assert pool.workers == 2
        (there,) = resample(data, search.settings, asked, pool)
        pieces = [(tmp_path / "dead", number) for number in range(6)]
        assert collect(pool, die_once, pieces, "numbers") == list(range(6))
        assert (tmp_path / "dead").exists()
        again = refit_folds(data, search.best, search.settings, folds, pool)
        with pytest.raises(FitError, match="piece 2 cannot be done"):
            collect(pool, refuse, [(n,) for n in range(4)], "numbers")
    assert same(there, here[0])
    assert same(again, left_out)


@pytest.mark.slow
def test_commands_write_the_same(curves: Path, tmp_path: Path) -> None:
    """A law file and a comparison, of this process and of two others."""
    found = []
    for words in ((), ("--backend", "joblib", "--workers", 2)):
        out = tmp_path / "law.json"
        options = ("--law", LAW, "--starts", 2, "--draws", CHUNK_SIZE + 6, "--out", out)
        call_json("fit", curves, *options, *words)
        law = json.loads(out.read_text())
        del law["fit"]["seconds"]
        laws = ("--laws", "power,linear_drop", "--starts", 1)
        found.append((law, call_json("compare", curves, *laws, *words)))
    assert found[0] == found[1]
    assert len(found[0][0]["draws"]["alpha"]) == CHUNK_SIZE + 6
