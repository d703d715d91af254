"""Everything that determines a curve, and the logging intervals of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError
from scaling_laws.models import Schedule
from scaling_laws.proxy.training.batches import SAMPLINGS
from scaling_laws.proxy.training.corpus import Corpus
from scaling_laws.proxy.training.model_sizes import Size
from scaling_laws.proxy.training.optimizers import WIDTH_RULES, get_optimizer

__all__ = ["PRECISIONS", "LogInterval", "ProxyConfig", "flops", "validation_windows"]

PRECISIONS = ("float32", "bfloat16")
EVALUATION_BATCH = 64  # windows per evaluation batch, to bound memory
BACKWARD = 3  # FLOPs of forward and backward pass over those of the forward pass


class LogInterval(NamedTuple):
    """The updates first..end-1 between two logged losses, of `batch` sequences each."""

    first: int
    end: int
    batch: int
    seen: int  # sequences used by all updates before


@dataclass(frozen=True, eq=False)
class ProxyConfig:
    """Everything that determines a curve.

    Attributes:
        size: the model and its batch; its vocabulary is replaced by that of the corpus.
        schedule: the learning rate of every update.
        corpus: the training and validation text.
        seed: of the initial parameters and the batches, in [0, 2^31).
        every: updates between two logged losses; the last update is always logged.
        weight_decay: decoupled, on matrices: each update also subtracts lr·weight_decay times them.
        optimizer: a name of `optimizers.OPTIMIZERS`.
        sampling: how batches are drawn, one of `batches.SAMPLINGS`.
        ramp: (step, batch) pairs that change the size's batch from that step on, multiples of
            `every`.
        precision: type of the matrix products, one of `PRECISIONS`; weights stay float32.
        width_rule: one of `optimizers.WIDTH_RULES`.
        ema: decays of exponential averages of the weights whose losses are logged too.
        merge: numbers of last logged steps whose mean weights are evaluated too.

    Raises:
        ProxyError: if a number is out of range or the corpus too small for the size.
    """

    size: Size
    schedule: Schedule
    corpus: Corpus
    seed: int = 0
    every: int = 20
    weight_decay: float = 0.1
    optimizer: str = "adamw"
    sampling: str = "random"
    ramp: tuple[tuple[int, int], ...] = ()
    precision: str = "float32"
    width_rule: str = "per-layer"
    ema: tuple[float, ...] = ()
    merge: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", replace(self.size, vocabulary=self.corpus.vocabulary))
        if not 0 <= self.seed < 2**31:
            raise ProxyError(f"seed={self.seed} must lie in [0, {2**31})", value=self.seed)
        if self.every < 1:
            raise ProxyError(f"every={self.every}: must be at least 1 step", value=self.every)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ProxyError(
                f"weight_decay={self.weight_decay} must be a finite number >= 0",
                value=self.weight_decay,
            )
        get_optimizer(self.optimizer)
        for key, known in (
            ("sampling", SAMPLINGS),
            ("precision", PRECISIONS),
            ("width_rule", WIDTH_RULES),
        ):
            if getattr(self, key) not in known:
                value = getattr(self, key)
                raise ProxyError(f"{key}={value!r} must be {' or '.join(known)}", value=value)
        for decay in self.ema:
            if not 0 <= decay < 1:
                raise ProxyError(
                    f"ema={decay}: the decay of an average must lie in [0, 1)", value=decay
                )
        for count in self.merge:
            if count < 1:
                raise ProxyError(
                    f"merge={count}: an average needs at least 1 logged step", value=count
                )
        for key in ("ema", "merge"):
            # column names have six significant digits
            names = [f"{value:g}" for value in getattr(self, key)]
            if len(set(names)) < len(names):
                raise ProxyError(
                    f"{key}={','.join(names)}: two columns would have the same name; "
                    "list each average once",
                    value=getattr(self, key),
                )
        self._check_ramp()
        if self.corpus.stream is not None and self.sampling != "random":
            raise ProxyError(
                f"sampling={self.sampling!r}: corpus {self.corpus.name!r} is endless and has "
                "no epochs; sampling must be random",
                value=self.sampling,
            )
        window = self.size.context + 1
        for part, tokens in (("train", self.corpus.train), ("held-out", self.corpus.validation)):
            endless = part == "train" and self.corpus.stream is not None
            if tokens.size < window and not endless:
                raise ProxyError(
                    f"corpus {self.corpus.name!r} is too small for size {self.size.name!r}: its "
                    f"{part} part has {tokens.size} tokens and one sequence takes {window}; "
                    "add more text",
                    value=tokens.size,
                )

    def _check_ramp(self) -> None:
        before = 0
        for step, batch in self.ramp:
            if step <= before or step % self.every or batch < 1:
                raise ProxyError(
                    f"batch ramp {batch}@{step}: steps must be increasing positive multiples of "
                    f"the {self.every} steps between two logged losses, and batches at least 1",
                    value=f"{batch}@{step}",
                )
            before = step

    @property
    def validation_windows(self) -> NDArray[np.integer]:
        """Held-out sequences of shape (chunks, windows, context + 1), see `validation_windows`."""
        return validation_windows(self.corpus, self.size)

    def log_intervals(self, start: int = 0) -> Iterator[LogInterval]:
        """The logging intervals of the run in order, without those that begin before `start`."""
        seen, changes, batch = 0, dict(self.ramp), self.size.batch
        for first in range(0, self.schedule.steps, self.every):
            end = min(first + self.every, self.schedule.steps)
            batch = changes.get(first, batch)
            if first >= start:
                yield LogInterval(first, end, batch, seen)
            seen += batch * (end - first)

    @property
    def tokens(self) -> int:
        """Tokens predicted in the whole run."""
        sequences = sum(part.batch * (part.end - part.first) for part in self.log_intervals())
        return sequences * self.size.context


def validation_windows(corpus: Corpus, size: Size) -> NDArray[np.integer]:
    """Held-out sequences, evenly spaced over the held-out tokens.

    Returns:
        Tokens of shape (chunks, windows, context + 1): at most `size.validation_windows` windows,
        fewer if the held-out part is short, so that no two overlap by more than one token.
    """
    span = corpus.validation.size - size.context - 1
    count = min(size.validation_windows, max(1, span // size.context))
    chunk = min(EVALUATION_BATCH, count)
    count -= count % chunk
    starts = np.linspace(0, span, count).astype(np.int64)
    windows: NDArray[np.integer] = corpus.validation[
        starts[:, None] + np.arange(size.context + 1)[None, :]
    ]
    return windows.reshape(-1, chunk, size.context + 1)


def flops(config: ProxyConfig, start: int = 0) -> float:
    """FLOPs of the matrix products of a run from step `start` on, as multiplications and additions.

    Training costs `BACKWARD` forward passes per token; every logged loss costs one forward pass
    over the held-out windows, and one more per average of the weights.
    """
    forward = config.size.forward_flops
    held_out = config.validation_windows[..., 1:].size
    measured = 1 + len(config.ema) + len(config.merge)
    trained = evaluated = 0
    for interval in config.log_intervals(start):
        trained += interval.batch * (interval.end - interval.first) * config.size.context
        evaluated += held_out * measured
    return float(forward * (BACKWARD * trained + evaluated))
