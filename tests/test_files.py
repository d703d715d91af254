"""Files are written whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from scaling_laws.common import files
from scaling_laws.common.errors import OutputError
from scaling_laws.common.files import (
    check_writable,
    write_bytes,
    write_text,
    write_with,
)


def test_text_is_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    target = write_text(tmp_path / "a.txt", "größe\nß\n")
    assert target.read_bytes() == "größe\nß\n".encode()


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old and longer")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    written = write_text(tmp_path / "written", "")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("boom")])
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, error: Exception) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    expected = OutputError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected, match=str(error.args[-1])):
        write_with(target, write)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_with(tmp_path / "figure.png", lambda temporary: (seen.append(temporary), None)[1])
    assert seen[0].suffix == ".png"
    assert seen[0].parent == tmp_path
    assert (tmp_path / "figure.png").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", "is a folder; give the name of a file"),
        ("missing/a.txt", "missing does not exist; create it"),
        ("plain/a.txt", "plain does not exist; create it"),
        ("x" * 300, "cannot write .*name too long"),
    ],
)
def test_bad_targets(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "plain").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=f"(?i){message}"):
        write_text(tmp_path / name, "content")
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write anywhere, so the answer is faked rather than the folder
    monkeypatch.setattr(files.os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(OutputError, match="is not writable"):
        check_writable(tmp_path / "a.txt")


def test_overwriting_can_be_refused(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    assert check_writable(str(target), overwrite=False) == target
    target.write_text("old")
    assert check_writable(target) == target
    with pytest.raises(OutputError, match="exists already"):
        check_writable(target, overwrite=False)


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.touch(mode=0o600)
    write_text(target, "secret")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "file"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "made")
    write_text(dangling, "made")
    assert dangling.is_symlink() and (tmp_path / "made").read_text() == "made"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OutputError, match="loop"):
        write_text(loop, "")


def test_a_device_is_written_to() -> None:
    before = os.stat(os.devnull)
    write_text(os.devnull, "text")
    after = os.stat(os.devnull)
    assert stat.S_ISCHR(after.st_mode) and after.st_ino == before.st_ino


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OutputError, match="fifo"):  # nobody reads it: no wait
        write_text(fifo, "text")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(fifo, "text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_socket_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(OutputError, match="not a regular file"):
            check_writable("socket")


def test_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_bytes("-", b"\x93NUMPY\xff")
    assert capsysbinary.readouterr().out == b"\x93NUMPY\xff"
