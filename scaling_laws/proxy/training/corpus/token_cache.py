"""The tokens of files: in memory, or written once to a cache and memory-mapped.

A cache has one folder per text and tokenizer, named after the hash of both. It contains the two
parts as NPY files, the trained tokenizer, and, written last, the digest of the corpus. If the
digest does not match when the folder is opened, the contents are written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scaling_laws.common import (
    ProxyError,
    make_folder,
    parse_json,
    read_text,
    write_text,
    write_with,
)
from scaling_laws.proxy.training.corpus.corpus import MAX_TOKENS, Corpus
from scaling_laws.proxy.training.corpus.text_files import Parts, Piece, read_blocks
from scaling_laws.proxy.training.tokenizers import BYTES, encode, train_tokenizer

__all__ = ["in_memory", "in_store"]

FORMAT = 1  # increase it when the same text gives other tokens
FACTS = "corpus.json"
TOKENIZER = "tokenizer.json"
TRAIN = "train.npy"
VALIDATION = "validation.npy"


def in_memory(name: str, parts: Parts, tokenizer: str, vocabulary: int) -> Corpus:
    """The corpus of a text, in memory.

    Args:
        name: of the corpus.
        parts: location of its bytes.
        tokenizer: ``bytes`` or ``bpe:N``.
        vocabulary: its number of token ids.
    """
    trained = _train(name, parts, tokenizer, vocabulary)
    train, validation = (
        np.concatenate(list(_tokens(name, pieces, trained)))
        for pieces in (parts.train, parts.validation)
    )
    return _corpus(name, parts, tokenizer, vocabulary, trained, train, validation)


def in_store(name: str, parts: Parts, tokenizer: str, vocabulary: int, cache: Path) -> Corpus:
    """The corpus of a text, memory-mapped from a cache; written first if missing or damaged.

    Args:
        name: of the corpus.
        parts: location of its bytes.
        tokenizer: ``bytes`` or ``bpe:N``.
        vocabulary: its number of token ids.
        cache: the folder of all cached texts; created if necessary.

    Raises:
        OutputError: if the cache cannot be written.
        ProxyError: if the cache cannot be read back.
    """
    key = _key(parts, tokenizer)
    folder = cache / key

    def opened() -> Corpus:
        trained = None if tokenizer == BYTES else read_text(folder / TOKENIZER)
        train, validation = (
            np.lib.format.open_memmap(folder / part, mode="r") for part in (TRAIN, VALIDATION)
        )
        return _corpus(name, parts, tokenizer, vocabulary, trained, train, validation)

    try:
        facts = parse_json(read_text(folder / FACTS))
        if facts["made_of"] == key and (cached := opened()).digest == facts["digest"]:
            return cached
    except (OSError, ValueError, TypeError, KeyError, EOFError, ProxyError):
        pass  # missing or damaged: write it again
    trained = _train(name, parts, tokenizer, vocabulary)
    make_folder(folder)
    for part, pieces in ((TRAIN, parts.train), (VALIDATION, parts.validation)):
        _write_row(folder / part, name, _tokens(name, pieces, trained))
    if trained is not None:
        write_text(folder / TOKENIZER, trained)
    try:
        corpus = opened()
    except (OSError, ValueError) as error:
        raise ProxyError(
            f"corpus {name!r}: cannot read back the cache {folder}: {error}; "
            "delete it and try again",
            path=folder,
        ) from error
    facts = {
        "made_of": key,
        "corpus": name,
        "tokenizer": tokenizer,
        "train_tokens": corpus.train.size,
        "validation_tokens": corpus.validation.size,
        "digest": corpus.digest,
    }
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    return corpus


def _key(parts: Parts, tokenizer: str) -> str:
    """A hash of everything the tokens depend on, which does not include the names of the files."""
    files = [(file.size, file.digest.hex()) for file in parts.files]
    pieces = [
        [(piece.start, piece.stop) for piece in part] for part in (parts.train, parts.validation)
    ]
    made_of = json.dumps([FORMAT, tokenizer, files, pieces])
    return hashlib.sha256(made_of.encode()).hexdigest()


def _train(name: str, parts: Parts, tokenizer: str, vocabulary: int) -> str | None:
    if tokenizer == BYTES:
        return None
    return train_tokenizer(name, vocabulary, read_blocks(name, parts.train))


def _tokens(name: str, pieces: Iterable[Piece], trained: str | None) -> Iterator[NDArray[Any]]:
    blocks = read_blocks(name, pieces)
    if trained is not None:
        return encode(trained, blocks)
    return (np.frombuffer(block, dtype=np.uint8) for block in blocks)


def _corpus(
    name: str,
    parts: Parts,
    tokenizer: str,
    vocabulary: int,
    trained: str | None,
    train: NDArray[Any],
    validation: NDArray[Any],
) -> Corpus:
    digest = None
    if trained is not None:
        digest = f"sha256:{hashlib.sha256(trained.encode()).hexdigest()}"
    return Corpus(
        name,
        train,
        validation,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        bytes_per_token=parts.validation_bytes / validation.size,
        tokenizer_digest=digest,
    )


def _write_row(path: Path, name: str, blocks: Iterator[NDArray[Any]]) -> None:
    """Write blocks one after the other as one 1-D NPY array, without joining them in memory."""

    def write(temporary: Path) -> None:
        first = next(blocks)
        count = 0
        with temporary.open("wb") as file:
            _write_header(file, first.dtype, count)
            for block in chain([first], blocks):
                file.write(block.data)
                count += block.size
                if count > MAX_TOKENS:
                    raise ProxyError(
                        f"corpus {name!r} has more than {MAX_TOKENS} tokens, the limit of 32-bit "
                        "indices; choose a part of it",
                        value=count,
                    )
            file.seek(0)  # numpy reserves space in the header for a larger shape
            _write_header(file, first.dtype, count)

    write_with(path, write)


def _write_header(file: BinaryIO, dtype: np.dtype[Any], count: int) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)
