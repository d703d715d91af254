"""The message for a file that no reader recognises: what it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaling_laws.data.logs.reader import Head

__all__ = ["describe_unknown"]

ARCHIVES = (
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd"),
)
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
ZIP = b"PK\x03\x04"
HDF5 = b"\x89HDF\r\n"
SHOWN = 4  # files of a folder
LINE = 60  # characters of a line


def describe_unknown(head: Head, readers: Sequence[str]) -> str:
    """What a file or folder is, and what to do about it.

    Args:
        head: of the file.
        readers: names of all formats.
    """
    if not head.data and not head.path.is_dir():
        return "the file is empty; nothing was logged"
    if head.path.is_dir():
        return _folder(head.path, head.names)
    for mark, what, remedy in ARCHIVES:
        if head.data.startswith(mark):
            return f"it is {what}; {remedy} and pass the result"
    if head.data.startswith(ZIP):
        return (
            "it is a ZIP archive, such as a spreadsheet (.xlsx) or a checkpoint (.pt); save a "
            "spreadsheet as CSV; a checkpoint is not a log: use the log beside it"
        )
    if head.data.startswith(PICKLES):
        return (
            "it is a Python pickle, which is never opened here, because opening one runs code; "
            "load it only if you trust it and write a CSV with columns step, lr, loss"
        )
    if head.data.startswith(HDF5):
        return "it is an HDF5 file; write a CSV with columns step, lr, loss from it"
    if b"\x00" in head.data:
        return f"it is not text ({head.data[:8]!r}...) and not a known binary format"
    first = next((line.strip() for line in head.text.splitlines() if line.strip()), "")
    if first.startswith("{'"):
        return (
            f"the first line, {first[:LINE]!r}, is a dictionary as Python prints it, without a "
            "step; the Hugging Face Trainer prints such lines: pass the trainer_state.json of its "
            "last checkpoint instead"
        )
    return (
        f"no reader recognises it; the first line is {first[:LINE]!r}. A table needs a header such "
        "as "
        "step,lr,loss; printed lines need pairs such as step=10 loss=3.2 lr=3e-4; force a format "
        f"with --format: {', '.join(readers)}"
    )


def _folder(path: Path, names: Sequence[str]) -> str:
    if not names:
        return "an empty folder"
    files = [name for name in names if (path / name).is_file()]
    shown = ", ".join((files or names)[:SHOWN]) + (", ..." if len(files or names) > SHOWN else "")
    what = f"it contains {shown}" if files else f"it contains the folders {shown}"
    return (
        "a folder that is not a run of a tracker (TensorBoard, MLflow, Weights & Biases, Aim); "
        f"{what}: pass the log files themselves, or the folder of one run"
    )
