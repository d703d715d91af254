"""Loss curves of one's own: small transformers under any schedule, alone or as a fleet.

config = config_of({"size": "nano", "schedule": SPEC, "corpus": "stdlib"})
member = Member(config, Destination(Path("runs"), "first"))
(result,) = train_fleet([member], work=Path("work"))

Names are imported when they are first used, so that the command line's help does not wait for JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_laws.proxy.training.config import ProxyConfig, flops
    from scaling_laws.proxy.training.corpus import Corpus, load_corpus
    from scaling_laws.proxy.training.fleet import (
        Branch,
        Member,
        Result,
        Update,
        fleet_key,
        is_finished,
        train_fleet,
    )
    from scaling_laws.proxy.training.settings import SETTINGS, Setting, config_of
    from scaling_laws.proxy.training.sizes import SIZES, Size, get_size
    from scaling_laws.proxy.training.training_loop import Curve, train
    from scaling_laws.proxy.training.write_curve import (
        Destination,
        check_destination,
        default_name,
        differences,
        write_run,
    )

_HOMES = {
    "config": ("ProxyConfig", "flops"),
    "corpus": ("Corpus", "load_corpus"),
    "fleet": ("Branch", "Member", "Result", "Update", "fleet_key", "is_finished", "train_fleet"),
    "settings": ("SETTINGS", "Setting", "config_of"),
    "sizes": ("SIZES", "Size", "get_size"),
    "training_loop": ("Curve", "train"),
    "write_curve": ("Destination", "check_destination", "default_name", "differences", "write_run"),
}

__all__ = [
    "SETTINGS",
    "SIZES",
    "Branch",
    "Corpus",
    "Curve",
    "Destination",
    "Member",
    "ProxyConfig",
    "Result",
    "Setting",
    "Size",
    "Update",
    "check_destination",
    "config_of",
    "default_name",
    "differences",
    "fleet_key",
    "flops",
    "get_size",
    "is_finished",
    "load_corpus",
    "train",
    "train_fleet",
    "write_run",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"scaling_laws.proxy.training.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
