"""A synthetic source of text with a known entropy rate: a Markov chain over a few symbols."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["MarkovStream", "markov_chains", "markov_entropy", "markov_source", "markov_stream"]

SYMBOLS = 64


@dataclass(frozen=True, eq=False)
class MarkovStream:
    """What windows of a chain are drawn from, for as long as one likes.

    Attributes:
        thresholds: uint32 of shape (symbols + 1, symbols - 1). From symbol i a uniform uint32
            leads to the symbol that equals the number of thresholds of row i that do not exceed
            it. The last row draws the first symbol of a window.
    """

    thresholds: NDArray[np.uint32] = field(repr=False)

    def __post_init__(self) -> None:
        self.thresholds.flags.writeable = False


def markov_source(seed: int, symbols: int = SYMBOLS) -> NDArray[np.float64]:
    """Transition probabilities of shape (symbols, symbols), each row skewed in its own way."""
    return np.random.default_rng(seed).dirichlet(np.full(symbols, 0.1), size=symbols)


def markov_entropy(transition: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """What an ideal model of a Markov chain reaches.

    Args:
        transition: probabilities of shape (symbols, symbols); rows sum to one.

    Returns:
        The entropy rate in nats per symbol, and the stationary distribution of shape (symbols,).
    """
    count = len(transition)
    system = np.vstack([transition.T - np.eye(count), np.ones(count)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    stationary = np.clip(stationary, 0.0, None)
    stationary /= stationary.sum()
    surprise = -transition * np.log(np.where(transition > 0, transition, 1.0))
    return float(stationary @ surprise.sum(axis=1)), stationary


def markov_stream(transition: NDArray[np.float64], stationary: NDArray[np.float64]) -> MarkovStream:
    """The stream of a chain, its probabilities rounded to 2^-32.

    Args:
        transition: probabilities of shape (symbols, symbols); rows sum to one.
        stationary: the distribution of the first symbol, of shape (symbols,).
    """
    cumulative = np.cumsum(np.vstack([transition, stationary]), axis=1)[:, :-1]
    return MarkovStream(np.minimum(cumulative * 2.0**32, 2.0**32 - 1).astype(np.uint32))


def markov_chains(
    transition: NDArray[np.float64],
    stationary: NDArray[np.float64],
    generator: np.random.Generator,
    length: int,
    count: int,
) -> NDArray[np.uint8]:
    """Chains of shape (count, length), drawn abreast, each from the stationary distribution on."""
    chains = np.empty((length, count), dtype=np.uint8)
    state = generator.choice(len(transition), size=count, p=stationary)
    cumulative = np.cumsum(transition, axis=1)
    for row in chains:
        row[:] = state
        draw = generator.random(count)
        state = np.minimum((cumulative[state] < draw[:, None]).sum(axis=1), len(transition) - 1)
    return chains.T
