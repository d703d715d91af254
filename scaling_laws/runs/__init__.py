"""Training runs: their schedules, the steps at which a loss was logged, and those losses."""

from scaling_laws.params import FACTS, TRACES
from scaling_laws.runs.base import Run, run_list
from scaling_laws.runs.points import read_points
from scaling_laws.runs.read import load_runs, read_run

__all__ = ["FACTS", "TRACES", "Run", "load_runs", "read_points", "read_run", "run_list"]
