"""Families with several decays, and warm-ups that are no line, behind sampled rates."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.data.importing.printed_precision import precision_of
from scaling_laws.data.importing.recognise import recognise
from scaling_laws.data.importing.samples import Samples, simplest_between, simplest_share
from tests.importing.test_recognise import error, sampled

# each with the spec that it is to be recognised as, where that is another one
FAMILIES = (
    "cosine_restarts:peak=0.0003,end=3e-05,steps=2951,cycle=500,warmup=200",
    "cosine_restarts:peak=0.001,end=0.0001,steps=3151,cycle=403,cycle_factor=2,warmup=105",
    "cosine_restarts:peak=0.001,steps=2951,cycle=800",
    "cyclic:peak=0.001,steps=2951,low=0.0001,period=400,warmup=100",
    "cyclic:peak=0.001,steps=2951,period=1777",
    "infinite:peak=0.0003,constant_lr=0.00015,cooldown=800,anneal_start=2400,end=3e-06,steps=3000,"
    "warmup=200",
    "infinite:peak=0.0003,constant_lr=0.0001,cooldown=700,shape=inverse_sqrt,anneal_start=2013,"
    "end=1e-05,steps=2500,warmup=100",
    "wsd_s:peak=0.0004,end=4e-05,steps=3000,warmup=100,decay_ends=3000,decay_fraction=0.2",
    "one_cycle:peak=0.001,steps=2000",
    "one_cycle:peak=0.001,steps=2000,rise_fraction=0.1,start=0.0001,end=1e-05",
)


@pytest.mark.parametrize("spec", FAMILIES)
@pytest.mark.parametrize(
    ("form", "every"), [("{:.6E}", 50), pytest.param("{:.17g}", 1, marks=pytest.mark.slow)]
)
def test_families_are_recognised(spec: str, form: str, every: int) -> None:
    lr = sl.schedule(spec).lr
    samples = sampled(lr, every, form)
    found = recognise(samples)
    assert found.best is not None and found.best.spec is not None
    assert found.best.shape in (spec.split(":")[0], "cosine", "inverse_linear")
    assert found.best.spec.split(":")[0] == spec.split(":")[0]
    assert error(found, samples, lr) < 1e-8 and found.disagreement < 1e-6
    again = sl.schedule(found.best.spec).lr
    assert again.size > samples.last
    np.testing.assert_allclose(
        again[: samples.last + 1], lr[: samples.last + 1], rtol=0, atol=1e-8 * lr.max()
    )


def test_resumed_decays_need_every_row() -> None:
    """WSD-S goes back to its peak between two rows: nothing shows at which step."""
    spec = "wsd_s:peak=0.0004,end=4e-05,steps=3000,decay_ends=1000/2000/3000,warmup=100"
    lr = sl.schedule(spec).lr
    found = recognise(sampled(lr, 1, "{:.6E}"))
    assert found.best is not None and found.best.spec is not None and found.disagreement < 1e-6
    assert sl.schedule(found.best.spec) == sl.schedule(spec)
    sparse = recognise(sampled(lr, 10, "{:.6E}"))
    assert sparse.best is not None and sparse.best.spec is not None
    assert sl.schedule(sparse.best.spec) == sl.schedule(spec)
    # it is refused for that: the rival resumes steps earlier
    assert sparse.disagreement > 0.5
    assert re.search(r"decay_ends=99\d/", sparse.rival)


def test_cycles_of_other_trainers() -> None:
    """The ramp reaches the peak at the step from which the cycles count."""
    warmup, cycle, peak, low = 200, 600, 6e-4, 6e-5
    t = np.arange(2500)
    x = ((t - warmup) % cycle) / cycle
    for name, share in (
        ("cosine_restarts", 0.5 + 0.5 * np.cos(np.pi * x)),
        ("cyclic", np.abs(1 - 2 * x)),
    ):
        lr = np.where(t < warmup, peak * t / warmup, low + (peak - low) * share)
        samples = sampled(lr, 10, "{:.6E}")
        found = recognise(samples)
        assert found.best is not None and found.best.shape == name
        assert found.best.spec is None  # no family says it
        assert f"from step {warmup} on, after a warm-up" in found.best.words
        assert error(found, samples, lr) < 1e-6


def test_what_comes_back_without_a_pattern() -> None:
    """Restarts at steps that no cycle explains: refused, with the worst row of what was tried."""
    whole = sl.schedule(
        "cosine:peak=1e-3,end=1e-4,steps=700 + cosine:peak=1e-3,end=1e-4,steps=950 + "
        "cosine:peak=1e-3,end=1e-4,steps=800"
    ).lr
    found = recognise(sampled(whole, 10, "{:.6E}"))
    assert found.best is None and all(not each.accepted for each in found.tried)
    triangle = np.abs(((np.arange(2000) - 300) % 800) / 400 - 1)
    bent = 1e-4 + 9e-4 * triangle**1.2
    found = recognise(sampled(bent, 10, "{:.6E}"))
    assert found.best is None and "cyclic" in {each.shape for each in found.tried}


@pytest.mark.parametrize("kind", ["cosine", "logarithmic"])
@pytest.mark.parametrize("start", [2e-6, pytest.param(0.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tail", ["level", "linear", "cosine"])
def test_warm_ups_that_are_no_line(kind: str, start: float, tail: str) -> None:
    warmup, steps, peak = 213, 3000, 6e-4
    at = np.arange(warmup)
    share = {
        "cosine": 0.5 - 0.5 * np.cos(np.pi * at / (warmup - 1)),
        "logarithmic": np.log(at + 1) / np.log(warmup),  # WarmupLR of DeepSpeed
    }[kind]
    x = (np.arange(steps) - warmup) / (steps - warmup)
    lr = {
        "level": np.full(steps, peak),
        "linear": peak * (1 - x),
        "cosine": peak * (0.5 + 0.5 * np.cos(np.pi * x)),
    }[tail]
    lr[:warmup] = start + (peak - start) * share
    samples = sampled(lr, 10, "{:.6E}")
    found = recognise(samples)
    assert found.best is not None and found.best.ramp.name == kind
    assert found.best.spec is None and f"after a {kind} warm-up" in found.best.words
    assert error(found, samples, lr) < 1e-6 and found.disagreement < 1e-6


def test_simple_shares() -> None:
    assert simplest_between(0.1234, 0.1266) == 0.124
    assert simplest_between(0.0996, 0.1004) == 0.1
    for whole, part in ((1000, 100), (999, 333), (7, 3), (24000, 1)):
        assert round(whole * simplest_share(whole, part)) == part


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.integers(1, 20),
    st.integers(0, 30),
    st.sampled_from((1, 3)),
)
@example([0, 9, 7, 3, 3, 5, 1, 3, 0, 6, 8], 7, 1, 1)  # a flat residual for the decay fit
def test_no_column_breaks_it(rates: list[int], every: int, first: int, repeat: int) -> None:
    """Whatever was logged: what is accepted agrees with every row, and its spec can be built."""
    lr = np.repeat(np.array(rates) * 1e-4, repeat)
    if not (lr > 0).any():
        return
    steps = first + every * np.arange(lr.size)
    slack = precision_of(lr).half_width(lr)
    samples = Samples(steps, lr, slack, int(steps[-1]))
    found = recognise(samples)
    if found.best is None:
        return
    assert (np.abs(found.best.rates(steps) - lr) <= slack).all()
    if found.best.spec is not None:
        again = sl.schedule(found.best.spec).lr
        assert again.size > samples.last
        every_step = np.arange(samples.last + 1)
        np.testing.assert_allclose(
            again[: samples.last + 1], found.best.rates(every_step), rtol=0, atol=1e-8 * lr.max()
        )
