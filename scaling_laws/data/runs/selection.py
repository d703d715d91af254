"""Which files a selection of runs denotes, and the names that keep their runs apart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from scaling_laws.common import DataError, UnreadableFileError, UsageError, unknown_name
from scaling_laws.data.runs.manifest import MANIFEST, read_manifest

__all__ = ["distinct_names", "selected_files"]


def selected_files(selection: str) -> list[Path]:
    """The files of a selection: a folder, ``FOLDER:name1,name2`` or one file.

    Raises:
        UnreadableFileError: if there is no such file or folder.
        DataError: if a folder contains no run, or its manifest lists a run without its file.
        UsageError: if a folder has no run of a given name.
    """
    path = Path(selection)
    if os.path.isdir(path):  # unlike Path.is_dir, never raises OSError
        files = _curve_files(path)
        _check_listed(path, files)
        if not files:
            raise DataError(
                f"{path}: no CSV file in this folder, and no Parquet file listed in its {MANIFEST}",
                path=path,
            )
        return files
    if os.path.exists(path):
        return [path]
    folder, colon, names = selection.rpartition(":")
    if colon and os.path.isdir(folder):
        known = {file.stem: file for file in _curve_files(Path(folder))}
        chosen = [name.strip() for name in names.split(",") if name.strip()]
        if not chosen:
            raise UsageError(
                f"{selection}: no run named after the colon; known: {sorted(known)}", path=folder
            )
        for name in chosen:
            if name not in known:
                raise UsageError(
                    f"{folder}: {unknown_name('run', name, known)}", path=folder, value=name
                )
        return [known[name] for name in chosen]
    raise UnreadableFileError(f"{selection}: no such folder or CSV file", path=selection)


def distinct_names(files: Sequence[Path]) -> list[str]:
    """The name of each file, preceded by as many folders as are needed to make it unique.

    Raises:
        UsageError: if a file is selected twice, or two cannot be distinguished.
    """
    parts_of: dict[str, tuple[str, ...]] = {}  # resolved path -> components of the given path
    for file in files:
        resolved = os.path.realpath(file)
        if resolved in parts_of:
            raise UsageError(f"{file} is selected twice", path=file)
        parts_of[resolved] = Path(os.path.abspath(file)).with_suffix("").parts
    names = []
    for file, parts in zip(files, parts_of.values(), strict=True):
        if list(parts_of.values()).count(parts) > 1:
            raise UsageError(
                f"{file}: another selected run has the same folder and name; rename one", path=file
            )
        depth = 1
        while sum(other[-depth:] == parts[-depth:] for other in parts_of.values()) > 1:
            depth += 1
        names.append("/".join(parts[-depth:]))
    return names


def _curve_files(folder: Path) -> list[Path]:
    """The file of each run of a folder: its CSV files, or what the manifest lists instead.

    A CSV beside a Parquet file of the same run is ignored if the manifest lists the latter.
    """
    manifest = folder / MANIFEST
    # without the temporary files of a writer that was killed
    files = {file.stem: file for file in folder.glob("*.csv") if not file.name.startswith(".")}
    for name, entry in read_manifest(manifest).get("runs", {}).items():
        file = entry.get("file", f"{name}.csv")
        if file not in (f"{name}.csv", f"{name}.parquet"):
            raise DataError(
                f"{manifest}, run {name!r}: file = {file!r} must be '{name}.csv' or "
                f"'{name}.parquet', a file beside {manifest.name}",
                path=manifest,
                column="file",
                value=file,
            )
        if file == f"{name}.parquet":
            files[name] = folder / file
    return sorted(files.values())


def _check_listed(folder: Path, files: Sequence[Path]) -> None:
    """Raise if the manifest lists a run whose file is missing."""
    manifest = folder / MANIFEST
    listed = read_manifest(manifest).get("runs", {})
    present = {file.stem for file in files if file.is_file()}
    for name in sorted(set(listed) - present):
        file = listed[name].get("file", f"{name}.csv")
        raise DataError(
            f"{manifest}: run {name!r} is listed but {file} is missing; add the file or remove the "
            "entry",
            path=manifest,
            value=name,
        )
