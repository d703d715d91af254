"""Names of runs whose files always have the same name, such as ``metrics.csv``."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["folder_name"]

# folders that trackers make inside a run's folder, or number
NUMBERED = re.compile(r"(checkpoint|version)[-_]\d+|checkpoints?|logs|lightning_logs|csv|runs")


def folder_name(path: Path) -> str:
    """The nearest folder above a file that names its run; the file's own name if none does.

    >>> folder_name(Path("/data/llama-1b/checkpoint-500/trainer_state.json"))
    'llama-1b'
    """
    for folder in path.absolute().parents:
        if folder.name and not NUMBERED.fullmatch(folder.name):
            return folder.name
    return path.stem
