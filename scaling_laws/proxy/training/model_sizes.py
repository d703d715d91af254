"""The registered proxy models: name, shape and batch size."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_laws.common import ProxyError, find_by_name

__all__ = ["BASE_WIDTH", "SIZES", "Size", "get_size"]

BASE_WIDTH = 64  # width at which all matrices have the schedule's learning rate, see optimizers.py


@dataclass(frozen=True)
class Size:
    """The shape of a decoder-only transformer, its sequences and its batch.

    Attributes:
        name: the value of ``--size``.
        width: of the residual stream.
        layers: number of blocks of attention and MLP.
        heads: attention heads; width/heads must be even.
        mlp_width: hidden width of an MLP.
        context: tokens predicted per sequence.
        batch: sequences per update.
        validation_windows: held-out sequences of `context` tokens per logged loss.
        vocabulary: number of token ids, 256 for bytes; a configuration takes it from its corpus.
        tied: whether the output head is the embedding.
        qk_norm: whether queries and keys are normalised.

    Raises:
        ProxyError: if the numbers are not a valid model.
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
                raise ProxyError(
                    f"size {self.name!r}: {field}={value} must be at least 1", value=value
                )
        if self.width % (2 * self.heads):
            raise ProxyError(
                f"size {self.name!r}: width={self.width} does not split into heads={self.heads} "
                "of an even width; choose a multiple of twice the number of heads",
                value=self.width,
            )

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def tokens_per_step(self) -> int:
        """Tokens predicted per update."""
        return self.batch * self.context

    @property
    def parameters(self) -> int:
        """Number of parameters: matrices, including embedding and head, and norm gains."""
        block = 4 * self.width**2 + 2 * self.width * self.mlp_width
        gains = 2 * self.width + 2 * self.head_width * self.qk_norm
        tables = (1 if self.tied else 2) * self.vocabulary * self.width
        return self.layers * (block + gains) + tables + self.width

    @property
    def forward_flops(self) -> int:
        """FLOPs per token of all matrix products of a forward pass, multiplications and additions.

        The embedding is a lookup and costs nothing. Attention scores and mixing count in full,
        masked or not, as they are computed. A training step takes three times as many.
        """
        block = 4 * self.width**2 + 2 * self.width * self.mlp_width
        attention = 2 * self.context * self.width
        return 2 * (self.layers * (block + attention) + self.vocabulary * self.width)


# heads have width 32 everywhere, MLPs four times the width of the stream
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
