"""Which key of a log is the step, the learning rate, the loss."""

from __future__ import annotations

from collections.abc import Iterable

from scaling_laws.errors import DataError, UsageError, unknown_name
from scaling_laws.logs.base import Log

__all__ = ["LOSSES", "RATES", "STEPS", "find_step", "loss_key", "rate_key"]

# names that trainers use, in the order of preference; compared without regard to case
STEPS = ("iter", "iteration", "step", "global_step", "trainer/global_step", "train/global_step")
COUNTERS = ("_step",)  # counts calls of the logger, which may be optimizer steps
RATES = (
    "lr",
    "learning_rate",
    "learning-rate",
    "train/lr",
    "train/learning_rate",
    "optim/lr",
    "optim/learning_rate",
    "optim/LR (group 0)",
    "lr/AdamW",
    "lr-AdamW",
    "learning/current_learning_rate",
)
# losses on held-out text first: they carry less noise
LOSSES = (
    "val/loss",
    "val_loss",
    "eval_loss",
    "eval/loss",
    "validation_metrics/loss",
    "loss",
    "train/loss",
    "train_loss",
    "lm loss",
    "lm_loss",
    "train/lm_loss",
    "reduced_train_loss",
    "train/CE loss",
    "train/CrossEntropyLoss",
    "loss/out",
    "loss_metrics/global_avg_loss",
    "learning/loss",
)


def _known(names: Iterable[str], keys: Iterable[str]) -> list[str]:
    """The keys that are among some names, in the order of the names."""
    by_name = {key.lower(): key for key in keys}
    return [by_name[name.lower()] for name in names if name.lower() in by_name]


def find_step(keys: Iterable[str]) -> str | None:
    """The key that holds the optimizer step; a mere counter of rows only where nothing else is."""
    every = list(keys)
    found = _known(STEPS, every) or _known(COUNTERS, every)
    return found[0] if found else None


def rate_key(log: Log) -> str | None:
    """The key of the learning rate, if a known one was logged."""
    found = _known(RATES, log.columns)
    return found[0] if found else None


def loss_key(log: Log, asked: str | None = None) -> tuple[str, str]:
    """The key of the loss, and in words why that one.

    Validation losses come before training losses: they carry less noise.

    Raises:
        UsageError: if the log has no key `asked`.
        DataError: if it has no known one.
    """
    if asked is not None:
        if asked not in log.columns:
            raise UsageError(f"--loss-key: {unknown_name('key', asked, log.columns)}")
        return asked, f"loss: {asked}, as asked"
    found = _known(LOSSES, log.columns)
    if not found:
        raise DataError(
            f"{log.source}: no key is known as a loss; say which is one with --loss-key, of "
            f"{', '.join(log.columns)}"
        )
    others = f"; --loss-key takes another ({', '.join(found[1:])})" if len(found) > 1 else ""
    return found[0], f"loss: {found[0]}{others}"
