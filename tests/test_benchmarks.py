"""Benchmarks import the current package, and their helpers compute what they claim."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common import UsageError
from scaling_laws.models import get_schedule_law
from scaling_laws.models.numerics.precision import in_float64

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem[0] != "_")


@pytest.mark.parametrize("name", MODULES)
def test_module_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


def test_readme_lists_every_command() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    commands = {
        name
        for name in MODULES
        if "__main__" in (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    }
    assert {name for name in commands if f"python -m benchmarks.{name}" not in text} == set()


def test_dense_sum_is_the_law() -> None:
    from benchmarks.engine import dense

    plan = sl.schedule("cosine:peak=3e-4,end=3e-5,steps=300,warmup=30")
    fitted = sl.CurveFit.published("multi_power", "25M")
    steps = np.array([40, 150, 299])
    expected = fitted.predict(plan, steps.tolist()).loss
    np.testing.assert_allclose(dense(plan.lr, steps), expected, rtol=1e-6)


def test_every_family_has_a_schedule_in_the_accuracy_table() -> None:
    from benchmarks.engine import SPECS
    from scaling_laws.models import FAMILIES

    assert set(FAMILIES) - set(SPECS) == {"csv", "refined"}  # these two need files
    assert all(sl.schedule(spec).lr.max() > 0 for spec in SPECS.values())


def test_splits_of_coverage() -> None:
    from benchmarks.coverage import schedule_type, splits

    runs = sl.load_runs(ROOT / "data" / "proxy_nano")
    for chosen in splits(runs, "few"):
        assert [schedule_type(name) for name in chosen] == ["constant", "cosine", "decay"]
    held_out = [set(runs) - set(chosen) for chosen in splits(runs, "every")]
    assert held_out == [{name} for name in runs]


def test_every_law_of_accuracy_has_its_facts() -> None:
    from benchmarks.accuracy import LAWS, MEASURED, OURS, _judged, _runs

    protocol = OURS["proxy_nano"]
    runs, fit_names = _runs(protocol)
    assert set(fit_names) < set(runs)
    laws = _judged(protocol)
    assert set(laws) == {law.name for law in (*LAWS, *MEASURED)}
    for law in laws.values():
        for run in runs.values():
            assert law.required_facts - law.required_traces <= set(run.facts)
            assert law.required_traces <= set(run.traces)


def test_unconstrained_values_invert() -> None:
    from benchmarks.priors import unconstrained_values

    law = get_schedule_law("multi_power")
    params = dict(law.published["25M"])
    values = unconstrained_values(law, params, 1.0)
    for parameter, value in zip(law.nonlinear_parameters, values, strict=True):
        assert parameter.transform.forward(value) == pytest.approx(params[parameter.name])


def test_whole_log_prepends_the_parent() -> None:
    from dataclasses import replace

    from benchmarks.replan import LATE, simple_ways, whole_log

    plan = sl.schedule("constant:peak=3e-4,steps=4000,warmup=100")
    steps = np.arange(100, 4000, 100)
    parent = sl.Run("constant_50000", plan, steps, 3.0 + 1.0 / steps, {})
    late = steps >= LATE + 100
    branch = replace(parent, name="branch", steps=steps[late], loss=parent.loss[late], weight=None)
    joined = whole_log("branch", {"constant_50000": parent, "branch": branch})
    np.testing.assert_array_equal(joined.steps, parent.steps)
    np.testing.assert_array_equal(joined.loss, parent.loss)

    fitted = sl.CurveFit.published("multi_power", "25M")
    exact = fitted.predict(plan).loss
    run = replace(parent, loss=exact[steps] + 0.01)
    ways = simple_ways(fitted, run, 500, 2000)
    assert ways["offset"] - ways["law as it is"] == pytest.approx(0.01, abs=1e-6)
    assert ways["offset and scale"] == pytest.approx(float(exact[steps[-1]]) + 0.01, abs=1e-5)


def test_plain_products_count_the_operations_of_an_update() -> None:
    from benchmarks.proxy import plain_products
    from scaling_laws.proxy.training.model_sizes import get_size
    from scaling_laws.proxy.training.proxy_config import BACKWARD

    size = get_size("pico")
    operations, seconds = plain_products(size)
    assert operations == BACKWARD * size.forward_flops * size.tokens_per_step
    assert seconds > 0


def test_fill_replaces_a_table(tmp_path: Path) -> None:
    from benchmarks.pages import fill

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- t -->\nold\n<!-- /t -->\nafter\n", encoding="utf-8")
    fill(page, "t", ["| a |", "|---|"])
    assert page.read_text(encoding="utf-8") == (
        "before\n<!-- t -->\n| a |\n|---|\n<!-- /t -->\nafter\n"
    )


def test_seeded_faults_are_in_step_with_the_package() -> None:
    """Each changes one place and leaves valid Python; they lie in every unit and name tests."""
    from benchmarks.faults import read_faults

    faults = read_faults()
    for fault in faults.values():
        ast.parse(fault.applied(ROOT))  # raises if the old text does not occur exactly once
        assert fault.old != fault.new
        assert fault.tests and all(
            (ROOT / test.partition("::")[0]).exists() for test in fault.tests
        ), fault.name
    page = (ROOT / "benchmarks" / "faults.md").read_text(encoding="utf-8")
    assert f"\n{len(faults)} faults were seeded" in page and "**missed**" not in page
    assert {fault.what for fault in faults.values() if f"| {fault.what} |" not in page} == set()
    package = ROOT / "scaling_laws"
    folders = {path.parent for path in package.glob("*/*/*.py") if path.stem != "__init__"}
    units = {": ".join(folder.relative_to(package).parts) for folder in folders}
    assert units - {fault.group for fault in faults.values()} == set()


@pytest.mark.parametrize(("old", "count"), [("absent", 0), ("repeated", 2)])
def test_a_fault_without_one_place_is_refused(tmp_path: Path, old: str, count: int) -> None:
    from benchmarks.faults import Fault

    (tmp_path / "module.py").write_text("repeated, repeated = 1, 2\n", encoding="utf-8")
    fault = Fault("a", "b", "module.py", old, "new", ("tests",))
    with pytest.raises(UsageError, match=f"occurs {count} times") as caught:
        fault.applied(tmp_path)
    assert caught.value.value == old


def test_missed_faults_are_counted_and_run_again(tmp_path: Path) -> None:
    from dataclasses import asdict

    from benchmarks.faults import Fault, Outcome, page, stored

    outcomes = {
        outcome.name: outcome
        for outcome in (Outcome("a", "tests/test_a.py::test"), Outcome("b", ""))
    }
    faults = [Fault(name, "what", "p/q/r.py", "old", "new", ("tests",)) for name in outcomes]
    text = page(faults, outcomes)
    assert "2 faults" in text and "1 were caught" in text and "1 were missed" in text
    assert "| q: r | what | `tests/test_a.py::test` |" in text
    results = tmp_path / "results"
    rows = [json.dumps(asdict(outcome)) for outcome in outcomes.values()]
    results.write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert stored(results) == {"a": outcomes["a"]}
    assert not Outcome("c", "", timed_out=True).missed


@pytest.mark.slow
@in_float64
def test_gradient_of_the_learnt_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import norm_clock_priors as learning

    monkeypatch.setattr(learning, "SETS", {"proxy": learning.SETS["proxy"]})
    prior = learning.prior_of(learning.LAW, "weak")
    assert prior is not None
    runs = learning.stack(prior)
    names = ("constant_4000", "cosine_4000", "drop_to_0.1_4000")
    chosen = np.array([runs.name.index(name) for name in names])
    split = learning.Split("proxy", chosen, np.setdiff1d(np.arange(len(runs.name)), chosen))
    means = [prior.mean[name] for name in learning.NAMES]
    numbers = np.array([*means, *(np.log(prior.sd[name]) for name in learning.NAMES)])
    direction = 0.2 * np.random.default_rng(0).standard_normal(len(numbers))
    result = learning.judge(runs, [split], numbers, prior.most_runs, [None])
    up, down = (
        learning.judge(runs, [split], numbers + h * direction, prior.most_runs, result.fits).value
        for h in (0.05, -0.05)
    )
    assert result.gradient @ direction == pytest.approx((up - down) / 0.1, rel=0.1)
