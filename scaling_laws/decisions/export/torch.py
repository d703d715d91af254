"""PyTorch: a picklable object for `LambdaLR`."""

from __future__ import annotations

from scaling_laws.decisions.export.python_form import LAMBDA_CLASS, number, python_file
from scaling_laws.decisions.export.target import Request, Target

__all__ = ["TORCH", "usage_of_groups"]


def usage_of_groups(request: Request) -> list[str]:
    """Instructions on the LR of the optimizer, for the requested form."""
    peak = number(request.peak_lr)
    text = f"Give the optimizer lr={peak}; a param group with another LR keeps its ratio to it."
    if request.form == "absolute":
        text = "Every param group gets the schedule's LR, for any LR of the optimizer except 0."
    return [text, f"    optimizer = torch.optim.AdamW(model.parameters(), lr={peak})"]


def write(request: Request) -> str:
    """A module with the class `Schedule` and the factory `make_scheduler`."""
    usage = [
        *usage_of_groups(request),
        "    scheduler = make_scheduler(optimizer)",
        "    ...  # each update: optimizer.step(); scheduler.step()",
        "To resume, load_state_dict() of optimizer and scheduler, which restores the step.",
    ]
    return python_file(request, "PyTorch", usage, "\n" + LAMBDA_CLASS[request.form])


TORCH = Target(
    name="torch",
    meaning="Python file: an object for LambdaLR, and a factory for several param groups",
    suffix=".py",
    forms=("multiplier", "absolute"),
    units=("steps",),
    exact=write,
    python=True,
)
