"""Optional dependencies, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from scaling_laws.common.errors import MissingLibraryError

__all__ = ["optional"]


def optional(module: str, needs: str, extra: str) -> Any:
    """Import a module of an optional library.

    Args:
        module: its dotted name.
        needs: what needs which library, as a clause: ``Parquet needs pyarrow``.
        extra: the extra of this package that installs it.

    Raises:
        MissingLibraryError: with the name of the extra, if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingLibraryError(
            f"{needs}, which is not installed: pip install 'scaling-laws[{extra}]'",
            value=module,
        ) from None
