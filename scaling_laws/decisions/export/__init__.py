"""Export of schedules to trainers, and verification of the learning rates that a run logged.

`TARGETS` in `targets.py` lists the targets, one file each.
"""

from __future__ import annotations

from scaling_laws.decisions.export.native import NativeFit
from scaling_laws.decisions.export.schedule_export import (
    export_schedule,
    native_summary,
    read_schedule,
)
from scaling_laws.decisions.export.target import Export, PredictedLosses, ScheduleRow, Target
from scaling_laws.decisions.export.targets import TARGETS, get_target
from scaling_laws.decisions.export.verification import Verification, verify_schedule

__all__ = [
    "TARGETS",
    "Export",
    "NativeFit",
    "PredictedLosses",
    "ScheduleRow",
    "Target",
    "Verification",
    "export_schedule",
    "get_target",
    "native_summary",
    "read_schedule",
    "verify_schedule",
]
