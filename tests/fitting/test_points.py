"""Fits of point laws: known parameters come back, intervals are measured, bad tables refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import DataError, FitError, LawError, UsageError
from scaling_laws.data.runs import read_points
from scaling_laws.inference.fitting import fit
from scaling_laws.inference.results import CurveFit, InputRange, PointFit, evaluate, load_law
from scaling_laws.models.laws import PointLaw, get_law, point_laws

SHARES = np.array([[0.1, 0.3], [0.7, 0.1], [0.4, 0.4], [0.2, 0.6], [0.5, 0.2], [0.3, 0.1]])


def table_for(law: PointLaw, rows: int = 60) -> dict[str, np.ndarray]:
    """Inputs spread over decades, or over [0, 1] where that is all there is."""
    generator = np.random.default_rng(5)
    low, high = {"model_params": 7.0, "tokens": 9.0}, {"model_params": 10.0, "tokens": 12.0}
    columns = {}
    for each in law.inputs:
        if each.high <= 1.0:
            columns[each.name] = generator.uniform(0.02, 1.0, rows)
        else:
            ends = low.get(each.name, 9.0), high.get(each.name, 11.0)
            columns[each.name] = 10 ** generator.uniform(*ends, rows)
    return columns


def known(law: PointLaw) -> PointFit:
    """Published parameters, or the middle of the start ranges."""
    if law.published:
        return PointFit(law, next(iter(law.published.values())))
    middle = {
        each.name: float(
            each.transform.forward(
                0.5
                * (each.transform.inverse(each.start[0]) + each.transform.inverse(each.start[1]))
            )
        )
        for each in law.parameters
    }
    return PointFit(law, {**middle, **({"t_code": 0.5} if "t_code" in middle else {})})


@pytest.mark.parametrize("law", point_laws(), ids=lambda law: law.name)
def test_predictions_come_back(law: PointLaw) -> None:
    whole = law.expand(["web", "code"]) if law.has_wildcards else law
    truth, table = known(whole), table_for(whole)
    table[law.output] = truth.at(**table).value
    fitted = fit(law, table, starts=24, hold_out=False)
    np.testing.assert_allclose(
        fitted.at(**{name: table[name] for name in whole.input_names}).value,
        table[law.output],
        rtol=2e-4,
    )


def test_chinchilla_s_parameters_and_interval_come_back() -> None:
    law = get_law("chinchilla")
    assert isinstance(law, PointLaw)
    truth, table = PointFit.published("chinchilla", "besiroglu"), table_for(law, 240)
    noise = np.random.default_rng(1).standard_normal(240)
    table["loss"] = truth.at(**table).value * np.exp(0.004 * noise)
    fitted = fit(law, table, starts=16)
    for name in ("alpha", "beta"):
        assert fitted.params[name] == pytest.approx(truth.params[name], rel=0.05)
    assert fitted.params["E"] == pytest.approx(truth.params["E"], rel=0.02)
    assert fitted.uncertainty is not None and fitted.record is not None
    assert fitted.uncertainty.log_error == pytest.approx(0.004, rel=0.15)
    assert fitted.record.starts_at_best >= 12 and not fitted.record.warnings
    metrics = evaluate(fitted, table, source="all").runs["all"]
    assert 0.85 <= metrics["coverage_90"] <= 0.97
    far = fitted.at(model_params=1e12, tokens=1e10)
    assert "model_params 1e+12 is outside the fitted" in far.notes[0]
    low, high = far.interval(0.9)
    assert low < far.value < high


def test_a_flat_direction_is_reported() -> None:
    """Shares that sum to one leave the mixing law a free constant."""
    law = get_law("data_mixing")
    assert isinstance(law, PointLaw)
    web = np.linspace(0.05, 0.95, 30)
    code = np.round(1.0 - web, 4)  # shares as people write them
    table = {"share_web": web, "share_code": code, "loss": 2.0 + np.exp(-0.5 * web - 1.0)}
    fitted = fit(law, table, starts=8, hold_out=False)
    assert fitted.record is not None
    assert any("not identified separately" in warning for warning in fitted.record.warnings)


def test_law_file_round_trip(tmp_path: Path) -> None:
    web = np.array([0.1, 0.3, 0.2, 0.6, 0.8, 0.5, 0.9])
    code = np.array([0.3, 0.1, 0.6, 0.2, 0.1, 0.5, 0.0])
    loss = 2.0 + np.exp(-0.5 * web + 0.2 * code)
    table = {"share_web": web, "share_code": code, "loss": loss}
    fitted = fit("data_mixing", table, starts=4, hold_out=False)
    again = load_law(fitted.save(tmp_path / "law.json"))
    assert again.law.names == ("c", "k", "t_web", "t_code")
    assert dict(again.params) == dict(fitted.params)
    assert again.range == fitted.range and isinstance(again.range, InputRange)
    inputs = {"share_web": 0.4, "share_code": 0.3}
    assert again.at(**inputs).value == fitted.at(**inputs).value


def test_shares_that_do_not_sum_as_the_fitted_ones_are_noted(tmp_path: Path) -> None:
    web = np.linspace(0.05, 0.95, 30)
    table = {"share_web": web, "share_code": 1.0 - web, "loss": 2.0 + np.exp(-0.5 * web)}
    fitted = fit("data_mixing", table, starts=4, hold_out=False)
    again = load_law(fitted.save(tmp_path / "law.json"))
    assert again.at(share_web=0.3, share_code=0.7).notes == ()
    (note,) = again.at(share_web=0.3, share_code=0.3).notes
    assert note == "share_* sum to 0.6, in the fitted rows to 1 to 1"


def test_a_law_that_predicts_less_than_nothing_on_held_out_rows_still_fits() -> None:
    tokens = np.array([1, 2, 5, 10, 20, 50, 80, 100]) * 1e9
    ratio = np.array([0.30, 0.28, 0.22, 0.17, 0.11, 0.05, 0.01, 0.0005])
    fitted = fit("critical_mixture", {"tokens": tokens, "mixture_ratio": ratio}, starts=4)
    assert fitted.uncertainty is not None and np.isfinite(fitted.uncertainty.log_error)
    low, high = fitted.at(tokens=[1e9, 1e15]).interval(0.9)
    assert (low <= high).all()


CSV = "model_params,tokens,loss,note\n" + "".join(
    f"{n:g},{d:g},{1.8 + 480 / n**0.35 + 2000 / d**0.37:.6f},x\n"
    for n in (1e7, 1e8, 1e9)
    for d in (1e9, 1e10, 1e11)
)


def test_reads_a_csv(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(CSV)
    law = get_law("chinchilla")
    assert isinstance(law, PointLaw)
    table = read_points(tmp_path / "runs.csv", law)
    assert list(table) == ["model_params", "tokens", "loss"]
    fitted = fit(law, table, starts=8, hold_out=False)
    assert fitted.params["alpha"] == pytest.approx(0.35, rel=1e-2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CSV.replace("loss", "los"), "row 1: no column 'loss'; the columns are 'model_params'"),
        (CSV.replace("1e+08", "0.5", 1), "row 5, column 'model_params': 0.5 must be in"),
        (CSV + "1e9,1e9,-1,x\n", "row 11, column 'loss': -1 is not > 0"),
        (CSV + "1e9,,3,x\n", "row 11, column 'tokens'"),
    ],
)
def test_bad_tables_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(text)
    law = get_law("chinchilla")
    assert isinstance(law, PointLaw)
    with pytest.raises(DataError, match=words):
        read_points(tmp_path / "runs.csv", law)


def test_refuses_clearly() -> None:
    table = {"model_params": np.full(9, 1e8), "tokens": np.full(9, 1e9), "loss": np.full(9, 3.0)}
    with pytest.raises(LawError, match="multi_power is a law of schedules"):
        fit("multi_power", table)
    with pytest.raises(LawError, match="needs a column tokens; the table has model_params, loss"):
        fit("chinchilla", {key: table[key] for key in ("model_params", "loss")})
    with pytest.raises(FitError, match="5 parameters and the table has 3 rows"):
        fit("chinchilla", {key: row[:3] for key, row in table.items()})
    with pytest.raises(UsageError, match="starts=0"):
        fit("chinchilla", table, starts=0)
    with pytest.raises(LawError, match=r"loss must be finite and > 0"):
        fit("chinchilla", {**table, "loss": -table["loss"]})
    with pytest.raises(LawError, match=r"column .loss. contains non-numeric"):
        fit("chinchilla", {**table, "loss": ["a"] * 9})
    fitted = PointFit.published("chinchilla", "besiroglu")
    for bad in (np.ones(4), 1.0, np.zeros(9), np.full(9, np.nan)):
        with pytest.raises(LawError, match=r"rows of one length|finite and > 0"):
            evaluate(fitted, {**table, "loss": bad})
    with pytest.raises(LawError, match=r"needs columns share_\*"):
        fit("data_mixing", table)
    law = PointFit.published("chinchilla", "besiroglu")
    with pytest.raises(LawError, match=r"does not take a schedule.*model_params=\.\.\., tokens"):
        CurveFit(law.law, law.params)
    with pytest.raises(LawError, match="tokens=nan must be finite and lie in"):
        law.at(model_params=1e9, tokens=float("nan"))
    with pytest.raises(LawError, match="chinchilla needs tokens"):
        law.at(model_params=1e9)
    with pytest.raises(LawError, match="multi_power predicts from a schedule"):
        PointFit.published("multi_power", "25M")
    with pytest.raises(UsageError, match="from_step is about fits to runs; chinchilla takes a tab"):
        fit("chinchilla", table, from_step=5)
    with pytest.raises(UsageError, match="from_step is about runs; chinchilla takes a table"):
        evaluate(law, table, from_step=5)
    with pytest.raises(LawError, match="no published parameters '1B'; known: 25M, 100M, 400M"):
        CurveFit.published("multi_power", "1B")
