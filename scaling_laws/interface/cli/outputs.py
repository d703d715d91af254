"""Outputs of a command are checked against its inputs before it runs: none replaces an input."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaling_laws.common import STANDARD_OUTPUT, UsageError

__all__ = ["check_outputs", "writes_standard_output"]

OUTPUTS = ("out", "plot", "state")  # destinations of options that name a file to write
RUN_SUFFIXES = (".csv", ".parquet", ".toml")  # what a folder of runs consists of
PART_OF_SPEC = re.compile(r"\s\+\s|^csv:|,(?:between|steps)=.*$")


def writes_standard_output(arguments: argparse.Namespace) -> bool:
    """Whether a file goes to standard output, so that the report belongs on standard error."""
    return bool(getattr(arguments, "out", None) == STANDARD_OUTPUT)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise if a file to be written is an input of the same command, or another output.

    Raises:
        UsageError: naming the option and the file.
    """
    if writes_standard_output(arguments) and arguments.json:
        raise UsageError("--out - and --json both write to standard output; give one of them")
    outputs: dict[str, str] = {}
    for option in OUTPUTS:
        path = getattr(arguments, option, None)
        if not isinstance(path, str) or not os.path.isfile(path):
            continue
        for other, earlier in outputs.items():
            if os.path.samefile(path, earlier):
                raise UsageError(f"--{option} {path} is also --{other}; choose two names")
        outputs[option] = path
    for option, path in outputs.items():
        for text in _input_texts(arguments):
            if _is_input(path, text):
                raise UsageError(
                    f"--{option} {path} is an input of this command ({text}) and would be "
                    "replaced; choose another name",
                    path=path,
                    value=text,
                )


def _input_texts(arguments: argparse.Namespace) -> Iterator[str]:
    """Every text of the command line that may name an input."""
    for name, value in vars(arguments).items():
        if name not in OUTPUTS:
            items: list[Any] = value if isinstance(value, list) else [value]
            yield from (item for item in items if isinstance(item, str) and item)


def _is_input(path: str, text: str) -> bool:
    """Whether reading what a text names reads this existing file."""
    for name in (text, *filter(None, PART_OF_SPEC.split(text)), text.rpartition(":")[0]):
        name = name.strip().removeprefix("csv:")
        if os.path.isfile(name) and os.path.samefile(name, path):
            return True
        if name and os.path.isdir(name) and path.lower().endswith(RUN_SUFFIXES):
            folder = Path(name).resolve()
            if folder in (Path(path).resolve().parent, Path(path).resolve().parent.parent):
                return True
    return False
