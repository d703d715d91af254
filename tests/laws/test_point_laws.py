"""Laws of single numbers: what every one must satisfy, published numbers, known limits."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from scaling_laws.common.errors import LawError
from scaling_laws.models.laws import Input, PointLaw, get_law, point_laws
from scaling_laws.models.laws.chinchilla import compute_optimal
from scaling_laws.models.laws.critical_mixture import critical_ratio
from scaling_laws.models.laws.peak_lr import scale_peak_lr, scale_peak_lr_to_size
from scaling_laws.models.laws.time_transfer import scale_critical_batch_size, scale_learning_rate
from scaling_laws.models.parameters import check_parameters

Values = dict[str, float]
Columns = dict[str, NDArray[np.float64]]

ITEMS = ["web", "code"]
CASES = [law.expand(ITEMS) if law.has_wildcards else law for law in point_laws()]
LARGE = 1e15  # an edge for inputs without an upper one
TYPICAL = {"model_params": (1e7, 1e11), "tokens": (1e9, 1e13), "unique_tokens": (1e8, 1e12)}
POINTS = 7

pytestmark = pytest.mark.usefixtures("float64")
laws = pytest.mark.parametrize("law", CASES, ids=lambda law: law.name)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def point_law(name: str) -> PointLaw:
    law = get_law(name)
    assert isinstance(law, PointLaw)
    return law.expand(ITEMS) if law.has_wildcards else law


def draw(law: PointLaw, seed: int) -> Values:
    """Parameters inside the start ranges, as a fit draws its starts."""
    generator = np.random.default_rng(seed)
    drawn = {}
    for parameter in law.parameters:
        low, high = (parameter.transform.inverse(end) for end in parameter.start)
        drawn[parameter.name] = float(parameter.transform.forward(generator.uniform(low, high)))
    return drawn


def columns(law: PointLaw, seed: int) -> Columns:
    generator = np.random.default_rng([seed, 1])
    result = {}
    for each in law.inputs:
        if math.isfinite(each.high):
            result[each.name] = generator.uniform(each.low, each.high, POINTS)
        else:
            low, high = TYPICAL.get(each.name, (max(each.low, 1.0), 100.0 * max(each.low, 1.0)))
            result[each.name] = np.exp(generator.uniform(np.log(low), np.log(high), POINTS))
    shares = [name for name in result if name.startswith("share_")]
    total = sum(result[name] for name in shares)
    return {key: column / total if key in shares else column for key, column in result.items()}


def traced(numbers: Mapping[str, float]) -> dict[str, jax.Array]:
    return {key: jnp.float64(number) for key, number in numbers.items()}


def evaluate(law: PointLaw, values: Mapping[str, float], inputs: Columns) -> NDArray[np.float64]:
    return np.asarray(law.value(traced(values), inputs))


def twin(law: PointLaw, values: Values, inputs: Columns) -> NDArray[np.float64]:
    result = importlib.import_module(f"tests.reference.{law.name}").value(values, inputs)
    return np.asarray(result)


def at(law: PointLaw, values: Mapping[str, float], **inputs: float) -> float:
    """Output at one point."""
    return float(evaluate(law, values, {key: np.array([each]) for key, each in inputs.items()})[0])


# what every law must satisfy


@laws
def test_says_what_it_is(law: PointLaw) -> None:
    assert law.formula and law.citation and law.conventions and law.output and law.unit
    assert len(set(law.names)) == len(law.names)
    for parameter in law.parameters:
        assert parameter.meaning and parameter.unit
        low, high = parameter.start
        assert parameter.bounds[0] < low < high < parameter.bounds[1]
        assert parameter.support.contains(low) and parameter.support.contains(high)
    for values in law.published.values():
        check_parameters(law.name, law.parameters, values)
        for parameter in law.parameters:
            assert parameter.start[0] < values[parameter.name] < parameter.start[1]


@laws
@pytest.mark.parametrize("seed", range(20))
def test_equals_its_twin(law: PointLaw, seed: int) -> None:
    values, inputs = draw(law, seed), columns(law, seed)
    np.testing.assert_allclose(
        evaluate(law, values, inputs), twin(law, values, inputs), rtol=1e-10, atol=1e-12
    )


@laws
def test_jit_equals_eager_and_vmap_equals_loop(law: PointLaw) -> None:
    inputs = columns(law, 0)
    draws = [draw(law, seed) for seed in range(5)]
    loop = np.stack([evaluate(law, values, inputs) for values in draws])
    assert loop.shape == (5, POINTS) and loop.dtype == np.float64
    np.testing.assert_allclose(jax.jit(law.value)(traced(draws[0]), inputs), loop[0], rtol=1e-12)
    stacked = {key: jnp.asarray([each[key] for each in draws]) for key in law.names}
    batched = jax.vmap(lambda values: law.value(values, inputs))(stacked)
    np.testing.assert_allclose(batched, loop, rtol=1e-12)


@laws
@pytest.mark.parametrize("seed", range(3))
def test_gradient_equals_finite_difference(law: PointLaw, seed: int) -> None:
    values, inputs = draw(law, seed), columns(law, seed)

    def total(values: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]) -> jax.Array:
        return jnp.sum(law.value(values, inputs))

    held = {key: jnp.asarray(column) for key, column in inputs.items()}
    by_value, by_input = jax.grad(total, argnums=(0, 1))(traced(values), held)
    size = np.abs(evaluate(law, values, inputs)).sum()
    for name, number in values.items():
        step = 1e-6 * abs(number)
        up, down = (total(traced({**values, name: number + sign * step}), held) for sign in (1, -1))
        numeric = float(up - down) / 2e-6
        np.testing.assert_allclose(
            by_value[name] * abs(number), numeric, rtol=1e-5, atol=1e-8 * size
        )
    for name, column in inputs.items():
        up, down = (
            evaluate(law, values, {**inputs, name: column * (1.0 + sign * 1e-6)})
            for sign in (1, -1)
        )
        np.testing.assert_allclose(
            by_input[name] * column, (up - down) / 2e-6, rtol=1e-5, atol=1e-8 * size
        )


def edges(each: Input) -> tuple[float, float]:
    return each.low, each.high if math.isfinite(each.high) else LARGE


@laws
def test_finite_with_gradient_at_the_edges(law: PointLaw) -> None:
    lows, highs = zip(*(edges(each) for each in law.inputs), strict=True)
    rows = np.array([lows, highs, [1e9 if high > 1.0 else 0.5 for high in highs]])
    for place in range(len(lows)):  # one input at a time at its other edge
        rows = np.vstack([rows, np.where(np.arange(len(lows)) == place, highs, lows)])
        rows = np.vstack([rows, np.where(np.arange(len(lows)) == place, lows, highs)])
    inputs = {each.name: jnp.asarray(rows[:, i]) for i, each in enumerate(law.inputs)}
    corners = [{each.name: each.start[side] for each in law.parameters} for side in (0, 1)]
    for name in law.names:
        corners.append({**corners[0], name: corners[1][name]})
        corners.append({**corners[1], name: corners[0][name]})
    for values in (*corners, *(draw(law, seed) for seed in range(5))):
        assert np.isfinite(evaluate(law, values, inputs)).all(), values
        slopes = jax.grad(lambda v, i: jnp.sum(law.value(v, i)), argnums=(0, 1))(
            traced(values), inputs
        )
        for slope in (*slopes[0].values(), *slopes[1].values()):
            assert np.isfinite(slope).all(), (values, slopes)


@laws
def test_second_call_compiles_nothing(law: PointLaw) -> None:
    # a wrapper of its own: jit shares its cache among wraps of one function
    function = jax.jit(lambda values, inputs: law.value(values, inputs))
    function(traced(draw(law, 0)), columns(law, 0))
    before = function._cache_size()
    function(traced(draw(law, 1)), columns(law, 1))
    assert function._cache_size() == before == 1


# properties


@pytest.mark.parametrize("name", ["kaplan", "chinchilla", "data_constrained", "domain_continual"])
@pytest.mark.parametrize("grown", ["model_params", "tokens"])
@settings(deadline=None)
@given(seed=seeds, factor=st.floats(1.0, 1e3))
def test_loss_falls_with_size_and_data(name: str, grown: str, seed: int, factor: float) -> None:
    law = point_law(name)
    values, inputs = draw(law, seed), columns(law, seed)
    before = evaluate(law, values, inputs)
    after = evaluate(law, values, {**inputs, grown: factor * inputs[grown]})
    assert (after <= before * (1.0 + 1e-12)).all()


@settings(deadline=None)
@given(seed=seeds)
def test_repetition_is_never_better_than_new_data(seed: int) -> None:
    law, plain = point_law("data_constrained"), point_law("chinchilla")
    values, inputs = draw(law, seed), columns(law, seed)
    floor = evaluate(plain, {key: values[key] for key in plain.names}, inputs)
    assert (evaluate(law, values, inputs) >= floor * (1.0 - 1e-12)).all()
    more = {**inputs, "unique_tokens": 2.0 * inputs["unique_tokens"]}
    assert (evaluate(law, values, more) <= evaluate(law, values, inputs) * (1.0 + 1e-12)).all()


@settings(deadline=None)
@given(seed=seeds, share=st.floats(0.0, 1.0), shift=st.floats(-2.0, 2.0))
def test_mixtures_are_log_linear_and_know_t_up_to_a_shift(
    seed: int, share: float, shift: float
) -> None:
    law = point_law("data_mixing")
    values = draw(law, seed)
    excess = [
        math.log(at(law, values, share_web=each, share_code=1.0 - each) - values["c"])
        for each in (0.0, share, 1.0)
    ]
    assert excess[1] == pytest.approx((1.0 - share) * excess[0] + share * excess[2], abs=1e-9)
    shifted = {
        "c": values["c"],
        "k": values["k"] * math.exp(-shift),
        "t_web": values["t_web"] + shift,
        "t_code": values["t_code"] + shift,
    }
    mixture = {"share_web": share, "share_code": 1.0 - share}
    assert at(law, shifted, **mixture) == pytest.approx(at(law, values, **mixture), rel=1e-12)


def test_a_mixture_needs_its_domains() -> None:
    law = get_law("data_mixing")
    assert isinstance(law, PointLaw) and law.has_wildcards
    three = law.expand(["web", "code", "books"])
    assert three.names == ("c", "k", "t_web", "t_code", "t_books")
    assert law.expand_for_columns(["share_web", "loss", "share_code"]).names == (
        "c",
        "k",
        "t_web",
        "t_code",
    )
    assert law.expand_for_parameters(three.names).names == three.names
    with pytest.raises(LawError, match=r"share_\*"):
        law.expand([])


# published numbers


def test_chinchilla_at_its_own_size() -> None:
    law = point_law("chinchilla")
    chinchilla = {"model_params": 70e9, "tokens": 1.4e12}
    # by hand: 1.69 + 406.4·e^-8.4904 + 410.7·e^-7.8309 = 1.69 + 0.0835 + 0.1632
    assert at(law, law.published["hoffmann_rounded"], **chinchilla) == pytest.approx(
        1.9366, abs=2e-4
    )
    # as rounded by Besiroglu et al. 2024, arXiv 2404.10102
    assert law.published["hoffmann"] == pytest.approx(
        {"E": 1.6934, "A": 406.4, "B": 410.7, "alpha": 0.3392, "beta": 0.2849}, rel=2e-4
    )
    assert law.published["besiroglu_likelihood"] == pytest.approx(
        {"E": 1.817, "A": 482.0, "B": 2085.0, "alpha": 0.3478, "beta": 0.3659}, rel=5e-4
    )


@pytest.mark.parametrize("label", ["hoffmann", "hoffmann_rounded", "besiroglu"])
@pytest.mark.parametrize("flops", [1e18, 5.76e23])
def test_compute_optimum_is_where_a_search_finds_it(label: str, flops: float) -> None:
    law = point_law("chinchilla")
    values = law.published[label]
    size, tokens = compute_optimal(values, flops)
    assert 6.0 * size * tokens == pytest.approx(flops, rel=1e-12)
    found = minimize_scalar(
        lambda log_size: (
            values["A"] * math.exp(-values["alpha"] * log_size)
            + values["B"] * (flops / 6.0 * math.exp(-log_size)) ** -values["beta"]
        ),
        bracket=(math.log(1e6), math.log(1e12)),
        options={"xtol": 1e-12},
    )
    assert math.log(size) == pytest.approx(found.x, abs=1e-6)


def test_compute_optimum_near_chinchilla() -> None:
    """The replication puts the optimum of Chinchilla's budget at some 20 tokens a parameter."""
    size, tokens = compute_optimal(point_law("chinchilla").published["besiroglu"], 5.76e23)
    assert 17.0 < tokens / size < 23.0


@pytest.mark.parametrize("key", ["A", "B", "alpha", "beta", "flops"])
def test_compute_optimum_refuses_what_has_none(key: str) -> None:
    values = dict(point_law("chinchilla").published["besiroglu"])
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(LawError, match=f"{key} > 0, not {bad}"):
            compute_optimal({**values, key: bad}, bad if key == "flops" else 1e21)
    del values["A"]
    with pytest.raises(LawError, match="A > 0, not None"):
        compute_optimal(values, 1e21)


def test_data_constrained_gives_the_authors_numbers() -> None:
    """The two models of the paper's figure 1, as printed in huggingface/datablations, README."""
    law = point_law("data_constrained")
    few = {"model_params": 6.34e9, "tokens": 242e9, "unique_tokens": 25e9}
    many = {"model_params": 8.67e9, "tokens": 178e9, "unique_tokens": 25e9}
    assert at(law, law.published["c4"], **few) == pytest.approx(2.2256440889984477, rel=1e-13)
    assert at(law, law.published["c4"], **many) == pytest.approx(2.2269634075087867, rel=1e-13)


def test_data_constrained_limits() -> None:
    law, plain = point_law("data_constrained"), point_law("chinchilla")
    values = law.published["c4"]
    of_plain = {key: values[key] for key in plain.names}
    size, tokens = 1e9, 25e9
    assert size < compute_optimal(of_plain, 6.0 * 1.5e9 * tokens)[0]  # no excess parameters
    once = at(plain, of_plain, model_params=size, tokens=tokens)
    for unique in (tokens, 2.0 * tokens):
        same = at(law, values, model_params=size, tokens=tokens, unique_tokens=unique)
        assert same == pytest.approx(once, rel=1e-14)
    # endless repetition is worth 1 + R_D_star times the unique tokens (15.4 for C4 in the paper)
    forever = at(law, values, model_params=size, tokens=1e6 * tokens, unique_tokens=tokens)
    worth = (1.0 + values["R_D_star"]) * tokens
    assert values["R_D_star"] == pytest.approx(15.4, abs=0.05)
    assert forever == pytest.approx(at(plain, of_plain, model_params=size, tokens=worth), rel=1e-13)
    # four epochs are nearly as good as new data, the paper's headline
    four = at(law, values, model_params=size, tokens=4.0 * tokens, unique_tokens=tokens)
    new = at(plain, of_plain, model_params=size, tokens=4.0 * tokens)
    assert new < four < new + 0.05 * (once - new)


@settings(deadline=None)
@given(seed=seeds)
def test_useful_size_is_the_compute_optimum_of_the_unique_tokens(seed: int) -> None:
    """At N*(U) exactly no parameter is in excess; above it, the effective size falls behind."""
    law, plain = point_law("data_constrained"), point_law("chinchilla")
    values = draw(law, seed)
    of_plain = {key: values[key] for key in plain.names}
    size, tokens = compute_optimal(of_plain, 6e21)
    assume(1.0 < size < 1e21)
    spot = {"model_params": size, "tokens": tokens}
    same = at(law, values, **spot, unique_tokens=tokens)
    assert same == pytest.approx(at(plain, of_plain, **spot), rel=1e-9)
    double = {"model_params": 2.0 * size, "tokens": tokens}
    assert at(law, values, **double, unique_tokens=tokens) > at(plain, of_plain, **double)


def test_kaplan_limits_and_a_number_by_hand() -> None:
    law = point_law("kaplan")
    values = law.published["kaplan"]
    # (365.71^0.73786 + 60)^0.103 = 137.86^0.103
    assert at(law, values, model_params=175e9, tokens=300e9) == pytest.approx(1.661, abs=1e-3)
    assert at(law, values, model_params=1e9, tokens=1e40) == pytest.approx(6.4e4**0.076, rel=1e-9)
    assert at(law, values, model_params=1e60, tokens=1e9) == pytest.approx(1.8e4**0.103, rel=1e-9)


def test_step_law_by_hand() -> None:
    law = point_law("peak_lr")
    # 1.79·10^(-0.713·9 + 0.307·11) = 1.79·10^-3.04
    found = at(law, law.published["step_law"], model_params=1e9, tokens=1e11)
    assert found == pytest.approx(1.79 * 10**-3.04, rel=1e-12)


# transfer of the peak LR


@settings(deadline=None)
@given(seed=seeds, factor=st.floats(1e-3, 1e3))
def test_scaling_a_peak_lr_is_the_law_s_ratio(seed: int, factor: float) -> None:
    law = point_law("peak_lr")
    values = draw(law, seed)
    here = at(law, values, model_params=1e8, tokens=1e10)
    longer = at(law, values, model_params=1e8, tokens=1e10 * factor)
    larger = at(law, values, model_params=1e8 * factor, tokens=1e10)
    beta, alpha = values["beta"], values["alpha"]
    assert scale_peak_lr(here, 1e10, 1e10 * factor, beta) == pytest.approx(longer, rel=1e-9)
    scaled = scale_peak_lr_to_size(here, 1e8, 1e8 * factor, alpha)
    assert scaled == pytest.approx(larger, rel=1e-9)


def test_published_exponents_scale_a_peak_lr() -> None:
    assert scale_peak_lr(1e-3, 1e9, 1e11) == pytest.approx(1e-3 * 10**-0.64)
    assert scale_peak_lr_to_size(1e-3, 1e9, 1e11) == pytest.approx(1e-3 * 10**-0.46)


def test_time_transfer_regimes() -> None:
    assert scale_learning_rate(1e-3, 1e9, 1e11, "rising") == pytest.approx(1e-2)
    assert scale_learning_rate(1e-3, 1e9, 1e11, "constant") == 1e-3
    assert scale_learning_rate(1e-3, 1e9, 1e11, "falling") == pytest.approx(1e-4)
    assert scale_critical_batch_size(256.0, 1e9, 1e11) == pytest.approx(25600.0)


def test_transfers_refuse_what_is_no_number_above_zero() -> None:
    with pytest.raises(LawError, match="did you mean 'falling'"):
        scale_learning_rate(1e-3, 1e9, 1e10, "faling")
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(LawError, match=f"peak_lr must be finite and > 0, not {bad}"):
            scale_peak_lr(bad, 1e9, 1e10)
        with pytest.raises(LawError, match=f"new_tokens must be finite and > 0, not {bad}"):
            scale_peak_lr(1e-3, 1e9, bad)
        with pytest.raises(LawError, match=f"new_model_params must be finite and > 0, not {bad}"):
            scale_peak_lr_to_size(1e-3, 1e9, bad)
        with pytest.raises(LawError, match=f"batch_size must be finite and > 0, not {bad}"):
            scale_critical_batch_size(bad, 1e9, 1e10)
        with pytest.raises(LawError, match=f"tokens must be finite and > 0, not {bad}"):
            scale_learning_rate(1e-3, bad, 1e10, "falling")
    with pytest.raises(LawError, match="exponent must be finite"):
        scale_peak_lr(1e-3, 1e9, 1e10, math.nan)


# the critical mixture ratio

SHARES = [0.0, 0.2, 0.4, 0.6, 0.8]
RISING = [3.0, 3.0, 3.1, 3.3, 3.7]  # general loss: was 3.0
FALLING = [2.1, 1.9, 1.7, 1.6, 1.5]  # domain loss: was 2.0


@pytest.mark.parametrize(
    ("general", "domain", "tolerance", "expected"),
    [
        (RISING, FALLING, 0.05, 0.3),  # between two measurements
        (RISING, FALLING, 0.1, 0.4),  # at one
        (RISING, FALLING, 1.0, 0.8),  # every share tried is feasible but the first
        (RISING, FALLING, 0.0, 0.2),
        (RISING, [2.3, 2.2, 2.1, 2.0, 2.0], 0.2, None),  # the domain never improves
        (RISING, [2.4, 2.3, 2.2, 1.9, 1.8], 0.1, None),  # it does, but too late
        ([3.1, 3.1, 2.9, 2.9, 3.1], FALLING, 0.0, 0.7),  # feasible in the middle only
        ([3.1, 3.0, 3.1, 3.2, 3.3], FALLING, 0.0, 0.2),  # at a single point
        (RISING, [1.9, 1.9, 2.1, 2.1, 2.1], 1.0, 0.3),  # the domain loss binds
    ],
)
def test_critical_ratio(
    general: list[float], domain: list[float], tolerance: float, expected: float | None
) -> None:
    found = critical_ratio(
        SHARES, general, domain, general_before=3.0, domain_before=2.0, tolerance=tolerance
    )
    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-9))


losses = st.lists(st.floats(1.0, 5.0), min_size=5, max_size=5)


@given(general=losses, domain=losses, tolerance=st.floats(0.0, 1.0))
def test_critical_ratio_is_the_largest_feasible(
    general: list[float], domain: list[float], tolerance: float
) -> None:
    found = critical_ratio(
        SHARES, general, domain, general_before=3.0, domain_before=3.0, tolerance=tolerance
    )
    grid = np.linspace(SHARES[0], SHARES[-1], 2001)
    good = (np.interp(grid, SHARES, general) <= 3.0 + tolerance) & (
        np.interp(grid, SHARES, domain) < 3.0
    )
    largest = grid[good].max() if good.any() else -1.0
    assert (-1.0 if found is None else found) >= largest - 1e-9
    if found is not None:  # and no more than at its limit
        assert np.interp(found, SHARES, general) <= 3.0 + tolerance + 1e-9
        assert np.interp(found, SHARES, domain) <= 3.0 + 1e-9


def test_critical_ratio_refuses_bad_measurements() -> None:
    before = {"general_before": 3.0, "domain_before": 2.0, "tolerance": 0.1}
    with pytest.raises(LawError, match="one length"):
        critical_ratio(SHARES, RISING[:-1], FALLING, **before)
    with pytest.raises(LawError, match="one length"):
        critical_ratio([], [], [], **before)
    with pytest.raises(LawError, match="finite"):
        critical_ratio(SHARES, RISING, [*FALLING[:-1], math.nan], **before)
    with pytest.raises(LawError, match="must rise"):
        critical_ratio(SHARES[::-1], RISING, FALLING, **before)
