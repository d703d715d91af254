"""The optax export against optax's own schedules, under jit and at large counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from scaling_laws.decisions.export import export_schedule
from scaling_laws.models import Schedule
from tests.export.reading import load


def schedule_of(plan: str | Schedule, folder: Path) -> Any:
    text = export_schedule(plan, to="optax").text
    assert text is not None
    return load(folder, text).schedule


def test_cosine_equals_that_of_optax(tmp_path: Path) -> None:
    ours = schedule_of("cosine:peak=3e-4,end=3e-5,steps=500", tmp_path)
    theirs = optax.cosine_decay_schedule(3e-4, 500, alpha=0.1)
    for count in (0, 1, 250, 499):
        np.testing.assert_allclose(float(ours(count)), float(theirs(count)), rtol=0, atol=1e-10)


def test_runs_in_an_optimizer_under_jit(tmp_path: Path) -> None:
    optimizer = optax.sgd(schedule_of("linear:peak=1.0,steps=4", tmp_path))

    @jax.jit
    def update(value: Any, state: Any) -> Any:
        updates, state = optimizer.update(jnp.ones(()), state)
        return value + updates, state

    value = jnp.zeros(())
    state = optimizer.init(value)
    seen = []
    for _ in range(5):
        value, state = update(value, state)
        seen.append(float(value))
    np.testing.assert_allclose(np.diff([0.0, *seen]), [-1.0, -0.75, -0.5, -0.25, -0.25], atol=1e-6)


def test_counts_above_two_to_the_24_are_exact(tmp_path: Path) -> None:
    """float32 does not represent odd counts there; a jump must still be at the right step."""
    at = 2**24 + 5
    lr = np.full(2**24 + 10, 1.0)  # more steps than a spec may have
    lr[at:] = 0.25
    ours = jax.jit(schedule_of(Schedule("one jump", lr), tmp_path))
    assert float(ours(at - 1)) == 1.0 and float(ours(at)) == 0.25
