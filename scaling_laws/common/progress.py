"""Progress of long work, as records of the logger ``scaling_laws.progress`` at level INFO.

A library stays silent unless its user listens: ``logging.basicConfig(level="INFO")`` prints every
record, and the command line shows a bar, or a line every ten seconds where output is not a
terminal. A record carries the attributes `done` and `total` where the amount of work is known.
"""

from __future__ import annotations

import logging

__all__ = ["LOGGER_NAME", "report_progress"]

LOGGER_NAME = "scaling_laws.progress"


def report_progress(stage: str, done: int | None = None, total: int | None = None) -> None:
    """Tell whoever listens how far a piece of work is.

    Args:
        stage: what is being done, such as ``"norm_clock: starts"``.
        done: how many units are done, if they are counted.
        total: how many there are, if that is known.
    """
    logger = logging.getLogger(LOGGER_NAME)
    if logger.isEnabledFor(logging.INFO):
        count = "" if done is None else f", {done}" + ("" if total is None else f" of {total}")
        logger.info("%s%s", stage, count, extra={"stage": stage, "done": done, "total": total})
