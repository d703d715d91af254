"""Files as one text in two parts: which files, which of them are held out, their bytes."""

from __future__ import annotations

import glob
import hashlib
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scaling_laws.common import ProxyError

__all__ = [
    "HELD_OUT",
    "Parts",
    "Piece",
    "SourceFile",
    "find_files",
    "inspect_files",
    "read_blocks",
    "split_files",
]

HELD_OUT = 0.05  # share of the bytes kept for validation
HELD_OUT_MOST = 0.25  # the largest share that whole files may take of them
EXCLUDED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test"})
BLOCK = 1 << 18  # bytes read at a time


@dataclass(frozen=True)
class SourceFile:
    """A file with its size in bytes and the SHA-256 of its content."""

    path: Path
    size: int
    digest: bytes


@dataclass(frozen=True)
class Piece:
    """The bytes from `start` to before `stop` of a file."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True)
class Parts:
    """What to train on and what is held out; no byte of the text is in both.

    Attributes:
        files: the distinct files, in the order of the text.
        train: pieces to train on.
        validation: pieces held out.
    """

    files: tuple[SourceFile, ...]
    train: tuple[Piece, ...]
    validation: tuple[Piece, ...]

    @property
    def validation_bytes(self) -> int:
        """Number of bytes held out."""
        return sum(piece.stop - piece.start for piece in self.validation)


def find_files(name: str) -> list[Path]:
    """The files that ``stdlib``, a path or a pattern stands for, sorted, hidden ones left out.

    Raises:
        ProxyError: if there are none.
    """
    if name == "stdlib":
        return _standard_library()
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


def _is_visible(path: Path) -> bool:
    return not any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def inspect_files(
    name: str, files: Iterable[Path], limit: int | None, reason: str
) -> list[SourceFile]:
    """Sizes and hashes of files, each content once: no copy of a held-out file is trained on.

    Args:
        name: the corpus, for messages.
        files: in the order of the text.
        limit: bytes that all files together may have, copies included; None for no limit.
        reason: why, for the message.

    Raises:
        ProxyError: if a file cannot be read or the limit is passed.
    """
    distinct: dict[bytes, SourceFile] = {}
    total = 0
    for path in files:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                total += size
                if limit is not None and total > limit:
                    raise ProxyError(
                        f"corpus {name!r} is larger than {limit} bytes (reached at {path}), "
                        f"{reason}choose a part of it"
                    )
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise ProxyError(f"corpus {name!r}: cannot read {path}: {error.strerror}") from error
        distinct.setdefault(digest, SourceFile(path, size, digest))
    return list(distinct.values())


def split_files(name: str, files: list[SourceFile]) -> Parts:
    """Hold out whole files, in the order of a hash of their content, until there are enough.

    A file too large for that is trained on. If the others do not suffice, hold out the end.

    Raises:
        ProxyError: if a part would be empty.
    """
    total = sum(file.size for file in files)
    wanted = HELD_OUT * total
    held_out: set[bytes] = set()
    size = 0
    for file in sorted(files, key=lambda file: file.digest):
        if size >= wanted:
            break
        if size + file.size <= HELD_OUT_MOST * total:
            held_out.add(file.digest)
            size += file.size
    whole = size >= wanted
    cut = total - round(wanted)
    train, validation = [], []
    begin = 0
    for file in files:
        if whole:
            inner = 0 if file.digest in held_out else file.size
        else:
            inner = min(max(cut - begin, 0), file.size)
        train.append(Piece(file.path, 0, inner))
        validation.append(Piece(file.path, inner, file.size))
        begin += file.size
    parts = Parts(tuple(files), _without_empty(train), _without_empty(validation))
    if not parts.train or not parts.validation:
        raise ProxyError(
            f"corpus {name!r} has only {total} bytes, too few to hold some out; give it more text"
        )
    return parts


def _without_empty(pieces: list[Piece]) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece.start < piece.stop)


def read_blocks(name: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The bytes of pieces, some at a time; no block spans two files.

    Raises:
        ProxyError: if a file cannot be read or has become shorter.
    """
    for piece in pieces:
        try:
            with piece.path.open("rb") as file:
                file.seek(piece.start)
                for start in range(piece.start, piece.stop, BLOCK):
                    wanted = min(BLOCK, piece.stop - start)
                    block = file.read(wanted)
                    if len(block) < wanted:
                        raise ProxyError(
                            f"corpus {name!r}: {piece.path} became shorter than {piece.stop} bytes "
                            "while it was read; try again when nothing writes to it"
                        )
                    yield block
        except OSError as error:
            raise ProxyError(
                f"corpus {name!r}: cannot read {piece.path}: {error.strerror}"
            ) from error
