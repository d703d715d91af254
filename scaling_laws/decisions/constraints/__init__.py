"""What search, screening and replanning share: constraints, the range of peaks, smoothing."""

from scaling_laws.decisions.constraints.peak_range import check_peak_range
from scaling_laws.decisions.constraints.schedule_constraints import (
    MIN_SHAPED_STEPS,
    ScheduleConstraints,
    constraints_from,
)
from scaling_laws.decisions.constraints.smoothing_sensitivity import (
    MAX_SMOOTHING_SENSITIVITY,
    smoothing_sensitivity,
)

__all__ = [
    "MAX_SMOOTHING_SENSITIVITY",
    "MIN_SHAPED_STEPS",
    "ScheduleConstraints",
    "check_peak_range",
    "constraints_from",
    "smoothing_sensitivity",
]
