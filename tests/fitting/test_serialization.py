"""Laws in other processes: shipped ones by name, all others by value, one object per process."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from scaling_laws.common.errors import UsageError
from scaling_laws.common.pools import HERE
from scaling_laws.data.runs import Run, load_runs
from scaling_laws.inference.comparison import compare
from scaling_laws.inference.fitting import fit, serialization
from scaling_laws.inference.fitting.bootstrap import CHUNK_SIZE
from scaling_laws.inference.fitting.fit_data import Data, prepare
from scaling_laws.inference.fitting.serialization import (
    data_from_picklable,
    data_to_picklable,
    law_from_picklable,
    law_to_picklable,
    registered_name,
)
from scaling_laws.models.laws import LAWS, Law, get_schedule_law, register_law, schedule_laws
from tests.cli.calls import write_curves
from tests.fitting.test_pools import LAW, TWO, Elsewhere, travelled


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder: Path = tmp_path_factory.mktemp("serialization") / "curves"
    write_curves(folder)
    return dict(load_runs(folder))


@pytest.fixture(scope="module")
def data(runs: dict[str, Run]) -> Data:
    with jax.enable_x64(True):
        return prepare(get_schedule_law(LAW), runs)


def own_law(name: str) -> Law:
    """A law that only this test has: its design matrix is a function without a module's name."""
    power = get_schedule_law(LAW)
    return replace(power, name=name, design_matrix=lambda *given: power.design_matrix(*given))


@pytest.fixture(params=["registered", "unregistered", "replaced"])
def law_from_outside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Law:
    monkeypatch.setattr(LAWS, "_items", dict(LAWS._items))
    law = own_law(LAW if request.param == "replaced" else "mine")
    if request.param != "unregistered":
        register_law(law, replace=True)
    return law


def test_shipped_laws_are_sent_by_name(data: Data) -> None:
    for law in schedule_laws():
        assert registered_name(law) == law.name
    across = get_schedule_law("multi_power_across_sizes")
    assert registered_name(across) == across.name
    assert data_to_picklable(data, HERE) is data
    there = data_from_picklable(travelled(data_to_picklable(data, Elsewhere())))
    assert there.law is data.law
    assert np.array_equal(there.observed, data.observed) and there.unit == data.unit


def test_laws_from_outside_are_sent_by_value_and_stay_one_law(
    law_from_outside: Law, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registered_name(law_from_outside) is None
    sent = law_to_picklable(law_from_outside, Elsewhere())
    assert law_from_picklable(travelled(sent)) is law_from_outside  # at home
    monkeypatch.setattr(serialization, "_RECEIVED", {})  # another process
    one, other = (law_from_picklable(travelled(sent)) for _ in range(2))
    assert one is other and one is not law_from_outside
    assert one.name == law_from_outside.name
    second = law_to_picklable(own_law(law_from_outside.name + "2"), Elsewhere())
    assert law_from_picklable(travelled(second)) is not one


def test_laws_of_a_law_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAWS, "_items", dict(LAWS._items))
    mine = register_law(replace(get_schedule_law("multi_power"), name="mine"))
    assert isinstance(mine, Law)
    assert registered_name(get_schedule_law("mine_across_sizes")) is None


def test_a_law_that_cannot_be_pickled_is_refused(runs: dict[str, Run]) -> None:
    lock, power = threading.Lock(), get_schedule_law(LAW)

    def locked(*given: Any) -> Any:
        with lock:
            return power.design_matrix(*given)

    law = replace(power, name="locked", design_matrix=locked)
    with pytest.raises(UsageError, match=r"'locked' cannot be sent to other processes"):
        fit(law, runs, starts=1, draws=4, backend=TWO["joblib"])
    with pytest.raises(UsageError, match=r"'locked' cannot be sent to other processes"):
        compare([law], runs.values(), backend=TWO["joblib"])


@pytest.mark.slow
def test_laws_from_outside_give_the_same_bits_in_processes(
    law_from_outside: Law, runs: dict[str, Run]
) -> None:
    one, other = (
        fit(law_from_outside, runs, starts=2, draws=CHUNK_SIZE + 6, backend=backend)
        for backend in ("local", TWO["joblib"])
    )
    assert other.params == one.params
    assert all(np.array_equal(other.draws[name], row) for name, row in one.draws.items())
    assert vars(other.uncertainty) == vars(one.uncertainty)
    scores = [
        compare([law_from_outside, "linear_drop"], runs, starts=1, backend=backend).as_json()
        for backend in ("local", TWO["joblib"])
    ]
    assert scores[0] == scores[1]
