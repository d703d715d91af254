"""Every warning class of the package, and how warnings are issued.

A fit's warnings are also kept in its record, so that a law file tells them to whoever reads it.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

__all__ = [
    "ConvergenceWarning",
    "DataWarning",
    "ExtrapolationWarning",
    "FallbackWarning",
    "IdentifiabilityWarning",
    "PluginWarning",
    "ScalingLawsWarning",
    "warn",
]

PACKAGE = str(Path(__file__).resolve().parents[1])


class ScalingLawsWarning(UserWarning):
    """Base of every warning of the package."""


class ConvergenceWarning(ScalingLawsWarning):
    """A solver stopped early, or a parameter ended on its bound."""


class DataWarning(ScalingLawsWarning):
    """Data were thinned, cut or otherwise changed before use."""


class ExtrapolationWarning(ScalingLawsWarning):
    """A prediction leaves what the fitted runs covered."""


class FallbackWarning(ScalingLawsWarning):
    """Another law was fitted than the one asked for, because the runs lack a fact."""


class IdentifiabilityWarning(ScalingLawsWarning):
    """The data do not determine a parameter."""


class PluginWarning(ScalingLawsWarning):
    """A plug-in could not be loaded."""


def warn(message: str, category: type[ScalingLawsWarning]) -> None:
    """Issue a warning that points at the first caller outside the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
