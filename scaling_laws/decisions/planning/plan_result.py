"""A plan: the runs to train next, and the expected interval after each."""

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
        expected: expected standard deviation of the target's log final loss, due to the
            parameters, after fitting this run and those chosen before it.
        reduction: by how much this run reduces it.
        interval_90: expected 90 % interval of the target's final loss, centred on the current
            prediction, in nats; includes the law's error.
    """

    schedule: Schedule
    expected: float
    reduction: float
    interval_90: tuple[float, float]

    @property
    def half_width_90(self) -> float:
        """Half-width of the interval, in nats."""
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
    """Which runs to train next, and the expected interval of a target's final loss after each.

    Attributes:
        target: the schedule whose final loss is to be predicted.
        final_loss: its predicted final loss, in nats.
        now: current standard deviation of its log final loss due to the parameters.
        floor: the law's error there, in log loss: no run of another schedule reduces it.
        interval_90: current 90 % interval of the final loss, in nats, from both.
        floor_half_width_90: half-width of the interval if the parameters were known exactly, in
            nats.
        choices: the runs to train, in order; `expected` assumes that those before are trained.
        ranking: every candidate that fits in the budget, if it were the only run, best first.
        notes: caveats.
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
        """Half-width of the current interval, in nats."""
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
            "choices": [choice.as_json() for choice in self.choices],
            "ranking": [choice.as_json() for choice in self.ranking],
            "notes": list(self.notes),
        }


def half_of(interval: tuple[float, float]) -> float:
    """Half-width of an interval."""
    return 0.5 * (interval[1] - interval[0])
