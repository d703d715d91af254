"""Tables in hand-written pages, refreshed between their markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaling_laws.common.files import write_text


def fill(path: Path, marker: str, table: Sequence[str]) -> None:
    """Put a table into a page, between its two markers."""
    before, _, remainder = path.read_text(encoding="utf-8").partition(f"<!-- {marker} -->\n")
    _, _, after = remainder.partition(f"<!-- /{marker} -->")
    text = "\n".join(table)
    write_text(path, f"{before}<!-- {marker} -->\n{text}\n<!-- /{marker} -->{after}")
