"""What exported files say and do about runs that go on, and about numbers of updates."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.common.errors import UsageError
from scaling_laws.decisions.export import TARGETS, Target, export_schedule
from tests.export.reading import SAMPLES, TOKENS

BATCH = {"samples_per_step": SAMPLES, "tokens_per_step": TOKENS}
WSD = "wsd:peak=3e-5,steps=400,warmup=20,decay_fraction=0.2,decay=1-sqrt"
CODE = [target for target in TARGETS if target.python and target.name != "wsm"]
RATES = st.lists(
    st.floats(0, 1e-2, allow_subnormal=False).filter(lambda lr: lr == 0 or lr > 1e-9),
    min_size=1,
    max_size=12,
).filter(any)


@pytest.mark.parametrize("target", CODE, ids=lambda target: target.name)
def test_a_file_shifts_the_schedule_or_takes_the_step_from_a_checkpoint(target: Target) -> None:
    """Both together would shift it twice."""
    texts = []
    for start_step in (0, 100):
        export = export_schedule(WSD, to=target.name, kind="exact", start_step=start_step, **BATCH)
        texts.append(" ".join(str(ast.get_docstring(ast.parse(str(export.text)))).split()))
    for text, shifted in zip(texts, (False, True), strict=True):
        assert ("without --start-step" in text) is shifted
        assert ("counts from 0 again at step 100" in text) is shifted
        if shifted:
            assert "resume" not in text.lower() and "load_checkpoint() restores" not in text
            assert "from its checkpoint" not in text


@settings(max_examples=20)
@given(rates=RATES)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_any_schedule_is_written_or_refused(target: Target, rates: list[float]) -> None:
    """Rising ones and ones of a few steps, too."""
    plan = sl.Schedule("free", np.array(rates))
    for kind in ("exact", "native") if target.native else ("exact",):
        try:
            export = export_schedule(plan, to=target.name, kind=kind, **BATCH)
        except sl.ScalingLawsError:
            assert target.name in ("wsm", "deepspeed") or kind == "native"
            continue
        assert export.max_lr_error >= 0
        if export.kind == "exact":
            assert export.exact or target.name == "wsm"
        if target.python and kind == "exact":
            ast.parse(str(export.text))


@pytest.mark.parametrize("spec", ["cosine:peak=3e-4,steps=2,warmup=1", "cosine:peak=3e-4,steps=1"])
def test_schedules_that_only_rise(spec: str) -> None:
    assert export_schedule(spec, to="hf").exact


@given(
    peak=st.floats(1e-9, 1e3),
    end=st.floats(0, 1.0),
)
@settings(max_examples=20)
def test_numbers_in_yaml_are_numbers(peak: float, end: float) -> None:
    yaml = pytest.importorskip("yaml", reason="numbers are read as PyYAML reads them")
    plan = sl.schedule(f"cosine:peak={peak!r},end={peak * end!r},steps=40")
    content = yaml.safe_load(str(export_schedule(plan, to="nemo", kind="native").text))
    assert isinstance(content["optim"]["lr"], float)
    assert isinstance(content["optim"]["sched"].get("min_lr", 0.0), float)


def test_nanogpt_makes_one_update_more_than_max_iters() -> None:
    """`while True: ...; iter_num += 1; if iter_num > max_iters: break`."""
    assert export_schedule(WSD, to="nanogpt").native_arguments["max_iters"] == 399
    assert "max_iters = 399" in str(export_schedule(WSD, to="nanogpt").text)


def test_a_configuration_without_comments_is_near_or_refused() -> None:
    for spec in (WSD, "wsd:peak=3e-4,steps=4000,warmup=100,decay_fraction=0.03"):
        with pytest.raises(UsageError, match="no schedule of its own is near"):
            export_schedule(spec, to="deepspeed", kind="native")
        assert export_schedule(spec, to="deepspeed").native is None
    near = export_schedule(
        "constant:peak=3e-4,steps=4000,warmup=100", to="deepspeed", kind="native"
    )
    assert json.loads(str(near.text))["scheduler"]["params"]["warmup_type"] == "linear"


def test_torchtitan_names_both_versions(tmp_path: Path) -> None:
    for kind in ("exact", "native"):
        text = str(export_schedule(WSD, to="torchtitan", kind=kind).text)
        assert "torchtitan 0.2" in text and "0.3" in text
