"""Plans as text: expansion, templates, and every way to get one wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import ProxyError
from scaling_laws.proxy.sweep.plan_templates import fill, format_value
from scaling_laws.proxy.sweep.sweep_plan import Parent, SweepPlan, read_plan

KNOWN = ("size", "corpus", "seed", "every", "weight_decay", "batch")
SPEC = 'schedule = "constant:peak=1e-3,steps=100"'


def read(folder: Path, text: str) -> SweepPlan:
    (folder / "plan.toml").write_text(text)
    return read_plan(folder / "plan.toml", KNOWN)


def test_lists_are_axes_and_defaults_fill_in(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        """
        [defaults]
        size = "nano"
        out = "runs/{size}"
        seed = 3
        [[run]]
        name = "constant_{peak}"
        peak = [1e-3, 2e-3]
        schedule = "constant:peak={peak},steps={steps}"
        steps = 4000
        [[run]]
        name = "wsd_{peak}_{seed}"
        peak = [1e-3, 2e-3]
        seed = [0, 1]
        size = "micro"
        from = "constant_{peak}@3200"
        schedule = "wsd:peak={peak},steps=4000"
        """,
    )
    assert [row.name for row in plan.runs] == [
        "constant_0.001",
        "constant_0.002",
        *(f"wsd_{peak}_{seed}" for peak in ("0.001", "0.002") for seed in (0, 1)),
    ]
    first, last = plan.runs[0], plan.runs[-1]
    assert first.settings == {
        "size": "nano",
        "seed": 3,
        "schedule": "constant:peak=0.001,steps=4000",
    }
    assert (first.folder, first.parent) == (tmp_path / "runs" / "nano", None)
    assert (last.folder, last.parent) == (
        tmp_path / "runs" / "micro",
        Parent("constant_0.002", 3200),
    )
    assert plan.work == tmp_path / ".sweep" / "plan"


@given(
    axes=st.lists(
        st.lists(st.integers(-5, 5) | st.sampled_from(["x", "y"]), min_size=1, unique=True).map(
            lambda each: each[:3]
        ),
        min_size=1,
        max_size=3,
    )
)
def test_expansion_is_the_product(axes: list[list[int | str]]) -> None:
    import tempfile

    import tomli_w

    names = [f"axis{index}" for index in range(len(axes))]
    table = {"name": "r" + "_".join(f"{{{name}}}" for name in names)}
    table |= dict(zip(names, axes, strict=True)) | {"out": "o", "schedule": "s"}
    with tempfile.TemporaryDirectory() as folder:
        plan = read(Path(folder), tomli_w.dumps({"run": [table]}))
    wanted = ["r" + "_".join(map(str, values)) for values in itertools.product(*axes)]
    assert [row.name for row in plan.runs] == wanted


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_in_names_read_back(value: float) -> None:
    assert float(format_value(value)) == value


def test_templates_of_templates() -> None:
    filled, used = fill({"a": "{b}!", "b": "<{c}>", "c": 1.0, "d": "{{}}"}, "here")
    assert filled == {"a": "<1>!", "b": "<1>", "c": 1.0, "d": "{}"}
    assert used == {"b", "c"}


HEAD = f'[[run]]\nname = "a"\nout = "o"\n{SPEC}\n'
# text of a plan -> what the message must say
WRONG = {
    "": "has no [[run]]",
    "x = ": "not valid TOML",
    "run = 3": "double brackets",
    "run = [3]": "double brackets",
    "defaults = 3\n" + HEAD: "defaults must be a table",
    "[default]\nseed = 1\n" + HEAD: "did you mean 'defaults'?",
    f'[[run]]\nout = "o"\n{SPEC}': "[[run]] 1: name is missing",
    f'[[run]]\nname = "a"\n{SPEC}': "[[run]] 1: out is missing",
    '[[run]]\nname = "a"\nout = "o"': "[[run]] 1: schedule is missing",
    HEAD + "out2 = 3": "[[run]] 1, out2: no template uses {out2}",
    HEAD + "sed = 3": "did you mean 'seed'?",
    HEAD + "weightdecay = 0.1": "did you mean 'weight_decay'?",
    "[defaults]\nsed = 3\n" + HEAD: "[defaults], sed: no template uses {sed}",
    HEAD + "seed = []": "[[run]] 1, seed: an empty list",
    HEAD + "seed = [[1]]": "[[run]] 1, seed: [1] is not a string",
    HEAD + "seed = {a = 1}": "is not a string, number or boolean",
    HEAD + "weight_decay = nan": "is not a finite number",
    HEAD + "seed = [0, 1]": "[[run]] 1 (run 'a'): ",
    HEAD + HEAD: "[[run]] 2 (run 'a'): ",
    HEAD + 'from = "b"': "[[run]] 1, from: 'b' must be RUN@STEP",
    HEAD + 'from = "b@x"': "'b@x' must be RUN@STEP",
    HEAD + 'from = "b@0"': "'b@0' must be RUN@STEP",
    HEAD + "from = 3": "from: 3 must be RUN@STEP",
    f'[[run]]\nname = 3\nout = "o"\n{SPEC}': "[[run]] 1, name: 3 must be a non-empty string",
    f'[[run]]\nname = "{{b}}"\nout = "o"\n{SPEC}': "unknown key 'b'",
    f'[[run]]\nname = "{{seed:d}}"\nseed = 1\nout = "o"\n{SPEC}': "a key in braces and nothing",
    f'[[run]]\nname = "{{seed"\nseed = 1\nout = "o"\n{SPEC}': "is not a valid template",
    f'[[run]]\nname = "{{x}}"\nx = "{{y}}"\ny = "{{x}}"\nout = "o"\n{SPEC}': "x -> y -> x",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_wrong_plans(text: str, tmp_path: Path) -> None:
    with pytest.raises(ProxyError) as caught:
        read(tmp_path, text)
    assert WRONG[text] in str(caught.value)
    assert str(caught.value).count("plan.toml") >= 1
    assert "\n" not in str(caught.value).removesuffix("\n") or "TOML" in str(caught.value)


def test_unreadable_plans(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="cannot read the plan"):
        read_plan(tmp_path / "none.toml", KNOWN)
    (tmp_path / "plan.toml").write_bytes(b"\xff")
    with pytest.raises(ProxyError, match="not valid TOML"):
        read_plan(tmp_path / "plan.toml", KNOWN)


def test_a_slip_does_not_fill_the_memory(tmp_path: Path) -> None:
    many = str(list(range(400)))
    with pytest.raises(ProxyError, match="64,000,000 runs"):
        read(tmp_path, HEAD + f"seed = {many}\nevery = {many}\nbatch = {many}")
