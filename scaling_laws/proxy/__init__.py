"""Loss curves of one's own: a small transformer on bytes under any schedule.

config = ProxyConfig(get_size("nano"), schedule(SPEC), load_corpus("stdlib"))
destination = Destination(Path("runs"), "first")
check_destination(destination, config)
write_run(destination, config, train(config))
"""

from __future__ import annotations

from scaling_laws.proxy.corpus import Corpus, load_corpus
from scaling_laws.proxy.sizes import SIZES, Size, get_size
from scaling_laws.proxy.training import Curve, ProxyConfig, train
from scaling_laws.proxy.write import Destination, check_destination, default_name, write_run

__all__ = [
    "SIZES",
    "Corpus",
    "Curve",
    "Destination",
    "ProxyConfig",
    "Size",
    "check_destination",
    "default_name",
    "get_size",
    "load_corpus",
    "train",
    "write_run",
]
