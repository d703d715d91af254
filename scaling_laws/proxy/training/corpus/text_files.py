"""Files as one text in two parts: find the files, select the held-out ones, read their bytes."""

from __future__ import annotations

import glob
import hashlib
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scaling_laws.common import ProxyError, open_bytes

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

HELD_OUT = 0.05  # fraction of the bytes held out for validation
MAX_HELD_OUT = 0.25  # largest fraction that whole held-out files may reach
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
    """The bytes [start, stop) of a file."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True)
class Parts:
    """The training and the held-out part of a text; they are disjoint.

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
    """The files of ``stdlib``, a path or a pattern, sorted, without hidden ones.

    Raises:
        ProxyError: if there are none.
    """
    if name == "stdlib":
        return _standard_library()
    root = Path(name)
    if not name:
        raise ProxyError(
            "corpus '': the name is empty; pass a path, stdlib or synthetic", value=name
        )
    if os.path.isfile(root):  # unlike Path.is_file, never an OSError
        return [root]
    if os.path.isdir(root):
        files = [path for path in root.rglob("*") if _is_visible(path.relative_to(root))]
    else:
        files = [Path(match) for match in glob.glob(name, recursive=True)]
        if not files:
            raise ProxyError(
                f"corpus {name!r}: no such file or folder, and no file matches it as a pattern; "
                "pass an existing path, stdlib or synthetic",
                path=name,
                value=name,
            )
    files = [path for path in files if path.is_file()]
    if not files:
        raise ProxyError(
            f"corpus {name!r}: the folder has no files; choose a folder that contains text",
            path=name,
            value=name,
        )
    return sorted(files, key=lambda path: path.as_posix())


def _standard_library() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in root.rglob("*.py")
        if not EXCLUDED.intersection(path.relative_to(root).parts) and path.is_file()
    ]
    if not files:
        raise ProxyError(
            f"corpus 'stdlib': no Python sources under {root}; pass --corpus PATH or synthetic",
            path=root,
        )
    return sorted(files, key=lambda path: path.relative_to(root).as_posix())


def _is_visible(path: Path) -> bool:
    return not any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def inspect_files(
    name: str, files: Iterable[Path], limit: int | None, reason: str
) -> list[SourceFile]:
    """Sizes and hashes of files, without duplicates: no copy of a held-out file is trained on.

    Args:
        name: the corpus, for messages.
        files: in the order of the text.
        limit: largest total size in bytes, including duplicates; None for no limit.
        reason: of the limit, for messages.

    Raises:
        ProxyError: if a file cannot be read or the limit is exceeded.
    """
    distinct: dict[bytes, SourceFile] = {}
    total = 0
    for path in files:
        try:
            with open_bytes(path, max_bytes=None) as file:
                size = os.fstat(file.fileno()).st_size
                total += size
                if limit is not None and total > limit:
                    raise ProxyError(
                        f"corpus {name!r} is larger than {limit} bytes (reached at {path}), "
                        f"{reason}choose a part of it",
                        path=path,
                        value=total,
                    )
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise ProxyError(
                f"corpus {name!r}: cannot read {path}: {error.strerror}", path=path
            ) from error
        distinct.setdefault(digest, SourceFile(path, size, digest))
    return list(distinct.values())


def split_files(name: str, files: list[SourceFile]) -> Parts:
    """Hold out whole files, ordered by the hash of their content, until they are large enough.

    A file too large for that is used for training. If the others do not suffice, the end of the
    text is held out.

    Raises:
        ProxyError: if a part would be empty.
    """
    total = sum(file.size for file in files)
    target = HELD_OUT * total
    held_out: set[bytes] = set()
    size = 0
    for file in sorted(files, key=lambda file: file.digest):
        if size >= target:
            break
        if size + file.size <= MAX_HELD_OUT * total:
            held_out.add(file.digest)
            size += file.size
    whole = size >= target
    cut = total - round(target)
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
            f"corpus {name!r} has only {total} bytes, too few to hold some out; add more text",
            value=total,
        )
    return parts


def _without_empty(pieces: list[Piece]) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece.start < piece.stop)


def read_blocks(name: str, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The bytes of pieces in blocks; no block spans two files.

    Raises:
        ProxyError: if a file cannot be read or was truncated.
    """
    for piece in pieces:
        try:
            with open_bytes(piece.path, max_bytes=None) as file:
                file.seek(piece.start)
                for start in range(piece.start, piece.stop, BLOCK):
                    size = min(BLOCK, piece.stop - start)
                    block = file.read(size)
                    if len(block) < size:
                        raise ProxyError(
                            f"corpus {name!r}: {piece.path} became shorter than {piece.stop} bytes "
                            "while it was read; try again when no process writes to it",
                            path=piece.path,
                        )
                    yield block
        except OSError as error:
            raise ProxyError(
                f"corpus {name!r}: cannot read {piece.path}: {error.strerror}", path=piece.path
            ) from error
