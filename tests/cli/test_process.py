"""The program as a process: help stays light, nothing but the result on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_laws import __version__
from scaling_laws.interface.cli import VERBS, main
from scaling_laws.models.laws import LAWS
from scaling_laws.models.schedules import FAMILIES
from tests.cli.calls import call, call_json

ROOT = Path(__file__).resolve().parents[2]
NAMES = [module.__name__.rpartition(".")[2].rstrip("_") for module in VERBS]
LIGHT = """
import contextlib, io, sys
from scaling_laws.interface.cli import main
for words in [[], *([name] for name in sys.argv[1:]), ["proxy", "train"], ["proxy", "sweep"]]:
    text = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(text):
        main([*words, "--help"])
    assert text.getvalue().startswith("usage: " + " ".join(["scaling-laws", *words])), words
    heavy = {"jax", "pandas", "scipy", "matplotlib", "optax"} & set(sys.modules)
    assert not heavy, (words, heavy)
"""


def process(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from scaling_laws.interface.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **environment},
    )


def test_help_imports_nothing_heavy() -> None:
    result = subprocess.run([sys.executable, "-c", LIGHT, *NAMES], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("verb", NAMES)
def test_help_of_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    if verb != "proxy":  # its own verbs have them
        assert "--json" in text and "--seed" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"scaling-laws {__version__}\n"


def test_laws() -> None:
    laws = call_json("laws")["laws"]
    assert list(laws) == [law.name for law in LAWS.values()]
    for law in LAWS.values():
        found = laws[law.name]
        assert found["formula"] == law.formula and found["citation"] == law.citation
        assert list(found["params"]) == list(law.names)
    text = call("laws").out
    assert all(f"{law.name}\n  {law.formula}\n" in text for law in LAWS.values())


def test_schedules() -> None:
    schedules = call_json("schedules")["schedules"]
    assert list(schedules) == [family.name for family in FAMILIES.values()]
    for family in FAMILIES.values():
        found = schedules[family.name]
        assert found["formula"] == family.formula and found["citation"] == family.citation
        assert list(found["params"]) == [key.name for key in family.keys]
    text = call("schedules").out
    assert all(f"{family.name}\n  {family.formula}\n" in text for family in FAMILIES.values())


def test_process_prints_one_json_object(law_file: Path) -> None:
    spec = "linear:peak=1e-3,steps=300,warmup=20"
    result = process("predict", law_file, "--schedule", spec, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    here = call_json("predict", law_file, "--schedule", spec)
    assert json.loads(result.stdout) == here


def test_process_reports_bad_input_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "none.json"
    result = process("predict", file, "--schedule", "constant:peak=1,steps=9")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"scaling-laws: {file}: no such file")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["laws"], ["laws", "--json"], ["--help"], ["fit", "--help"]])
def test_terminal_without_greek_letters(words: list[str]) -> None:
    result = process(*words, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    if "--json" in words:
        assert "Σ" in json.loads(result.stdout)["laws"]["power"]["formula"]


def test_reader_that_has_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from scaling_laws.interface.cli import main; sys.exit(main(['laws']))"
    result = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_full_or_closed_standard_output_is_an_error(tmp_path: Path) -> None:
    for redirection, words in (
        (">/dev/full", "No space left"),
        (">&-", "standard output is closed"),
    ):
        done = subprocess.run(
            [
                "sh",
                "-c",
                f'exec "$0" "$1" laws {redirection}',
                sys.executable,
                str(ROOT / "cli.py"),
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and words in done.stderr, done
        assert done.stderr.count("\n") == 1
