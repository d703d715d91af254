"""Libraries that only some inputs need."""

from __future__ import annotations

import importlib
from typing import Any

from scaling_laws.common.errors import DataError

__all__ = ["optional"]


def optional(module: str, needs: str, extra: str) -> Any:
    """A module of an optional library.

    Args:
        module: its dotted name.
        needs: what needs which library, in words: ``Parquet needs pyarrow``.
        extra: of this package, that installs it.

    Raises:
        DataError: naming the extra, if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise DataError(
            f"{needs}, which is not installed: pip install 'scaling-laws[{extra}]'"
        ) from None
