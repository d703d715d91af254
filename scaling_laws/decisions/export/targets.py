"""Every target that a schedule can be exported to.

To add one: write one file that ends in a `Target`, and add it to `TARGETS`.
"""

from __future__ import annotations

from scaling_laws.common import UsageError, find_by_name
from scaling_laws.decisions.export.csv_file import CSV_FILE
from scaling_laws.decisions.export.deepspeed import DEEPSPEED
from scaling_laws.decisions.export.hf import HF
from scaling_laws.decisions.export.json_file import JSON_FILE
from scaling_laws.decisions.export.megatron import MEGATRON
from scaling_laws.decisions.export.nanogpt import NANOGPT
from scaling_laws.decisions.export.nemo import NEMO
from scaling_laws.decisions.export.npy_file import NPY_FILE
from scaling_laws.decisions.export.olmo import OLMO
from scaling_laws.decisions.export.optax import OPTAX
from scaling_laws.decisions.export.target import Target
from scaling_laws.decisions.export.torch import TORCH
from scaling_laws.decisions.export.torchtitan import TORCHTITAN
from scaling_laws.decisions.export.wsm import MERGE

__all__ = ["TARGETS", "get_target"]

TARGETS: tuple[Target, ...] = (
    TORCH,
    OPTAX,
    HF,
    MEGATRON,
    NEMO,
    TORCHTITAN,
    OLMO,
    DEEPSPEED,
    NANOGPT,
    CSV_FILE,
    JSON_FILE,
    NPY_FILE,
    MERGE,
)


def get_target(name: str) -> Target:
    """The registered target of that name.

    Raises:
        UsageError: listing the near matches if there is none.
    """
    return find_by_name("target", name, TARGETS, UsageError)
