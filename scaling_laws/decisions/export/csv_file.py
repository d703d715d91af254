"""CSV: columns step,lr, one row per step; reads back as ``csv:PATH``."""

from __future__ import annotations

from scaling_laws.decisions.export.target import Request, Target

__all__ = ["CSV_FILE", "no_error"]


def no_error(request: Request) -> float:
    """Every step is written in full: there is no error."""
    return 0.0


def write(request: Request) -> str:
    """The table; with another unit than steps, a column of samples or tokens before the update."""
    rates = (request.plan.lr / request.scale).tolist()
    name = "lr" if request.form == "absolute" else "multiplier"
    if request.unit == "steps":
        rows = (f"{step},{rate!r}\n" for step, rate in enumerate(rates))
        return f"step,{name}\n" + "".join(rows)
    rows = (f"{step},{rate!r},{step * request.per_step}\n" for step, rate in enumerate(rates))
    return f"step,{name},{request.unit}\n" + "".join(rows)


CSV_FILE = Target(
    name="csv",
    meaning="table step,lr of every step; with --unit, a column of samples or tokens seen before",
    suffix=".csv",
    forms=("absolute", "multiplier"),
    units=("steps", "samples", "tokens"),
    exact=write,
    max_error=no_error,
)
