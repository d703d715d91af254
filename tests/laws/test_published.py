"""Published numbers, to every printed digit."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaling_laws as sl
from scaling_laws.data.runs import load_runs
from scaling_laws.inference.results import CurveFit, evaluate
from scaling_laws.models import LAWS
from scaling_laws.models.laws.multi_power import MULTI_POWER

# means over the six test runs, from the README of thu-yao-01-luo/MultiPowerLaw
PUBLISHED = {
    "mpl_25m": (
        MULTI_POWER.published["25M"],
        {"r2": "0.9988", "mae": "0.00376", "rmse": "0.00465", "pred_e": "0.00110"},
        "0.00409",
    ),
    "mpl_100m": (
        MULTI_POWER.published["100M"],
        {"r2": "0.9983", "mae": "0.00435", "rmse": "0.00592", "pred_e": "0.00142"},
        "0.00583",
    ),
}
TEST_RUNS = "constant_72000,cosine_72000,wsd_20000_24000,wsdld_20000_24000,wsdcon_3,wsdcon_18"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_multi_power_table(name: str, shared_data: Path) -> None:
    params, table, worst = PUBLISHED[name]
    table = {**table, "worst_e": worst}
    runs = load_runs(f"{shared_data / name}:{TEST_RUNS}")
    mean = evaluate(CurveFit.of("multi_power", params), runs).mean
    printed = {key: f"{mean[key]:.{len(value) - 2}f}" for key, value in table.items()}
    assert printed == table


@pytest.mark.parametrize(
    ("spec", "final_loss"),
    [
        # the public implementation's evaluation of common schedules, warm-up rises included
        ("cosine:peak=3e-4,end=3e-5,steps=24000,warmup=2160", 3.315186),
        ("cosine:peak=3e-4,end=0,steps=24000,warmup=2160", 3.318057),
        (
            "wsd:peak=3e-4,end=3e-5,steps=24000,warmup=2160,decay=exponential,decay_start=20000",
            3.266260,
        ),
        ("wsd:peak=3e-4,end=0,steps=24000,warmup=2160,decay_start=20000", 3.259496),
        ("constant:peak=3e-4,steps=24000,warmup=2160", 3.345845),
    ],
)
def test_final_losses_of_the_public_implementation(spec: str, final_loss: float) -> None:
    law = CurveFit.of("multi_power", MULTI_POWER.published["25M"])
    # printed to six decimals at parameters that agree with these to six digits: 2e-6
    assert law.predict(spec).final_loss == pytest.approx(final_loss, abs=3e-6)


# of a short cosine, or at one point: a change of any published parameter changes its number
VALUES = {
    "multi_power:25M": 5.48899978,
    "multi_power:100M": 5.03487332,
    "multi_power:400M": 4.79549427,
    "norm_clock:25M": 5.34323524,
    "norm_clock:100M": 5.05168534,
    "norm_clock:124M": 5.13664999,
    "kaplan:kaplan": 2.37388245,
    "chinchilla:hoffmann": 2.5306682,
    "chinchilla:hoffmann_rounded": 2.58004787,
    "chinchilla:besiroglu": 2.52875962,
    "chinchilla:besiroglu_likelihood": 2.52921335,
    "data_constrained:c4": 2.59745783,
    "peak_lr:step_law": 9.96022707e-4,
}
POINT = {"model_params": 1e9, "tokens": 2e10, "unique_tokens": 5e9}


def test_published_parameters_stay_as_they_are() -> None:
    found = {}
    for name, law in LAWS.items():
        for label in law.published:
            fitted = sl.published(name, label)
            if isinstance(fitted, CurveFit):
                facts = {"weight_decay": 0.1} if fitted.law.required_facts else {}
                spec = "cosine:peak=3e-4,end=3e-5,steps=300,warmup=20"
                value = fitted.predict(spec, [299], facts=facts).final_loss
            else:
                inputs = {key: POINT[key] for key in fitted.law.input_names}
                value = float(fitted.at(**inputs).value)
            found[f"{name}:{label}"] = value
    assert found == pytest.approx(VALUES, rel=1e-7)
