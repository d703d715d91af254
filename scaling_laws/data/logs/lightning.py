"""CSV files of Lightning: ``metrics.csv`` of its CSVLogger, and the same of litgpt.

A row contains what was logged at one call, so the rate and the loss of a step are in different
rows, and most cells are empty. Lightning's ``step`` is the number of updates done before the row's
own: 0 is the first (PyTorch Lightning #1629, #4143).

litgpt logs through Fabric, whose logger writes its own counter over ``step``: it is ``iter`` - 1
and counts micro-batches, not updates. Rows of validation hold it without ``iter``. ``tokens`` are
those of one device, ``total_tokens`` those of all. Source: litgpt's pretraining script and Fabric's
``_ExperimentWriter``, 2026.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scaling_laws.common import DataError
from scaling_laws.data.logs.delimited import read_delimited
from scaling_laws.data.logs.naming import folder_name
from scaling_laws.data.logs.reader import Head, LogTable, Match, Reader

__all__ = ["LIGHTNING", "LITGPT"]

FILE = "metrics.csv"
LITGPT_KEYS = frozenset({"iter", "step", "iter_time", "remaining_time"})
MICRO = (
    "step counts micro-batches from 0, not updates; with gradient accumulation over N of them pass "
    "--steps-per-update N"
)


def _names(head: Head) -> set[str]:
    first = head.text.lstrip("\ufeff").split("\n", 1)[0]
    return {name.strip().strip('"') for name in first.split(",")}


def detect(head: Head) -> Match:
    """By the logger's columns, in a file that has its name or keys that only Lightning makes."""
    names = _names(head)
    if not {"epoch", "step"} <= names or names >= LITGPT_KEYS:
        return Match.NO
    has_lightning_keys = any(
        name.startswith("lr-") or name.endswith(("_loss_step", "_loss_epoch")) for name in names
    )
    matches = has_lightning_keys or head.path.name == FILE
    return Match.SPECIFIC if matches and head.ending == ".csv" else Match.NO


def read(path: Path) -> tuple[LogTable, ...]:
    """Read one run.

    Raises:
        DataError: at a line that does not fit the header, or if there is no column `step`.
    """
    return (_table(path),)


def detect_litgpt(head: Head) -> Match:
    """By the columns that litgpt logs."""
    matches = head.ending == ".csv" and _names(head) >= LITGPT_KEYS
    return Match.SPECIFIC if matches else Match.NO


def read_litgpt(path: Path) -> tuple[LogTable, ...]:
    """Read one run of litgpt.

    Raises:
        DataError: at a line that does not fit the header, or if there is no column `step`.
    """
    table = _table(path)
    # `tokens` counts those of one device: it must not be taken for the run's
    columns = {
        (
            "tokens per device" if key == "tokens" and "total_tokens" in table.columns else key
        ): column
        for key, column in table.columns.items()
    }
    return (replace(table, columns=columns, notes=(*table.notes, MICRO)),)


def _table(path: Path) -> LogTable:
    table = read_delimited(path)
    if "step" not in table.columns:
        raise DataError(
            f"{path} line 1: no column 'step' with a number in it; the columns are "
            f"{', '.join(table.columns)}",
            path=path,
        )
    name = folder_name(path) if path.name == FILE else path.stem
    return replace(table, name=name, step="step")


LIGHTNING = Reader(
    name="lightning",
    meaning="metrics.csv of Lightning's CSVLogger",
    detect=detect,
    read=read,
)
LITGPT = Reader(
    name="litgpt",
    meaning="metrics.csv of litgpt, whose step counts micro-batches",
    detect=detect_litgpt,
    read=read_litgpt,
)
