"""Training runs: their schedules, logged steps and losses, and how they are read from disk."""

from scaling_laws.data.runs.read_runs import load_runs, read_run
from scaling_laws.data.runs.read_table import read_points
from scaling_laws.data.runs.run import Run, run_list
from scaling_laws.models import FACTS, TRACES

__all__ = ["FACTS", "TRACES", "Run", "load_runs", "read_points", "read_run", "run_list"]
