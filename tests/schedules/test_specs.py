"""The spec text: what it accepts, how it fails, and that it reads back what it wrote."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import ScheduleError
from scaling_laws.models.schedules import (
    FAMILIES,
    Family,
    Schedule,
    SearchBox,
    SearchFrame,
    format_spec,
    get_family,
    schedule,
)
from scaling_laws.models.schedules.family import format_number
from scaling_laws.models.schedules.search_points import member_values, with_defaults

SHAPES = [(family, shape) for family in FAMILIES.values() for shape in family.shapes]

# spec -> what its message must say: the value and the mend
MALFORMED: dict[str, str] = {
    "": "unknown schedule family ''",
    "cosin:peak=1,steps=9": "unknown schedule family 'cosin'; did you mean 'cosine'",
    "Constant:peak=1,steps=9": "did you mean 'constant'",
    "cosine": "a spec is family:key=value",
    "cosine:peak=1": "steps missing",
    "cosine:": "peak and steps missing",
    "cosine:peak=1,stpes=9": "'stpes'; did you mean 'steps'",
    "cosine:peak=1,steps=9,decay=linear": "unknown key of cosine 'decay'",
    "cosine:peak=1,steps=9,warmup": "'warmup' is not key=value",
    "cosine:peak=1,steps=9,steps=8": "steps is given twice",
    "cosine:peak=abc,steps=9": "peak=abc: is not a number",
    "cosine:peak=,steps=9": "peak=: is not a number",
    "cosine:peak=nan,steps=9": "peak=nan: is not finite",
    "cosine:peak=inf,steps=9": "peak=inf: is not finite",
    "cosine:peak=-1,steps=9": "peak=-1: must be > 0",
    "cosine:peak=0,steps=9": "peak=0: must be > 0",
    "cosine:peak=1,steps=1.5": "steps=1.5: must be a whole number",
    "cosine:peak=1,steps=-3": "steps=-3: must be a whole number",
    "cosine:peak=1,steps=0": "steps=0: a schedule needs at least one step",
    "cosine:peak=1,steps=1e12": "steps=1e12: is more than 10,000,000 steps",
    "cosine:peak=1,steps=9,warmup=9": "warmup=9 leaves no step of steps=9",
    "cosine:peak=1,steps=9,end=2": "end=2 is above peak=1",
    "cosine:peak=1,steps=9,end=-1": "end=-1: must be >= 0",
    "linear:peak=1,steps=9,warmup=2,warmup_from=3": "warmup_from=3 is above peak=1",
    "constant:peak=1;steps=9": "peak=1;steps=9: is not a number",
    "wsd:peak=1,steps=9": "decay_start=STEP and decay_fraction=SHARE",
    "wsd:peak=1,steps=9,decay_start=2,decay_fraction=0.2": "exactly one",
    "wsd:peak=1,steps=9,decay_start=9": "starts at step 9, not before steps=9",
    "wsd:peak=1,steps=9,warmup=3,decay_start=2": "starts at step 2, within warmup=3",
    "wsd:peak=1,steps=9,decay_fraction=1": "decay_fraction=1: must be between 0 and 1",
    "wsd:peak=1,steps=9,decay_fraction=20": "decay_fraction=20: must be between 0 and 1",
    "wsd:peak=1,steps=9,decay=liner,decay_start=2": "'liner'; did you mean 'linear'",
    "wsd:peak=1,steps=9,decay=power,decay_start=2": "power=1.5",
    "wsd:peak=1,steps=9,power=2,decay_start=2": "power=2 goes with decay=power",
    "wsd:peak=1,steps=9,decay=exponential,decay_start=2": "never reaches end=0",
    "multistage:peak=1,steps=9": "at and to missing",
    "multistage:peak=1,steps=9,at=3/4,to=1": "at= has 2 steps and to= has 1 rates",
    "multistage:peak=1,steps=9,at=4/3,to=1/1": "at=4/3: the steps must increase",
    "multistage:peak=1,steps=9,at=4/4,to=1/1": "at=4/4: the steps must increase",
    "multistage:peak=1,steps=9,at=9,to=1": "at=9 must lie from warmup=0 to below steps=9",
    "multistage:peak=1,steps=9,warmup=4,at=3,to=1": "at=3 must lie from warmup=4",
    "multistage:peak=1,steps=9,at=3//4,to=1/1": "at=3//4: is not a number",
    "multistage:peak=1,steps=9,at=3,to=-1": "to=-1: must be >= 0",
    "power_cool:peak=1,steps=9": "decay_start=STEP and decay_fraction=SHARE",
    "inverse_linear:peak=1,steps=9": "end missing",
    "inverse_linear:peak=1,steps=9,end=0": "end=0: must be > 0",
    "inverse_linear:peak=1,steps=9,end=2": "end=2 is above peak=1",
    "power_scheduler:steps=9": "tokens_per_step and batch_size missing",
    "power_scheduler:steps=9,tokens_per_step=8,batch_size=1,end=1e-3": "end=0.001 needs a final",
    "power_scheduler:steps=9,tokens_per_step=8,batch_size=1,decay_start=5": "needs end=",
    "power_scheduler:steps=9,tokens_per_step=8,batch_size=1,exponent=0.5": "0.5: must be < 0",
    "power_scheduler:steps=9,tokens_per_step=1e9,batch_size=1,decay_start=5,end=1": "end=1 is",
    "power_scheduler:steps=9,tokens_per_step=1e9,batch_size=1,warmup=3,warmup_from=1e-3": "above 5",
    "power_scheduler:steps=9,tokens_per_step=1e308,batch_size=1e308,peak=1": "LR nan at step",
    "wsm:peak=1,steps=9,every=2": "weights missing",
    "wsm:peak=1,steps=9,weights=0/0,every=2": "the weights sum to 0",
    "wsm:peak=1,steps=9,weights=1e308/1e308,every=2": "the weights sum to inf",
    "wsm:peak=1,steps=9,weights=1/-1,every=2": "weights=1/-1: must be >= 0",
    "wsm:peak=1,steps=9,weights=1/1,every=0": "every=0: give the steps between",
    "wsm:peak=1,steps=9,warmup=6,weights=1/1/1,every=2": "start at step 5, before warmup=6",
    "refined:peak=1,steps=9": "trace missing",
    "refined:peak=1,steps=9,trace=": "trace=: the path is missing",
    "refined:peak=1,steps=9,trace=x.csv,smoothing=1": "smoothing=1: must be in [0, 1)",
    "refined:peak=1,steps=9,trace=x.csv,norm_power=0": "norm_power=0: must be > 0",
    "csv:": "the path is missing",
    "csv:,between=hold": "the path is missing",
    "csv:x.csv,between=hodl": "'hodl'; did you mean 'hold'",
}


@pytest.mark.parametrize("spec", MALFORMED)
def test_malformed_specs_name_the_value_and_the_mend(spec: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        schedule(spec)
    message = str(caught.value)
    assert MALFORMED[spec] in message
    assert spec in message or "unknown schedule family" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "spec",
    [
        "linear:peak=0.5,steps=2000,warmup=10",
        "  linear:peak=0.5,steps=2000,warmup=10  ",
        "linear : warmup = 10 , steps = 2_000 , peak = .5 ,",
        "linear:peak=5e-1,steps=2e3,end=0,warmup=10.0,warmup_from=0",
    ],
)
def test_spellings_of_one_schedule(spec: str) -> None:
    plan = schedule(spec)
    assert plan == schedule("linear:peak=0.5,steps=2000,warmup=10")
    assert plan.spec == spec.strip()
    assert plan.steps == 2000
    assert plan.peak_lr == 0.5


def test_schedules_cannot_be_changed() -> None:
    rates = np.array([1.0, 0.5])
    plan = Schedule("mine", rates)
    rates[0] = 9.0  # the caller's array is the caller's
    assert plan.lr.tolist() == [1.0, 0.5]
    with pytest.raises(ValueError, match="read-only"):
        plan.lr[0] = 2.0
    with pytest.raises(AttributeError):
        plan.spec = "other"  # type: ignore[misc]


def test_equality_is_of_rates_not_of_words() -> None:
    one, same = (
        schedule("constant:peak=1,steps=3"),
        schedule("wsd:peak=1,end=1,steps=3,decay_start=1"),
    )
    assert one == same
    assert hash(one) == hash(same)
    assert one != schedule("constant:peak=1,steps=4")
    assert one != "constant:peak=1,steps=3"


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([], "non-empty"),
        ([[1.0]], "non-empty 1-D array"),
        ([1.0, np.nan], "nan at step 1"),
        ([1.0, 1.0, np.inf], "inf at step 2"),
        ([-0.5], "-0.5 at step 0"),
    ],
)
def test_schedules_refuse_bad_rates(rates: list[float], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        Schedule("mine", np.array(rates))


def test_families_have_unique_names_and_keys() -> None:
    names = [family.name for family in FAMILIES.values()]
    assert len(set(names)) == len(names)
    for family in FAMILIES.values():
        assert get_family(family.name) is family
        keys = [key.name for key in family.keys]
        assert len(set(keys)) == len(keys)
        assert family.formula and family.citation and all(key.meaning for key in family.keys)


@st.composite
def frames(draw: st.DrawFn) -> SearchFrame:
    peak = draw(st.floats(1e-6, 10.0))
    steps = draw(st.integers(12, 400))
    warmup = draw(st.integers(0, steps - 10))
    share = draw(st.sampled_from([0.0, 0.1, 0.5]) | st.floats(0.0, 0.99))
    return SearchFrame(peak, steps, warmup, share * peak)


@pytest.mark.parametrize(("family", "shape"), SHAPES, ids=[shape.label for _, shape in SHAPES])
@settings(max_examples=60, deadline=None)
@given(frame=frames(), data=st.data())
def test_every_corner_of_every_shape(
    family: Family, shape: SearchBox, frame: SearchFrame, data: st.DataObject
) -> None:
    free = [
        data.draw(st.sampled_from([low, high]) | st.floats(low, high))
        for low, high in zip(shape.low, shape.high, strict=True)
    ]
    common = {"peak": frame.peak, "steps": frame.steps, "warmup": frame.warmup}
    values = {**common, **shape.values(free, frame, np)}
    spec = format_spec(family, values)
    plan = schedule(spec)

    assert plan.steps == frame.steps
    assert np.isfinite(plan.lr).all()
    # a cooldown's sum of rounded terms may pass the peak by one unit in the last place
    assert plan.lr.min() >= 0.0
    assert plan.lr.max() <= frame.peak * (1 + 4e-16)
    assert plan.lr[frame.warmup :].min() >= frame.end_min * (1 - 4e-16)
    defaults = {key.name: key.default for key in family.keys}
    np.testing.assert_array_equal(plan.lr, family.build({**defaults, **values}))


@given(st.floats(0.0, 1e18, allow_subnormal=True) | st.integers(0, 10**15))
def test_numbers_read_back_exactly(value: float) -> None:
    text = format_number(value)
    assert float(text) == value
    assert len(text) <= max(len(repr(value)), 1)


@pytest.mark.parametrize("family", [f for f in FAMILIES.values() if f.shapes], ids=lambda f: f.name)
def test_rates_can_be_traced(family: Family) -> None:
    """NumPy and JAX read the same formula; breakpoints are where its pieces begin."""
    frame = SearchFrame(1e-3, 2000, 100, 1e-5)
    for shape in family.shapes:
        middle = [0.5 * (low + high) for low, high in zip(shape.low, shape.high, strict=True)]
        values = with_defaults(family, member_values(family, shape, frame, middle))
        lr = family.build(values)
        assert family.lr_after_warmup is not None
        with jax.enable_x64(True):
            seen = family.lr_after_warmup(values, jnp.arange(100.0, 2000.0), jnp)
        np.testing.assert_allclose(np.asarray(seen), lr[100:], rtol=1e-12, atol=1e-18)
        breakpoints = family.breakpoints(values)
        assert list(breakpoints) == sorted(breakpoints) and all(
            100 <= step < 2000 for step in breakpoints
        )
