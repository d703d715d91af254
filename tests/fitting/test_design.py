"""Compiled design matrices: the derivatives of groups are those of the whole, rows are apart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from scaling_laws.data.runs import Run
from scaling_laws.inference.fitting import design
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.problem import nonlinear_values
from scaling_laws.models.laws import get_schedule_law
from scaling_laws.models.schedules import schedule

FACTS = {"weight_decay": 0.1, "model_params": 1e6}


def data_of(name: str) -> Data:
    made = []
    for spec in ("cosine:peak=1e-3,steps=600,warmup=50", "constant:peak=1e-3,steps=400,warmup=50"):
        plan = schedule(spec)
        steps = np.arange(60, plan.steps, 20)
        made.append(Run(spec, plan, steps, 2.0 + steps**-0.5, FACTS))
    with jax.enable_x64(True):
        return prepare(get_schedule_law(name), made)


@pytest.mark.parametrize("name", ["norm_clock", "multi_power", "power"])
def test_derivatives_equal_those_of_jax(name: str) -> None:
    data = data_of(name)
    law, points = data.law, data.starts(3, 0)
    columns, derivatives = data.design.with_derivatives(points)

    def plain(unconstrained: jax.Array) -> jax.Array:
        return data.problem.design_matrix(law, nonlinear_values(law, unconstrained, ()))

    with jax.enable_x64(True):
        for row, point in enumerate(points):
            np.testing.assert_allclose(columns[row], np.asarray(plain(point)).T, rtol=1e-12)
            expected = np.asarray(jax.jacfwd(plain)(point)).transpose(2, 1, 0)
            scale = np.abs(expected).max(axis=2, keepdims=True) + 1e-300
            np.testing.assert_allclose(derivatives[row] / scale, expected / scale, atol=1e-11)
    np.testing.assert_allclose(data.design.columns(points), columns, rtol=1e-12)


def test_rows_do_not_depend_on_their_number_or_on_threads() -> None:
    data = data_of("lr_annealing")
    points = data.starts(2 * design.ROWS_CPU + 3, 0)
    together = data.design.columns(points)
    with ThreadPoolExecutor(4) as threads:
        alone = list(threads.map(lambda point: data.design.columns(point[None])[0], points))
    np.testing.assert_array_equal(np.stack(alone), together)


def test_accelerators_evaluate_rows_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of("power")
    points = data.starts(5, 0)
    expected = data.design.with_derivatives(points)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    design._compiled.cache_clear()
    found = data_of("power").design.with_derivatives(points)
    design._compiled.cache_clear()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_results_fit_into_memory() -> None:
    assert design.rows_together(10) == design.ROWS_CPU
    assert design.rows_together(design.MEMORY // 8 // 4) == 4
    assert design.rows_together(design.MEMORY) == 1
