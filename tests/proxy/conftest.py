"""A model and a text small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scaling_laws.proxy import Corpus, ProxyConfig, Size
from scaling_laws.schedules import schedule

TINY = Size("tiny", 16, 1, 2, 32, context=16, batch=4, validation_windows=8)
SPEC = "constant:peak=1e-2,steps=6,warmup=2"


def make_corpus(seed: int = 0) -> Corpus:
    text = np.random.default_rng(seed).integers(97, 105, size=3000).astype(np.uint8)
    return Corpus("letters", text[:2850].copy(), text[2850:].copy())


@pytest.fixture(scope="session")
def configure() -> Callable[..., ProxyConfig]:
    """A tiny configuration, any field of which can be given."""

    def build(spec: str = SPEC, **given: Any) -> ProxyConfig:
        fields: dict[str, Any] = {"size": TINY, "corpus": make_corpus(), "every": 2}
        return ProxyConfig(schedule=schedule(spec), **(fields | given))

    return build
