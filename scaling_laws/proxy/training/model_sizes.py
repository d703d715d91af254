"""The proxy models that can be trained: each a shape and a batch, under one name."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_laws.common import ProxyError, find_by_name

__all__ = ["BASE_WIDTH", "SIZES", "Size", "get_size"]

BASE_WIDTH = 64  # the width at which a schedule's rate is every matrix's rate, see optimizers.py


@dataclass(frozen=True)
class Size:
    """A decoder-only transformer, and how much text an update sees.

    Attributes:
        name: the word after ``--size``.
        width: numbers a token carries between layers.
        layers: attention and MLP pairs.
        heads: attention heads; each has width/heads numbers, an even count.
        mlp_width: hidden numbers of an MLP.
        context: tokens a sequence predicts.
        batch: sequences in an update.
        validation_windows: held-out sequences of `context` tokens behind every logged loss.
        vocabulary: number of tokens, 256 for bytes; a configuration takes it from its corpus.
        tied: whether the head is the embedding.
        qk_norm: whether queries and keys are normalised.

    Raises:
        ProxyError: if the numbers describe no model.
    """

    name: str
    width: int
    layers: int
    heads: int
    mlp_width: int
    context: int
    batch: int
    validation_windows: int
    vocabulary: int = 256
    tied: bool = False
    qk_norm: bool = True

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            if not isinstance(value, str | bool) and value < 1:
                raise ProxyError(f"size {self.name!r}: {field}={value} must be at least 1")
        if self.width % (2 * self.heads):
            raise ProxyError(
                f"size {self.name!r}: width={self.width} does not split into heads={self.heads} "
                "of an even width; choose a multiple of twice the heads"
            )

    @property
    def head_width(self) -> int:
        """Numbers of one attention head."""
        return self.width // self.heads

    @property
    def tokens_per_step(self) -> int:
        """Tokens that an update predicts."""
        return self.batch * self.context

    @property
    def parameters(self) -> int:
        """Numbers the model learns: matrices, embedding and head included, and norm gains."""
        block = 4 * self.width**2 + 2 * self.width * self.mlp_width
        gains = 2 * self.width + 2 * self.head_width * self.qk_norm
        tables = (1 if self.tied else 2) * self.vocabulary * self.width
        return self.layers * (block + gains) + tables + self.width

    @property
    def forward_flops(self) -> int:
        """Multiplications and additions of all matrix products for one token, going forward.

        The embedding is a lookup and counts nothing; scores and mixing of attention count in full,
        masked or not, as they are computed. A step of training takes three times as many.
        """
        block = 4 * self.width**2 + 2 * self.width * self.mlp_width
        attention = 2 * self.context * self.width
        return 2 * (self.layers * (block + attention) + self.vocabulary * self.width)


# heads are 32 wide everywhere, MLPs four times as wide as the stream
SIZES: tuple[Size, ...] = (
    Size("pico", 32, 2, 1, 128, context=64, batch=64, validation_windows=1024),
    Size("nano", 64, 2, 2, 256, context=64, batch=64, validation_windows=1024),
    Size("micro", 96, 4, 3, 384, context=128, batch=64, validation_windows=512),
    Size("small", 160, 6, 5, 640, context=256, batch=64, validation_windows=512),
    Size("medium", 256, 8, 8, 1024, context=256, batch=64, validation_windows=512),
    Size("large", 448, 8, 14, 1792, context=512, batch=64, validation_windows=256),
)


def get_size(name: str) -> Size:
    """The registered size of that name.

    Raises:
        ProxyError: listing the near matches if there is none.
    """
    return find_by_name("proxy size", name, SIZES, ProxyError)
