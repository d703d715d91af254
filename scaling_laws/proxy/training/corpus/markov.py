"""A synthetic source of text with a known entropy rate: a Markov chain over 64 symbols."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["MarkovStream", "markov_chains", "markov_entropy", "markov_source", "markov_stream"]

SYMBOLS = 64


@dataclass(frozen=True, eq=False)
class MarkovStream:
    """An endless source of windows of a chain.

    Attributes:
        thresholds: uint32 of shape (symbols + 1, symbols - 1). From symbol i a uniform uint32
            leads to the symbol that equals the number of thresholds of row i that do not exceed
            it. The last row draws the first symbol of a window.
    """

    thresholds: NDArray[np.uint32] = field(repr=False)

    def __post_init__(self) -> None:
        self.thresholds.flags.writeable = False


def markov_source(seed: int, symbols: int = SYMBOLS) -> NDArray[np.float64]:
    """Transition probabilities of shape (symbols, symbols), each row a Dirichlet(0.1) sample."""
    return np.random.default_rng(seed).dirichlet(np.full(symbols, 0.1), size=symbols)


def markov_entropy(transition: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Entropy rate and stationary distribution of a Markov chain.

    Args:
        transition: probabilities of shape (symbols, symbols); rows sum to one.

    Returns:
        The entropy rate in nats per symbol, which is the loss of an ideal model; and the stationary
        distribution of shape (symbols,).
    """
    count = len(transition)
    system = np.vstack([transition.T - np.eye(count), np.ones(count)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    stationary = np.clip(stationary, 0.0, None)
    stationary /= stationary.sum()
    surprise = -transition * np.log(np.where(transition > 0, transition, 1.0))
    return float(stationary @ surprise.sum(axis=1)), stationary


def markov_stream(transition: NDArray[np.float64], stationary: NDArray[np.float64]) -> MarkovStream:
    """The stream of a chain, with probabilities rounded to 2^-32.

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
    """Chains of shape (count, length), each started from the stationary distribution."""
    chains = np.empty((length, count), dtype=np.uint8)
    state = generator.choice(len(transition), size=count, p=stationary)
    cumulative = np.cumsum(transition, axis=1)
    for row in chains:
        row[:] = state
        draw = generator.random(count)
        state = np.minimum((cumulative[state] < draw[:, None]).sum(axis=1), len(transition) - 1)
    return chains.T
