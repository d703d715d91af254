"""Bytes to train on and bytes held out: the standard library, files, or a synthetic source."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling_laws.errors import ProxyError

__all__ = ["Corpus", "load_corpus", "markov_entropy", "markov_source"]

Bytes = NDArray[np.uint8]
HELD_OUT = 0.05  # share of the bytes kept for validation
HELD_OUT_MOST = 0.25  # the largest share that whole files may take of them
MAX_BYTES = 1 << 30  # positions are 32-bit, and the text is held in memory
EXCLUDED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test"})
SYNTHETIC_SYMBOLS = 64
SYNTHETIC_CHAINS = 1024
SYNTHETIC_LENGTH = 4096


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in two parts that do not overlap.

    Attributes:
        name: what was asked for: ``stdlib``, ``synthetic`` or a path.
        train: bytes to train on, of shape (train bytes,), uint8, read-only.
        validation: bytes held out, of shape (validation bytes,), uint8, read-only.
        entropy_rate: nats per byte that no model can beat, where it is known.
        digest: ``sha256:...`` of both parts.

    Raises:
        ProxyError: if a part is no row of uint8.
    """

    name: str
    train: Bytes = field(repr=False)
    validation: Bytes = field(repr=False)
    entropy_rate: float | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            if part.dtype != np.uint8 or part.ndim != 1:
                raise ProxyError(
                    f"corpus {self.name!r}: a part is a row of uint8, not {part.dtype} {part.shape}"
                )
            part.flags.writeable = False
            digest.update(part.size.to_bytes(8, "little"))
            digest.update(part.tobytes())
        object.__setattr__(self, "digest", f"sha256:{digest.hexdigest()}")


def load_corpus(name: str) -> Corpus:
    """The corpus of that name.

    Args:
        name: ``stdlib``: the Python sources of the running interpreter's standard library,
            without tests; ``synthetic`` or ``synthetic:SEED``: bytes of a Markov chain; anything
            else: a file, a folder or a glob pattern (a folder called stdlib is ``./stdlib``).

    Returns:
        The corpus. What is held out depends on the contents of the files, not on their names:
        whole files while they suffice, else (one file, or one that outweighs the rest) the end of
        the text.

    Raises:
        ProxyError: if the path matches nothing, cannot be read or holds too little or too much.
    """
    word, colon, seed = name.partition(":")
    if word == "synthetic":
        if colon and not re.fullmatch("[0-9]{1,18}", seed):
            raise ProxyError(f"corpus {name!r}: {seed!r} is not a seed; write synthetic:7, say")
        return _synthetic(name, int(seed or 0))
    files = _standard_library() if name == "stdlib" else _files(name)
    return Corpus(name, *_split(list(_distinct(name, files))))


def _standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        path
        for path in root.rglob("*.py")
        if not EXCLUDED.intersection(path.relative_to(root).parts) and path.is_file()
    ]
    if not found:
        raise ProxyError(
            f"corpus 'stdlib': no Python sources under {root}; pass --corpus PATH or synthetic"
        )
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _files(name: str) -> list[Path]:
    """The files a path or pattern stands for, sorted, hidden ones left out."""
    root = Path(name)
    if not name:
        raise ProxyError("corpus '': the name is empty; give a path, stdlib or synthetic")
    if os.path.isfile(root):  # unlike Path.is_file, never an OSError
        return [root]
    if os.path.isdir(root):
        found = [path for path in root.rglob("*") if _is_visible(path.relative_to(root))]
    else:
        found = [Path(match) for match in glob.glob(name, recursive=True)]
        if not found:
            raise ProxyError(
                f"corpus {name!r}: no such file or folder, and no file matches it as a pattern; "
                "give a path that exists, stdlib or synthetic"
            )
    found = [path for path in found if path.is_file()]
    if not found:
        raise ProxyError(f"corpus {name!r}: no files in there; choose a folder with text in it")
    return sorted(found, key=lambda path: path.as_posix())


def _is_visible(path: Path) -> bool:
    return not any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _distinct(name: str, files: Iterable[Path]) -> Iterable[bytes]:
    """The contents of files, each once, so that no copy of a held-out file is trained on."""
    seen = set()
    total = 0
    for path in files:
        try:
            total += path.stat().st_size
            if total > MAX_BYTES:
                raise ProxyError(
                    f"corpus {name!r} is larger than {MAX_BYTES} bytes (reached at {path}); "
                    "choose a part of it"
                )
            text = path.read_bytes()
        except OSError as error:
            raise ProxyError(f"corpus {name!r}: cannot read {path}: {error.strerror}") from error
        digest = hashlib.sha256(text).digest()
        if digest not in seen:
            seen.add(digest)
            yield text


def _split(texts: list[bytes]) -> tuple[Bytes, Bytes]:
    """Hold out whole files, in the order of a hash of their content, until there are enough.

    A file too large for that is trained on. If the others do not suffice, hold out the end.
    """
    total = sum(map(len, texts))
    wanted = HELD_OUT * total
    held_out: set[int] = set()
    size = 0
    for index in sorted(range(len(texts)), key=lambda i: hashlib.sha256(texts[i]).digest()):
        if size >= wanted:
            break
        if size + len(texts[index]) <= HELD_OUT_MOST * total:
            held_out.add(index)
            size += len(texts[index])
    if size < wanted:
        text = _array(texts)
        start = total - round(wanted)
        return text[:start], text[start:]
    return (
        _array(text for index, text in enumerate(texts) if index not in held_out),
        _array(text for index, text in enumerate(texts) if index in held_out),
    )


def _array(texts: Iterable[bytes]) -> Bytes:
    return np.frombuffer(b"".join(texts), dtype=np.uint8).copy()


def markov_source(seed: int, symbols: int = SYNTHETIC_SYMBOLS) -> NDArray[np.float64]:
    """Transition probabilities of shape (symbols, symbols), each row skewed in its own way."""
    return np.random.default_rng(seed).dirichlet(np.full(symbols, 0.1), size=symbols)


def markov_entropy(transition: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """What an ideal model of a Markov chain reaches.

    Args:
        transition: probabilities of shape (symbols, symbols); rows sum to one.

    Returns:
        The entropy rate in nats per symbol, and the stationary distribution of shape (symbols,).
    """
    count = len(transition)
    system = np.vstack([transition.T - np.eye(count), np.ones(count)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    stationary = np.clip(stationary, 0.0, None)
    stationary /= stationary.sum()
    surprise = -transition * np.log(np.where(transition > 0, transition, 1.0))
    return float(stationary @ surprise.sum(axis=1)), stationary


def _synthetic(name: str, seed: int) -> Corpus:
    transition = markov_source(seed)
    entropy_rate, stationary = markov_entropy(transition)
    generator = np.random.default_rng([seed, 1])
    # many chains abreast, laid end to end: a join every 4096 bytes is too rare to matter
    chains = np.empty((SYNTHETIC_LENGTH, SYNTHETIC_CHAINS), dtype=np.uint8)
    state = generator.choice(len(transition), size=SYNTHETIC_CHAINS, p=stationary)
    cumulative = np.cumsum(transition, axis=1)
    for row in chains:
        row[:] = state
        draw = generator.random(SYNTHETIC_CHAINS)
        state = np.minimum((cumulative[state] < draw[:, None]).sum(axis=1), len(transition) - 1)
    held_out = round(HELD_OUT * SYNTHETIC_CHAINS)
    text = chains.T
    return Corpus(name, text[held_out:].ravel(), text[:held_out].ravel(), entropy_rate)
