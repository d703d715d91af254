"""A law and a schedule family from outside: registered in a process, or installed as a plug-in."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import site
import subprocess
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = """
import jax.numpy as jnp
from scaling_laws.models import COMMON_KEYS, Family, Law, Parameter, Support, warm_up
L0 = Parameter("L0", Support.POSITIVE, "floor", "nats")
A = Parameter("A", Support.POSITIVE, "amplitude", "nats")
ALPHA = Parameter("alpha", Support.POSITIVE, "exponent", "1", (0.2, 1.0), (0.01, 5.0))
def design_matrix(values, history):
    clock = history.clock.reshape(-1) + history.lr.reshape(-1)
    return jnp.stack([jnp.ones_like(clock), clock ** -values["alpha"]], axis=1)
LAW = Law(name="outside", formula="L = L0 + A·(S + lr)^-alpha", citation="a test",
          conventions="none", linear_parameters=(L0, A), nonlinear_parameters=(ALPHA,),
          design_matrix=design_matrix, rescale=None)
HALF = Family(name="halving", formula="peak·2^(-4 t/T)", citation="a test", keys=COMMON_KEYS,
  build=lambda v: warm_up(v, lambda step: v["peak"] * 2.0 ** (-4.0 * step / v["steps"])))
"""
ENTRY_POINTS = """
[scaling_laws.laws]
outside = outside_law:LAW

[scaling_laws.schedules]
halving = outside_law:HALF
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(folder: Path) -> Path:
    """The plug-in as a wheel, which is a zip of a module and three text files."""
    info = "outside_law-1.0.dist-info"
    files = {
        "outside_law.py": PLUGIN,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: outside-law\nVersion: 1.0\n",
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": ENTRY_POINTS,
    }
    record = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record.append(f"{name},sha256={digest.decode()},{len(text.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = folder / "outside_law-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment with the plug-in, which sees this environment's libraries."""
    folder = tmp_path_factory.mktemp("plugin")
    venv.create(folder / "env", with_pip=True)
    executable = folder / "env" / "bin" / "python"
    (library,) = (folder / "env" / "lib").glob("python*/site-packages")
    beside = [str(ROOT), *site.getsitepackages()]
    (library / "beside.pth").write_text("\n".join(beside) + "\n", encoding="utf-8")
    wheel = build_wheel(folder)
    subprocess.run(
        [executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return executable


def call(python: Path, folder: Path, words: Sequence[Any]) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-m", "scaling_laws", *map(str, words), "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_the_main_job_with_a_law_and_a_family_from_a_plugin(python: Path, tmp_path: Path) -> None:
    micro = ROOT / "data" / "ladder" / "micro"
    fit_runs = f"{micro}:constant_4000,cosine_4000"
    law = tmp_path / "law.json"
    assert "outside" in call(python, tmp_path, ["laws"])["laws"]
    assert "halving" in call(python, tmp_path, ["schedules"])["schedules"]
    fitted = call(
        python,
        tmp_path,
        ["fit", fit_runs, "--law", "outside", "--from-step", 400, "--draws", 8, "--out", law],
    )
    assert fitted["law"] == "outside" and set(fitted["params"]) == {"L0", "A", "alpha"}
    evaluated = call(python, tmp_path, ["evaluate", law, f"{micro}:linear_4000"])
    assert evaluated["mean"]["pred_e"] < 0.1
    spec = "halving:peak=4e-3,steps=4000,warmup=100"
    predicted = call(python, tmp_path, ["predict", law, "--schedule", spec])["schedules"][0]
    assert predicted["interval_90"][0] < predicted["final_loss"] < predicted["interval_90"][1]
    found = call(
        python,
        tmp_path,
        ["optimize", law, "--steps", 600, "--peak", 4e-3, "--warmup", 50, "--out", "best.csv"],
    )
    assert found["final_loss"] <= min(found["baselines"].values()) + 1e-9
    assert (tmp_path / "best.csv").exists()
    compared = call(python, tmp_path, ["compare", fit_runs, "--laws", "power,outside"])
    assert set(compared["laws"]) == {"power", "outside"}


def test_without_the_plugin_the_error_says_what_to_do(tmp_path: Path) -> None:
    import scaling_laws as sl

    document = {"format": "scaling-laws law", "version": 2, "law": "outside", "params": {"L0": 1.0}}
    path = tmp_path / "law.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(sl.LawFileError, match="register_law"):
        sl.load_law(path)


def test_a_law_given_to_load_law_needs_no_registration(tmp_path: Path) -> None:
    import scaling_laws as sl

    names: dict[str, Any] = {}
    exec(PLUGIN, names)
    law = names["LAW"]
    runs = sl.load_runs(str(ROOT / "data" / "ladder" / "micro") + ":constant_4000,cosine_4000")
    fitted = sl.fit(law, runs, from_step=400, draws=4, starts=2, hold_out=False)
    fitted.save(tmp_path / "law.json")
    again = sl.load_law(tmp_path / "law.json", law=law)
    spec = "cosine:peak=4e-3,steps=1000"
    assert again.predict(spec).final_loss == fitted.predict(spec).final_loss
    with pytest.raises(sl.LawFileError, match="outside"):
        sl.load_law(tmp_path / "law.json", law=sl.get_law("power"))
