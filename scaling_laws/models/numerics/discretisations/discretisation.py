"""The protocol that every discretisation satisfies, and the run that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from scaling_laws.models.numerics.history import History

__all__ = ["Discretisation", "RunInputs"]

Array = Any  # a NumPy array outside jit, a JAX tracer inside


@dataclass(frozen=True)
class RunInputs:
    """A run, reduced to what one law reads.

    Attributes:
        lr: learning rate, sampled as the discretisation takes it.
        facts: metadata of the run that the law reads.
        derived_traces: quantities that the law derives per step, by name: lr -> an array of its
            shape; pure JAX.
        break_steps: steps that events must not be gathered across.
    """

    lr: Array
    facts: Mapping[str, Any] = field(default_factory=dict)
    derived_traces: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)
    break_steps: Sequence[Any] = ()


class Discretisation(Protocol):
    """How a run is sampled: at which points, and with what in place of its steps."""

    def with_events(self, run: RunInputs, rate: Array, *, noise: bool) -> History:
        """A history whose past is event streams.

        Args:
            run: the run.
            rate: what the clock sums, sampled as `run.lr`.
            noise: whether the law reads the noise events.
        """

    def with_grid(self, run: RunInputs, decay: Array, norm: Array | None) -> History:
        """A history whose past is a time grid.

        Args:
            run: the run.
            decay: LR times weight decay, sampled as `run.lr`.
            norm: logged parameter norm, sampled as `run.lr`, where the law reads it.
        """
