"""Benchmark splits of public sets: which runs to fit, which to predict.

Develop a law (its form, its priors) on other splits than these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from scaling_laws.common import UsageError, unknown_name
from scaling_laws.data import Run
from scaling_laws.inference.comparison.hold_outs import same_peak

__all__ = ["PRESETS", "Preset", "preset_of"]


@dataclass(frozen=True)
class Preset:
    """A split.

    Attributes:
        meaning: in words.
        hold_out: one of `HOLD_OUTS`.
        fit: endings of the names of the runs to fit; or ``"lowest"`` or ``"highest"``, the peak LR
            that is to be predicted from the others.
        from_step: first step of the points used.
    """

    meaning: str
    hold_out: str
    fit: tuple[str, ...] | str = ()
    from_step: int = 0

    def fit_runs(self, runs: Sequence[Run]) -> list[str]:
        """Names of the runs to fit.

        Raises:
            UsageError: if the runs are not those of the split.
        """
        if isinstance(self.fit, tuple):
            names = [run.name for run in runs for end in self.fit if _ends(run.name, end)]
            if self.hold_out == "rest" and len(names) != len(self.fit):
                raise UsageError(
                    f"this preset fits {', '.join(self.fit)}; of these the runs contain "
                    f"{', '.join(names) or 'none'}, and it needs each exactly once"
                )
            return names
        peaks = [run.schedule.peak_lr for run in runs]
        unseen = min(peaks) if self.fit == "lowest" else max(peaks)
        return [run.name for run in runs if not same_peak(run.schedule.peak_lr, unseen)]


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f"/{end}")


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "published": Preset(
            "the split of the Multi-Power Law's paper: two schedules and a drop, the rest unseen",
            "rest",
            ("cosine_24000", "constant_24000", "wsdcon_9"),
        ),
        "three-runs": Preset(
            "constant, cosine and one linear decay of a peak LR, all its other runs unseen",
            "rest",
            ("constant_50000", "cosine_to10_25000", "wsd_linear_0.2_25000"),
            1000,
        ),
        "lower-peak": Preset("the lowest peak LR, from the others", "rest", "lowest", 1000),
        "higher-peak": Preset("the highest peak LR, from the others", "rest", "highest", 1000),
        "longer": Preset(
            "the long runs, from those of up to half their length", "horizon", (), 1000
        ),
    }
)


def preset_of(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: listing the near matches if there is none.
    """
    if name not in PRESETS:
        raise UsageError(unknown_name("preset", name, PRESETS), value=name)
    return PRESETS[name]
