"""Native schedules against slow twins: one step at a time, from each trainer's documentation.

A twin takes what the user would type, `native_arguments`, so the mapping is under test too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common.errors import UsageError
from scaling_laws.decisions.export import export_schedule, get_target
from scaling_laws.decisions.export.native import NativeFamily

STEPS = 211


def half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def megatron(given: Mapping[str, Any], update: int) -> float:
    low, high = given["min-lr"], given["lr"]
    warm, until = given["lr-warmup-iters"], given["lr-decay-iters"]
    if warm > 0 and update <= warm:
        return float(high * update / warm)
    style = given["lr-decay-style"]
    if style == "constant":
        return float(high)
    if update > until:
        return float(low)
    if style == "inverse-square-root":
        return float(max(low, high * math.sqrt(max(warm, 1) / max(update, 1))))
    share = (update - warm) / (until - warm)
    if style == "WSD":
        length = given["lr-wsd-decay-iters"]
        share = (update - (until - length)) / length
        if share <= 0:
            return float(high)
        style = given["lr-wsd-decay-style"]
    left = {
        "linear": 1 - share,
        "cosine": half_cosine(share),
        "minus_sqrt": 1 - math.sqrt(share),
        "exponential": 2 * 0.5**share - 1,
    }[style]
    return float(low + (high - low) * left)


def nemo(given: Mapping[str, Any], update: int) -> float:
    sched, high = given["sched"], given["lr"]
    warm, until, low = sched["warmup_steps"], sched["max_steps"], sched.get("min_lr", 0.0)
    if warm > 0 and update <= warm:
        return float(high * (update + 1) / (warm + 1))
    if sched["name"] == "WarmupPolicy":
        return float(high)
    if sched["name"] == "CosineAnnealing":
        return float(low + (high - low) * half_cosine((update - warm) / (until - warm)))
    hold = sched["hold_steps"] + warm
    if update < hold:
        return float(high)
    share = min(update - hold, until - hold) / (until - hold)
    if sched["name"] == "WarmupHoldAnnealOneMinusSquareRoot":
        return float(max(low, high * (1 - math.sqrt(share))))
    return float(low + (high - low) * (1 - share) ** sched["power"])


def torchtitan(given: Mapping[str, Any], update: int) -> float:
    table, total, high = given["lr_scheduler"], given["training"]["steps"], given["optimizer"]["lr"]
    warm = table["warmup_steps"]
    decay = min(round(total * table["decay_ratio"]), total - warm)
    stable = total + 1 - warm - decay  # with the virtual last step
    if update < warm:
        return float(high * (update + 1) / warm)
    if update < warm + stable:
        return float(high)
    share = (update + 1 - warm - stable) / decay
    left = {"linear": 1 - share, "sqrt": 1 - math.sqrt(share), "cosine": half_cosine(share)}
    low = table["min_lr_factor"]
    return float(high * (low + (1 - low) * left[table["decay_type"]]))


def olmo(given: Mapping[str, Any], update: int) -> float:
    fields, high = given["fields"], given["lr"]
    seen = update + 1  # the trainer increments its counter first
    name, warm = given["scheduler"], fields.get("warmup", 0)
    if warm and seen <= warm:
        return float(high * seen / warm)
    if name in ("ConstantScheduler", "ConstantWithWarmup"):
        return float(high)
    if name == "WSD":
        if seen < STEPS - fields["decay"]:
            return float(high)
        low = fields["decay_min_lr"]
        return float(low + (high - low) * min(STEPS - seen, fields["decay"]) / fields["decay"])
    low = high * fields["alpha_f"]
    share = (seen - warm) / (STEPS - warm)
    left = half_cosine(share) if name == "CosWithWarmup" else 1 - share
    return float(low + (high - low) * left)


def deepspeed(given: Mapping[str, Any], update: int) -> float:
    name, params = given["scheduler"]["type"], given["scheduler"]["params"]
    warm, high = params["warmup_num_steps"], given["optimizer"]["params"]["lr"]
    count = update - 1  # stepped after each update, from -1
    if count < 0:
        return 0.0
    if count < warm:
        if params["warmup_type"] == "linear":
            return float(high * count / warm)
        return float(high * math.log(count + 1) / math.log(warm))
    if name == "WarmupLR":
        return float(high)
    total = params["total_num_steps"]
    if name == "WarmupDecayLR":
        return float(high * max(0.0, (total - count) / max(1.0, total - warm)))
    low = params["cos_min_ratio"]
    return float(high * (low + (1 - low) * half_cosine((count - warm + 1) / (total - warm))))


def nanogpt(given: Mapping[str, Any], update: int) -> float:
    high = given["learning_rate"]
    if not given["decay_lr"]:
        return float(high)
    warm, until, low = given["warmup_iters"], given["lr_decay_iters"], given["min_lr"]
    if update < warm:
        return float(high * (update + 1) / (warm + 1))
    if update > until:
        return float(low)
    return float(low + (high - low) * half_cosine((update - warm) / (until - warm)))


TWINS: dict[str, Callable[[Mapping[str, Any], int], float]] = {
    "megatron": megatron,
    "nemo": nemo,
    "torchtitan": torchtitan,
    "olmo": olmo,
    "deepspeed": deepspeed,
    "nanogpt": nanogpt,
}


def families(target: str) -> tuple[NativeFamily, ...]:
    form = get_target(target).native
    assert form is not None
    return form.families


@pytest.mark.parametrize(
    ("target", "place"),
    [(target, place) for target in TWINS for place in range(len(families(target)))],
)
def test_member_of_a_family(target: str, place: int) -> None:
    family = families(target)[place]
    given = {"warmup": 13, "decay": 70, "decay_end": 170, "timescale": 60}
    basis = family.basis(
        np.arange(STEPS, dtype=np.float64), STEPS, {axis: given[axis] for axis in family.axes}
    )
    assert basis is not None
    lr = 3e-4 * basis[0] + 2e-5 * basis[1]
    export = export_schedule(sl.Schedule("native", lr), to=target, kind="native")
    assert export.exact
    twin = [TWINS[target](export.native_arguments, update) for update in range(STEPS)]
    np.testing.assert_allclose(twin, lr, rtol=0, atol=1e-7 * lr.max())


@pytest.mark.parametrize("place", range(len(families("megatron"))))
def test_counts_of_megatron_are_all_in_samples(place: int) -> None:
    family = families("megatron")[place]
    given = {"warmup": 13, "decay": 70, "decay_end": 170}
    basis = family.basis(
        np.arange(STEPS, dtype=float), STEPS, {name: given[name] for name in family.axes}
    )
    assert basis is not None
    plan = sl.Schedule("native", 3e-4 * basis[0] + 2e-5 * basis[1])
    updates, samples = (
        export_schedule(
            plan, to="megatron", kind="native", unit=unit, samples_per_step=64
        ).native_arguments
        for unit in ("steps", "samples")
    )
    expected = {
        name.replace("iters", "samples"): 64 * value if name.endswith("iters") else value
        for name, value in updates.items()
    }
    assert samples == expected


@pytest.mark.parametrize("target", TWINS)
@pytest.mark.parametrize(
    "spec",
    [
        f"constant:peak=3e-4,steps={STEPS}",
        f"cosine:peak=3e-4,end=3e-5,steps={STEPS},warmup=20",
        f"wsd:peak=3e-4,end=1e-5,steps={STEPS},warmup=20,decay=1-sqrt,decay_fraction=0.3",
        f"multistage:peak=1e-3,at=100,to=1e-4,steps={STEPS}",
        f"inverse_sqrt:peak=3e-4,steps={STEPS},warmup=20",
    ],
)
def test_nearest_to_any_schedule(target: str, spec: str) -> None:
    """The rates of the fit are those that the arguments give."""
    if target == "deepspeed" and "cosine" not in spec and "constant" not in spec:
        with pytest.raises(UsageError, match="no schedule of its own is near"):
            export_schedule(spec, to=target, kind="native")
        assert export_schedule(spec, to=target).native is None
        return
    export = export_schedule(spec, to=target, kind="native")
    assert export.native is not None
    twin = [TWINS[target](export.native_arguments, update) for update in range(STEPS)]
    np.testing.assert_allclose(twin, export.native.lr, rtol=0, atol=1e-9 * max(twin))


@pytest.mark.parametrize(
    ("target", "spec"),
    [
        ("megatron", "wsd:peak=3e-4,steps=900,warmup=50,decay_fraction=0.2"),
        ("megatron", "cosine:peak=3e-4,end=3e-5,steps=900,warmup=50"),
        ("megatron", "linear:peak=3e-4,steps=900"),
        ("nemo", "cosine:peak=3e-4,end=3e-5,steps=900"),
        ("nemo", "wsd:peak=3e-4,steps=900,decay=power,power=2,decay_start=700"),
        ("torchtitan", "wsd:peak=3e-4,end=3e-5,steps=900,decay=cosine,decay_fraction=0.5"),
        ("nemo", "wsd:peak=3e-5,steps=900,decay=1-sqrt,decay_fraction=0.2"),
        ("nanogpt", "cosine:peak=3e-4,end=3e-5,steps=900"),
    ],
)
def test_exact_native_schedules(target: str, spec: str) -> None:
    export = export_schedule(spec, to=target, kind="native")
    assert export.exact, export.notes
