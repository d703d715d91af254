"""A change of several files is made or not made, whenever its process is killed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaling_laws.common import OutputError, changed_folder, complete_change, transactions

OLD = {"a.csv": "old a", "b.csv": "old b", "dataset.toml": "old", "untouched": "as it was"}
NEW = {
    "a.csv": "new a",
    "schedules/a.csv": "new rates",
    "dataset.toml": "new",
    "untouched": "as it was",
}


class Killed(BaseException):
    """Nothing is tidied up after it."""


def content(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.parts)
    }


def fill(folder: Path) -> None:
    folder.mkdir()
    for name, text in OLD.items():
        (folder / name).write_text(text)


def change(folder: Path) -> None:
    with changed_folder(folder) as changed:
        for name, text in NEW.items():
            if name != "untouched":
                changed.write_text(folder / name, text)
        changed.remove(folder / "b.csv")


def killed_at(patch: pytest.MonkeyPatch, operation: int) -> list[int]:
    """Let every file operation from that one on fail as if the process were gone."""
    count = [0]

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] > operation:
                raise Killed
            return function(*arguments, **options)

        return call

    patch.setattr(transactions, "replace_file", dying(transactions.replace_file))
    patch.setattr(transactions, "write_text", dying(transactions.write_text))
    patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    patch.setattr(Path, "unlink", dying(Path.unlink))
    return count


def test_a_change_is_made(tmp_path: Path) -> None:
    fill(tmp_path / "set")
    change(tmp_path / "set")
    assert content(tmp_path / "set") == NEW
    change(tmp_path / "set")
    assert content(tmp_path / "set") == NEW


def test_killed_at_any_operation(tmp_path: Path) -> None:
    found = []
    for operation in range(100):
        folder = tmp_path / str(operation)
        fill(folder)
        with pytest.MonkeyPatch.context() as patch:
            count = killed_at(patch, operation)
            try:
                change(folder)
            except Killed:
                pass
            else:
                assert count[0] <= operation
                break
        complete_change(folder)  # as a reader does
        assert content(folder) in (OLD, NEW)
        found.append(content(folder) == NEW)
        change(folder)  # as the same command again
        assert content(folder) == NEW
    assert found == sorted(found) and True in found and False in found


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError("full"), OSError(28, "full")])
def test_an_error_changes_nothing(tmp_path: Path, error: Any) -> None:
    for folder in (tmp_path / "there", tmp_path / "not" / "there"):
        if folder.parent == tmp_path:
            fill(folder)
        before = content(tmp_path)
        with pytest.raises((KeyboardInterrupt, OSError)), changed_folder(folder) as changed:
            changed.write_text(folder / "a.csv", "new")
            raise error
        assert content(tmp_path) == before
        assert not (tmp_path / "not").exists()
        assert not (folder / transactions.STAGE).exists()


def test_a_file_that_cannot_be_written_is_an_error_before_the_change(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    fill(folder)
    (folder / "c.csv").mkdir()
    with pytest.raises(OutputError, match="is a folder"), changed_folder(folder) as changed:
        changed.write_text(folder / "a.csv", "new")
        changed.write_text(folder / "c.csv", "new")
    assert (folder / "a.csv").read_text() == "old a"


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    stage = tmp_path / transactions.STAGE
    stage.mkdir()
    (stage / transactions.JOURNAL).write_text("{")
    with pytest.raises(OutputError, match=r"remove .*dataset\.changes"):
        complete_change(tmp_path)


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Each adds a line to what it finds; none is lost."""
    folder = tmp_path / "set"
    fill(folder)
    (folder / "lines").write_text("")

    def add(who: int) -> None:
        for number in range(5):
            with changed_folder(folder) as changed:
                text = (folder / "lines").read_text()
                changed.write_text(folder / "lines", f"{text}{who} {number}\n")

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((folder / "lines").read_text().splitlines()) == 20
