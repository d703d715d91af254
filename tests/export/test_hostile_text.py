"""Text of users in generated files stays text, whatever it contains."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import scaling_laws as sl
from scaling_laws.common import comment, printable, python_docstring
from scaling_laws.decisions.export import TARGETS, Target
from scaling_laws.decisions.export.knots import choose_knots
from scaling_laws.decisions.export.nearest import fit_families
from scaling_laws.decisions.export.target import PredictedLosses, Request, ScheduleRow
from scaling_laws.decisions.export.targets import get_target

INJECTED = "__import__('os').system('touch PWNED')"
# what ends a literal or a comment in some language, and what surrounds it
HOSTILE = st.one_of(
    st.text(st.characters(), max_size=40),  # surrogates too: file names that are not UTF-8
    st.lists(
        st.sampled_from(
            [*"'\"#`;{}%\\\n\r\x00\x0c\x85\u2028\u202e", "'''", "$(", "*/", "\\x", INJECTED]
        ),
        max_size=12,
    ).map("".join),
)
KINDS = [
    pytest.param(target, kind, id=f"{target.name}-{kind}")
    for target in TARGETS
    for kind in ("exact", "native")
    if (kind == "exact" or target.native is not None) and target.name not in ("csv", "npy")
]


@cache
def request_of(name: str) -> Request:
    target = get_target(name)
    plan = sl.schedule("wsd:peak=1e-3,steps=40,warmup=4,decay_fraction=0.5")
    native = fit_families(plan, target.native.families)[0] if target.native else None
    return Request(
        plan,
        plan.spec,
        plan.peak_lr,
        0,
        choose_knots(plan.lr),
        target.forms[0],
        "steps",
        1,
        (ScheduleRow(0, 0.0, 0.0),),
        PredictedLosses("power", 3.0, None),
        native,
        samples_per_step=8,
    )


def text_of(target: Target, kind: str, spec: str) -> str:
    write = target.exact if kind == "exact" or target.native is None else target.native.write
    text = write(replace(request_of(target.name), spec=spec))
    assert isinstance(text, str)
    text.encode("utf-8")
    return text


def without_comments(text: str) -> list[str]:
    """Lines of code, where every character that any parser takes for a line break ends a line."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def code_of(text: str) -> str:
    """The syntax tree of a module without its docstring."""
    tree = ast.parse(text)
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return ast.dump(tree)


@pytest.mark.parametrize(("target", "kind"), KINDS)
@given(spec=HOSTILE)
@example(spec=f"csv:s'''''; {INJECTED}; '''''.csv")
@example(spec=f"'''\n{INJECTED}\n'''")
def test_a_spec_changes_no_code(target: Target, kind: str, spec: str) -> None:
    text, harmless = text_of(target, kind, spec), text_of(target, kind, "harmless")
    if target.name == "json":
        return  # written by `json.dumps`
    if target.python and kind == "exact":
        assert code_of(text) == code_of(harmless)
    else:
        assert without_comments(text) == without_comments(harmless)


@given(lines=st.lists(HOSTILE, max_size=4))
def test_a_docstring_evaluates_to_its_lines(lines: list[str]) -> None:
    wanted = "\n" + "\n".join(printable(line) for line in lines) + "\n"
    assert ast.literal_eval(python_docstring(lines)) == wanted


@given(lines=st.lists(HOSTILE, max_size=4))
def test_a_comment_has_one_line_per_line(lines: list[str]) -> None:
    written = comment(lines).splitlines()
    assert len(written) == len(lines) and all(line.startswith("#") for line in written)
