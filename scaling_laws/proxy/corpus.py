"""Bytes to train on and bytes held out: the standard library, files, or a synthetic source."""

from __future__ import annotations

import glob
import hashlib
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
MAX_BYTES = 1 << 30  # positions are 32-bit, and the text is held in memory
EXCLUDED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test"})
SYNTHETIC_SYMBOLS = 64
SYNTHETIC_CHAINS = 1024
SYNTHETIC_LENGTH = 4096


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text in two parts that share no file.

    Attributes:
        name: what was asked for: ``stdlib``, ``synthetic`` or a path.
        train: bytes to train on, of shape (train bytes,), uint8, read-only.
        validation: bytes held out, of shape (validation bytes,), uint8, read-only.
        entropy_rate: nats per byte that no model can beat, where it is known.
        digest: ``sha256:...`` of both parts.
    """

    name: str
    train: Bytes = field(repr=False)
    validation: Bytes = field(repr=False)
    entropy_rate: float | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
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
        The corpus; the same bytes give the same split, whatever the files are called.

    Raises:
        ProxyError: if the path matches nothing, cannot be read or holds too little or too much.
    """
    word, colon, seed = name.partition(":")
    if word == "synthetic":
        if colon and not (seed.isascii() and seed.isdigit()):
            raise ProxyError(f"corpus {name!r}: {seed!r} is not a seed; write synthetic:7, say")
        return _synthetic(name, int(seed or 0))
    files = _standard_library() if name == "stdlib" else _files(name)
    texts = list(_distinct(name, files))
    if len(texts) == 1:
        start = len(texts[0]) - round(HELD_OUT * len(texts[0]))
        return Corpus(name, _array([texts[0][:start]]), _array([texts[0][start:]]))
    return Corpus(name, *_split(texts))


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
    if root.is_file():
        return [root]
    if root.is_dir():
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
        raise ProxyError(f"corpus {name!r}: the folder holds no files; choose one with text in it")
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
    """Hold out whole files, in the order of a hash of their content, until there are enough."""
    wanted = HELD_OUT * sum(map(len, texts))
    held_out: set[int] = set()
    size = 0
    for index in sorted(range(len(texts)), key=lambda i: hashlib.sha256(texts[i]).digest()):
        if size >= wanted:
            break
        held_out.add(index)
        size += len(texts[index])
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
