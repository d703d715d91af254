"""HTML fragments for notebooks: escaped, and readable on light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["html_page", "html_table"]

# colours are inherited from the page; rules and notes use grey at half opacity, so that the same
# fragment suits a light and a dark theme
RULE = "border-bottom:1px solid rgba(128,128,128,.5)"
CELL = "padding:2px 10px;text-align:left;background:transparent"


def html_page(title: str, parts: Sequence[str], notes: Sequence[str] = ()) -> str:
    """A title, then the non-empty parts, then notes.

    Args:
        title: plain text.
        parts: HTML, e.g. made by `html_table`.
        notes: plain texts.
    """
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    listed = f'<ul style="opacity:.8;margin:4px 0">{items}</ul>' if items else ""
    body = "".join(part for part in parts if part)
    return f'<div style="color:inherit"><strong>{escape(title)}</strong>{body}{listed}</div>'


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table of plain texts; empty without rows.

    Args:
        header: of the columns; empty for none.
        rows: cells of each row; the first cell names the row.
        caption: above the table; empty for none.
    """
    if not rows:
        return ""
    top = f'<caption style="text-align:left">{escape(caption)}</caption>' if caption else ""
    if header:
        cells = "".join(f'<th style="{CELL};{RULE}">{escape(text)}</th>' for text in header)
        top += f"<thead><tr>{cells}</tr></thead>"
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{escape(text)}</td>' for text in row) + "</tr>"
        for row in rows
    )
    style = "border-collapse:collapse;margin:6px 0;color:inherit"
    return f'<table style="{style}">{top}<tbody>{body}</tbody></table>'
