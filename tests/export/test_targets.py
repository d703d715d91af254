"""The contract of every target: its output reproduces the schedule at every step."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.common.errors import ScalingLawsError, UsageError
from scaling_laws.decisions.export import TARGETS, Target, export_schedule
from scaling_laws.decisions.export.native import NativeFamily
from scaling_laws.models.schedules import write_schedule
from tests.export.reading import DATA, MODULES, SAMPLES, TOKENS, rates_of, stand_ins

PLANS = {
    "constant": "constant:peak=3e-4,steps=300",
    "constant, warm-up": "constant:peak=3e-4,steps=300,warmup=20",
    "cosine": "cosine:peak=3e-4,end=3e-5,steps=300,warmup=20",
    "cosine, no warm-up": "cosine:peak=1.1e-3,steps=257",
    "abrupt wsd": "wsd:peak=3e-4,steps=300,warmup=20,decay=1-sqrt,decay_fraction=0.1",
    "two jumps": "multistage:peak=1e-3,at=100/200,to=3.16e-4/1e-4,steps=290,warmup=7",
    "re-warm-up": "cosine:peak=3e-4,steps=100 + linear:peak=2e-4,steps=80,warmup=10",
    "one step": "constant:peak=0.1,steps=1",
}
NEAR_DEEPSPEED = ("constant", "constant, warm-up", "cosine", "cosine, no warm-up")
BATCH = {"samples_per_step": SAMPLES, "tokens_per_step": TOKENS}
CASES = [
    pytest.param(target, form, unit, id=f"{target.name}-{form}-{unit}")
    for target in TARGETS
    for form in target.forms
    for unit in target.units
    if target.name != "wsm"
]


@pytest.fixture(autouse=True)
def trainers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in stand_ins().items():
        monkeypatch.setitem(sys.modules, name, module)


def free_form(folder: Path) -> str:
    """A file as `optimize --out` writes it, with rates that no formula reproduces."""
    steps = np.arange(280)
    lr = 4e-4 * np.exp(-steps / 150) * (1.2 + np.sin(steps / 9) * np.cos(steps / 31))
    lr[:12] = np.linspace(0, lr[12], 12)
    path = folder / "found.csv"
    write_schedule(path, sl.Schedule("free", lr))
    return str(path)


def test_every_target_can_be_read_back() -> None:
    assert {target.name for target in TARGETS} == {*MODULES, *DATA, "wsm"}
    assert len({target.name for target in TARGETS}) == len(TARGETS)


@pytest.mark.parametrize("plan", [*PLANS, "free form"])
@pytest.mark.parametrize(("target", "form", "unit"), CASES)
def test_exact_form_gives_every_rate(
    target: Target, form: str, unit: str, plan: str, tmp_path: Path
) -> None:
    spec = free_form(tmp_path) if plan == "free form" else PLANS[plan]
    wanted = sl.schedule(f"csv:{spec}" if plan == "free form" else spec)
    export = export_schedule(spec, to=target.name, kind="exact", form=form, unit=unit, **BATCH)
    found = rates_of(export, tmp_path, wanted.steps, wanted.peak_lr)
    off = float(np.abs(found - wanted.lr).max())
    # optax runs in float32 here, whose rounding of a sum of two is up to 1.2e-7
    allowed = 2.5e-7 if target.name == "optax" else 1e-7
    assert off <= allowed * wanted.peak_lr
    assert off <= export.max_lr_error + (1e-12 if target.name != "optax" else 3e-7) * wanted.peak_lr
    assert export.exact and export.kind == "exact"


@pytest.mark.parametrize(("target", "form", "unit"), CASES)
def test_start_step(target: Target, form: str, unit: str, tmp_path: Path) -> None:
    wanted = sl.schedule(PLANS["two jumps"])
    export = export_schedule(
        wanted, to=target.name, kind="exact", form=form, unit=unit, start_step=99, **BATCH
    )
    rest = wanted.lr[99:]
    found = rates_of(export, tmp_path, rest.size, float(rest.max()))
    np.testing.assert_allclose(found, rest, rtol=0, atol=3e-7 * rest.max())
    assert [row.schedule_lr for row in export.table] == [rest[row.step] for row in export.table]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_table_and_heading(target: Target) -> None:
    spec = "wsd:peak=3e-4,steps=3000,warmup=100,decay_fraction=0.2"
    plan = sl.schedule(spec)
    export = export_schedule(spec, to=target.name, kind="exact", **BATCH)
    steps = [row.step for row in export.table]
    assert steps[0] == 0 and steps[-1] == 2999 and {99, 100, 2400, 2401} <= set(steps)
    assert 10 <= len(steps) <= 14
    assert all(row.schedule_lr == plan.lr[row.step] for row in export.table)
    if target.python:
        assert export.text is not None
        head = export.text.split("'''")[1]
        assert spec in head and "counted from 0" in head and "largest error" in head
        assert "3000 updates" in head and sl.__version__ in head
    every = export_schedule(spec, to=target.name, kind="exact", every=1000, **BATCH)
    assert [row.step for row in every.table] == [0, 1000, 2000, 2999]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_spec_stays_inside_its_comment(target: Target, tmp_path: Path) -> None:
    """A path can contain quotes, line breaks and backslashes."""
    folder = tmp_path / "a'''b\nimport missing_module\n\\N{x}"
    folder.mkdir()
    path = folder / "s.csv"
    write_schedule(path, sl.schedule("wsd:peak=1.0,steps=40,decay_fraction=0.5"))
    for kind in ("exact", "native"):
        if kind == "native" and (target.native is None or not target.states_distance):
            continue
        export = export_schedule(str(path), to=target.name, kind=kind, **BATCH)
        if export.text is None:
            continue
        if target.python and kind == "exact":
            compile(export.text, "exported", "exec")
            rates = (lambda: None) if target.name == "wsm" else None
            if rates is None:
                rates_of(export, tmp_path, 40, 1.0)
        assert not any(line.startswith("import missing") for line in export.text.splitlines())


NATIVES = [
    pytest.param(target, family, id=f"{target.name}-{family.name}-{place}")
    for target in TARGETS
    if target.native is not None
    for place, family in enumerate(target.native.families)
]


@pytest.mark.parametrize(("target", "family"), NATIVES)
def test_native_members_are_recognised(target: Target, family: NativeFamily) -> None:
    """A native schedule of a trainer is recognised and reported as exact."""
    steps = np.arange(400, dtype=np.float64)
    given = {"warmup": 23, "decay": 120, "decay_end": 400, "timescale": 60}
    basis = family.basis(steps, 400, {axis: given[axis] for axis in family.axes})
    assert basis is not None
    lr = 3e-4 * basis[0] + 2.5e-5 * basis[1]
    assert lr.min() >= 0
    export = export_schedule(sl.Schedule("native", lr), to=target.name, kind="native", **BATCH)
    assert export.native is not None
    assert export.exact and export.native.exact, export.native
    np.testing.assert_allclose(export.native.lr, lr, rtol=0, atol=1e-7 * lr.max())


@pytest.mark.parametrize("plan", [*PLANS, "free form"])
@pytest.mark.parametrize(
    "target",
    [target for target in TARGETS if target.native is not None],
    ids=lambda target: target.name,
)
def test_native_form_states_its_distance(target: Target, plan: str, tmp_path: Path) -> None:
    spec = free_form(tmp_path) if plan == "free form" else PLANS[plan]
    wanted = sl.schedule(f"csv:{spec}" if plan == "free form" else spec)
    if target.name == "deepspeed" and plan not in NEAR_DEEPSPEED:
        with pytest.raises(UsageError, match=r"of its own is near|none of its schedules"):
            export_schedule(spec, to=target.name, kind="native")
        return
    export = export_schedule(spec, to=target.name, kind="native", **BATCH)
    fit = export.native
    assert fit is not None and fit.lr.shape == wanted.lr.shape
    assert export.max_lr_error == pytest.approx(np.abs(fit.lr - wanted.lr).max(), abs=1e-18)
    assert export.exact == (export.max_lr_error <= 1e-7 * wanted.peak_lr)
    assert fit.lr.max() <= wanted.peak_lr * 1.001 and 0 <= fit.end <= fit.peak
    assert all(row.lr == fit.lr[row.step] for row in export.table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tourch"}, "did you mean 'torch'"),
        ({"to": "torch", "unit": "tokens"}, "--unit tokens does not suit --to torch"),
        ({"to": "nemo", "form": "absolute"}, "--form absolute does not suit --to nemo"),
        ({"to": "json", "unit": "tokens"}, "--tokens-per-step"),
        ({"to": "json", "unit": "samples", "samples_per_step": 0}, "must be >= 1"),
        ({"to": "torch", "kind": "native"}, "no native form"),
        ({"to": "torch", "kind": "other"}, "kind='other'"),
        ({"to": "megatron", "kind": "exact"}, "--samples-per-step"),
        ({"to": "torch", "start_step": 300}, "not in 0..299"),
        ({"to": "torch", "every": -1}, "--every -1"),
        ({"to": "torch", "checkpoint_every": 5}, "applies to merges only"),
        ({"to": "wsm", "checkpoint_every": 0}, "must be >= 1"),
        ({"to": "wsm", "start_step": 5}, "omit --start-step"),
        ({"to": "wsm"}, "no cooldown to merge"),
    ],
)
def test_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ScalingLawsError, match=message):
        export_schedule(PLANS["constant"], **options)  # type: ignore[arg-type]


def test_all_zero_remainder_is_an_error() -> None:
    plan = "multistage:peak=1e-3,at=100,to=0,steps=200"
    with pytest.raises(ScalingLawsError, match="every learning rate is 0"):
        export_schedule(plan, to="torch", start_step=150)
