"""Tables of plain text, for results that the command line prints. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

__all__ = ["text_table"]


def text_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[str] = (),
    show_head: bool = True,
    indent: str = "  ",
) -> list[str]:
    """Rows of cells in columns as wide as their widest cell, two spaces apart.

    Args:
        head: the columns' names, each once.
        rows: the cells of each row, one per column.
        left: columns aligned to the left; the others hold numbers and are aligned to the right.
        show_head: whether to begin with the names.
        indent: what each line begins with.

    Returns:
        The lines, without trailing spaces.

    >>> text_table(["step", "spec"], [["9", "cosine"], ["4000", "wsd"]], left=["spec"])
    ['  step  spec', '     9  cosine', '  4000  wsd']
    """
    cells = [list(row) for row in rows]
    if show_head:
        cells.insert(0, list(head))
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(len(head))]
    return [
        indent
        + "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
