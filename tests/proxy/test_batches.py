"""Batches: random places as they always were, epochs without replacement, streams without end."""

from __future__ import annotations

import re
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scaling_laws.common.errors import ProxyError
from scaling_laws.models.numerics.precision import in_float64
from scaling_laws.proxy.training.batches import (
    SAMPLINGS,
    batch_windows,
    epoch_of,
    windows_per_epoch,
)
from scaling_laws.proxy.training.corpus import Corpus, load_corpus

BATCH, CONTEXT = 4, 16


def count_up(size: int) -> Corpus:
    """A train part in which every token is its own position."""
    row = np.arange(size, dtype=np.uint16)
    return Corpus("positions", row, row[:1].copy(), vocabulary=65536)


def draw(
    corpus: Corpus, steps: list[int], *, seed: int = 0, sampling: str = "random"
) -> NDArray[np.integer]:
    now = np.array(steps, dtype=np.int64)
    return batch_windows(
        corpus, now, now * BATCH, seed=seed, batch=BATCH, context=CONTEXT, sampling=sampling
    )


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "text").write_bytes(np.random.default_rng(1).bytes(5000))
    return {
        "memory": load_corpus(str(folder / "text")),
        "mapped": load_corpus(str(folder / "text"), cache=folder / "cache"),
        "stream": load_corpus("stream:5"),
    }


@pytest.mark.parametrize("seed", [0, 3, 2**31 - 1])
@pytest.mark.parametrize("name", ["memory", "mapped"])
def test_random_places_are_those_of_one_step_at_a_time(
    corpora: dict[str, Corpus], name: str, seed: int
) -> None:
    tokens = corpora[name].train
    steps = [0, 1, 2, 40_000, 2**32 - 1]
    found = draw(corpora[name], steps, seed=seed)
    assert found.shape == (5, BATCH, CONTEXT + 1) and found.dtype == np.uint8
    key = jax.random.fold_in(jax.random.key(seed), 1)
    for step, windows in zip(steps, found, strict=True):
        starts = jax.random.randint(
            jax.random.fold_in(key, jnp.uint32(step)),
            (BATCH,), 0, tokens.size - CONTEXT, jnp.int32,
        )  # fmt: skip
        for start, window in zip(starts.tolist(), windows, strict=True):
            assert window.tobytes() == tokens[start : start + CONTEXT + 1].tobytes()


def test_random_places_reach_both_ends() -> None:
    found = draw(count_up(CONTEXT + 3), list(range(50)))
    assert found[..., 0].min() == 0 and found[..., -1].max() == CONTEXT + 2


def test_a_stream_follows_its_chain(corpora: dict[str, Corpus]) -> None:
    stream = corpora["stream"].stream
    assert stream is not None
    steps = [0, 9]
    found = draw(corpora["stream"], steps, seed=3)
    assert found.shape == (2, BATCH, CONTEXT + 1) and found.dtype == np.uint8
    key = jax.random.fold_in(jax.random.key(3), 1)
    for step, windows in zip(steps, found, strict=True):
        now = jax.random.fold_in(key, jnp.uint32(step))
        bits = np.asarray(jax.random.bits(now, (BATCH, CONTEXT + 1), jnp.uint32)).tolist()
        for row in range(BATCH):
            state = 64  # the row of the first symbol
            for column in range(CONTEXT + 1):
                edges = stream.thresholds[state].tolist()
                state = sum(edge <= bits[row][column] for edge in edges)
                assert windows[row, column] == state


def test_a_stream_has_the_entropy_of_its_source_and_never_repeats(
    corpora: dict[str, Corpus],
) -> None:
    steps = np.arange(100)
    windows = batch_windows(corpora["stream"], steps, steps, seed=0, batch=64, context=64)
    rows = windows.reshape(-1, 65)
    assert len(np.unique(rows, axis=0)) == len(rows)
    pairs = np.zeros((64, 64))
    np.add.at(pairs, (rows[:, :-1], rows[:, 1:]), 1)
    joint = pairs / pairs.sum()
    first = joint.sum(axis=1)
    entropy = (first[first > 0] * np.log(first[first > 0])).sum()
    entropy -= (joint[joint > 0] * np.log(joint[joint > 0])).sum()
    assert entropy == pytest.approx(corpora["stream"].entropy_rate, rel=1e-2)
    # as far from a start as at it: the first symbol comes from the stationary distribution
    for column in (0, 64):
        share = np.bincount(rows[:, column], minlength=64) / len(rows)
        assert np.abs(share - first).max() < 0.03


def test_a_stream_held_out_is_not_what_is_trained_on(corpora: dict[str, Corpus]) -> None:
    """Windows of 17 tokens of 40 batches: none stands in the held-out part."""
    held_out = corpora["stream"].validation.tobytes()
    windows = draw(corpora["stream"], list(range(40)), seed=5).reshape(-1, CONTEXT + 1)
    assert not any(window.tobytes() in held_out for window in windows)


@pytest.mark.parametrize(
    ("name", "sampling"),
    [("memory", "random"), ("memory", "epochs"), ("mapped", "epochs"), ("stream", "random")],
)
def test_a_cut_into_calls_changes_nothing(
    corpora: dict[str, Corpus], name: str, sampling: str
) -> None:
    corpus = corpora[name]
    steps = list(range(500, 560))
    whole = draw(corpus, steps, sampling=sampling)
    parts = [draw(corpus, steps[a:b], sampling=sampling) for a, b in ((0, 20), (20, 40), (40, 60))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(draw(corpus, steps[::-1], sampling=sampling), whole[::-1])
    assert len(np.unique(whole.reshape(-1, CONTEXT + 1), axis=0)) > 200
    assert not np.array_equal(draw(corpus, steps, seed=1, sampling=sampling), whole)
    assert draw(corpus, [], sampling=sampling).shape == (0, BATCH, CONTEXT + 1)
    wide = in_float64(draw)(corpus, steps, sampling=sampling)
    np.testing.assert_array_equal(wide, whole)


@settings(max_examples=80, deadline=None)
@given(
    size=st.integers(2, 700),
    context=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
    ramp=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=6),
)
def test_an_epoch_visits_every_window_once(
    size: int, context: int, seed: int, ramp: list[tuple[int, int]]
) -> None:
    """Whatever the batches: as (batch, updates) pairs, each a call of its own."""
    size = max(size, context + 1)
    corpus = count_up(size)
    found: list[NDArray[np.integer]] = []
    step = seen = 0
    count = windows_per_epoch(corpus, context)
    while seen < 3 * count:
        for batch, updates in ramp:
            steps = np.arange(step, step + updates)
            windows = batch_windows(
                corpus, steps, seen + batch * np.arange(updates), seed=seed, batch=batch,
                context=context, sampling="epochs",
            )  # fmt: skip
            assert windows.shape == (updates, batch, context + 1)
            found.append(windows.reshape(-1, context + 1))
            step, seen = step + updates, seen + batch * updates
    rows = np.concatenate(found).astype(np.int64)
    starts = rows[:, 0]
    np.testing.assert_array_equal(rows, starts[:, None] + np.arange(context + 1))
    assert rows.max() < size
    for epoch in range(3):
        visited = np.sort(starts[epoch * count : (epoch + 1) * count])
        assert visited[0] < context
        np.testing.assert_array_equal(visited, visited[0] + context * np.arange(count))
        # what no window predicts lies before the first and behind the last: less than two windows
        assert size - count * context < 2 * context + 1
    at_once = batch_windows(
        corpus, np.zeros(1, np.int64), np.zeros(1, np.int64), seed=seed, batch=len(rows),
        context=context, sampling="epochs",
    )  # fmt: skip
    np.testing.assert_array_equal(at_once[0], rows)


def test_epochs_differ_in_order_and_offset() -> None:
    corpus = count_up(2000)
    count = windows_per_epoch(corpus, CONTEXT)
    many = np.zeros(1, np.int64)

    def starts(seed: int) -> NDArray[np.integer]:
        windows = batch_windows(corpus, many, many, seed=seed, batch=30 * count,
                                context=CONTEXT, sampling="epochs")  # fmt: skip
        return windows[0, :, 0].astype(np.int64).reshape(30, count)

    first, other = starts(0), starts(1)
    orders = first // CONTEXT
    assert len(np.unique(orders, axis=0)) == 30 and not np.array_equal(first, other)
    assert len(np.unique(first % CONTEXT)) > 8  # of 16 offsets, in 30 epochs
    # an order is no shift or reversal of the text
    steps = np.abs(np.diff(orders, axis=1))
    assert np.median(steps) > count / 5


def test_epochs_are_whole_where_the_next_begins() -> None:
    corpus = count_up(1000)
    count = windows_per_epoch(corpus, CONTEXT)
    assert count == 61 and 1000 - 2 * CONTEXT < count * CONTEXT <= 1000
    assert epoch_of(corpus, 0, CONTEXT) == 0.0
    assert epoch_of(corpus, count * CONTEXT, CONTEXT) == 1.0
    assert epoch_of(corpus, 5 * count * CONTEXT // 2, CONTEXT) == 2.5
    marks = [epoch_of(corpus, tokens, CONTEXT) for tokens in range(0, 5000, 64)]
    assert all(before < after for before, after in pairwise(marks))


def test_a_stream_never_ends_an_epoch(corpora: dict[str, Corpus]) -> None:
    assert epoch_of(corpora["stream"], 1e12, CONTEXT) == 0.0
    with pytest.raises(ProxyError, match="'stream:5' is endless"):
        draw(corpora["stream"], [0], sampling="epochs")


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_text_of_one_window(sampling: str) -> None:
    found = draw(count_up(CONTEXT + 1), [0, 1], sampling=sampling)
    assert (found == np.arange(CONTEXT + 1)).all()
    with pytest.raises(ProxyError, match="has 16 tokens and one window takes 17"):
        draw(count_up(CONTEXT), [0], sampling=sampling)


def test_bad_arguments(corpora: dict[str, Corpus]) -> None:
    with pytest.raises(ProxyError, match=re.escape("sampling='all' must be random or epochs")):
        draw(corpora["memory"], [0], sampling="all")
    with pytest.raises(ProxyError, match=r"steps \(2,\) and seen \(1,\) must be 1-D arrays"):
        batch_windows(corpora["memory"], np.arange(2), np.arange(1), seed=0, batch=1, context=2)
    with pytest.raises(ProxyError, match=r"steps from -1 to 7 must lie in \[0, 4294967296\)"):
        draw(corpora["memory"], [7, -1])
    with pytest.raises(ProxyError, match=r"steps from 0 to 4294967296 must lie in"):
        draw(corpora["stream"], [0, 2**32])
    with pytest.raises(ProxyError, match="seen from -4 to -4 must lie in"):
        batch_windows(
            corpora["memory"], np.arange(1), np.array([-4]), seed=0, batch=1, context=2,
            sampling="epochs",
        )  # fmt: skip


@pytest.mark.parametrize("name", ["memory", "stream"])
def test_draws_are_the_same_without_a_cpu_for_jax(
    corpora: dict[str, Corpus], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = draw(corpora[name], [0, 1, 2, 3, 4])

    def fail(backend: str) -> None:
        raise RuntimeError(f"unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", fail)
    np.testing.assert_array_equal(draw(corpora[name], [0, 1, 2, 3, 4]), expected)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batches_of_a_mapped_text_are_plain_arrays(
    corpora: dict[str, Corpus], sampling: str
) -> None:
    found = draw(corpora["mapped"], [0, 1], sampling=sampling)
    assert type(found) is np.ndarray and found.flags.owndata
    np.testing.assert_array_equal(found, draw(corpora["memory"], [0, 1], sampling=sampling))
