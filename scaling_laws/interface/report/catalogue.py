"""Every law and schedule family as one page of Markdown, from the registries alone.

python -m scaling_laws.interface.report.catalogue docs/catalogue.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from scaling_laws.common import write_text
from scaling_laws.models import (
    FAMILIES,
    LAWS,
    AnyLaw,
    Law,
    PointLaw,
    bound,
    checkpoint_weights,
    compute_optimal,
    critical_ratio,
    decay_from_merge_weights,
    denoise,
    merge_weights_from_decay,
    optimal_base_lr,
    refine,
    scale_critical_batch_size,
    scale_learning_rate,
    scale_peak_lr,
    scale_peak_lr_to_size,
    transfer_loss,
)

__all__ = ["catalogue"]

# rules and tools that are no law or family of their own
FUNCTIONS: tuple[Callable[..., Any], ...] = (
    compute_optimal,
    bound,
    optimal_base_lr,
    transfer_loss,
    critical_ratio,
    denoise,
    scale_peak_lr,
    scale_peak_lr_to_size,
    scale_learning_rate,
    scale_critical_batch_size,
    refine,
    merge_weights_from_decay,
    decay_from_merge_weights,
    checkpoint_weights,
)

HEAD = """\
# Laws and schedules

Made by `python -m scaling_laws.interface.report.catalogue docs/catalogue.md`; a test compares it
with the registries. `scaling-laws laws NAME` adds what a law is for and where it fails. N is the
number of parameters of the model, D that of training tokens, S the LR summed up to and including
step t.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _law_row(law: AnyLaw) -> str:
    parameters = ", ".join(
        f"`{each.name}` {each.support.value} [{each.unit}]" for each in law.parameters
    )
    needs: list[str] = []
    if isinstance(law, Law):
        needs = sorted({*law.required_facts, *law.required_traces})
    if isinstance(law, PointLaw):
        needs = list(law.input_names)
    published = ", ".join(f"`{law.name}:{label}`" for label in law.published)
    cells = (f"`{law.name}`", law.formula, parameters, ", ".join(needs), published, law.citation)
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def catalogue() -> str:
    """The page."""
    lines = [HEAD, "## Laws of schedules", ""]
    head = (
        "| law | {what} | parameters, supports, units | {needs} | published parameters | source |"
    )
    rule = "|---|---|---|---|---|---|"
    lines += [head.format(what="loss", needs="needs"), rule]
    lines += [_law_row(law) for law in LAWS.values() if isinstance(law, Law)]
    lines += ["", "## Laws of single numbers", "", head.format(what="law", needs="inputs"), rule]
    lines += [_law_row(law) for law in LAWS.values() if isinstance(law, PointLaw)]
    lines += [
        "",
        "## Schedule families",
        "",
        "W is the warm-up, T the total steps, x the share of a decay that is done. `SPEC + SPEC` "
        "runs one schedule after another.",
        "",
        "| family | learning rate | keys | source |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES.values():
        keys = ", ".join(f"`{key.name}`" + ("" if key.required else "?") for key in family.keys)
        cells = (f"`{family.name}`", family.formula, keys, family.citation)
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    lines += [
        "",
        "## Rules and tools beside them",
        "",
        "| function | what it gives | where |",
        "|---|---|---|",
    ]
    for function in FUNCTIONS:
        first = (function.__doc__ or "").strip().splitlines()[0]
        where = f"`{function.__module__}`"
        lines.append(f"| `{function.__name__}` | {_cell(first)} | {where} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(sys.argv[1], catalogue())
