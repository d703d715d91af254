"""A corpus: training tokens (or an endless source), validation tokens, and their properties."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training.corpus.markov import MarkovStream
from scaling_laws.proxy.training.tokenizers import BYTES, BYTES_VOCABULARY

__all__ = ["MAX_TOKENS", "Corpus"]

MAX_TOKENS = 2**31 - 1  # positions are 32-bit
DTYPES = (np.uint8, np.uint16)
BLOCK = 1 << 20  # tokens hashed at a time


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in two disjoint parts.

    Attributes:
        name: as requested: ``stdlib``, ``synthetic``, ``stream`` or a path.
        train: tokens to train on, of shape (train tokens,), uint8 or uint16, read-only, in memory
            or memory-mapped; empty if there is a `stream`.
        validation: tokens held out, of shape (validation tokens,), of the same type, read-only.
        entropy_rate: lower bound on the loss in nats per token, if known.
        vocabulary: number of token ids; all tokens are below it.
        tokenizer: ``bytes`` or ``bpe:N``.
        bytes_per_token: held-out bytes over held-out tokens. A loss in nats per token divided by it
            is in nats per byte.
        tokenizer_digest: ``sha256:...`` of the trained tokenizer's JSON; None for bytes.
        stream: an endless source; if there is one, batches come from it and not from `train`.
        digest: ``sha256:...`` of both parts, the trained tokenizer and the stream.

    Raises:
        ProxyError: if a part is not a 1-D array of uint8 or uint16, is too long, or has a token
            outside the vocabulary.
    """

    name: str
    train: NDArray[Any] = field(repr=False)
    validation: NDArray[Any] = field(repr=False)
    entropy_rate: float | None = None
    vocabulary: int = BYTES_VOCABULARY
    tokenizer: str = BYTES
    bytes_per_token: float = 1.0
    tokenizer_digest: str | None = None
    stream: MarkovStream | None = field(default=None, repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            if part.dtype not in DTYPES or part.ndim != 1 or part.dtype != self.train.dtype:
                raise ProxyError(
                    f"corpus {self.name!r}: parts must be 1-D arrays of uint8 or uint16, both of "
                    f"one dtype, not {part.dtype} {part.shape}"
                )
            if part.size > MAX_TOKENS:
                raise ProxyError(
                    f"corpus {self.name!r} has a part of {part.size} tokens; the maximum is "
                    f"{MAX_TOKENS}; choose a part of it",
                    value=part.size,
                )
            part.flags.writeable = False
            digest.update(part.size.to_bytes(8, "little"))
            for block in _blocks(part):
                if block.max() >= self.vocabulary:
                    raise ProxyError(
                        f"corpus {self.name!r} has a token {block.max()}, and its vocabulary has "
                        f"only {self.vocabulary}",
                        value=int(block.max()),
                    )
                digest.update(block.tobytes())
        if self.tokenizer_digest is not None:
            digest.update(f"{self.tokenizer} {self.tokenizer_digest}".encode())
        if self.stream is not None:
            digest.update(b"stream" + self.stream.thresholds.tobytes())
        object.__setattr__(self, "digest", f"sha256:{digest.hexdigest()}")


def _blocks(part: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, part.size, BLOCK):
        yield part[start : start + BLOCK]
