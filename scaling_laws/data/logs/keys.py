"""Which key of a log is the step, the learning rate, the loss, the number of tokens or samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from scaling_laws.common import DataError, UsageError, unknown_name
from scaling_laws.data.logs.reader import TrainingLog

__all__ = [
    "LOSSES",
    "RATES",
    "ROLES",
    "SAMPLES",
    "STEPS",
    "TOKENS",
    "by_preference",
    "find_step",
    "known_keys",
    "loss_key",
    "loss_like",
    "rate_key",
    "rate_like",
]

# names that trainers use, in the order of preference; compared by `_plain`
STEPS = (
    "iter",
    "iteration",
    "step",
    "global_step",
    "trainer/global_step",
    "train/global_step",
    "current_steps",
    "train_step",
    "train/step",
    "update",
    "num_updates",
)
COUNTERS = ("_step", "s")  # counts calls of the logger, which may be optimizer steps
RATES = (
    "lr",
    "learning_rate",
    "learning-rate",
    "learning rate",
    "train/lr",
    "train/learning_rate",
    "train_lr",
    "optim/lr",
    "optim/learning_rate",
    "optim/LR (group 0)",
    "lr/AdamW",
    "lr-AdamW",
    "lr-Adam",
    "lr-SGD",
    "learning/current_learning_rate",
    "Train/Samples/lr",
)
# losses on held-out text first: they carry less noise
HELD_OUT = (
    "val/loss",
    "val_loss",
    "eval_loss",
    "eval/loss",
    "valid_loss",
    "valid/loss",
    "validation/loss",
    "validation_loss",
    "validation_metrics/loss",
    "validation lm loss",
    "lm loss validation",
    "lm_loss validation",
    "val loss",
    "tel",
)
TRAINING = (
    "loss",
    "train/loss",
    "train_loss",
    "train loss",
    "train_loss_step",
    "training_loss",
    "lm loss",
    "lm_loss",
    "train/lm_loss",
    "reduced_train_loss",
    "train/CE loss",
    "train/CrossEntropyLoss",
    "loss/out",
    "loss_metrics/global_avg_loss",
    "learning/loss",
    "loss/train/total",
    "Metrics/loss",
    "Train/Samples/train_loss",
    "trl",
)
LOSSES = HELD_OUT + TRAINING
TOKENS = (
    "tokens",
    "total_tokens",
    "consumed_tokens",
    "consumed tokens",
    "n_tokens_seen",
    "tokens_seen",
    "num_input_tokens_seen",
    "train/num_input_tokens_seen",
    "tokens/total",
    "throughput/total tokens",
    "throughput/total_tokens",
    "optim/total_tokens",
)
SAMPLES = ("consumed_samples", "consumed samples", "samples_seen", "global_samples", "samples")
ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"step": STEPS, "lr": RATES, "loss": LOSSES, "tokens": TOKENS, "samples": SAMPLES}
)
# further parameter groups and optimizers: lr-AdamW/pg1, lr/Muon/0, optim/LR (group 3),
# optim/learning_rate_group0
GROUPS = re.compile(
    r"(lr[-/]\w+(/(pg)?\d+)?|optim/lr \(group \d+\)|lr[-_ /](group|pg)?_?\d+"
    r"|(optim/|train/)?learning[-_ ]rate[-_ /]?(group|pg)?_?\d+)",
    re.I,
)

FEW = 10  # values of a loss that is not preferred to one with more
RATE_LIKE = re.compile(r"(?<![a-z])lr(?![a-z])|learning[-_ ]?rate", re.I)
LOSS_LIKE = re.compile(r"loss|bpb|bits_per_byte|cross_?entropy|perplexity|ppl", re.I)

PARTS = re.compile(r"[\s_-]+")
UNITS = re.compile(
    r"\s*[(\[](nats?|nats?/token|steps?|updates?|iterations?|tokens?|samples?|#)[)\]]$"
)


def known_keys(role: str, keys: Iterable[str]) -> list[str]:
    """The keys that are known under a role, in the order of preference.

    A counter of rows is used as the step only if there is no other.
    """
    every = list(keys)
    matches = _known(ROLES[role], every)
    if role == "step":
        return matches or _known(COUNTERS, every)
    if role == "lr":
        matches += [key for key in every if key not in matches and GROUPS.fullmatch(key)]
    return matches


def by_preference(counts: Mapping[str, int]) -> list[str]:
    """Losses by preference: one with few values comes after those with more.

    A few evaluations determine less than a whole curve of training losses.

    Args:
        counts: number of values by key, in the order of `known_keys`.
    """
    most = max(counts.values(), default=0)
    return sorted(counts, key=lambda key: counts[key] < min(FEW, most))


def loss_like(keys: Iterable[str]) -> list[str]:
    """Keys that have the name of a loss in theirs."""
    return [key for key in keys if LOSS_LIKE.search(key)]


def rate_like(keys: Iterable[str]) -> list[str]:
    """Keys that are not known as a learning rate but have its name in theirs."""
    return [key for key in keys if RATE_LIKE.search(key)]


def _known(names: Iterable[str], keys: Iterable[str]) -> list[str]:
    """The keys that are among some names, in the order of the names."""
    by_name: dict[str, list[str]] = {}
    for key in keys:
        by_name.setdefault(_plain(key), []).append(key)
    wanted = dict.fromkeys(map(_plain, names))
    return [key for name in wanted for key in by_name.get(name, [])]


def _plain(key: str) -> str:
    """A key without case, word separators and units of 1.

    >>> _plain("Global Step"), _plain("loss [nats]"), _plain("tokens (B)"), _plain("_step")
    ('global_step', 'loss', 'tokens_(b)', '_step')
    """
    return PARTS.sub("_", UNITS.sub("", key.strip().lower()))


def find_step(keys: Iterable[str]) -> str | None:
    """The key of the optimizer step; a counter of rows only if there is no other."""
    matches = known_keys("step", keys)
    return matches[0] if matches else None


def rate_key(log: TrainingLog) -> str | None:
    """The key of the learning rate, if a known one was logged."""
    matches = _known(RATES, log.columns)
    return matches[0] if matches else None


def loss_key(log: TrainingLog, asked: str | None = None) -> tuple[str, str]:
    """The key of the loss, and a sentence on how it was chosen.

    Validation losses come before training losses: they carry less noise. A loss with few values
    comes after one with more.

    Raises:
        UsageError: if the log has no key `asked`.
        DataError: if it has no known one.
    """
    if asked is not None:
        if asked not in log.columns:
            raise UsageError(f"--loss-key: {unknown_name('key', asked, log.columns)}", value=asked)
        return asked, f"loss: {asked}, as requested"
    matches = by_preference({key: log.series(key)[0].size for key in _known(LOSSES, log.columns)})
    if not matches:
        raise DataError(
            f"{log.source}: no key is recognised as a loss; choose one with --loss-key, of "
            f"{', '.join(log.columns)}",
            path=log.source,
        )
    others = f"; --loss-key takes another ({', '.join(matches[1:])})" if len(matches) > 1 else ""
    return matches[0], f"loss: {matches[0]}{others}"
