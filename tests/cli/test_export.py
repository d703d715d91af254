"""`export` at the terminal: what is printed, what is written, what is refused."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scaling_laws as sl
from scaling_laws.decisions.export import TARGETS
from scaling_laws.interface.cli.export import EPILOG
from tests.cli.calls import assert_refused, call, call_json

WSD = "wsd:peak=1e-3,steps=300,warmup=20,decay_fraction=0.3"
KEYS = {
    *("target", "form", "exact", "max_lr_error", "text", "file", "table", "native"),
    *("final_loss", "native_final_loss", "cost_nats", "notes"),
}


@pytest.mark.parametrize("target", [target.name for target in TARGETS])
def test_keys_and_file(target: str, tmp_path: Path) -> None:
    assert target in EPILOG
    out = tmp_path / "file"
    result = call_json("export", WSD, "--to", target, "--out", out)
    assert set(result) >= KEYS
    assert result["target"] == target and result["file"] == str(out)
    if result["text"] is None:
        assert target == "npy"
        np.testing.assert_array_equal(np.load(out), sl.schedule(WSD).lr)
    else:
        assert out.read_text(encoding="utf-8") == result["text"]
    lr = sl.schedule(WSD).lr
    assert all(row["schedule_lr"] == lr[row["step"]] for row in result["table"])
    text = call("export", WSD, "--to", target, "--out", out)
    assert (text.code, text.err) == (0, "")
    assert text.out.startswith(f"wrote {out}: {target}, ")
    assert f"{result['table'][-1]['lr']:.9g}" in text.out


def test_without_a_file_the_text_alone_is_printed() -> None:
    result = call("export", WSD, "--to", "torch")
    assert result.code == 0 and result.out == call_json("export", WSD, "--to", "torch")["text"]
    compile(result.out, "exported", "exec")
    native = call("export", WSD, "--to", "torchtitan", "--native")
    assert "decay linear" in native.err


def test_a_file_of_optimize_goes_through(optimum: dict[str, Any], tmp_path: Path) -> None:
    found = call_json("export", optimum["schedule_file"], "--to", "csv")
    (tmp_path / "again.csv").write_text(found["text"], encoding="utf-8")
    plan = sl.schedule(f"csv:{optimum['schedule_file']}")
    assert sl.schedule(f"csv:{tmp_path / 'again.csv'}") == plan
    assert sl.export_schedule(plan, to="csv").text == found["text"]


def test_losses_under_a_law(law_file: Path) -> None:
    spec = "multistage:peak=1e-3,at=200,to=1e-4,steps=300,warmup=20"
    result = call_json("export", spec, "--to", "hf", "--native", "--law", law_file)
    law = sl.load_law(law_file)
    assert result["final_loss"] == pytest.approx(law.predict(spec).final_loss, rel=1e-12)
    low, high = result["interval_90"]
    assert low < result["final_loss"] < high
    assert result["cost_nats"] == pytest.approx(
        result["native_final_loss"] - result["final_loss"], abs=1e-12
    )
    export = sl.export_schedule(spec, to="hf", kind="native", law=law)
    assert export.native is not None
    again = law.predict(sl.Schedule("native", export.native.lr)).final_loss
    assert result["native_final_loss"] == pytest.approx(again, rel=1e-9)
    assert f"{result['final_loss']:.5f} nats" in result["text"]
    assert f"{result['cost_nats']:+.5f} against the schedule" in result["text"]


def test_a_schedule_that_is_native_costs_nothing(law_file: Path) -> None:
    result = call_json("export", WSD, "--to", "hf", "--law", law_file)
    assert result["native"]["exact"] and result["cost_nats"] == pytest.approx(0, abs=1e-7)
    assert "hf has this schedule: --native gives it as" in " ".join(result["notes"])


def test_a_part_of_a_schedule_is_judged_as_the_whole(law_file: Path) -> None:
    whole, part = (
        call_json("export", WSD, "--to", "hf", "--law", law_file, "--start-step", step)
        for step in (0, 100)
    )
    assert part["final_loss"] == whole["final_loss"]
    assert part["native_final_loss"] == pytest.approx(whole["final_loss"], rel=1e-6)


def test_megatron_in_samples() -> None:
    words = ("export", WSD, "--to", "megatron", "--unit", "samples", "--samples-per-step", 512)
    text = call(*words).out
    assert f"--lr-decay-samples {300 * 512}" in text
    assert f"--lr-wsd-decay-samples {90 * 512}" in text
    assert "1138" in text and "These arguments give the schedule exactly." in text
    exact = call_json(*words[:4], "--exact", "--samples-per-step", 512)
    assert "SAMPLES_PER_STEP = 512" in exact["text"]


def test_json_target(law_file: Path) -> None:
    words = ("--to", "json", "--unit", "tokens", "--tokens-per-step", 1000, "--law", law_file)
    content = json.loads(call_json("export", WSD, *words)["text"])
    assert {"version", "spec", "peak_lr", "total_steps", "units", "interpolation"} <= set(content)
    assert content["units"] == "tokens" and content["knots"][-1][0] == 299_000
    assert content["predicted_loss"] is not None and len(content["interval_90"]) == 2
    assert content["provenance"]["law"] == "linear_drop"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((WSD, "--to", "npy"), "--out FILE.npy"),
        ((WSD, "--to", "torhc"), "'torhc' 'torch'"),
        ((WSD,), "--to"),
        ((WSD, "--to", "hf", "--exact", "--native"), "--exact --native"),
        (("missing.csv", "--to", "hf"), "missing.csv"),
        (("wsd:peak=1", "--to", "hf"), "wsd:peak=1 steps"),
        ((WSD, "--to", "hf", "--out", "/nowhere/file"), "/nowhere"),
        ((WSD, "--to", "hf", "--law", "no.json"), "no.json"),
    ],
)
def test_refused(words: tuple[str, ...], message: str) -> None:
    result = call("export", *words)
    assert_refused(result, message)


def test_no_law_needs_no_jax() -> None:
    code = (
        "import sys; from scaling_laws.interface.cli import main;"
        f"main(['export', {WSD!r}, '--to', 'hf', '--json']);"
        "assert not {'jax', 'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_table_shows_the_schedule_beside_what_differs_from_it(tmp_path: Path) -> None:
    words = ("--to", "hf", "--native", "--out", tmp_path / "file.py")
    same = call("export", WSD, *words).out
    drop = "multistage:peak=1e-3,at=200,to=1e-4,steps=300"
    other = call("export", drop, *words).out
    assert "LR              schedule" in other and "LR              schedule" not in same
    assert f"verify RUN.csv --schedule {WSD}" in same and "verify RUN.csv" not in other


def test_the_printed_command_quotes_a_hostile_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "csv:$(touch PWNED)\"'; x.csv"
    Path(name.removeprefix("csv:")).write_text("step,lr\n0,1e-3\n1,5e-4\n")
    text = call("export", name, "--to", "torch", "--out", "g.py").out
    (line,) = (line for line in text.splitlines() if "scaling-laws verify" in line)
    assert shlex.split(line)[-1] == name
