"""The training loop: seeds, the LR convention, logging, AdamW, divergence, compilation."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from scaling_laws.common.errors import ProxyError
from scaling_laws.models.schedules import Schedule, schedule
from scaling_laws.proxy import Corpus, ProxyConfig, TrainedCurve, load_corpus
from scaling_laws.proxy import train_curve as train_function
from scaling_laws.proxy.training import compiled_steps, training_loop, transformer
from scaling_laws.proxy.training.batches import batch_windows, windows_per_epoch
from scaling_laws.proxy.training.optimizers import BETA1, BETA2, CLIP, width_factors
from scaling_laws.proxy.training.proxy_config import validation_windows
from tests.proxy.conftest import TINY, make_corpus, numbers

COSINE = "cosine:peak=2e-2,end=2e-3,steps=12,warmup=3"
TEXT = make_corpus()
WINDOW = TINY.context + 1


def config(spec: str | Schedule = COSINE, **changes: Any) -> ProxyConfig:
    plan = schedule(spec) if isinstance(spec, str) else spec
    return ProxyConfig(**({"size": TINY, "schedule": plan, "corpus": TEXT, "every": 1} | changes))


def run(spec: str | Schedule = COSINE, **changes: Any) -> TrainedCurve:
    return train_function(config(spec, **changes))


def columns(curve: TrainedCurve, rows: slice = slice(None)) -> NDArray[np.float64]:
    """All logged numbers but the LR, of shape (rows, 6)."""
    names = ("loss", "train_loss", "grad_norm", "update_norm", "param_norm", "hidden_norm")
    return np.stack([getattr(curve, name)[rows] for name in names], axis=1)


@pytest.fixture(scope="module")
def cosine() -> TrainedCurve:
    return run()


def test_a_seed_gives_a_curve_bit_for_bit(cosine: TrainedCurve) -> None:
    np.testing.assert_array_equal(columns(run()), columns(cosine))
    other = columns(run(seed=1)) != columns(cosine)
    assert other[1:].all() and other[0, :3].all()  # Adam's first step has the same size everywhere


def test_it_learns() -> None:
    curve = run("constant:peak=2e-2,steps=96,warmup=5", every=6, width_rule="none")
    assert math.log(8) - 0.05 < curve.loss[-1] < 2.15 < 3.5 < curve.train_loss[0]
    assert curve.train_loss[-1] == pytest.approx(curve.loss[-1], abs=0.2)


def test_columns(cosine: TrainedCurve) -> None:
    plan = schedule(COSINE)
    np.testing.assert_array_equal(cosine.step, np.arange(plan.steps))
    np.testing.assert_array_equal(cosine.lr, plan.lr)
    assert cosine.step.dtype == np.int64
    assert np.isfinite(columns(cosine)).all()
    assert cosine.seconds > 0


@pytest.mark.parametrize(("steps", "rows"), [(12, [5, 11]), (7, [5, 6]), (1, [0])])
def test_the_last_step_is_always_logged(steps: int, rows: list[int]) -> None:
    curve = run(f"constant:peak=1e-2,steps={steps}", every=6)
    assert curve.step.tolist() == rows


def test_rows_are_the_same_however_many_are_logged(cosine: TrainedCurve) -> None:
    seen: list[tuple[int, float]] = []
    sparse = train_function(config(every=6), lambda step, loss: seen.append((step, loss)))
    np.testing.assert_allclose(sparse.loss, cosine.loss[sparse.step], rtol=1e-5)
    np.testing.assert_allclose(sparse.param_norm, cosine.param_norm[sparse.step], rtol=1e-5)
    for first, row, last in ((0, 0, 5), (6, 1, 11)):
        for name in ("train_loss", "grad_norm", "update_norm"):
            mean = getattr(cosine, name)[first : last + 1].mean()
            assert getattr(sparse, name)[row] == pytest.approx(mean, rel=1e-5)
    assert seen == list(zip(sparse.step.tolist(), sparse.loss.tolist(), strict=True))


@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_loss_has_seen_the_rate_of_its_own_step(step: int) -> None:
    lr = np.zeros(8)
    lr[step] = 1e-2
    curve = run(Schedule("one update", lr))
    np.testing.assert_array_equal(curve.lr, lr)
    for values in (curve.loss, curve.param_norm):
        assert len(set(values[:step])) <= 1
        assert len(set(values[step:])) == 1
        assert step == 0 or values[step] != values[step - 1]


def test_schedules_that_agree_at_first_give_the_same_rows_at_first(cosine: TrainedCurve) -> None:
    lr = schedule(COSINE).lr.copy()
    lr[7:] *= 0.5
    other = run(Schedule("another end", lr))
    np.testing.assert_array_equal(columns(other, slice(7)), columns(cosine, slice(7)))
    assert (other.loss[7:] != cosine.loss[7:]).all()


def test_another_schedule_compiles_nothing(
    cosine: TrainedCurve, caplog: pytest.LogCaptureFixture
) -> None:
    def compiled(work: Callable[[], object]) -> bool:
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
            work()
        return any(each.startswith("Compiling") for each in caplog.messages)

    other = "wsd:peak=1e-2,steps=9,warmup=2,decay_fraction=0.5"
    assert not compiled(lambda: run(other, weight_decay=0.3, seed=4))
    assert compiled(lambda: jax.jit(lambda x: x + 1)(1.0))  # it would have been seen


def test_double_precision_elsewhere_moves_no_digit_that_counts(cosine: TrainedCurve) -> None:
    with jax.enable_x64(True):
        found = run()
    np.testing.assert_allclose(columns(found), columns(cosine), rtol=1e-4)


def adamw(
    gradients: Any,
    parameters: Any,
    moments: Any,
    factors: Any,
    count: int,
    lr: float,
    decay: float,
) -> Any:
    """One update of AdamW as its paper has it, in float64, after clipping by the global norm."""
    leaves = jax.tree.leaves(gradients)
    norm = math.sqrt(sum(float(np.sum(leaf**2)) for leaf in leaves))

    def update(
        g: NDArray[Any], p: NDArray[Any], m: Any, v: Any, factor: float
    ) -> tuple[Any, Any, Any]:
        g = g / max(1.0, norm / CLIP)
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g**2
        step = (m / (1 - BETA1**count)) / (np.sqrt(v / (1 - BETA2**count)) + 1e-8)
        return p - lr * (factor * step + (decay * p if p.ndim == 2 else 0.0)), m, v

    flat, tree = jax.tree.flatten(parameters)
    scales = jax.tree.leaves(factors)
    moved = [update(*each) for each in zip(leaves, flat, *moments, scales, strict=True)]
    found, *moments = (list(each) for each in zip(*moved, strict=True))
    return jax.tree.unflatten(tree, found), moments


def windows_at(step: int, batch: int = TINY.batch) -> NDArray[np.uint8]:
    """Those of one update of seed 0, of shape (batch, context + 1)."""
    counts = np.array([step]), np.array([step * batch])
    (found,) = batch_windows(TEXT, *counts, seed=0, batch=batch, context=TINY.context)
    return found


@pytest.mark.parametrize(("decay", "rule"), [(0.0, "none"), (5.0, "none"), (5.0, "per-layer")])
def test_updates_are_clipped_and_decayed_apart(decay: float, rule: str) -> None:
    lr = np.array([1e-3, 3e-2, 1e-2])
    curve = run(Schedule("three", lr), weight_decay=decay, width_rule=rule)
    key = jax.random.key(0)
    double: Any = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64),
        transformer.initialize(jax.random.fold_in(key, 0), TINY),
    )
    factors = width_factors(double, TINY, rule)
    moments: Any = [[0.0] * len(jax.tree.leaves(double))] * 2
    slope = jax.jit(jax.value_and_grad(lambda p, windows: transformer.loss(p, windows, TINY)))
    for step, rate in enumerate(lr):
        single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), double)
        loss, gradient = slope(single, windows_at(step))
        norm = math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
        assert norm > CLIP  # so that clipping does something here
        assert curve.train_loss[step] == pytest.approx(float(loss), rel=1e-4)
        assert curve.grad_norm[step] == pytest.approx(norm, rel=1e-3)
        gradient = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), gradient)
        before = double
        double, moments = adamw(gradient, double, moments, factors, step + 1, rate, decay)
        assert curve.param_norm[step] == pytest.approx(norm_of(double), rel=1e-4)
        change = jax.tree.map(np.subtract, double, before)
        assert curve.update_norm[step] == pytest.approx(norm_of(change), rel=1e-3)


def norm_of(tree: Any) -> float:
    """L2 norm of all matrices, in float64."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]
    return math.sqrt(sum(float(np.sum(leaf**2)) for leaf in leaves if leaf.ndim == 2))


def test_decay_leaves_gains_alone() -> None:
    """The same update with and without: what differs is the decay."""
    shapes = compiled_steps.shapes_of(config())
    states = []
    for decay in (0.0, 0.5):
        state = compiled_steps.initialize(jax.random.key(1), shapes)
        before = jax.tree.map(np.array, state.parameters)
        rates, windows = jnp.full(1, 0.25, jnp.float32), jnp.asarray(windows_at(0)[None])
        state, _ = compiled_steps.update(state, rates, windows, jnp.float32(decay), shapes=shapes)
        states.append(jax.tree.map(np.array, state.parameters))
    plain, decayed = states
    for start, left, right in zip(*map(jax.tree.leaves, (before, plain, decayed)), strict=True):
        lost = 0.25 * 0.5 * start if start.ndim == 2 else np.zeros_like(start)
        np.testing.assert_allclose(left - right, lost, atol=1e-6)


RICH = {
    "ema": (0.0, 0.5, 0.9),
    "merge": (1, 3),
    "ramp": ((4, 8), (6, 2)),
    "sampling": "epochs",
}


@pytest.fixture(scope="module")
def rich() -> TrainedCurve:
    return run("constant:peak=2e-2,steps=8,warmup=3", **RICH)


def test_averages_and_norms_are_those_of_the_states(rich: TrainedCurve) -> None:
    plan = config("constant:peak=2e-2,steps=8,warmup=3", **RICH)
    held_out = jnp.asarray(plan.validation_windows)
    position = training_loop.begin([plan])
    states = [jax.tree.map(np.array, position.state.parameters)]
    for window in plan.log_intervals():
        position, _ = training_loop.advance([plan], position, window, held_out)
        states.append(jax.tree.map(np.array, position.state.parameters))

    def measure(parameters: Any) -> float:
        single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), parameters)
        return float(compiled_steps.evaluate(single, held_out, compiled_steps.shapes_of(plan)))

    start, *after = [jax.tree.map(lambda leaf: leaf.astype(np.float64), each) for each in states]
    assert list(rich.averages) == [
        *(f"loss_ema_{decay}" for decay in ("0", "0.5", "0.9")),
        *(f"loss_merge_{count}" for count in (1, 3)),
    ]
    for decay in RICH["ema"]:
        average = start
        for row, state in enumerate(after):
            average = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * p, average, state)
            found = rich.averages[f"loss_ema_{decay:g}"][row]
            assert found == pytest.approx(measure(average), rel=1e-5)
    for row in range(len(after)):
        last = after[max(0, row - 2) : row + 1]
        mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *last)
        assert rich.averages["loss_merge_3"][row] == pytest.approx(measure(mean), rel=1e-5)
    np.testing.assert_array_equal(rich.averages["loss_merge_1"], rich.loss)
    np.testing.assert_array_equal(rich.averages["loss_ema_0"], rich.loss)
    assert (rich.averages["loss_merge_3"][2:] != rich.loss[2:]).all()
    for row, (before, state) in enumerate(zip([start, *after], after, strict=False)):
        change = norm_of(jax.tree.map(np.subtract, state, before))
        assert rich.update_norm[row] == pytest.approx(change, rel=1e-4)
        assert rich.param_norm[row] == pytest.approx(norm_of(state), rel=1e-6)
        hidden = {key: part for key, part in state.items() if key.startswith("block")}
        assert rich.hidden_norm[row] == pytest.approx(norm_of(hidden), rel=1e-6)
        assert rich.embedding_norm[row] == pytest.approx(norm_of(state["embedding"]), rel=1e-6)
        assert rich.head_norm[row] == pytest.approx(norm_of(state["head"]), rel=1e-6)


def test_a_ramp_changes_the_batch_at_its_step(rich: TrainedCurve) -> None:
    fresh = np.array([4, 4, 4, 4, 8, 8, 2, 2]) * TINY.context
    np.testing.assert_array_equal(rich.tokens, np.cumsum(fresh))
    assert rich.tokens.dtype == np.int64
    epoch = windows_per_epoch(TEXT, TINY.context) * TINY.context
    np.testing.assert_allclose(rich.epoch, rich.tokens / epoch, rtol=1e-12)
    plain = run("constant:peak=2e-2,steps=8,warmup=3", sampling="epochs")
    np.testing.assert_array_equal(columns(rich, slice(4)), columns(plain, slice(4)))
    assert (rich.loss[4:] != plain.loss[4:]).all()


def test_a_tied_head_has_no_norm_of_its_own() -> None:
    curve = run("constant:peak=1e-2,steps=2", size=replace(TINY, tied=True))
    assert (curve.head_norm == 0).all()
    whole = np.sqrt(curve.embedding_norm**2 + curve.hidden_norm**2)
    np.testing.assert_allclose(whole, curve.param_norm, rtol=1e-6)


def test_averages_do_not_move_the_run(cosine: TrainedCurve) -> None:
    both = numbers(run(ema=(0.9,), merge=(2,)))
    for name, column in numbers(cosine).items():
        np.testing.assert_array_equal(both[name], column, err_msg=name)


def test_an_endless_corpus_can_be_trained_on() -> None:
    corpus = load_corpus("stream:3")
    curve = run("constant:peak=1e-2,steps=4", corpus=corpus, every=2)
    assert np.isfinite(curve.loss).all() and (curve.epoch == 0).all()
    with pytest.raises(ProxyError, match="sampling='epochs': corpus 'stream:3' is endless"):
        config(corpus=corpus, sampling="epochs")


@pytest.mark.parametrize("every", [1, 6])
def test_divergence_names_the_step(every: int) -> None:
    lr = np.full(12, 1e-3)
    lr[7] = 30.0
    with pytest.raises(ProxyError) as caught:
        run(Schedule("spike", lr), every=every)
    assert str(caught.value).startswith("spike: the loss is ")
    # seen at once in the logged loss, or else in the next batch's
    assert f"at step {7 if every == 1 else 8} (" in str(caught.value)
    assert "diverged at lr 30; lower the peak (30)" in str(caught.value)


def test_the_smallest_text_will_do() -> None:
    one = np.arange(WINDOW, dtype=np.uint8)
    small = ProxyConfig(TINY, schedule(COSINE), Corpus("one window", one, one[::-1].copy()))
    np.testing.assert_array_equal(small.validation_windows, [[one[::-1]]])
    zero = np.zeros(1, np.int64)
    for sampling in ("random", "epochs"):
        (windows,) = batch_windows(
            small.corpus, zero, zero, seed=0, batch=4, context=TINY.context, sampling=sampling
        )
        np.testing.assert_array_equal(windows, np.tile(one, (4, 1)))


@pytest.mark.parametrize("size", [17, 32, 33, 34, 80, 143, 144, 145, 146, 5000])
def test_validation_windows_do_not_overlap(size: int) -> None:
    held_out = np.random.default_rng(size).integers(256, size=size, dtype=np.uint8)
    windows = validation_windows(Corpus("random", held_out.copy(), held_out), TINY)
    assert windows.shape[2] == WINDOW
    places = {held_out[i : i + WINDOW].tobytes(): i for i in range(size - TINY.context)}
    starts = [places[window.tobytes()] for window in windows.reshape(-1, WINDOW)]
    assert len(starts) == min(8, max(1, (size - WINDOW) // TINY.context))
    assert starts[0] == 0
    assert (np.diff(starts) >= TINY.context).all()
    assert len(starts) == 1 or starts[-1] == size - WINDOW  # to the very end


def test_batches_come_from_everywhere_in_the_train_part_and_from_nowhere_else() -> None:
    corpus = Corpus("forty", np.arange(40, dtype=np.uint8), np.zeros(17, np.uint8))
    steps_seen = np.arange(200, dtype=np.int64)
    windows = batch_windows(corpus, steps_seen, 4 * steps_seen, seed=3, batch=4, context=16)
    assert windows.shape == (200, 4, 17)
    assert set(windows[:, :, 0].ravel().tolist()) == set(range(24))
    assert (np.diff(windows.astype(int)) == 1).all()
    assert len({batch.tobytes() for batch in windows}) == 200
