"""Training and validation tokens: of the standard library, of files, or from a synthetic source."""

from __future__ import annotations

from scaling_laws.proxy.training.corpus.corpus import Corpus
from scaling_laws.proxy.training.corpus.loading import load_corpus
from scaling_laws.proxy.training.corpus.markov import MarkovStream, markov_entropy, markov_source

__all__ = ["Corpus", "MarkovStream", "load_corpus", "markov_entropy", "markov_source"]
