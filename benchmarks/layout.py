"""The package layout as a figure: groups with their units, and the imports between groups.

python -m benchmarks.layout docs/layout.svg
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from matplotlib.patches import Rectangle

from scaling_laws.interface.report.figures import COLOURS, new_figure, save_figure

PACKAGE = Path(__file__).resolve().parents[1] / "scaling_laws"
HEIGHT, ROW = 1.0, 1.75  # of a box, and from one row to the next
# group -> (left, right, row); `common` is a bar below that every group imports
BOXES = {
    "interface": (0.0, 10.4, 5),
    "decisions": (1.1, 6.1, 4),
    "proxy": (7.5, 10.4, 4),
    "inference": (0.0, 4.4, 3),
    "data": (0.7, 5.4, 2),
    "models": (0.0, 10.4, 1),
    "common": (0.0, 10.4, 0),
}
# import -> where its arrow goes down, and the height in the box at which it enters from the side
ARROWS: dict[tuple[str, str], tuple[float, float | None]] = {
    ("interface", "decisions"): (3.6, None),
    ("interface", "proxy"): (8.95, None),
    ("interface", "inference"): (0.55, None),
    ("interface", "data"): (6.5, 0.68),
    ("interface", "models"): (6.9, None),
    ("decisions", "inference"): (2.75, None),
    ("decisions", "data"): (4.9, None),
    ("decisions", "models"): (5.8, None),
    ("inference", "data"): (2.5, None),
    ("inference", "models"): (0.35, None),
    ("data", "models"): (3.0, None),
    ("proxy", "data"): (8.0, 0.32),
    ("proxy", "models"): (9.6, None),
}


def units(group: str) -> list[str]:
    """Packages and modules of a group."""
    paths = (PACKAGE / group).iterdir()
    return sorted(
        path.stem
        for path in paths
        if not path.name.startswith("_")
        and (path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists()))
    )


def imports() -> set[tuple[str, str]]:
    """Pairs of groups of which the first imports the face of the second."""
    pairs = set()
    for path in PACKAGE.rglob("*.py"):
        group = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scaling_laws."):
                target = (node.module or "").split(".")[1]
                if group in BOXES and target in BOXES and target != group:
                    pairs.add((group, target))
    return pairs


def draw(file: str) -> None:
    """Draw the layout and write it."""
    figure = new_figure(10.4, 8.2)
    axes = figure.subplots()
    axes.set(xlim=(-0.1, 10.5), ylim=(-0.2, 5 * ROW + HEIGHT + 0.1))
    axes.set_axis_off()
    for colour, (group, (left, right, row)) in zip(COLOURS, BOXES.items(), strict=True):
        bottom = row * ROW
        axes.add_patch(
            Rectangle(
                (left, bottom), right - left, HEIGHT, facecolor=f"{colour}33", edgecolor=colour
            )
        )
        axes.text((left + right) / 2, bottom + 0.66, group, ha="center", va="center", weight="bold")
        text = "   ".join(units(group))
        if group == "common":
            text += "      (imported by every group)"
        axes.text((left + right) / 2, bottom + 0.28, text, ha="center", va="center", fontsize=8.5)
    style = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    for upper, lower in sorted(imports()):
        if lower == "common":
            continue
        if (upper, lower) not in ARROWS:
            raise SystemExit(f"{upper} imports {lower}: add its arrow to ARROWS")
        x, height = ARROWS[upper, lower]
        start, top = BOXES[upper][2] * ROW, BOXES[lower][2] * ROW + HEIGHT
        if height is None:
            axes.annotate("", (x, top), (x, start), arrowprops=style)
        else:
            y = BOXES[lower][2] * ROW + height * HEIGHT
            axes.plot([x, x], [start, y], color="#444444", linewidth=1.1)
            axes.annotate("", (BOXES[lower][1], y), (x, y), arrowprops=style)
    save_figure(figure, file)


if __name__ == "__main__":
    draw(sys.argv[1])
