"""Schedules behind sampled rates: right at every step to the printed digits, or not accepted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.data.importing.printed_precision import precision_of
from scaling_laws.data.importing.recognise import Recognition, recognise
from scaling_laws.data.importing.samples import Samples

SPECS = (
    "constant:peak=3e-4,steps=3000,warmup=200",
    "cosine:peak=3e-4,end=3e-5,steps=3000,warmup=200",
    "cosine:peak=6e-4,steps=2000",
    "linear:peak=1e-3,steps=2500,warmup=300",
    "wsd:peak=3e-4,end=3e-5,steps=3000,warmup=100,decay_start=2400",
    "wsd:peak=3e-4,steps=3000,warmup=100,decay=cosine,decay_start=2013",
    "wsd:peak=3e-4,end=3e-5,steps=3000,warmup=100,decay=exponential,decay_fraction=0.2",
    "wsd:peak=3e-4,steps=3000,warmup=100,decay=1-sqrt,decay_fraction=0.2",
    "wsd:peak=3e-4,steps=3000,warmup=100,decay=power,power=1.5,decay_fraction=0.2",
    "multistage:peak=1e-3,at=1500/2000,to=3.16e-4/1e-4,steps=2500,warmup=100",
    "inverse_sqrt:peak=1e-3,steps=3000,warmup=100",
    "exponential:peak=1e-3,end=1e-5,steps=2500,warmup=100",
    "rex:peak=1e-3,steps=2500,warmup=100",
    "cosine:peak=3e-4,end=3e-5,steps=2000,warmup=200 + constant:peak=3e-5,steps=500",
)
PRINTED = ("{:.6E}", "{:.17g}", "{:.2e}", "{:.6f}", "{:.8f}")


def sampled(lr: np.ndarray, every: int, form: str, *, last: int | None = None) -> Samples:
    steps = np.arange(0, lr.size if last is None else last, every)
    shown = np.array([float(form.format(value)) for value in lr[steps].tolist()])
    slack = precision_of(shown).half_width(shown)
    return Samples(steps, shown, slack, int(steps[-1]))


def error(found: Recognition, samples: Samples, lr: np.ndarray) -> float:
    """Largest distance at any step up to the last logged one, as a share of the peak."""
    assert found.best is not None
    every = np.arange(samples.last + 1)
    return float(np.abs(found.best.rates(every) - lr[every]).max() / lr.max())


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(SPECS),
    st.sampled_from(PRINTED),
    st.sampled_from((1, 5, 10, 37, 50)),
    st.none() | st.integers(1, 300),
)
# a warm-up that no row shows: its shortest and longest must be among what is compared
@example("cosine:peak=6e-4,end=3e-5,steps=2587,warmup=18", "{:.2e}", 50, None)
@example("wsd:peak=3e-4,end=3e-5,steps=3000,warmup=100,decay_start=2400", "{:.6E}", 5, 4)
def test_right_to_the_printed_digits_or_doubted(
    spec: str, form: str, every: int, warmup: int | None
) -> None:
    if warmup is not None:
        spec = re.sub(r"warmup=\d+", f"warmup={warmup}", spec)
    lr = sl.schedule(spec).lr
    samples = sampled(lr, every, form)
    found = recognise(samples)
    if found.best is None:
        return
    printed = 2.0 * float((samples.slack / samples.peak).max())
    # what is off by more than the digits must be doubted by as much as the import refuses or says
    assert error(found, samples, lr) <= max(printed, found.disagreement) + 1e-8


@pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if not spec.startswith(("multistage", "inverse"))]
)
def test_full_digits_recover_the_schedule(spec: str) -> None:
    lr = sl.schedule(spec).lr
    samples = sampled(lr, 10, "{:.6E}")
    found = recognise(samples)
    assert error(found, samples, lr) < 1e-6 and found.disagreement < 1e-6
    assert found.best is not None and found.best.spec is not None
    again = sl.schedule(found.best.spec).lr
    assert np.abs(again[: samples.last + 1] - lr[: samples.last + 1]).max() < 1e-6 * lr.max()


@pytest.mark.parametrize("kind", ["before", "after"])
def test_warm_ups_of_other_trainers(kind: str) -> None:
    """The ramp counts from 0 or from 1 and the decay begins at its top, a step before ours."""
    warmup, steps, peak = 200, 3000, 6e-4
    t = np.arange(steps)
    ramp = peak * t / warmup if kind == "before" else peak * (t + 1) / (warmup + 1)
    fall = 6e-5 + 0.5 * (peak - 6e-5) * (1 + np.cos(np.pi * (t - warmup) / (steps - warmup)))
    lr = np.where(t < warmup, ramp, fall)
    samples = sampled(lr, 10, "{:.6E}")
    found = recognise(samples)
    assert error(found, samples, lr) < 1e-6
    assert found.best is not None and found.best.spec is None  # no family says it


def test_drops_between_rows_are_doubted() -> None:
    samples = sampled(sl.schedule(SPECS[9]).lr, 50, "{:.6E}")
    found = recognise(samples)
    assert found.best is not None and found.disagreement > 0.5
    every = recognise(sampled(sl.schedule(SPECS[9]).lr, 1, "{:.6E}"))
    assert every.best is not None and every.disagreement < 1e-6
    assert every.best.at == (1500, 2000)


def test_what_no_family_explains() -> None:
    noise = np.random.default_rng(0)
    steps = np.arange(0, 2000, 10)
    lr = 3e-4 * np.exp(noise.normal(0, 0.05, steps.size))
    found = recognise(Samples(steps, lr, precision_of(lr).half_width(lr), int(steps[-1])))
    assert found.best is None and found.tried and not found.tried[0].accepted


def test_precision() -> None:
    assert precision_of(np.array([0.1 + 0.2, 1 / 3])).kind == "full"
    assert precision_of(np.array([1 / 3, 0.7]).astype(np.float32).astype(float)).kind == "single"
    for form, words in (("{:.6E}", "7 significant digits"), ("{:.6f}", "6 decimals")):
        shown = np.array([float(form.format(value)) for value in np.linspace(1e-5, 3e-4, 40)])
        assert precision_of(shown).words == words


def test_ties_of_float32_are_within_the_printed_precision() -> None:
    """A trainer in float32 prints a rate that lies between two decimals as either of them."""
    shown = np.array([0.000589, 0.000588, 0.0006, 0.000001])
    ulp = 5e-7 * 6e-4 / 5
    slack = precision_of(shown).half_width(shown)
    assert (slack >= 0.5e-6 + ulp).all() and (slack <= 0.51e-6).all()
    fine = np.array([float(f"{value:.6E}") for value in np.linspace(1e-5, 6e-4, 40)])
    assert (precision_of(fine).half_width(fine) <= 0.51e-6 * 1e-4 * 10).all()
