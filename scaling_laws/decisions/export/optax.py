"""optax: a schedule function that runs under jit."""

from __future__ import annotations

from scaling_laws.common import python_docstring
from scaling_laws.decisions.export.python_form import knot_block
from scaling_laws.decisions.export.target import Request, Target

__all__ = ["OPTAX"]

# counts are subtracted as integers: float32 does not represent steps above 2**24 exactly
BODY = '''
def schedule(count):
    """{what} of update `count`, counted from 0; constant before the first and after the last."""
    steps = jnp.asarray(STEPS, dtype=jnp.int32)
    rates = jnp.asarray(RATES, dtype=jnp.result_type(float))
    count = jnp.clip(jnp.asarray(count).astype(jnp.int32), steps[0], steps[-1])
    left = jnp.clip(jnp.searchsorted(steps, count, side="right") - 1, 0, max(len(STEPS) - 2, 0))
    right = jnp.minimum(left + 1, len(STEPS) - 1)
    width = jnp.maximum(steps[right] - steps[left], 1).astype(rates.dtype)
    share = (count - steps[left]).astype(rates.dtype) / width
    # a weighted mean is exact at both knots
    return rates[left] * (1 - share) + rates[right] * share
'''


def write(request: Request) -> str:
    """A module with the function `schedule`."""
    absolute = request.form == "absolute"
    usage = [
        "    optimizer = optax.adamw(schedule)"
        if absolute
        else "    optimizer = optax.adamw(lambda count: PEAK_LR * schedule(count))",
        *request.resume_lines(
            "the optimizer's state",
            "optax counts updates in the optimizer's state, so a restored state resumes correctly.",
        ),
    ]
    lines = request.heading("optax", request.knots.max_error)
    head = python_docstring([*lines, "", *usage, "", *request.check_lines()])
    body = BODY.format(what="Learning rate" if absolute else "Multiplier")
    return f"{head}\nimport jax.numpy as jnp\n\n{knot_block(request)}\n{body}"


OPTAX = Target(
    name="optax",
    meaning="Python file: a function count -> LR that runs under jit",
    suffix=".py",
    forms=("absolute", "multiplier"),
    units=("steps",),
    exact=write,
    python=True,
)
