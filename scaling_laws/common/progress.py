"""Progress of long computations, logged to ``scaling_laws.progress`` at level INFO.

Nothing is printed unless logging is configured: ``logging.basicConfig(level="INFO")`` prints every
record, and the command line shows a progress bar, or one line every ten seconds if output is not a
terminal. A record has the attributes `stage`, `done` and `total`.
"""

from __future__ import annotations

import logging

__all__ = ["LOGGER_NAME", "report_progress"]

LOGGER_NAME = "scaling_laws.progress"


def report_progress(stage: str, done: int | None = None, total: int | None = None) -> None:
    """Log the progress of a computation.

    Args:
        stage: what is being done, such as ``"norm_clock: starts"``.
        done: number of completed units, if they are counted.
        total: number of units, if known.
    """
    logger = logging.getLogger(LOGGER_NAME)
    if logger.isEnabledFor(logging.INFO):
        count = "" if done is None else f", {done}" + ("" if total is None else f" of {total}")
        logger.info("%s%s", stage, count, extra={"stage": stage, "done": done, "total": total})
