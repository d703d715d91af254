"""The training loop: seeds, the LR convention, logging, AdamW, divergence, compilation."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from scaling_laws.errors import ProxyError
from scaling_laws.proxy import Corpus, Curve, ProxyConfig, model
from scaling_laws.proxy import train as train_function
from scaling_laws.proxy.training import (
    BETA1,
    BETA2,
    CLIP,
    _optimizer,
    batch_windows,
    validation_windows,
)
from scaling_laws.schedules import Schedule, schedule
from tests.proxy.conftest import TINY, make_corpus

COSINE = "cosine:peak=2e-2,end=2e-3,steps=12,warmup=3"
TEXT = make_corpus()
WINDOW = TINY.context + 1


def config(spec: str | Schedule = COSINE, **changes: Any) -> ProxyConfig:
    plan = schedule(spec) if isinstance(spec, str) else spec
    return ProxyConfig(**({"size": TINY, "schedule": plan, "corpus": TEXT, "every": 1} | changes))


def run(spec: str | Schedule = COSINE, **changes: Any) -> Curve:
    return train_function(config(spec, **changes))


def columns(curve: Curve, rows: slice = slice(None)) -> NDArray[np.float64]:
    """All logged numbers but the LR, of shape (rows, 4)."""
    names = ("loss", "train_loss", "grad_norm", "param_norm")
    return np.stack([getattr(curve, name)[rows] for name in names], axis=1)


@pytest.fixture(scope="module")
def cosine() -> Curve:
    return run()


def test_a_seed_gives_a_curve_bit_for_bit(cosine: Curve) -> None:
    np.testing.assert_array_equal(columns(run()), columns(cosine))
    assert (columns(run(seed=1)) != columns(cosine)).all()


def test_it_learns() -> None:
    curve = run("constant:peak=2e-2,steps=96,warmup=5", every=6)
    assert math.log(8) - 0.05 < curve.loss[-1] < 2.5 < 3.5 < curve.loss[0]
    assert curve.train_loss[-1] == pytest.approx(curve.loss[-1], abs=0.2)


def test_columns(cosine: Curve) -> None:
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


def test_rows_are_the_same_however_many_are_logged(cosine: Curve) -> None:
    seen: list[tuple[int, float]] = []
    sparse = train_function(config(every=6), lambda step, loss: seen.append((step, loss)))
    np.testing.assert_allclose(sparse.loss, cosine.loss[sparse.step], rtol=1e-5)
    np.testing.assert_allclose(sparse.param_norm, cosine.param_norm[sparse.step], rtol=1e-5)
    for first, row, last in ((0, 0, 5), (6, 1, 11)):
        for name in ("train_loss", "grad_norm"):
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


def test_schedules_that_agree_at_first_give_the_same_rows_at_first(cosine: Curve) -> None:
    lr = schedule(COSINE).lr.copy()
    lr[7:] *= 0.5
    other = run(Schedule("another end", lr))
    np.testing.assert_array_equal(columns(other, slice(7)), columns(cosine, slice(7)))
    assert (other.loss[7:] != cosine.loss[7:]).all()


def test_another_schedule_compiles_nothing(cosine: Curve, caplog: pytest.LogCaptureFixture) -> None:
    def compiled(work: Callable[[], object]) -> bool:
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
            work()
        return any(each.startswith("Compiling") for each in caplog.messages)

    other = "wsd:peak=1e-2,steps=9,warmup=2,decay_fraction=0.5"
    assert not compiled(lambda: run(other, weight_decay=0.3, seed=4))
    assert compiled(lambda: jax.jit(lambda x: x + 1)(1.0))  # it would have been seen


def test_double_precision_elsewhere_moves_no_digit_that_counts(cosine: Curve) -> None:
    with jax.enable_x64(True):
        found = run()
    np.testing.assert_allclose(columns(found), columns(cosine), rtol=1e-4)


def adamw(
    gradients: Any, parameters: Any, moments: Any, count: int, lr: float, decay: float
) -> Any:
    """One update of AdamW as its paper has it, in float64, after clipping by the global norm."""
    leaves = jax.tree.leaves(gradients)
    norm = math.sqrt(sum(float(np.sum(leaf**2)) for leaf in leaves))

    def update(g: NDArray[Any], p: NDArray[Any], m: Any, v: Any) -> tuple[Any, Any, Any]:
        g = g / max(1.0, norm / CLIP)
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g**2
        step = (m / (1 - BETA1**count)) / (np.sqrt(v / (1 - BETA2**count)) + 1e-8)
        return p - lr * (step + (decay * p if p.ndim == 2 else 0.0)), m, v

    flat, tree = jax.tree.flatten(parameters)
    moved = [update(*each) for each in zip(leaves, flat, *moments, strict=True)]
    found, *moments = (list(each) for each in zip(*moved, strict=True))
    return jax.tree.unflatten(tree, found), moments


@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_updates_are_clipped_and_decayed_apart(decay: float) -> None:
    lr = np.array([1e-3, 3e-2, 1e-2])
    curve = run(Schedule("three", lr), weight_decay=decay)
    key = jax.random.key(0)
    double: Any = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64),
        model.initialize(jax.random.fold_in(key, 0), TINY),
    )
    moments: Any = [[0.0] * len(jax.tree.leaves(double))] * 2
    slope = jax.jit(jax.value_and_grad(lambda p, windows: model.loss(p, windows, TINY)))
    for step, rate in enumerate(lr):
        windows = batch_windows(
            jnp.asarray(TEXT.train), jax.random.fold_in(key, 1), jnp.uint32(step), TINY
        )
        single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), double)
        loss, gradient = slope(single, windows)
        norm = math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
        assert norm > CLIP  # so that clipping does something here
        assert curve.train_loss[step] == pytest.approx(float(loss), rel=1e-4)
        assert curve.grad_norm[step] == pytest.approx(norm, rel=1e-3)
        gradient = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), gradient)
        double, moments = adamw(gradient, double, moments, step + 1, rate, decay)
        matrices = [leaf for leaf in jax.tree.leaves(double) if leaf.ndim == 2]
        expected = math.sqrt(sum(float(np.sum(leaf**2)) for leaf in matrices))
        assert curve.param_norm[step] == pytest.approx(expected, rel=1e-4)


def test_decay_leaves_gains_alone_and_gradients_are_clipped() -> None:
    parameters = {"matrix": jnp.full((3, 2), 2.0), "gain": jnp.ones(4)}
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    optimizer = _optimizer(jnp.float32(0.25))
    with jax.numpy_dtype_promotion("standard"):
        direction, _ = optimizer.update(nothing, optimizer.init(parameters), parameters)
    np.testing.assert_array_equal(direction["matrix"], np.full((3, 2), 0.5))
    np.testing.assert_array_equal(direction["gain"], np.zeros(4))
    moments = []
    for scale in (0.01, 10.0, 1000.0):
        gradient = jax.tree.map(lambda leaf, scale=scale: jnp.full_like(leaf, scale), parameters)
        with jax.numpy_dtype_promotion("standard"):
            _, state = optimizer.update(gradient, optimizer.init(parameters), parameters)
        moments.append(float(state[1].mu["gain"][0]))
    small, *large = moments
    assert small == pytest.approx((1 - BETA1) * 0.01, rel=1e-4)
    assert large == pytest.approx([(1 - BETA1) * CLIP / math.sqrt(10)] * 2, rel=1e-4)


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"seed=-1 must lie in"),
        ({"seed": 2**31}, r"seed=2147483648 must lie in"),
        ({"every": 0}, r"every=0: log every 1 or more"),
        ({"weight_decay": -0.1}, r"weight_decay=-0.1 must be a finite number >= 0"),
        ({"weight_decay": math.nan}, r"weight_decay=nan must be"),
        (
            {"corpus": Corpus("few", np.zeros(16, np.uint8), np.zeros(99, np.uint8))},
            r"corpus 'few' is too small for size 'tiny': its train part has 16 bytes.*takes 17",
        ),
        (
            {"corpus": Corpus("few", np.zeros(99, np.uint8), np.zeros(16, np.uint8))},
            r"its held-out part has 16 bytes",
        ),
    ],
)
def test_bad_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProxyError, match=message):
        config(**changes)


def test_the_smallest_text_will_do() -> None:
    one = np.arange(WINDOW, dtype=np.uint8)
    small = ProxyConfig(TINY, schedule(COSINE), Corpus("one window", one, one[::-1].copy()))
    np.testing.assert_array_equal(small.validation_windows, [[one[::-1]]])
    windows = batch_windows(jnp.asarray(one), jax.random.key(0), jnp.uint32(0), TINY)
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
    tokens = jnp.arange(40, dtype=jnp.uint8)
    draw = jax.vmap(lambda step: batch_windows(tokens, jax.random.key(3), step, TINY))
    windows = np.asarray(draw(jnp.arange(200, dtype=jnp.uint32)))
    assert set(windows[:, :, 0].ravel()) == set(range(24))
    assert (np.diff(windows.astype(int)) == 1).all()
    assert len({batch.tobytes() for batch in windows}) == 200
