"""Atomic writes: to a temporary name beside the target, then renamed.

Only regular files are replaced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from scaling_laws.common.errors import OutputError, ScalingLawsError

__all__ = [
    "STANDARD_OUTPUT",
    "check_folder",
    "check_writable",
    "is_stream",
    "make_folder",
    "replace_file",
    "write_bytes",
    "write_text",
    "write_with",
]

STANDARD_OUTPUT = "-"
OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


def check_writable(path: Path | str, *, overwrite: bool = True) -> Path:
    """Fail before a computation rather than after it if `path` cannot be written.

    Args:
        path: the file to be written later; ``-`` is standard output, and a device or a FIFO is
            written to. A link means the file it points to.
        overwrite: whether an existing file may be replaced.

    Returns:
        The path as a `Path`.

    Raises:
        OutputError: if the path is a folder or a socket, exists and may not be replaced, or its
            parent is missing or not writable.
    """
    target = Path(path)
    if str(path) == STANDARD_OUTPUT or is_stream(target):
        return target
    if os.path.isdir(target):
        raise OutputError(f"{target} is a folder; give the name of a file to write", path=target)
    if os.path.exists(target) and not overwrite:
        raise OutputError(
            f"{target} exists already; choose another name or pass --overwrite", path=target
        )
    real = _real(target)
    if os.path.exists(real) and not os.path.isfile(real):
        raise OutputError(
            f"cannot write {target}: it is not a regular file; choose another name", path=target
        )
    parent = real.parent
    if not os.path.isdir(parent):
        raise OutputError(
            f"cannot write {target}: the folder {parent} does not exist; create it", path=target
        )
    if not os.access(parent, os.W_OK):
        raise OutputError(
            f"cannot write {target}: the folder {parent} is not writable", path=target
        )
    return target


def is_stream(path: Path | str) -> bool:
    """Whether a path is a device, a FIFO or an open file, which are written to, not replaced."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    opened = stat.S_ISREG(mode) and str(path).startswith(OPEN_FILES)
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or opened


def _real(target: Path) -> Path:
    """The file itself, where `target` is a link to it.

    Raises:
        OutputError: if the link leads nowhere, or the path is not valid.
    """
    try:
        return target.resolve() if os.path.islink(target) else target
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"cannot write {target}: {error}", path=target) from error


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

    An existing file keeps its mode, and a link stays one. What is written to standard output
    (``-``), a device or a FIFO is complete in a temporary file first.

    Raises:
        OutputError: if the folder does not exist or the file cannot be written.
    """
    target = check_writable(path)
    stream = str(path) == STANDARD_OUTPUT or is_stream(target)
    real = target if stream else _real(target)
    try:
        handle, name = tempfile.mkstemp(
            dir=None if stream else real.parent, prefix=f".{real.stem}.", suffix=real.suffix
        )
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}", path=target) from error
    temporary = Path(name)
    try:
        write(temporary)
        if stream:
            _copy(temporary, target)
        else:
            replace_file(temporary, real)
    except ScalingLawsError:  # some are OSError too
        raise
    except BrokenPipeError:  # the reader of standard output has what it wanted
        raise
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error}", path=target) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return target


def replace_file(temporary: Path, target: Path) -> None:
    """Rename a file to another name, with the mode of the file that it replaces.

    Raises:
        OSError: if it cannot be renamed.
    """
    real = _real(target)
    temporary.chmod(_mode(real))
    temporary.replace(real)


def _mode(real: Path) -> int:
    """The permissions of the file to replace, or those that `open` would give to a new one."""
    try:
        return stat.S_IMODE(real.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _copy(temporary: Path, target: Path) -> None:
    """Write the content of a file to standard output, a device or a FIFO."""
    if str(target) == STANDARD_OUTPUT:
        sys.stdout.flush()
        content = temporary.read_bytes()
        if hasattr(sys.stdout, "buffer"):
            sys.stdout.buffer.write(content)
        else:  # replaced by an object that takes text only
            sys.stdout.write(content.decode("utf-8", "backslashreplace"))
        sys.stdout.flush()
        return
    # a FIFO that no process reads is an error, not a wait
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as stream, temporary.open("rb") as source:
        shutil.copyfileobj(source, stream)


def write_bytes(path: Path | str, content: bytes) -> Path:
    """Write bytes atomically; see `write_with`."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    return write_with(path, write)


def write_text(path: Path | str, content: str) -> Path:
    """Write UTF-8 text with Unix line ends, atomically; see `write_with`.

    Bytes of a file name that are not UTF-8 become escape sequences.
    """
    return write_bytes(path, content.encode("utf-8", "backslashreplace"))
