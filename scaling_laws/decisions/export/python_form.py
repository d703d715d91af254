"""The common parts of generated Python files: heading, knots, interpolation.

The files are self-contained: they import the standard library and the trainer, not this package.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaling_laws.common import python_docstring
from scaling_laws.decisions.export.knots import rounded
from scaling_laws.decisions.export.target import Request

__all__ = ["knot_block", "number", "python_file", "row_of", "yaml_number"]

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


def number(value: float) -> str:
    """The shortest text that reads back as the same number.

    >>> number(0.0003), number(1.0)
    ('0.0003', '1.0')
    """
    return repr(float(value))


def yaml_number(value: float) -> str:
    """The shortest text that YAML 1.1, and so PyYAML, reads as the same number.

    >>> yaml_number(3e-05), yaml_number(0.0003)
    ('3.0e-05', '0.0003')
    """
    text = number(value)
    mantissa, exponent, power = text.partition("e")
    return text if not exponent or "." in mantissa else f"{mantissa}.0e{power}"


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
