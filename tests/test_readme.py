"""What the README shows is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scaling_laws.interface.cli import main
from scaling_laws.interface.report.catalogue import catalogue
from scaling_laws.models.laws import LAWS, schedule_laws
from scaling_laws.models.schedules import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data, to run commands in without writing to the repository."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_python_block_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [text for language, text in BLOCKS if language == "python"]
    exec(compile(code, "README.md", "exec"), {})
    assert "[[Parameters]]" in capsys.readouterr().out
    lines = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 8


@pytest.mark.slow
def test_shell_blocks_run(checkout: Path) -> None:
    """Fit, predict, search; then, with the same law, to a trainer and in the middle of a run."""
    for first in ("scaling-laws fit", "scaling-laws optimize"):
        (block,) = [text for _, text in BLOCKS if text.startswith(first)]
        for line in block.splitlines():
            program, *words = shlex.split(line)
            assert program == "scaling-laws"
            assert main(words) == 0, line
    files = {path.name for path in checkout.iterdir()}
    assert {"law.json", "schedule.csv", "schedule.py", "rest.csv", "replan.png"} <= files


@pytest.mark.slow
def test_main_command_does_the_whole_job(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = README.split("<!-- main-command -->")[1].split("```")[1].removeprefix("sh\n")
    *_, words = command.split(".venv/bin/scaling-laws ")
    assert main(shlex.split(words)) == 0
    files = {path.name for path in (checkout / "quickstart").iterdir()}
    assert files == {"law.json", "schedule.csv", "figure.png"}
    assert "2. Held-out runs" in capsys.readouterr().out


def test_ci_runs_the_readme_s_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for marker in ("main-command", "test-command"):
        assert README.count(f"<!-- {marker} -->\n```sh\n") == 1
        assert f'$(command_after {marker})"' in script


def test_every_law_that_the_sets_can_judge_is_in_the_table() -> None:
    for law in schedule_laws():
        judged = not law.required_traces and not law.break_facts
        assert (f"| `{law.name}` |" in README) == judged


def test_the_catalogue_is_that_of_the_registries() -> None:
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert page == catalogue(), (
        "run python -m scaling_laws.interface.report.catalogue docs/catalogue.md"
    )
    for named in (*LAWS.values(), *FAMILIES.values()):
        assert f"| `{named.name}` |" in page


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
