"""Learning rates of every family at steps worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scaling_laws.models.schedules import schedule

# spec -> {step: learning rate}; cooldowns reach `end` at step `steps`, one past the last
CLOSED_FORMS: dict[str, dict[int, float]] = {
    "constant:peak=3e-4,steps=5": {0: 3e-4, 4: 3e-4},
    "constant:peak=1,steps=6,warmup=4": {0: 0.0, 1: 1 / 3, 2: 2 / 3, 3: 1.0, 4: 1.0, 5: 1.0},
    "constant:peak=1,steps=6,warmup=4,warmup_from=0.1": {0: 0.1, 1: 0.4, 2: 0.7, 3: 1.0, 5: 1.0},
    "constant:peak=1,steps=3,warmup=1": {0: 0.0, 1: 1.0, 2: 1.0},
    "cosine:peak=1,steps=8": {0: 1.0, 2: 0.5 + math.sqrt(0.125), 4: 0.5, 6: 0.5 - math.sqrt(0.125)},
    "cosine:peak=1,end=0.2,steps=8": {0: 1.0, 4: 0.6},
    "cosine:peak=1,steps=10,warmup=2": {0: 0.0, 1: 1.0, 2: 1.0, 6: 0.5},
    "linear:peak=1,steps=4": {0: 1.0, 1: 0.75, 2: 0.5, 3: 0.25},
    "linear:peak=1,end=0.2,steps=4": {0: 1.0, 1: 0.8, 2: 0.6, 3: 0.4},
    "linear:peak=1,steps=6,warmup=2": {0: 0.0, 1: 1.0, 2: 1.0, 3: 0.75, 5: 0.25},
    "wsd:peak=1,steps=10,decay_start=6": {0: 1.0, 6: 1.0, 7: 0.75, 8: 0.5, 9: 0.25},
    "wsd:peak=1,end=0.2,steps=10,decay=linear,decay_start=6": {5: 1.0, 7: 0.8, 9: 0.4},
    "wsd:peak=1,end=0.0625,steps=10,decay=exponential,decay_start=6": {
        6: 1.0,
        7: 0.5,
        8: 0.25,
        9: 0.125,
    },
    "wsd:peak=1,steps=10,decay=1-sqrt,decay_start=6": {6: 1.0, 7: 0.5, 9: 1 - math.sqrt(0.75)},
    "wsd:peak=1,end=0.2,steps=10,decay=1-sqrt,decay_start=6": {7: 0.6},
    "wsd:peak=1,steps=10,decay=cosine,decay_start=6": {6: 1.0, 8: 0.5, 9: 0.5 - math.sqrt(0.125)},
    "wsd:peak=1,steps=10,decay=power,power=2,decay_start=6": {7: 0.5625, 8: 0.25, 9: 0.0625},
    "wsd:peak=1,end=0.2,steps=10,decay=power,power=2,decay_start=6": {8: 0.4},
    "wsd:peak=1,steps=10,warmup=2,decay_start=2": {0: 0.0, 1: 1.0, 2: 1.0, 6: 0.5, 9: 0.125},
    "multistage:peak=1,steps=6,at=2/4,to=0.5/0.1": {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.5, 4: 0.1, 5: 0.1},
    "multistage:peak=1,steps=5,at=2,to=2,warmup=2": {0: 0.0, 1: 1.0, 2: 2.0, 4: 2.0},
    "multistage:peak=1,steps=5,at=0/4,to=0.5/0": {0: 0.5, 3: 0.5, 4: 0.0},
    "eight_one_one:peak=1,steps=20": {15: 1.0, 16: math.sqrt(0.1), 17: math.sqrt(0.1), 18: 0.1},
    "exponential:peak=1,end=0.0625,steps=4": {0: 1.0, 1: 0.5, 2: 0.25, 3: 0.125},
    "inverse_sqrt:peak=1,steps=41,warmup=10": {0: 0.0, 9: 1.0, 10: 1.0, 40: 0.5},
    "inverse_sqrt:peak=1,steps=31,timescale=10": {0: 1.0, 10: math.sqrt(0.5), 30: 0.5},
    "power:peak=1,end=0.2,steps=4,power=2": {0: 1.0, 1: 0.2 + 0.8 * 0.5625, 2: 0.4, 3: 0.25},
    "rex:peak=1,steps=4": {0: 1.0, 1: 6 / 7, 2: 2 / 3, 3: 0.4},
    "uba:peak=1,end=0.2,steps=8,phi=2": {0: 1.0, 2: 0.6 + 0.4 * math.sqrt(0.5), 4: 0.6},
    "uba:peak=1,steps=8,phi=6": {0: 1.0, 4: 0.25},
    "cyclic:peak=1,low=0.2,steps=13,period=4": {0: 1.0, 1: 0.6, 2: 0.2, 3: 0.6, 4: 1.0, 12: 1.0},
    "cosine_restarts:peak=1,steps=14,cycle=2,cycle_factor=2": {
        0: 1.0,
        1: 0.5,
        2: 1.0,
        4: 0.5,
        6: 1.0,
        10: 0.5,
    },
    "lowered_linear:peak=1,steps=10,decay_start=6,lower=0.8": {5: 1.0, 6: 0.8, 7: 0.6, 9: 0.2},
    "wsd_s:peak=1,end=0.25,steps=30,decay_ends=10/30,decay_fraction=0.2": {
        7: 1.0,
        8: 1.0,
        9: 0.4,
        10: 1.0,
        24: 1.0,
        27: 0.4,
        29: 1 / 3.5,
    },
    "infinite:peak=1,constant_lr=0.5,end=0.125,steps=20,cooldown=4,anneal_start=10": {
        0: 1.0,
        2: 0.75,
        4: 0.5,
        9: 0.5,
        10: 0.5,
        15: 0.25,
    },
    "infinite:peak=1,constant_lr=0.5,end=0.5,steps=9,cooldown=6,shape=inverse_sqrt": {
        0: 1.0,
        2: math.sqrt(0.5),
        6: 0.5,
        8: 0.5,
    },
    "inverse_linear:peak=1,end=0.2,steps=8": {0: 1.0, 1: 1 / 1.5, 2: 0.5, 4: 1 / 3, 6: 0.25},
    "inverse_linear:peak=1,end=0.2,steps=10,warmup=2": {0: 0.0, 1: 1.0, 2: 1.0, 6: 1 / 3},
    "power_cool:peak=1,steps=10,decay_start=6": {5: 1.0, 6: 1.0, 7: 0.75**1.2, 9: 0.25**1.2},
    "power_cool:peak=1,end=0.2,steps=10,decay_fraction=0.4,power=2": {6: 1.0, 8: 0.4},
    # 2·4·sqrt(1/n) with n = 16, 32, ... tokens seen
    "power_scheduler:tokens_per_step=16,batch_size=2,exponent=-0.5,peak=1,steps=100": {
        0: 1.0,
        3: 1.0,
        4: 8 / math.sqrt(80),
        15: 0.5,
        99: 0.2,
    },
    # the warm-up rises to the rate at its end, not to the peak
    "power_scheduler:tokens_per_step=16,batch_size=2,exponent=-0.5,peak=1,steps=100,warmup=15": {
        0: 0.0,
        7: 0.25,
        14: 0.5,
        15: 0.5,
        63: 0.25,
    },
    "power_scheduler:tokens_per_step=16,batch_size=2,exponent=-0.5,peak=1,steps=79,"
    "decay_start=63,end=0.0625": {15: 0.5, 63: 0.25, 71: 0.125, 78: 0.25 * 0.25 ** (15 / 16)},
    # checkpoints after 4, 6, 8 and 10 updates
    "wsm:peak=1,steps=10,warmup=2,weights=1/1/1/1,every=2": {
        0: 0.0,
        1: 1.0,
        3: 1.0,
        4: 0.75,
        5: 0.75,
        6: 0.5,
        7: 0.5,
        8: 0.25,
        9: 0.25,
    },
    "wsm:peak=1,steps=4,weights=0/3/1,every=2": {0: 1.0, 1: 1.0, 2: 0.25, 3: 0.25},
    "wsm:peak=1,steps=3,weights=1,every=2": {0: 1.0, 2: 1.0},
    # torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10): tops at step 2, ends at 9
    "one_cycle:peak=1,steps=10": {0: 0.04, 1: 0.52, 2: 1.0, 9: 4e-6},
}


@pytest.mark.parametrize("spec", CLOSED_FORMS)
def test_closed_forms(spec: str) -> None:
    plan = schedule(spec)
    expected = CLOSED_FORMS[spec]
    got = plan.lr[list(expected)]
    np.testing.assert_allclose(got, list(expected.values()), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("spec", "end"),
    [
        ("cosine:peak=1,end=0.1,steps={steps}", 0.1),
        ("linear:peak=1,end=0.1,steps={steps}", 0.1),
        ("wsd:peak=1,end=0.1,steps={steps},decay=linear,decay_start=2", 0.1),
        ("wsd:peak=1,end=0.1,steps={steps},decay=exponential,decay_start=2", 0.1),
        ("wsd:peak=1,end=0.1,steps={steps},decay=cosine,decay_start=2", 0.1),
        ("wsd:peak=1,end=0.1,steps={steps},decay=power,power=2,decay_start=2", 0.1),
        ("power_cool:peak=1,end=0.1,steps={steps},decay_start=2", 0.1),
        ("inverse_linear:peak=1,end=0.1,steps={steps}", 0.1),
    ],
)
def test_end_is_reached_just_past_the_last_step(spec: str, end: float) -> None:
    last = [float(schedule(spec.format(steps=steps)).lr[-1]) for steps in (50, 500, 5000)]
    assert all(rate > end for rate in last)
    assert last[0] > last[1] > last[2]
    assert last[2] == pytest.approx(end, abs=1e-3)


@pytest.mark.parametrize(
    ("steps", "share", "start"),
    [(100, "0.2", 80), (101, "0.2", 81), (10, "0.26", 7), (10, "0.24", 8), (50000, "0.994", 300)],
)
def test_decay_fraction_rounds_to_the_nearest_step(steps: int, share: str, start: int) -> None:
    by_share = schedule(f"wsd:peak=1,steps={steps},decay_fraction={share}")
    by_start = schedule(f"wsd:peak=1,steps={steps},decay_start={start}")
    assert by_share == by_start
    assert by_share.lr[start] == 1.0 > by_share.lr[start + 1]


def test_linear_is_the_wsd_that_decays_at_once() -> None:
    linear = schedule("linear:peak=1e-3,end=1e-4,steps=300,warmup=20")
    wsd = schedule("wsd:peak=1e-3,end=1e-4,steps=300,warmup=20,decay_start=20")
    np.testing.assert_allclose(linear.lr, wsd.lr, rtol=1e-14)


def test_power_cool_is_the_wsd_of_that_power() -> None:
    cool = schedule("power_cool:peak=1e-3,end=1e-4,steps=300,warmup=20,decay_fraction=0.4")
    spec = "wsd:peak=1e-3,end=1e-4,steps=300,warmup=20,decay_fraction=0.4,decay=power,power=1.2"
    np.testing.assert_allclose(cool.lr, schedule(spec).lr, rtol=1e-14)


def test_inverse_linear_is_a_straight_line_upside_down() -> None:
    inverse = 1.0 / schedule("inverse_linear:peak=6e-4,end=1e-6,steps=500,warmup=30").lr[30:]
    np.testing.assert_allclose(np.diff(inverse, 2), 0.0, atol=1e-8)
    np.testing.assert_allclose(2 * inverse[-1] - inverse[-2], 1e6, rtol=1e-12)


def test_power_scheduler_rate_knows_no_length() -> None:
    spec = "power_scheduler:tokens_per_step=4194304,batch_size=1024,warmup=100,steps="
    long, short = schedule(f"{spec}20000").lr, schedule(f"{spec}9000").lr
    np.testing.assert_array_equal(long[:9000], short)
    assert long.max() == 0.02 > long[-1]  # the default peak, left after some 25e9 tokens
    assert long[-1] == pytest.approx(1024 * 4 * (20000 * 4194304) ** -0.51, rel=1e-12)


@pytest.mark.parametrize(
    "spec",
    [
        "power_cool:peak=7e-4,steps=40,warmup={warmup},decay_fraction=0.2",
        "wsm:peak=7e-4,steps=40,warmup={warmup},weights=1/2,every=9",
        "inverse_linear:peak=7e-4,end=1e-5,steps=40,warmup={warmup}",
        "constant:peak=7e-4,steps=40,warmup={warmup}",
        "cosine:peak=7e-4,steps=40,warmup={warmup}",
        "linear:peak=7e-4,steps=40,warmup={warmup}",
        "wsd:peak=7e-4,steps=40,warmup={warmup},decay_fraction=0.2",
        "multistage:peak=7e-4,steps=40,warmup={warmup},at=30,to=1e-4",
    ],
)
@pytest.mark.parametrize("warmup", [0, 2, 3, 17])
def test_warm_up_is_inclusive_and_read_back(spec: str, warmup: int) -> None:
    plan = schedule(spec.format(warmup=warmup))
    np.testing.assert_array_equal(plan.lr[:warmup], np.linspace(0.0, 7e-4, warmup))
    assert plan.lr[warmup] == 7e-4
    assert plan.warmup == warmup


@pytest.mark.parametrize(
    ("spec", "warmup"),
    [
        ("constant:peak=1,steps=1", 0),
        ("linear:peak=1,steps=9", 0),
        ("constant:peak=1,steps=9,warmup=1", 2),  # 0, peak, peak, ...: the same rates as warmup=2
        ("multistage:peak=1,steps=9,at=4,to=2", 0),  # a later rise is no warm-up
        ("constant:peak=1,steps=3,warmup=2,warmup_from=1", 0),  # flat
    ],
)
def test_warm_up_of_corner_cases(spec: str, warmup: int) -> None:
    assert schedule(spec).warmup == warmup
