"""Every warning class of the package, and the function that issues them.

The warnings of a fit are also stored in its record and thus in law files.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from scaling_laws.common.text import message_text

__all__ = [
    "ConvergenceWarning",
    "DataWarning",
    "ExtrapolationWarning",
    "FallbackWarning",
    "IdentifiabilityWarning",
    "InputWarning",
    "PluginWarning",
    "ScalingLawsWarning",
    "warn",
]

PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep


class ScalingLawsWarning(UserWarning):
    """Base of every warning of the package."""


class ConvergenceWarning(ScalingLawsWarning):
    """A solver stopped early, or a parameter ended on its bound."""


class DataWarning(ScalingLawsWarning):
    """Data were thinned, truncated or otherwise changed before use."""


class InputWarning(ScalingLawsWarning):
    """Something in a file of losses is doubtful, or was given no weight."""


class ExtrapolationWarning(ScalingLawsWarning):
    """A prediction is outside the range of the fitted runs."""


class FallbackWarning(ScalingLawsWarning):
    """Another law was fitted than the one requested, because the runs lack a required fact."""


class IdentifiabilityWarning(ScalingLawsWarning):
    """The data do not determine a parameter."""


class PluginWarning(ScalingLawsWarning):
    """A plug-in could not be loaded."""


def warn(message: str, category: type[ScalingLawsWarning]) -> None:
    """Issue a warning attributed to the first caller outside the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message_text(message), category, stacklevel=level)
