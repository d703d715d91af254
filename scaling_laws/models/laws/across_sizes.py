"""One law over several model sizes: linear parameters as power laws of the size.

    L0 -> L0 + L0_size·n^-size_exponent,    X -> X·n^-X_exponent for the other linear parameters X,

with n the number of model parameters over 1e8. The floor falls with size as in the laws of Kaplan
and Chinchilla; what the schedule removes may grow or shrink with it. Nonlinear parameters (how a
memory fades) are the same at all sizes: few runs of each size then identify them together.

Any law of schedules that does not depend on the model size can be so extended, under the name
``LAW_across_sizes``. The prior of the law applies; the exponents have one in their start ranges.
Known limits: needs runs of three sizes to identify `size_exponent`, else its prior decides; batch
size and learning rate are assumed to follow the size as in the fitted runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax.numpy as jnp

from scaling_laws.common import LawError
from scaling_laws.models.laws.law import Law
from scaling_laws.models.numerics.history import History
from scaling_laws.models.parameters import Parameter, Support

__all__ = ["REFERENCE_SIZE", "SUFFIX", "across_sizes"]

SUFFIX = "_across_sizes"
REFERENCE_SIZE = 1e8  # parameters; amplitudes are those of such a model


@cache
def across_sizes(law: Law) -> Law:
    """The law over several model sizes; the same value on every call.

    Raises:
        LawError: if the law depends on the model size already, or has no floor L0.

    >>> from scaling_laws.models.laws import get_schedule_law
    >>> across_sizes(get_schedule_law("power")).names
    ('L0', 'L0_size', 'A', 'alpha', 'size_exponent', 'A_exponent')
    """
    names = [parameter.name for parameter in law.linear_parameters]
    if law.uses_model_params:
        raise LawError(f"{law.name} includes the model size already; fit it to all sizes directly")
    if "L0" not in names:
        raise LawError(f"{law.name} has no floor L0 that could fall with the model size")
    floor = names.index("L0")
    others = [name for name in names if name != "L0"]

    def design_matrix(values: Mapping[str, Any], history: History) -> Any:
        columns = law.design_matrix(values, history)
        size = jnp.asarray(history.facts["model_params"]) / REFERENCE_SIZE
        parts = []
        for index, name in enumerate(names):
            column = columns[:, index]
            if index == floor:
                parts += [column, column * size ** -values["size_exponent"]]
            else:
                parts.append(column * size ** -values[f"{name}_exponent"])
        return jnp.stack(parts, axis=1)

    amplitudes: list[Parameter] = []
    for parameter in law.linear_parameters:
        amplitudes.append(parameter)
        if parameter.name == "L0":
            meaning = "further floor of a model of 1e8 parameters, removed by size"
            amplitudes.append(Parameter("L0_size", Support.POSITIVE, meaning, "nats"))
    exponents = [
        Parameter(
            f"{name}_exponent",
            Support.REAL,
            f"exponent of {name} in the model size",
            "1",
            (-0.3, 0.3),
            (-2.0, 2.0),
        )
        for name in others
    ]
    return replace(
        law,
        name=law.name + SUFFIX,
        formula=f"{law.formula}; over n = N/1e8: L0 + L0_size·n^-size_exponent, "
        + ", ".join(f"{name}·n^-{name}_exponent" for name in others),
        conventions=f"{law.conventions}; amplitudes are those of a model of 1e8 parameters",
        linear_parameters=tuple(amplitudes),
        nonlinear_parameters=(
            *law.nonlinear_parameters,
            Parameter(
                "size_exponent",
                Support.POSITIVE,
                "exponent of the floor in the model size",
                "1",
                (0.15, 0.6),
                (0.01, 3.0),
            ),
            *exponents,
        ),
        design_matrix=design_matrix,
        required_facts=law.required_facts | {"model_params"},
        published={},
        in_progress=None,
    )
