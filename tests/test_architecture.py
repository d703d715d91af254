"""Imports go strictly down the groups and their layers, and cross groups by the faces only."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling_laws.models import FAMILIES, LAWS, Schedule

PACKAGE = Path(__file__).resolve().parents[1] / "scaling_laws"
MAX_LINES = 400
# a group may import the faces of the groups before it
GROUPS = ("common", "models", "data", "inference", "decisions", "proxy", "interface")
# inside a group, a unit may import from the units of the layers before its own, and from itself
LAYERS: dict[str, tuple[set[str], ...]] = {
    "common": (
        {"numbers", "text"},
        {"errors", "progress", "warnings"},
        {"compile_cache", "files", "inputs", "optional", "pools", "registry"},
        {"tables", "transactions"},
    ),
    "models": ({"numerics", "parameters"}, {"schedules", "laws"}),
    "data": ({"runs"}, {"logs"}, {"importing"}),
    "inference": ({"constants", "metrics"}, {"results"}, {"fitting"}, {"comparison"}),
    "decisions": ({"constraints"}, {"search", "screening", "planning", "export"}, {"replanning"}),
    "proxy": ({"training"}, {"sweep"}),
    "interface": ({"report"}, {"cli"}),
}
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("models/laws", "models/schedules", "data/logs", "decisions/export")
REGISTRIES = [PACKAGE / folder for folder in FOLDERS]  # one file for each entry
# a name that is also that of a family (power) or a field of schedules (peak_lr) means those
LAW_NAMES = {name for name in LAWS if name not in FAMILIES and not hasattr(Schedule, name)}


def place_of(path: Path) -> tuple[str, str]:
    """Group and unit of a file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])


def imported(path: Path) -> Iterator[str]:
    """Dotted names below scaling_laws that a file imports from, at whatever depth it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; write the full name"
            if node.module == "scaling_laws":
                yield from (alias.name for alias in node.names)
            elif node.module.startswith("scaling_laws."):
                yield node.module.removeprefix("scaling_laws.")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("scaling_laws."):
                    yield alias.name.removeprefix("scaling_laws.")


def faults_of(path: Path) -> Iterator[str]:
    group, unit = place_of(path)
    level = {each: depth for depth, units in enumerate(LAYERS[group]) for each in units}
    if unit not in level:
        yield f"{group}.{unit} is in no layer; add it to LAYERS"
        return
    for name in imported(path):
        first, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if first == "_version":
            continue
        if first != group:
            if rest:
                yield f"imports {name}; take it from the face, scaling_laws.{first}"
            if GROUPS.index(first) > GROUPS.index(group):
                yield f"imports {first}, a group above {group}"
        elif not other:
            yield "imports the face of its own group; name the module"
        elif other != unit and level[other] >= level[unit]:
            yield f"{group}.{unit} imports {other}, which is not below it"


def test_imports_go_down_and_through_faces() -> None:
    faults = [
        f"{path.relative_to(PACKAGE)}: {fault}"
        for path in FILES
        if place_of(path)[0] and place_of(path)[1] != "__init__"
        for fault in faults_of(path)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(("folder", "record"), [("laws", "law"), ("schedules", "family")])
def test_siblings_do_not_import_each_other(folder: str, record: str) -> None:
    for path in (PACKAGE / "models" / folder).glob("*.py"):
        shared = {record, "common", "prior", "norm_start"}  # modules that define no record
        if path.stem in {"__init__", *shared}:
            continue
        others = {name for name in imported(path) if name.startswith(f"models.{folder}.")}
        assert others <= {f"models.{folder}.{name}" for name in shared}, (
            f"{path.name} imports {others}: put what they share in {record}.py or common.py"
        )


def test_files_stay_small() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {path.name: count for path, count in lines.items() if count > MAX_LINES}
    assert not long, f"more than {MAX_LINES} lines, split them by idea: {long}"


def named_laws(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every law that a string of a file names, but for defaults and help texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed: set[int] = set()
    for node in ast.walk(tree):
        exempt: list[ast.AST] = []
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            exempt = [node.body[0]]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            exempt = [node] if name.startswith("DEFAULT_") or name.endswith("_HELP") else []
        elif isinstance(node, ast.keyword) and node.arg in ("help", "description"):
            exempt = [node]
        allowed |= {id(inner) for outer in exempt for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in allowed
        ):
            for word in re.findall(r"\w+", node.value):
                if word.removesuffix("_across_sizes") in LAW_NAMES:
                    yield node.lineno, word


def test_only_defaults_and_help_texts_name_a_law() -> None:
    """All that is known of a law is in models/laws: its record, its prior, its calibration."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line} names {law}"
        for path in FILES
        if not path.is_relative_to(PACKAGE / "models" / "laws")
        for line, law in named_laws(path)
    ]
    assert not found, "\n".join(found)
    prior = PACKAGE / "models" / "laws" / "norm_clock.py"
    assert any(law == "norm_clock" for _, law in named_laws(prior))  # the search does see them


def test_no_two_modules_or_classes_share_a_name() -> None:
    """A law and a family, or a reader and a target of exports, are named after the same thing."""
    modules: dict[str, list[str]] = defaultdict(list)
    classes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        name = str(path.relative_to(PACKAGE))
        # `common` is what the modules of its own folder share
        if path.stem not in ("__init__", "common") and path.parent not in REGISTRIES:
            modules[path.stem].append(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(name)
    shared = {name: places for name, places in {**modules, **classes}.items() if len(places) > 1}
    assert not shared, "give each its own name: " + "; ".join(
        f"{name} in {', '.join(places)}" for name, places in shared.items()
    )
