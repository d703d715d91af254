"""Imports go strictly down the layers, siblings do not know each other, files stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scaling_laws"
MAX_LINES = 400
# a unit may import from layers below its own, and from itself
LAYERS = (
    {"errors"},
    {"files", "libraries", "numerics", "pools"},
    {"tables", "metrics", "params"},
    {"schedules", "laws"},
    {"runs", "fitted"},
    {"fitting", "evaluation", "proxy", "logs"},
    {"search", "screening", "planning", "comparison", "export", "sweep", "importing"},
    {"replanning"},
    {"report"},
    {"cli"},
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
FILES = sorted(PACKAGE.rglob("*.py"))


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Dotted names below scaling_laws that a file imports, at whatever depth it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; write the full name"
            if node.module == "scaling_laws":
                names |= {f"scaling_laws.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {
        name.removeprefix("scaling_laws.") for name in names if name.startswith("scaling_laws.")
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_layers(path: Path) -> None:
    unit = unit_of(path)
    if unit == "__init__":
        return  # the public names, imported lazily
    assert unit in LEVEL, f"{unit} stands in no layer; add it to LAYERS here and to CONTRIBUTING"
    for name in imported(path) - {"__version__"}:
        other = name.split(".")[0]
        if other == unit:
            continue
        assert LEVEL[other] < LEVEL[unit], (
            f"{path.name} ({unit}) imports {other}, which is not below it; "
            "move the shared part down or pass arrays"
        )


@pytest.mark.parametrize("folder", ["laws", "schedules"])
def test_siblings_do_not_import_each_other(folder: str) -> None:
    for path in (PACKAGE / folder).glob("*.py"):
        if path.stem in ("__init__", "common"):
            continue
        others = {name for name in imported(path) if name.startswith(f"{folder}.")}
        assert others <= {f"{folder}.base", f"{folder}.common"}, (
            f"{path.name} imports {others}: put what they share in base.py or common.py"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{path.name} has {lines} lines; split it by idea"
