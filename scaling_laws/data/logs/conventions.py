"""How trainers count steps in what they send to trackers, recognised by the keys that they log.

TensorBoard, Weights & Biases and tables hold the trainer's own count of steps:

- The Hugging Face Trainer logs after the update and counts updates done, as in
  ``trainer_state.json``; its keys are ``train/loss``, ``train/learning_rate`` and ``train/epoch``.
  Source: rewrite_logs in transformers/integrations, 5.23.
- Megatron-LM (``lm loss``, ``learning-rate``) and GPT-NeoX (``train/lm_loss``,
  ``train/learning_rate``) count iterations done and read the rate after the scheduler's step, as in
  their text. Source: training_log of both, 2026-08 and 2025.
- nanoGPT (``iter``, ``train/loss``, ``val/loss``, ``lr``, ``mfu``) evaluates before the update
  whose number it logs. Source: train.py, 2025-11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scaling_laws.data.logs.reader import LogTable
from scaling_laws.data.logs.trainer_state import OFFSET

__all__ = ["with_convention"]


@dataclass(frozen=True)
class _Convention:
    """What the fields of a `LogTable` are for a trainer.

    Attributes:
        trainer: its name.
        keys: all of which it logs, with ``_`` for a space.
        first_step, lr_offset, averaged, before_update: as in `LogTable`.
        note: for the report.
    """

    trainer: str
    keys: frozenset[str]
    first_step: int = 0
    lr_offset: int = 0
    averaged: frozenset[str] = frozenset()
    before_update: frozenset[str] = frozenset()
    note: str = ""


CONVENTIONS = (
    _Convention(
        "the Hugging Face Trainer",
        frozenset({"train/loss", "train/learning_rate", "train/epoch"}),
        first_step=1,
        averaged=frozenset({"train/loss"}),
        note=OFFSET,
    ),
    _Convention("Megatron-LM", frozenset({"lm_loss", "learning-rate"}), first_step=1, lr_offset=1),
    _Convention(
        "GPT-NeoX",
        frozenset({"train/lm_loss", "train/learning_rate"}),
        first_step=1,
        lr_offset=1,
    ),
    _Convention(
        "nanoGPT",
        frozenset({"iter", "train/loss", "val/loss", "lr", "mfu"}),
        before_update=frozenset({"train/loss", "val/loss"}),
    ),
)


def with_convention(table: LogTable) -> LogTable:
    """A table with the step numbering of the trainer whose keys it has.

    A table whose format states a numbering is returned as it is.
    """
    stated = table.first_step or table.lr_offset or table.averaged or table.before_update
    keys = {key.replace(" ", "_") for key in table.columns}  # some writers replace spaces
    known = next((each for each in CONVENTIONS if each.keys <= keys), None)
    if stated or known is None:
        return table
    note = f"the keys are those of {known.trainer}, so steps are numbered as it does"
    return replace(
        table,
        first_step=known.first_step,
        lr_offset=known.lr_offset,
        averaged=known.averaged,
        before_update=known.before_update,
        notes=(*table.notes, note, *([known.note] if known.note else [])),
    )
