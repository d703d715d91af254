"""Logs of training runs, as trainers and trackers write them: one file per format.

README.md describes how to add a format.
"""

from __future__ import annotations

from pathlib import Path

from scaling_laws.common import DataError
from scaling_laws.data.logs.aim import AIM
from scaling_laws.data.logs.deepspeed import DEEPSPEED
from scaling_laws.data.logs.delimited import CSV_TABLE, TSV_TABLE
from scaling_laws.data.logs.detect import find_reader, read_with
from scaling_laws.data.logs.json_table import JSON_TABLE
from scaling_laws.data.logs.jsonl import JSONL
from scaling_laws.data.logs.keys import find_step
from scaling_laws.data.logs.lightning import LIGHTNING, LITGPT
from scaling_laws.data.logs.llmc import LLMC, LLMC_PRINTED
from scaling_laws.data.logs.log_runs import ImportedRun, run_of
from scaling_laws.data.logs.maxtext import MAXTEXT
from scaling_laws.data.logs.megatron import MEGATRON
from scaling_laws.data.logs.mlflow import MLFLOW, MLFLOW_DATABASE
from scaling_laws.data.logs.modded_nanogpt import MODDED_NANOGPT
from scaling_laws.data.logs.nanochat import NANOCHAT
from scaling_laws.data.logs.nanogpt import NANOGPT
from scaling_laws.data.logs.nemo import NEMO
from scaling_laws.data.logs.olmo_core import OLMO_CORE
from scaling_laws.data.logs.parquet import PARQUET
from scaling_laws.data.logs.printed import PRINTED
from scaling_laws.data.logs.reader import (
    Column,
    Head,
    LogTable,
    Match,
    Reader,
    TrainingLog,
    table_of,
)
from scaling_laws.data.logs.repeated import REPEATS, log_of
from scaling_laws.data.logs.tensorboard import TENSORBOARD
from scaling_laws.data.logs.text import head_of
from scaling_laws.data.logs.torchtitan import TORCHTITAN
from scaling_laws.data.logs.trackio import TRACKIO
from scaling_laws.data.logs.trainer_state import LLAMA_FACTORY, TRAINER_STATE
from scaling_laws.data.logs.wandb_export import WANDB_EXPORT
from scaling_laws.data.logs.wandb_history import WANDB_HISTORY
from scaling_laws.data.logs.wandb_offline import WANDB_OFFLINE

__all__ = [
    "READERS",
    "REPEATS",
    "Column",
    "Head",
    "ImportedRun",
    "LogTable",
    "Match",
    "Reader",
    "TrainingLog",
    "find_reader",
    "is_log",
    "log_of",
    "read_log",
    "read_tables",
    "run_of",
    "table_of",
]

READERS: tuple[Reader, ...] = (
    CSV_TABLE,
    TSV_TABLE,
    JSONL,
    JSON_TABLE,
    PRINTED,
    PARQUET,
    WANDB_HISTORY,
    MEGATRON,
    NANOGPT,
    NANOCHAT,
    LLMC,
    LLMC_PRINTED,
    MODDED_NANOGPT,
    NEMO,
    TORCHTITAN,
    OLMO_CORE,
    MAXTEXT,
    DEEPSPEED,
    TRAINER_STATE,
    LLAMA_FACTORY,
    WANDB_EXPORT,
    LIGHTNING,
    LITGPT,
    TENSORBOARD,
    MLFLOW,
    MLFLOW_DATABASE,
    TRACKIO,
    WANDB_OFFLINE,
    AIM,
)


def is_log(path: Path | str) -> bool:
    """Whether a file is a log of a trainer or tracker rather than a table `step,lr,loss`."""
    file = Path(path)
    if file.suffix.lower() == ".json":
        return True
    if not file.exists():
        return False
    head = head_of(file)
    # a table step,lr,loss is a CSV too, so that only a specific match makes it a log
    required = Match.SPECIFIC if file.suffix.lower() == ".csv" else Match.GENERIC
    return any(reader.detect(head) >= required for reader in READERS)


def read_tables(
    path: Path | str, *, format: str | None = None
) -> tuple[Reader, tuple[LogTable, ...]]:
    """Read every run of a file, without resolving repeated steps.

    Args:
        path: a file, or a folder that a reader recognises.
        format: name of the reader; default the one that recognises the file.

    Returns:
        The reader, and one table per run.

    Raises:
        DataError: if no reader recognises the file, several do, or it cannot be used.
        UsageError: if the format is unknown.
    """
    reader = find_reader(Path(path), READERS, format)
    return reader, read_with(reader, Path(path))


def read_log(path: Path | str, *, repeats: str = "last", format: str | None = None) -> TrainingLog:
    """Read the log of one run.

    Args:
        path: the file.
        repeats: ``last``, ``first`` or ``mean``: which row of a repeated step is used.
        format: name of the reader; default the one that recognises the file.

    Raises:
        DataError: if no reader recognises the file, it cannot be used, or it contains several runs.
        UsageError: if `repeats` has another value.
    """
    _, tables = read_tables(path, format=format)
    if len(tables) > 1:
        raise DataError(
            f"{path}: it contains {len(tables)} runs "
            f"({', '.join(table.name for table in tables)}); "
            "import one of them with scaling-laws import --run NAME",
            path=path,
        )
    (table,) = tables
    step = table.step or find_step(table.columns)
    if step is None:
        raise DataError(
            f"{path}: no key is recognised as the step; the keys are {', '.join(table.columns)}",
            path=path,
        )
    return log_of(table, step, repeats)
