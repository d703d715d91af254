"""The proxy models that can be trained: each a shape and a batch, under one name."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_laws.errors import ProxyError, find_by_name

__all__ = ["SIZES", "VOCABULARY", "Size", "get_size"]

VOCABULARY = 256  # tokens are bytes


@dataclass(frozen=True)
class Size:
    """A decoder-only transformer on bytes, and how much text an update sees.

    Attributes:
        name: the word after ``--size``.
        width: numbers a token carries between layers.
        layers: attention and MLP pairs.
        heads: attention heads; each has width/heads numbers, an even count.
        mlp_width: hidden numbers of an MLP.
        context: tokens a sequence predicts.
        batch: sequences in an update.
        validation_windows: held-out sequences of `context` tokens behind every logged loss.

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

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            if field != "name" and value < 1:
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
        gains = 2 * self.width + 2 * self.head_width
        return self.layers * (block + gains) + 2 * VOCABULARY * self.width + self.width


SIZES: tuple[Size, ...] = (
    Size("nano", 64, 2, 2, 256, context=64, batch=64, validation_windows=1024),
    Size("micro", 96, 4, 3, 384, context=128, batch=64, validation_windows=512),
    Size("small", 160, 6, 5, 640, context=256, batch=64, validation_windows=512),
)


def get_size(name: str) -> Size:
    """The registered size of that name.

    Raises:
        ProxyError: listing the near matches if there is none.
    """
    return find_by_name("proxy size", name, SIZES, ProxyError)
