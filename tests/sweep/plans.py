"""Plans small enough to train in seconds, and what must be equal between two trainings."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from scaling_laws.common.errors import ScalingLawsError
from scaling_laws.interface import cli
from scaling_laws.interface.cli import common, sweep
from tests.cli.calls import Call

DEFAULTS = """
[defaults]
size = "tiny"
width = 16
layers = 1
heads = 1
mlp_width = 32
context = 16
batch = 4
validation_windows = 8
corpus = "synthetic:0"
every = 5
out = "runs"
"""
BRANCHED = """
[[run]]
name = "constant_{seed}"
seed = [0, 1]
schedule = "constant:peak=2e-3,steps={steps},warmup=10"
steps = 3000
[[run]]
name = "wsd_{seed}"
seed = [0, 1]
from = "constant_{seed}@1500"
schedule = "wsd:peak=2e-3,steps=2500,warmup=10,decay_start=1500"
"""
# the verb alone, as `scaling-laws proxy sweep` has it
PROGRAM = """
import sys
from tests.sweep.plans import parse_and_run
sys.exit(parse_and_run(sys.argv[1:]))
"""


def write_plan(folder: Path, runs: str = BRANCHED, defaults: str = DEFAULTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "plan.toml"
    plan.write_text(defaults + runs)
    return plan


def parse_and_run(words: list[str]) -> int:
    parser = common.Parser(prog="scaling-laws")
    verbs = parser.add_subparsers(required=True)
    sweep.add_parser(verbs.add_parser("proxy").add_subparsers(required=True))
    try:
        parsed = parser.parse_args(["proxy", "sweep", *words])
        result = parsed.run(parsed)
    except ScalingLawsError as error:
        sys.stderr.write(f"scaling-laws: {error}\n")
        return 2
    if parsed.json:
        common.write_json(result)
    else:
        sys.stdout.write(parsed.render(result) + "\n")
    return int(parsed.exit_code(result))


def call(*words: object) -> Call:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = parse_and_run([str(word) for word in words])
    return Call(code, out.getvalue(), err.getvalue())


def call_json(*words: object) -> dict[str, Any]:
    result = call(*words, "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert isinstance(found, dict)
    return found


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        cwd=Path(cli.__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def steps_done(work: Path) -> int:
    """Updates that all runs of a sweep have reported together."""
    done = 0
    for file in (work / "progress").glob("[!.]*.json"):  # no temporary ones
        done += int(json.loads(file.read_text())["step"])
    return done


def lasting(folder: Path) -> dict[str, Any]:
    """What a set says of its runs, without wall time and the commands' folders."""
    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        for row in rows:
            del row["tokens_per_second"]
        found[file.name] = rows
    runs = tomllib.loads((folder / "dataset.toml").read_text())["runs"]
    for name, entry in runs.items():
        found[name] = {key: value for key, value in entry.items() if key != "seconds"}
    return found
