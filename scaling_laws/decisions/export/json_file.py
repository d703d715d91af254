"""JSON: knots with straight lines between them, for any other program."""

from __future__ import annotations

import json
from dataclasses import asdict

from scaling_laws._version import __version__
from scaling_laws.decisions.export.target import Request, Target

__all__ = ["JSON_FILE"]

VERSION = 1  # of the file's layout


def write(request: Request) -> str:
    """One object; `knots` are [position, rate], the position in `units`."""
    positions = (request.knots.steps * request.per_step).tolist()
    rates = (request.knots.lr / request.scale).tolist()
    outlook = request.outlook
    content = {
        "version": VERSION,
        "spec": request.spec,
        "start_step": request.start_step,
        "peak_lr": request.peak_lr,
        "total_steps": request.plan.steps,
        "units": request.unit,
        "per_step": request.per_step,
        "rates": "learning rates" if request.form == "absolute" else "multipliers of peak_lr",
        "convention": "lr[t] is the rate of update t, counted from 0; held after the last knot",
        "interpolation": "linear",
        "max_lr_error": request.knots.max_error,
        "knots": [
            [position, float(f"{rate:.12g}")]
            for position, rate in zip(positions, rates, strict=True)
        ],
        "table": [asdict(row) for row in request.rows],
        "predicted_loss": outlook.final_loss,
        "interval_90": outlook.interval,
        "provenance": {"program": "scaling-laws", "version": __version__, "law": outlook.law},
    }
    # one knot per line: readable, and two files can be compared
    knots = content.pop("knots")
    assert isinstance(knots, list)
    rows = ",\n    ".join(json.dumps(knot) for knot in knots)
    head = json.dumps(content, indent=2, allow_nan=False)
    return f'{head.rstrip("}").rstrip()},\n  "knots": [\n    {rows}\n  ]\n}}\n'


JSON_FILE = Target(
    name="json",
    meaning="knots [position, rate] with metadata; --unit sets the unit of the positions",
    suffix=".json",
    forms=("absolute", "multiplier"),
    units=("steps", "samples", "tokens"),
    exact=write,
)
