"""Training logs -> a set of loss curves, with every change recorded."""

from scaling_laws.data.importing.inspecting import InspectedRun, inspect_log
from scaling_laws.data.importing.log_import import ImportedSet, import_logs
from scaling_laws.data.importing.logged_rates import LoggedRates, read_rates
from scaling_laws.data.importing.options import Finding, Options, RunReport
from scaling_laws.data.importing.per_log import (
    check_patterns,
    options_of_log,
    read_log_options,
)

__all__ = [
    "Finding",
    "ImportedSet",
    "InspectedRun",
    "LoggedRates",
    "Options",
    "RunReport",
    "check_patterns",
    "import_logs",
    "inspect_log",
    "options_of_log",
    "read_log_options",
    "read_rates",
]
