"""From bytes to tokens: the bytes themselves, or a byte-pair encoding trained on them.

A byte-pair encoding gets every byte as the character of the same number (Latin-1), so any file can
be encoded, in any blocks, and decoding gives its bytes back. The encoding is that of the library
`tokenizers`; words are cut as in GPT-2 (Radford et al. 2019), with bytes above 127 as letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import ProxyError

__all__ = ["BYTES", "BYTES_VOCABULARY", "encode", "train_tokenizer", "vocabulary_of"]

BYTES = "bytes"
BYTES_VOCABULARY = 256
LARGEST_VOCABULARY = 65536  # token ids are uint16
CHARACTERS = "latin-1"
LETTER = "A-Za-z\x80-\xff"
SPACE = "\\t-\\r "
WORDS = (
    f"'(?:[sdmt]|ll|ve|re)| ?[{LETTER}]+| ?[0-9]+| ?[^{LETTER}0-9{SPACE}]+"
    f"|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+"
)
RAREST_PAIR = 2  # a pair that occurs once is no pattern
ABREAST = 16  # blocks encoded in parallel


def vocabulary_of(tokenizer: str) -> int:
    """The number of token ids of ``bytes`` or ``bpe:N``.

    Raises:
        ProxyError: for any other name, or an N out of range.
    """
    if tokenizer == BYTES:
        return BYTES_VOCABULARY
    given = re.fullmatch("bpe:([0-9]{1,9})", tokenizer)
    if given is None:
        raise ProxyError(
            f"tokenizer {tokenizer!r} is not known; write bytes, or bpe:4096 for 4096 tokens"
        )
    size = int(given[1])
    if not BYTES_VOCABULARY < size <= LARGEST_VOCABULARY:
        raise ProxyError(
            f"tokenizer {tokenizer!r}: the number of tokens lies between {BYTES_VOCABULARY + 1} "
            f"and {LARGEST_VOCABULARY}"
        )
    return size


def train_tokenizer(name: str, vocabulary: int, blocks: Iterable[bytes]) -> str:
    """Train a byte-pair encoding; the same blocks give the same one.

    Args:
        name: the corpus, for messages.
        vocabulary: number of tokens, the 256 bytes included.
        blocks: the text to train on.

    Returns:
        The trained tokenizer as JSON, in the format of the library.

    Raises:
        ProxyError: if the library is missing, or the text has too few pairs that repeat.
    """
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    words = library.Regex(WORDS)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(words, "isolated")
    tokenizer.decoder = library.decoders.Fuse()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=RAREST_PAIR,
        initial_alphabet=[chr(byte) for byte in range(BYTES_VOCABULARY)],
        show_progress=False,
    )
    tokenizer.train_from_iterator((block.decode(CHARACTERS) for block in blocks), trainer)
    found = tokenizer.get_vocab_size()
    if found != vocabulary:
        raise ProxyError(
            f"corpus {name!r} is too small for tokenizer 'bpe:{vocabulary}': its train part gives "
            f"{found} tokens; ask for fewer, or give it more text"
        )
    trained: str = tokenizer.to_str()
    return trained


def encode(trained: str, blocks: Iterable[bytes]) -> Iterator[NDArray[np.uint16]]:
    """The tokens of every block, each of shape (tokens,); no token spans two blocks.

    Args:
        trained: what `train_tokenizer` returned.
        blocks: any bytes.

    Raises:
        ProxyError: if the library is missing.
    """
    tokenizer = _library().Tokenizer.from_str(trained)
    remaining = iter(blocks)
    while some := [block.decode(CHARACTERS) for block in islice(remaining, ABREAST)]:
        for encoding in tokenizer.encode_batch_fast(some, add_special_tokens=False):
            yield np.array(encoding.ids, dtype=np.uint16)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ProxyError(
            "a bpe tokenizer needs the library tokenizers, which is not installed; run "
            "pip install 'scaling-laws[bpe]', or use the tokenizer bytes"
        ) from error
    return tokenizers
