"""Changes of several files of one folder as a transaction.

New files are written into a hidden folder beside the others. A journal, written last, names them
and the files to remove; from then on the change is made, whatever happens to the process: the
next one that opens the folder carries out what is left of the journal. Without a journal nothing
has changed. A lock in the folder admits one writer at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from scaling_laws.common.errors import OutputError
from scaling_laws.common.files import check_writable, make_folder, replace_file, write_text
from scaling_laws.common.inputs import parse_json, read_text

__all__ = ["FolderChange", "changed_folder", "complete_change"]

LOCK = ".dataset.lock"
STAGE = ".dataset.changes"
JOURNAL = "journal.json"


@dataclass
class FolderChange:
    """The files that a transaction writes and removes; made by `changed_folder`.

    Attributes:
        folder: that is changed.
        written: names of the new files, relative to the folder, in the order of their renaming.
        removed: names of the files to remove.
    """

    folder: Path
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def write_with(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` write the new content of a file in the folder.

        Raises:
            OutputError: if it cannot be written.
        """
        if path.parent.is_dir():
            check_writable(path)
        name = path.relative_to(self.folder).as_posix()
        try:
            write(_staged(self.folder, len(self.written), name))
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error}", path=path) from error
        self.written.append(name)

    def write_text(self, path: Path, content: str) -> None:
        """Write a file in the folder as UTF-8 text; see `write_with`."""
        self.write_with(path, lambda staged: write_text(staged, content))

    def remove(self, path: Path) -> None:
        """Remove a file from the folder, if it is there."""
        self.removed.append(path.relative_to(self.folder).as_posix())


@contextlib.contextmanager
def changed_folder(folder: Path) -> Iterator[FolderChange]:
    """Change files of a folder, all or none, at the end of the block; an error changes nothing.

    Other processes that change the same folder wait.

    Raises:
        OutputError: if the folder or a file cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    make_folder(folder)
    done = False
    try:
        with _locked(folder):
            _carry_out(folder)
            shutil.rmtree(folder / STAGE, ignore_errors=True)  # of a process that was killed
            change = FolderChange(folder)
            make_folder(folder / STAGE)
            try:
                yield change
                write_text(
                    folder / STAGE / JOURNAL,
                    json.dumps({"written": change.written, "removed": change.removed}),
                )
                done = True
            except BaseException:
                (folder / STAGE / JOURNAL).unlink(missing_ok=True)
                shutil.rmtree(folder / STAGE, ignore_errors=True)
                raise
            _carry_out(folder)
    except BaseException:
        if made and not done:
            with contextlib.suppress(OSError):  # another process uses it
                if {path.name for path in folder.iterdir()} <= {LOCK}:
                    (folder / LOCK).unlink(missing_ok=True)
                for path in made:
                    path.rmdir()
        raise


def complete_change(folder: Path) -> None:
    """Carry out what is left of a change whose process was killed; a reader calls it first.

    Raises:
        OutputError: if the folder cannot be written.
    """
    if os.path.lexists(folder / STAGE / JOURNAL):
        with _locked(folder):
            _carry_out(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be locked for a change: {error.strerror or error}; make it writable",
            path=folder,
        ) from error
    try:
        yield
    finally:
        lock.release()


def _staged(folder: Path, number: int, name: str) -> Path:
    return folder / STAGE / f"{number}-{Path(name).name}"


def _carry_out(folder: Path) -> None:
    """Do what the journal says, as far as it is not done yet; nothing without a journal."""
    journal = folder / STAGE / JOURNAL
    try:
        planned = parse_json(read_text(journal))
        written, removed = planned["written"], planned["removed"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{journal}: cannot be read ({error}); remove {folder / STAGE} and repeat the command "
            "that was interrupted",
            path=journal,
        ) from error
    try:
        for number, name in enumerate(written):
            staged = _staged(folder, number, name)
            if staged.exists():  # otherwise it was renamed already
                (folder / name).parent.mkdir(exist_ok=True)
                replace_file(staged, folder / name)
        for name in removed:
            (folder / name).unlink(missing_ok=True)
        journal.unlink()
    except OSError as error:
        raise OutputError(
            f"{folder}: a change is incomplete ({error}); correct this, and the next command that "
            "reads the folder completes it",
            path=folder,
        ) from error
    shutil.rmtree(folder / STAGE, ignore_errors=True)
