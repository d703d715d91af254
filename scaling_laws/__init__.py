"""scaling-laws: what a learning-rate schedule will cost in loss, before the compute is spent.

    import scaling_laws as sl

    runs = sl.load_runs("data/ladder/micro")
    fitted = sl.fit("multi_power", [runs["constant_4000"], runs["drop_to_0.1_2000"]])
    fitted.predict("linear:peak=4e-3,steps=4000,warmup=100").interval(0.9)
    sl.optimize(fitted, steps=4_000, peak=4e-3, warmup=100).schedule

Names are imported on first use, so that `import scaling_laws` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_laws.comparison import Comparison, compare
    from scaling_laws.errors import ScalingLawsError
    from scaling_laws.evaluation import Evaluation, evaluate, evaluate_table
    from scaling_laws.export import Export, Verification, export_schedule, verify_schedule
    from scaling_laws.fitted import FittedLaw, Prediction, final_losses, load_law, predict, save_law
    from scaling_laws.fitting import fit, fit_table
    from scaling_laws.laws import LAWS, Law, PointLaw, get_law
    from scaling_laws.planning import Plan, plan
    from scaling_laws.pools import PoolOptions
    from scaling_laws.replanning import Replan, replan
    from scaling_laws.runs import Run, load_runs, read_points, read_run
    from scaling_laws.schedules import FAMILIES, Family, Schedule, schedule
    from scaling_laws.screening import Cluster, Screening, screen
    from scaling_laws.search import Branches, Optimum, optimize, optimize_branches

__version__ = "0.1.0"

# name -> module; imported on first use, so that `--help` does not wait for JAX
_WHERE = {
    "Branches": "search",
    "Cluster": "screening",
    "Comparison": "comparison",
    "Evaluation": "evaluation",
    "Export": "export",
    "FAMILIES": "schedules",
    "Family": "schedules",
    "FittedLaw": "fitted",
    "LAWS": "laws",
    "Law": "laws",
    "Optimum": "search",
    "Plan": "planning",
    "PointLaw": "laws",
    "PoolOptions": "pools",
    "Prediction": "fitted",
    "Replan": "replanning",
    "Run": "runs",
    "ScalingLawsError": "errors",
    "Schedule": "schedules",
    "Screening": "screening",
    "Verification": "export",
    "compare": "comparison",
    "evaluate": "evaluation",
    "evaluate_table": "evaluation",
    "export_schedule": "export",
    "final_losses": "fitted",
    "fit": "fitting",
    "fit_table": "fitting",
    "get_law": "laws",
    "load_law": "fitted",
    "load_runs": "runs",
    "optimize": "search",
    "optimize_branches": "search",
    "plan": "planning",
    "predict": "fitted",
    "read_points": "runs",
    "read_run": "runs",
    "replan": "replanning",
    "save_law": "fitted",
    "schedule": "schedules",
    "screen": "screening",
    "verify_schedule": "export",
}

__all__ = [
    "FAMILIES",
    "LAWS",
    "Branches",
    "Cluster",
    "Comparison",
    "Evaluation",
    "Export",
    "Family",
    "FittedLaw",
    "Law",
    "Optimum",
    "Plan",
    "PointLaw",
    "PoolOptions",
    "Prediction",
    "Replan",
    "Run",
    "ScalingLawsError",
    "Schedule",
    "Screening",
    "Verification",
    "__version__",
    "compare",
    "evaluate",
    "evaluate_table",
    "export_schedule",
    "final_losses",
    "fit",
    "fit_table",
    "get_law",
    "load_law",
    "load_runs",
    "optimize",
    "optimize_branches",
    "plan",
    "predict",
    "read_points",
    "read_run",
    "replan",
    "save_law",
    "schedule",
    "screen",
    "verify_schedule",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
