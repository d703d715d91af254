"""Compare laws by how they predict what they have not seen."""

from scaling_laws.comparison.hold_outs import HOLD_OUTS, HoldOut, hold_out_of
from scaling_laws.comparison.presets import PRESETS, Preset, preset_of
from scaling_laws.comparison.ranking import compare
from scaling_laws.comparison.repeats import Repeats, repeats_of
from scaling_laws.comparison.scores import Comparison, Difference, LawScore

__all__ = [
    "HOLD_OUTS",
    "PRESETS",
    "Comparison",
    "Difference",
    "HoldOut",
    "LawScore",
    "Preset",
    "Repeats",
    "compare",
    "hold_out_of",
    "preset_of",
    "repeats_of",
]
