"""A plan: the runs to train next, and what each is expected to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaling_laws.inference import interval_phrase
from scaling_laws.models import Schedule

__all__ = ["DesignChoice", "Plan", "half_of"]


@dataclass(frozen=True)
class DesignChoice:
    """A run that could be trained.

    Attributes:
        schedule: its schedule.
        expected: standard deviation of the target's log final loss that the parameters are
            expected to leave once this run, and those chosen before it, are fitted.
        reduction: by how much this run lowers it.
        interval_90: expected 90 % interval of the target's final loss, around today's prediction,
            in nats; the law's own error is in it.
    """

    schedule: Schedule
    expected: float
    reduction: float
    interval_90: tuple[float, float]

    @property
    def half_width_90(self) -> float:
        """Half of the interval's width, in nats."""
        return half_of(self.interval_90)

    def as_json(self) -> dict[str, Any]:
        """The choice as a JSON-able mapping."""
        return {
            "spec": self.schedule.spec,
            "steps": self.schedule.steps,
            "expected_sd": self.expected,
            "reduction": self.reduction,
            "expected_interval_90": list(self.interval_90),
            "expected_half_width_90": self.half_width_90,
        }


@dataclass(frozen=True, repr=False)
class Plan:
    """Which runs to train next, and what each is expected to tell about a target.

    Attributes:
        target: the schedule whose final loss is wanted.
        final_loss: its predicted final loss, in nats.
        now: standard deviation of its log final loss that the parameters leave today.
        floor: the law's own error there, in log loss: no run of another schedule lowers it.
        interval_90: 90 % interval of the final loss today, in nats, of both together.
        floor_half_width_90: half width, in nats, that the interval would keep if the parameters
            were known.
        choices: the runs to train, in order; `expected` counts those before as trained.
        ranking: every candidate that fits in the budget, each on its own, best first.
        notes: what to know before acting on it.
    """

    target: Schedule
    final_loss: float
    now: float
    floor: float
    interval_90: tuple[float, float]
    floor_half_width_90: float
    choices: tuple[DesignChoice, ...]
    ranking: tuple[DesignChoice, ...]
    notes: tuple[str, ...]

    @property
    def half_width_90(self) -> float:
        """Half of today's interval's width, in nats."""
        return half_of(self.interval_90)

    def __repr__(self) -> str:
        runs = ", ".join(choice.schedule.spec for choice in self.choices) or "none"
        return (
            f"Plan({self.target.spec}: final loss {self.final_loss:.4f}"
            f"{interval_phrase(self.interval_90)}; runs to train: {runs})"
        )

    def as_json(self) -> dict[str, Any]:
        """The plan as a JSON-able mapping."""
        return {
            "target": {
                "spec": self.target.spec,
                "steps": self.target.steps,
                "final_loss": self.final_loss,
            },
            "now": {
                "sd": self.now,
                "interval_90": list(self.interval_90),
                "half_width_90": self.half_width_90,
            },
            "floor": {"sd": self.floor, "half_width_90": self.floor_half_width_90},
            "choices": [each.as_json() for each in self.choices],
            "ranking": [each.as_json() for each in self.ranking],
            "notes": list(self.notes),
        }


def half_of(interval: tuple[float, float]) -> float:
    """Half of an interval's width."""
    return 0.5 * (interval[1] - interval[0])
