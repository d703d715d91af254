"""Compare laws by how they predict what they have not seen."""

from scaling_laws.inference.comparison.hold_outs import HOLD_OUTS, HoldOut, hold_out_of
from scaling_laws.inference.comparison.presets import PRESETS, Preset, preset_of
from scaling_laws.inference.comparison.ranking import compare
from scaling_laws.inference.comparison.repeats import Repeats, repeats_of
from scaling_laws.inference.comparison.scores import Comparison, Difference, LawScore

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
