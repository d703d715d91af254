"""The common parts of generated Python files: heading, knots, interpolation.

The files are self-contained: they import the standard library and the trainer, not this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaling_laws.common import python_docstring
from scaling_laws.decisions.export.knots import rounded
from scaling_laws.decisions.export.target import Request

__all__ = ["LAMBDA_CLASS", "knot_block", "number", "python_file", "row_of"]

WIDTH = 96

INTERPOLATION = '''
def rate_at(step):
    """{what} of update `step`, counted from 0; constant before the first and after the last."""
    i = bisect_right(STEPS, step) - 1
    if i < 0:
        return RATES[0]
    if i >= len(STEPS) - 1:
        return RATES[-1]
    share = (step - STEPS[i]) / (STEPS[i + 1] - STEPS[i])
    return RATES[i] + share * (RATES[i + 1] - RATES[i])
'''

# LambdaLR saves the attributes of a callable object in its state_dict, but not a plain function;
# the knots are not attributes, so that a checkpoint does not restore old ones
LAMBDA_CLASS = {
    "multiplier": '''
class Schedule:
    """Multiplier of a param group's LR; an object, so that it can be pickled."""

    def __call__(self, step):
        return rate_at(step)


def make_scheduler(optimizer, last_epoch=-1):
    """A LambdaLR for an optimizer whose param groups have their peak LRs."""
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, [Schedule() for _ in optimizer.param_groups], last_epoch)
''',
    "absolute": '''
class Schedule:
    """Multiplier that converts any initial LR of a param group to the schedule's LR."""

    def __init__(self, base_lr):
        self.base_lr = float(base_lr)

    def __call__(self, step):
        return rate_at(step) / self.base_lr


def make_scheduler(optimizer, last_epoch=-1):
    """A LambdaLR with which every param group has exactly the schedule's LR."""
    from torch.optim.lr_scheduler import LambdaLR

    base_lrs = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    return LambdaLR(optimizer, [Schedule(base_lr) for base_lr in base_lrs], last_epoch)
''',
}


def number(value: float) -> str:
    """The shortest text that reads back as the same number.

    >>> number(0.0003), number(1.0)
    ('0.0003', '1.0')
    """
    return repr(float(value))


def row_of(name: str, words: Sequence[str]) -> str:
    """A tuple over as many lines as it needs."""
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    lines.append(line)
    return f"{name} = (\n" + "\n".join(lines) + "\n)\n"


def knot_block(request: Request) -> str:
    """The knots as constants `STEPS` and `RATES`, with the peak and the total steps."""
    knots = request.knots
    rates = (
        [rate / request.scale for rate in knots.lr.tolist()]
        if request.form == "multiplier"
        else knots.lr.tolist()
    )
    what = "multipliers of PEAK_LR" if request.form == "multiplier" else "learning rates"
    return (
        f"PEAK_LR = {number(request.peak_lr)}\n"
        f"TOTAL_STEPS = {request.plan.steps}\n"
        f"# {len(rates)} knots with linear interpolation: steps and {what}\n"
        + row_of("STEPS", [str(step) for step in knots.steps.tolist()])
        + row_of("RATES", [number(rounded(rate)) for rate in rates])
    )


def interpolation(request: Request) -> str:
    """The function `rate_at`, in exact steps and double precision."""
    what = "Multiplier" if request.form == "multiplier" else "Learning rate"
    return INTERPOLATION.format(what=what)


def python_file(
    request: Request,
    subject: str,
    usage: Sequence[str],
    body: str,
    *,
    imports: str = "from bisect import bisect_right\n",
) -> str:
    """A whole generated file.

    Args:
        request: what to write.
        subject: what the file is for.
        usage: lines of instructions.
        body: code after the knots and `rate_at`.
        imports: import lines, including `bisect_right`.
    """
    lines = request.heading(subject, request.knots.max_error)
    head = python_docstring([*lines, "", *usage, "", *request.check_lines()])
    return head + f"\n{imports}\n" + knot_block(request) + "\n" + interpolation(request) + body
