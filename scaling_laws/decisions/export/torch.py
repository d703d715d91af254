"""PyTorch: a picklable object for `LambdaLR`."""

from __future__ import annotations

from scaling_laws.decisions.export.lambda_lr import TORCH_IMPORTS, lambda_lr
from scaling_laws.decisions.export.python_form import number, python_file
from scaling_laws.decisions.export.target import Request, Target

__all__ = ["TORCH", "usage_of_groups"]


def usage_of_groups(request: Request) -> list[str]:
    """Instructions on the LR of the optimizer, for the requested form."""
    peak = number(request.peak_lr)
    text = f"Give the optimizer lr={peak}; a param group with another LR keeps its ratio to it."
    if request.form == "absolute":
        text = "Every param group gets the schedule's LR, whatever the LR of the optimizer is."
    return [text, f"    optimizer = torch.optim.AdamW(model.parameters(), lr={peak})"]


def write(request: Request) -> str:
    """A module with the class `Schedule` and the factory `make_scheduler`."""
    usage = [
        *usage_of_groups(request),
        "    scheduler = make_scheduler(optimizer)",
        "    ...  # each update: optimizer.step(); scheduler.step()",
        "In Lightning, whose default interval is the epoch, configure_optimizers() returns",
        '    {"optimizer": optimizer,',
        '     "lr_scheduler": {"scheduler": make_scheduler(optimizer), "interval": "step"}}',
        *request.resume_lines(
            "the scheduler",
            "To resume, in this order: load the optimizer's state, make the scheduler, load the",
            "scheduler's state, which restores the step and the LR.",
        ),
    ]
    return python_file(request, "PyTorch", usage, lambda_lr(request), imports=TORCH_IMPORTS)


TORCH = Target(
    name="torch",
    meaning="Python file: an object for LambdaLR, and a factory for several param groups",
    suffix=".py",
    forms=("multiplier", "absolute"),
    units=("steps",),
    exact=write,
    python=True,
)
