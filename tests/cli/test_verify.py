"""`verify` at the terminal: keys, exit codes, and the way from an export to a checked log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scaling_laws as sl
from tests.cli.calls import assert_refused, call, call_json

WSD = "wsd:peak=1e-3,steps=300,warmup=20,decay_fraction=0.3"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    call("export", WSD, "--to", "csv", "--out", tmp_path / "run.csv")
    return tmp_path / "run.csv"


@pytest.fixture
def late(tmp_path: Path) -> Path:
    lr = sl.schedule(WSD).lr
    rows = "".join(f"{step},{rate}\n" for step, rate in enumerate(np.append(lr[0], lr[:-1])))
    path = tmp_path / "late.csv"
    path.write_text("step,lr\n" + rows, encoding="utf-8")
    return path


def test_match(log: Path) -> None:
    result = call_json("verify", log, "--schedule", WSD)
    keys = {"matches", "n_rows", "max_deviation", "first_bad_step", "diagnosis", "table"}
    assert keys <= set(result)
    assert result["matches"] is True and result["n_rows"] == 300 and result["max_deviation"] == 0
    assert call("verify", log, "--schedule", log, "--strict").code == 0
    assert call("verify", log, "--schedule", WSD).out.startswith("matches: ")


def test_mismatch_is_a_result(late: Path) -> None:
    result = call_json("verify", late, "--schedule", WSD)
    assert result["matches"] is False and result["fault"] == "off_by_one"
    assert result["first_bad_step"] == 1
    text = call("verify", late, "--schedule", WSD)
    assert (text.code, text.err) == (0, "")
    assert text.out.startswith("does not match: ") and "<-" in text.out
    assert "at step 1\n" in text.out


def test_strict(late: Path) -> None:
    result = call("verify", late, "--schedule", WSD, "--strict", "--json")
    assert result.code == 1 and '"matches": false' in result.out
    assert call("verify", late, "--schedule", WSD, "--strict", "--tolerance", 0.06).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.csv", "--schedule", WSD), "missing.csv"),
        (("missing.csv",), "--schedule"),
        (("missing.csv", "--schedule", "wsd"), "wsd family:key=value"),
        (("missing.csv", "--schedule", WSD, "--tolerance", "x"), "--tolerance 'x'"),
        (("missing.csv", "--schedule", WSD, "--tolerance", "2"), "2 between 0 and 1"),
    ],
)
def test_refused(words: tuple[str, ...], message: str) -> None:
    result = call("verify", *words)
    assert_refused(result, message)
