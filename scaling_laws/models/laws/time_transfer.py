"""How the best LR moves with the tokens of a run (Filatov et al. 2024), as far as it is justified.

The first version of the paper (arXiv 2410.05838v1, abstract) names three regimes at a fixed batch
size, LR* in proportion to T^1/2, T^0 or T^-1/2, chosen by the ratio of the batch size to a critical
batch size that grows in proportion to T. Which side of the critical batch size has which regime is
not in the abstract, and the second version's abstract speaks of an intricate dependence instead.
So nothing here chooses a regime from a batch size: the caller names it, from runs at two lengths.
The paper's parametric fit of LR*(T, B) was not available; this is not a registered law.
"""

from __future__ import annotations

import math
from types import MappingProxyType

from scaling_laws.common import LawError, unknown_name

__all__ = ["REGIMES", "scale_critical_batch_size", "scale_learning_rate"]

REGIMES = MappingProxyType({"rising": 0.5, "constant": 0.0, "falling": -0.5})
"""Exponent of tokens in the best LR at a fixed batch size; the names are this package's."""


def scale_learning_rate(lr: float, tokens: float, new_tokens: float, regime: str) -> float:
    """The best LR at another number of tokens, in a known regime.

    LR*(new_tokens) = LR*(tokens)·(new_tokens/tokens)^p, p = 1/2, 0 or -1/2

    Only valid while both lengths lie in the same regime: the critical batch size moves with the
    tokens, so a long enough run leaves it.

    Args:
        lr: best LR at `tokens`.
        tokens: tokens for which it is optimal.
        new_tokens: tokens to carry it to, at the same batch size.
        regime: ``rising``, ``constant`` or ``falling``.

    Raises:
        LawError: if the regime is unknown, or a number is not finite and > 0.

    Source: Filatov et al. 2024, arXiv 2410.05838v1, abstract.
    """
    if regime not in REGIMES:
        raise LawError(unknown_name("regime", regime, REGIMES), value=regime)
    return _scaled("lr", lr, tokens, new_tokens, REGIMES[regime])


def scale_critical_batch_size(batch_size: float, tokens: float, new_tokens: float) -> float:
    """The critical batch size at another number of tokens: it grows in proportion to them.

    Args:
        batch_size: critical batch size at `tokens`, in any unit.
        tokens: tokens it was measured for.
        new_tokens: tokens to carry it to.

    Returns:
        The critical batch size at `new_tokens`, in the same unit.

    Raises:
        LawError: if a number is not finite and > 0.

    Source: Filatov et al. 2024, arXiv 2410.05838, abstract.
    """
    return _scaled("batch_size", batch_size, tokens, new_tokens, 1.0)


def _scaled(name: str, number: float, tokens: float, new_tokens: float, power: float) -> float:
    for label, value in ((name, number), ("tokens", tokens), ("new_tokens", new_tokens)):
        if not 0.0 < value < math.inf:
            raise LawError(f"{label} must be finite and > 0, not {value!r}")
    return number * math.pow(new_tokens / tokens, power)
