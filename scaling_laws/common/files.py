"""Atomic writes: to a temporary name beside the target, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scaling_laws.common.errors import OutputError, ScalingLawsError

__all__ = [
    "all_or_none",
    "check_folder",
    "check_writable",
    "make_folder",
    "write_bytes",
    "write_text",
    "write_with",
]


def check_writable(path: Path | str, *, overwrite: bool = True) -> Path:
    """Fail before a computation rather than after it if `path` cannot be written.

    Args:
        path: the file to be written later.
        overwrite: whether an existing file may be replaced.

    Returns:
        The path as a `Path`.

    Raises:
        OutputError: if the path is a folder, exists and may not be replaced, or its parent is
            missing or not writable.
    """
    target = Path(path)
    if os.path.isdir(target):
        raise OutputError(f"{target} is a folder; give the name of a file to write", path=target)
    if os.path.exists(target) and not overwrite:
        raise OutputError(
            f"{target} exists already; choose another name or pass --overwrite", path=target
        )
    parent = target.parent
    if not os.path.isdir(parent):
        raise OutputError(
            f"cannot write {target}: the folder {parent} does not exist; create it", path=target
        )
    if not os.access(parent, os.W_OK):
        raise OutputError(
            f"cannot write {target}: the folder {parent} is not writable", path=target
        )
    return target


def check_folder(path: Path | str) -> Path:
    """Fail before a computation rather than after it if files cannot be written to a folder.

    Raises:
        OutputError: if it, or its nearest existing parent, is a file or is not writable.
    """
    folder = nearest = Path(path)
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        raise OutputError(
            f"cannot write to {folder}: {nearest} is not a folder; give a folder", path=folder
        )
    if not os.access(nearest, os.W_OK):
        raise OutputError(
            f"cannot write to {folder}: the folder {nearest} is not writable", path=folder
        )
    return folder


def make_folder(path: Path | str) -> Path:
    """Make a folder and its parents, unless it exists.

    Raises:
        OutputError: if it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}", path=folder
        ) from error
    return folder


def write_with(path: Path | str, write: Callable[[Path], None]) -> Path:
    """Call `write` on a temporary name beside `path`, then rename it to `path`.

    Raises:
        OutputError: if the folder does not exist or the file cannot be written.
    """
    target = check_writable(path)
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}", path=target) from error
    temporary = Path(name)
    try:
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(
            0o666 & ~mask
        )  # mkstemp makes private files; set the mode that open() would set
        temporary.replace(target)
    except ScalingLawsError:  # some are OSError too
        raise
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}", path=target) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return target


def write_bytes(path: Path | str, content: bytes) -> Path:
    """Write bytes atomically; see `write_with`."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    return write_with(path, write)


def write_text(path: Path | str, content: str) -> Path:
    """Write UTF-8 text with Unix line ends, atomically; see `write_with`."""
    return write_bytes(path, content.encode("utf-8"))


@contextlib.contextmanager
def all_or_none(files: Sequence[Path]) -> Iterator[None]:
    """Restore files to their previous content if the block fails before all are written."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        yield
    except BaseException:  # a full disk, or Ctrl-C between two files
        for path, content in before.items():
            with contextlib.suppress(OutputError, OSError):
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    write_bytes(path, content)
        raise
