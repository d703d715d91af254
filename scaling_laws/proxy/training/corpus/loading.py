"""Load a corpus by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from scaling_laws.common import ProxyError
from scaling_laws.proxy.training.corpus.corpus import MAX_TOKENS, Corpus
from scaling_laws.proxy.training.corpus.markov import (
    markov_chains,
    markov_entropy,
    markov_source,
    markov_stream,
)
from scaling_laws.proxy.training.corpus.text_files import (
    HELD_OUT,
    find_files,
    inspect_files,
    split_files,
)
from scaling_laws.proxy.training.corpus.token_cache import in_memory, in_store
from scaling_laws.proxy.training.tokenizers import BYTES, vocabulary_of

__all__ = ["load_corpus"]

MAX_BYTES = 1 << 30  # of a text that is loaded into memory
SOURCES = ("synthetic", "stream")
CHAINS = 1024
CHAIN_LENGTH = 4096


def load_corpus(name: str, *, tokenizer: str = BYTES, cache: Path | None = None) -> Corpus:
    """The corpus of that name.

    Args:
        name: ``stdlib``: the Python sources of the running interpreter's standard library,
            without tests; ``synthetic`` or ``synthetic:SEED``: bytes of a Markov chain;
            ``stream`` or ``stream:SEED``: an endless sample of the same chain, with the same
            held-out part; anything else: a file, a folder or a glob pattern (write ``./stdlib``
            for a folder named stdlib).
        tokenizer: ``bytes``, or ``bpe:N``: a byte-pair encoding of N tokens, trained on the train
            part.
        cache: a folder for the tokens of files. They are written there once and memory-mapped, so
            that a text may be larger than memory; without it, texts of up to 1 GiB are loaded into
            memory. The files themselves are read every time, to detect changes.

    Returns:
        The corpus. The held-out part depends on the contents of the files, not on their names:
        whole files if possible, else (a single file, or one much larger than the others) the end
        of the text.

    Raises:
        ProxyError: if the path matches nothing, cannot be read, or has too little or too much text,
            or if the tokenizer is unknown, not installed or unsuitable for the text.
        OutputError: if the cache cannot be written.
    """
    vocabulary = vocabulary_of(tokenizer)
    word, colon, seed = name.partition(":")
    if word in SOURCES:
        if colon and not re.fullmatch("[0-9]{1,18}", seed):
            raise ProxyError(
                f"corpus {name!r}: {seed!r} is not a seed; write e.g. {word}:7", value=seed
            )
        if tokenizer != BYTES:
            raise ProxyError(
                f"corpus {name!r} consists of bytes without words; "
                f"tokenizer {tokenizer!r} must be {BYTES!r}",
                value=tokenizer,
            )
        return _markov(name, int(seed or 0), endless=word == "stream")
    if cache is None:
        limit, reason = MAX_BYTES, "the limit in memory; pass a cache or "
    elif tokenizer == BYTES:
        limit, reason = MAX_TOKENS, "the limit of 32-bit indices; "
    else:
        limit, reason = None, ""
    parts = split_files(name, inspect_files(name, find_files(name), limit, reason))
    if cache is None:
        return in_memory(name, parts, tokenizer, vocabulary)
    return in_store(name, parts, tokenizer, vocabulary, Path(cache))


def _markov(name: str, seed: int, *, endless: bool) -> Corpus:
    transition = markov_source(seed)
    entropy_rate, stationary = markov_entropy(transition)
    generator = np.random.default_rng([seed, 1])
    # many chains, concatenated: a join every 4096 bytes is too rare to matter
    text = markov_chains(transition, stationary, generator, CHAIN_LENGTH, CHAINS)
    held_out = round(HELD_OUT * CHAINS)
    validation = text[:held_out].ravel()
    if endless:
        stream = markov_stream(transition, stationary)
        return Corpus(name, np.empty(0, np.uint8), validation, entropy_rate, stream=stream)
    return Corpus(name, text[held_out:].ravel(), validation, entropy_rate)
