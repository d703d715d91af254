"""The options of `fit`: they change the fit as they should; pictures and the report are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scaling_laws as sl
from scaling_laws.interface.cli.quickstart import render
from tests.cli.calls import assert_refused, call, call_json, snapshot
from tests.fitting.test_points import CSV

PICTURES = ["draws.png", "fit.png", "profiles.png", "terms.png"]


def fit(curves: Path, folder: Path, *words: object, law: str = "linear_drop") -> dict[str, Any]:
    out = folder / "law.json"
    return call_json("fit", curves, "--law", law, "--starts", 2, "--out", out, *words)


@pytest.fixture(scope="module")
def plotted(curves: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("plots")
    return fit(curves, folder, "--draws", 12, "--plots", folder / "not" / "yet")


def test_report_is_that_of_the_law_file(curves: Path, plotted: dict[str, Any]) -> None:
    report = plotted["report"]
    law = sl.load_law(plotted["law_file"])
    assert law.summary() == plotted["summary"]
    assert {each["name"]: each["value"] for each in report["parameters"]} == plotted["params"]
    assert report["fit"]["objective"] == plotted["objective"]
    assert (report["fit"]["n_points"], report["fit"]["degrees_of_freedom"]) == (60, 56)
    assert report["fit"]["draws"] == 12 and report["runs"] == plotted["runs"]
    assert report["warnings"] == plotted["warnings"]


def test_pictures_are_written_whole(plotted: dict[str, Any]) -> None:
    assert set(plotted["plots"]) == {"fit", "terms", "profiles", "draws"}
    for name, path in plotted["plots"].items():
        assert Path(path).name == f"{name}.png"
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    assert sorted(snapshot(Path(path).parent)) == PICTURES


def test_terms_are_those_of_the_run_with_the_largest_decay(
    curves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaling_laws.interface.report import fit_plots

    seen: list[str] = []

    def plot(fitted: Any, run: Any, from_step: Any) -> Any:
        seen.append(run.name)
        return original(fitted, run, from_step)

    original = fit_plots.plot_terms
    monkeypatch.setattr(fit_plots, "plot_terms", plot)
    fit(curves, tmp_path, "--draws", 0, "--plots", tmp_path)
    assert seen == ["wsd"]  # to zero; the cosine keeps a tenth


def test_pictures_of_what_was_not_searched_or_drawn_are_left_out(
    curves: Path, tmp_path: Path
) -> None:
    without = fit(curves, tmp_path, "--draws", 0, "--plots", tmp_path / "without")
    assert list(without["plots"]) == ["fit", "terms", "profiles"]
    given = fit(curves, tmp_path, "--fix", "alpha=0.5", "--plots", tmp_path / "given")
    assert list(given["plots"]) == ["fit", "terms"]
    assert sorted(snapshot(tmp_path / "given")) == ["fit.png", "terms.png"]


def test_text_names_every_file(curves: Path, tmp_path: Path) -> None:
    out, plots = tmp_path / "law.json", tmp_path / "plots"
    words = ("--law", "linear_drop", "--starts", 2, "--draws", 0, "--out", out, "--plots", plots)
    text = call("fit", curves, *words).out
    assert f"wrote {out}\nwrote {plots / 'fit.png'}\n" in text
    assert fit(curves, tmp_path, "--draws", 0)["plots"] == {}


def test_given_parameter(curves: Path, tmp_path: Path) -> None:
    result = fit(curves, tmp_path, "--fix", "alpha=0.45", "--fix", "B=140")
    assert result["params"]["alpha"] == pytest.approx(0.45, rel=1e-12)
    assert result["params"]["B"] == pytest.approx(140.0, rel=1e-12)
    record = sl.load_law(tmp_path / "law.json").record
    assert record is not None and dict(record.fixed) == {"alpha": 0.45, "B": 140.0}
    assert result["report"]["fit"]["degrees_of_freedom"] == 58


def test_tied_parameter(curves: Path, tmp_path: Path) -> None:
    words = ("--tie", "beta=gamma", "--draws", 0)
    params = fit(curves, tmp_path, *words, law="multi_power")["params"]
    assert params["beta"] == params["gamma"] != params["alpha"]


def test_objective(curves: Path, tmp_path: Path) -> None:
    result = fit(curves, tmp_path, "--objective", "least-squares", "--draws", 0)
    record = sl.load_law(tmp_path / "law.json").record
    assert record is not None and record.minimised == "least-squares"
    assert result["report"]["fit"]["minimised"] == "least-squares"
    robust = fit(curves, tmp_path, "--objective", "huber:0.0001", "--draws", 0)
    assert robust["report"]["fit"]["minimised"] == "huber:0.0001"
    assert robust["params"] != result["params"]


def test_prior(curves: Path, tmp_path: Path) -> None:
    weak = fit(curves, tmp_path, "--prior", "weak", "--draws", 0)
    none = fit(curves, tmp_path, "--prior", "none", "--draws", 0)
    assert weak["report"]["fit"]["prior_source"] and not none["report"]["fit"]["prior_source"]
    assert weak["report"]["parameters"][3]["prior"] and not none["report"]["parameters"][3]["prior"]
    # with nothing beside it, the objective falls to its lowest value
    assert none["objective"] == pytest.approx(none["report"]["fit"]["lowest"], rel=1e-9)
    assert weak["objective"] > none["objective"]


def test_weight_of_zero_is_a_run_left_out(curves: Path, tmp_path: Path) -> None:
    words = ("--prior", "none", "--draws", 0)
    weighed = fit(curves, tmp_path, *words, "--weight", "wsd=0")
    fewer = call_json(
        *("fit", f"{curves}:constant,cosine", "--law", "linear_drop", "--starts", 2),
        *("--out", tmp_path / "law.json", *words),
    )
    assert weighed["params"] == pytest.approx(fewer["params"], rel=1e-4)
    assert weighed["params"] != pytest.approx(fit(curves, tmp_path, *words)["params"], rel=1e-4)


def test_weights_of_a_fit_are_those_of_its_profiles(curves: Path, tmp_path: Path) -> None:
    """A profile without the weights would not be lowest at the fit, nor agree with it."""
    from scaling_laws.inference.fitting import profile

    fit(curves, tmp_path, "--prior", "none", "--draws", 0, "--weight", "wsd=5")
    law, runs = sl.load_law(tmp_path / "law.json"), sl.load_runs(str(curves))
    assert law.record is not None
    same = profile(law, runs, points=3, weights={"wsd": 5.0})["alpha"]
    assert same.objective[1] == pytest.approx(law.record.lowest, rel=1e-6)
    other = profile(law, runs, points=3)["alpha"]
    assert other.objective[1] != pytest.approx(law.record.lowest, rel=1e-3)


def test_solvers_agree_and_draws_are_counted(curves: Path, tmp_path: Path) -> None:
    varpro, scipy = (
        fit(curves, tmp_path, "--solver", name, "--draws", 3) for name in ("varpro", "scipy")
    )
    assert scipy["objective"] == pytest.approx(varpro["objective"], rel=1e-4)
    assert len(sl.load_law(tmp_path / "law.json").draws["alpha"]) == 3


def test_from_the_end_of_warm_up(curves: Path, tmp_path: Path, plotted: dict[str, Any]) -> None:
    result = fit(curves, tmp_path, "--from-step", "warmup", "--draws", 0)
    record = sl.load_law(tmp_path / "law.json").record
    assert record is not None and record.from_step == "warmup"
    # all warm up for 20 steps; the first point is logged at step 20
    assert result["n_points"] == 60 and result["objective"] == plotted["objective"]
    text = call("evaluate", tmp_path / "law.json", curves, "--from-step", "warmup")
    assert text == call("evaluate", tmp_path / "law.json", curves, "--from-step", 20)
    assert text.code == 0 and text != call(
        "evaluate", tmp_path / "law.json", curves, "--from-step", 90
    )
    quick = call_json(
        *("quickstart", curves, "--fit", "cosine,constant", "--law", "linear_drop"),
        *("--from-step", "warmup", "--out", tmp_path / "quick"),
    )
    assert "from step: warmup" in quick["summary"] and "wsd" in render(quick)


# options -> words of the one message
REFUSED = {
    "--fix alpha": "--fix 'alpha': NAME=VALUE",
    "--fix =0.5": "--fix '=0.5': NAME=VALUE",
    "--fix alpha=half": "--fix 'alpha=half': 'half' NAME=VALUE",
    "--fix alpha=0.5 --fix alpha=0.6": "--fix 'alpha=0.6': twice",
    "--fix alhpa=0.5": "'alhpa' 'alpha'",
    "--fix alpha=nan": "alpha=nan > 0",
    "--tie alpha": "--tie 'alpha': NAME=OTHER",
    "--tie alpha=": "--tie 'alpha=': NAME=OTHER",
    "--tie alpha=B": "'B' alpha",
    "--weight wsd": "--weight 'wsd': RUN=NUMBER",
    "--weight wsd=much": "--weight 'wsd=much': 'much'",
    "--weight wdd=2": "'wdd' 'wsd'",
    "--weight wsd=-1": "weight -1.0 'wsd' >= 0",
    "--objective hubr": "'hubr' 'huber'",
    "--objective huber:x": "'huber:x' > 0",
    "--prior strong": "--prior 'strong'",
    "--solver fast": "'fast' varpro scipy",
    "--draws -1": "--draws: -1 >= 0",
    "--draws some": "--draws: 'some'",
    "--from-step warm-up": "--from-step: 'warm-up' warmup",
    "--plots law.csv": "law.csv folder",
    "--plots full": "full/draws.png folder",
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_options_are_refused(
    words: str, curves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "law.csv").write_text("")
    (tmp_path / "full" / "draws.png").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    result = call("fit", curves, "--law", "linear_drop", "--out", "new.json", *words.split())
    assert_refused(result, REFUSED[words])
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "words",
    [
        "--objective huber",
        "--prior none",
        "--fix alpha=0.5",
        "--tie alpha=beta",
        "--weight a=1",
        "--draws 3",
        "--solver scipy",
        "--plots pictures",
    ],
)
def test_tables_refuse_options_of_runs(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path)
    options = ("--law", "chinchilla", "--out", "law.json")
    result = call("fit", "runs.csv", *options, *words.split())
    flag = words.split()[0]
    assert_refused(result, f"{flag} chinchilla table")
    assert list(snapshot(tmp_path)) == ["runs.csv"]


def test_tables_have_a_report_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path)
    result = call_json("fit", "runs.csv", "--law", "chinchilla", "--starts", 2, "--out", "law.json")
    assert result["plots"] == {}
    assert result["report"]["intervals"]["method"] == "leave_rows_out"
    assert result["report"]["fit"]["starts"] == 2


def test_window_averages_what_is_predicted(curves: Path, tmp_path: Path) -> None:
    plain = fit(curves, tmp_path, "--draws", 0)
    averaged = fit(curves, tmp_path, "--draws", 0, "--window", 50)
    assert averaged["params"]["L0"] != plain["params"]["L0"]
    law = sl.fit("linear_drop", sl.load_runs(curves, window=50), starts=2, draws=0)
    assert averaged["params"] == pytest.approx(dict(law.params), rel=1e-9)
    refused = call("fit", curves, "--window", 0, "--out", tmp_path / "law.json")
    assert_refused(refused, "window=0 >= 1")
