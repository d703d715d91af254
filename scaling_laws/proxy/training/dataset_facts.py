"""The facts of a set of proxy runs in `dataset.toml`, and which of them its runs must share."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from scaling_laws._version import __version__
from scaling_laws.proxy.training.optimizers import BETA1, BETA2, CLIP
from scaling_laws.proxy.training.proxy_config import ProxyConfig

__all__ = ["FIXED", "RUN_FACTS", "SOFTWARE", "set_facts", "stated_fact"]

LOSS = "validation cross-entropy of the next {unit}, in nats per {unit}, on a fixed held-out slice"
# facts that define what the loss measures: all runs of a set share them
FIXED = (
    "size",
    "model_params",
    "context",
    "vocabulary",
    "tokenizer",
    "validation_tokens",
    "corpus_hash",
)
# facts that change a curve but not its meaning: a run states those that differ from the set
RUN_FACTS = (
    "optimizer",
    "beta1",
    "beta2",
    "clip",
    "weight_decay",
    "tokens_per_step",
    "batch",
    "sampling",
    "precision",
    "width_rule",
)
SOFTWARE = (
    "scaling_laws",
    "python",
    "jax",
    "optax",
    "numpy",
)  # likewise stated by a run if different
# values of facts that sets of the first version do not state
LEGACY_FACTS = {
    "vocabulary": 256,
    "tokenizer": "bytes",
    "sampling": "random",
    "precision": "float32",
    "width_rule": "per-layer",
}


def stated_fact(tables: Mapping[str, Any], key: str) -> Any:
    """A fact of a set, with the implied value if the set predates the fact; None if unknown."""
    return tables.get(key, LEGACY_FACTS.get(key))


def set_facts(config: ProxyConfig) -> dict[str, Any]:
    """The facts of a configuration for `dataset.toml`, without its schedule and seed."""
    size, corpus = config.size, config.corpus
    windows = config.validation_windows
    unit = "byte" if corpus.tokenizer == "bytes" else "token"
    facts: dict[str, Any] = {
        "title": f"Proxy runs: a {unit} transformer of size {size.name} on {corpus.name}",
        "source": "trained with scaling-laws proxy; each run has its command",
        "size": size.name,
        "model_params": size.parameters,
        "optimizer": config.optimizer,
        "beta1": BETA1,
        "beta2": BETA2,
        "clip": CLIP,
        "weight_decay": float(config.weight_decay),
        "width_rule": config.width_rule,
        "precision": config.precision,
        "tokens_per_step": size.tokens_per_step,
        "batch": size.batch,
        "context": size.context,
        "validation_tokens": int(windows.shape[0] * windows.shape[1] * size.context),
        "loss": LOSS.format(unit=unit),
        "corpus": corpus.name,
        "corpus_hash": corpus.digest,
        "tokenizer": corpus.tokenizer,
        "vocabulary": corpus.vocabulary,
        "sampling": config.sampling,
        "scaling_laws": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("jax", "optax", "numpy")},
    }
    if corpus.tokenizer != "bytes":
        facts["bytes_per_token"] = corpus.bytes_per_token
    if corpus.entropy_rate is not None:
        facts["entropy_rate"] = corpus.entropy_rate
    return facts
