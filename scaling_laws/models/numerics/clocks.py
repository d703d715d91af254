"""What drives a law's clock, and with it the form of the past in a law's histories.

A law names its clock once, as a record; a discretisation then builds events or a time grid without
any knowledge of the law.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from scaling_laws.models.numerics.discretisations.discretisation import Discretisation, RunInputs
from scaling_laws.models.numerics.history import History

__all__ = ["Clock", "EffectiveLR", "SummedLR"]

Array = Any


class Clock(Protocol):
    """What the time of a law is made of."""

    @property
    def reads_only_lr(self) -> bool:
        """Whether it needs no logged quantity per step, so that steps may be gathered to cells."""

    def driving_rate(self, lr: Array, traces: Mapping[str, Array]) -> Array:
        """The rate in units of which a law can be rescaled: (steps,) -> (steps,)."""

    def history(
        self, discretisation: Discretisation, run: RunInputs, traces: Mapping[str, Array]
    ) -> History:
        """The history that laws with this clock read.

        Args:
            discretisation: how the run is sampled.
            run: the run.
            traces: logged quantities, sampled as `run.lr`.
        """


@dataclass(frozen=True)
class SummedLR:
    """A clock known before the fit: the summed LR, with events for the past.

    Attributes:
        rate: (lr, traces) -> a rate in proportion to the LR that is summed in its place; None for
            the LR itself.
        noise: whether the law also reads the noise of every update.
    """

    rate: Callable[[Array, Mapping[str, Array]], Array] | None = None
    noise: bool = False

    @property
    def reads_only_lr(self) -> bool:
        """Whether the rate is the LR."""
        return self.rate is None

    def driving_rate(self, lr: Array, traces: Mapping[str, Array]) -> Array:
        """The rate that is summed."""
        return lr if self.rate is None else self.rate(lr, traces)

    def history(
        self, discretisation: Discretisation, run: RunInputs, traces: Mapping[str, Array]
    ) -> History:
        """See `Clock`."""
        rate = self.driving_rate(run.lr, traces)
        return discretisation.with_events(run, rate, noise=self.noise)


@dataclass(frozen=True)
class EffectiveLR:
    """A clock that depends on the law's parameters: a recursion over a time grid.

    Attributes:
        weight_decay: whether the recursion reads the weight decay, as a trace or else as a fact;
            otherwise 1 is used, and the law may multiply it by a parameter.
        param_norm: whether the law reads the logged parameter norm.
    """

    weight_decay: bool = True
    param_norm: bool = False

    @property
    def reads_only_lr(self) -> bool:
        """Whether no norm is read; a weight decay per step can be averaged over cells."""
        return not self.param_norm

    def driving_rate(self, lr: Array, traces: Mapping[str, Array]) -> Array:
        """The LR."""
        return lr

    def history(
        self, discretisation: Discretisation, run: RunInputs, traces: Mapping[str, Array]
    ) -> History:
        """See `Clock`."""
        decay = 1.0
        if self.weight_decay:  # a trace of it is a schedule of weight decay
            decay = traces.get("weight_decay", run.facts.get("weight_decay"))
        norm = traces["param_norm"] if self.param_norm else None
        return discretisation.with_grid(run, run.lr * decay, norm)
