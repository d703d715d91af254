"""Tokenizers: the bytes themselves, or a byte-pair encoding trained on them.

The byte-pair encoding gets every byte as the character of the same number (Latin-1), so any file
can be encoded, in blocks of any size, and decoding returns its bytes. It uses the library
`tokenizers`; words are split as in GPT-2 (Radford et al. 2019), with bytes above 127 treated as
letters.
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
MIN_FREQUENCY = 2  # of a pair that becomes a token
PARALLEL_BLOCKS = 16


def vocabulary_of(tokenizer: str) -> int:
    """The number of token ids of ``bytes`` or ``bpe:N``.

    Raises:
        ProxyError: for any other name, or an N out of range.
    """
    if tokenizer == BYTES:
        return BYTES_VOCABULARY
    match = re.fullmatch("bpe:([0-9]{1,9})", tokenizer)
    if match is None:
        raise ProxyError(
            f"unknown tokenizer {tokenizer!r}; use bytes, or bpe:N for N tokens, e.g. bpe:4096",
            value=tokenizer,
        )
    size = int(match[1])
    if not BYTES_VOCABULARY < size <= LARGEST_VOCABULARY:
        raise ProxyError(
            f"tokenizer {tokenizer!r}: the number of tokens must lie between "
            f"{BYTES_VOCABULARY + 1} and {LARGEST_VOCABULARY}",
            value=tokenizer,
        )
    return size


def train_tokenizer(name: str, vocabulary: int, blocks: Iterable[bytes]) -> str:
    """Train a byte-pair encoding, deterministically.

    Args:
        name: of the corpus, for messages.
        vocabulary: number of tokens, including the 256 bytes.
        blocks: the text to train on.

    Returns:
        The trained tokenizer as JSON, in the format of the library.

    Raises:
        ProxyError: if the library is not installed, or the text has too few repeated pairs.
    """
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    words = library.Regex(WORDS)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(words, "isolated")
    tokenizer.decoder = library.decoders.Fuse()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=MIN_FREQUENCY,
        initial_alphabet=[chr(byte) for byte in range(BYTES_VOCABULARY)],
        show_progress=False,
    )
    tokenizer.train_from_iterator((block.decode(CHARACTERS) for block in blocks), trainer)
    size = tokenizer.get_vocab_size()
    if size != vocabulary:
        raise ProxyError(
            f"corpus {name!r} is too small for tokenizer 'bpe:{vocabulary}': its train part gives "
            f"{size} tokens; choose fewer tokens, or add more text",
            value=vocabulary,
        )
    trained: str = tokenizer.to_str()
    return trained


def encode(trained: str, blocks: Iterable[bytes]) -> Iterator[NDArray[np.uint16]]:
    """The tokens of every block, each of shape (tokens,); no token spans two blocks.

    Args:
        trained: as returned by `train_tokenizer`.
        blocks: any bytes.

    Raises:
        ProxyError: if the library is not installed.
    """
    tokenizer = _library().Tokenizer.from_str(trained)
    remaining = iter(blocks)
    while batch := [block.decode(CHARACTERS) for block in islice(remaining, PARALLEL_BLOCKS)]:
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
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
