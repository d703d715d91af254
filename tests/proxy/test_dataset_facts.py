"""What a set says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaling_laws.proxy import Corpus, load_corpus
from scaling_laws.proxy.training.dataset_facts import (
    FIXED,
    LEGACY_FACTS,
    RUN_FACTS,
    SOFTWARE,
    set_facts,
    stated_fact,
)
from tests.proxy.conftest import TINY, make_corpus


def test_every_fact_is_fixed_own_or_told(configure) -> None:
    facts = set_facts(configure())
    kinds = [*FIXED, *RUN_FACTS, *SOFTWARE]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) <= facts.keys()
    assert facts.keys() - set(kinds) == {"title", "source", "loss", "corpus"}
    assert all(isinstance(value, str | int | float) for value in facts.values())


def test_what_they_say(configure) -> None:
    facts = set_facts(configure(weight_decay=1, size=replace(TINY, tied=True)))
    assert facts["weight_decay"] == 1.0 and isinstance(facts["weight_decay"], float)
    assert facts["model_params"] == replace(TINY, tied=True).parameters
    assert facts["tokens_per_step"] == facts["batch"] * facts["context"] == 64
    assert facts["validation_tokens"] == 8 * 16
    assert facts["corpus_hash"] == make_corpus().digest
    assert "per byte" in facts["loss"] and "bytes_per_token" not in facts
    assert "entropy_rate" not in facts


def test_validation_tokens_are_those_measured(configure) -> None:
    text = make_corpus()
    short = Corpus("short", text.train.copy(), text.validation[:100].copy())
    config = configure(corpus=short)
    assert set_facts(config)["validation_tokens"] == config.validation_windows[..., 1:].size == 80


def test_tokens_and_floors_are_told(configure) -> None:
    text = make_corpus()
    corpus = Corpus(
        "tokens",
        text.train.copy(),
        text.validation.copy(),
        tokenizer="bpe:300",
        vocabulary=300,
        bytes_per_token=2.5,
        tokenizer_digest="sha256:0",
    )
    facts = set_facts(configure(corpus=corpus))
    assert facts["tokenizer"] == "bpe:300" and facts["vocabulary"] == 300
    assert facts["bytes_per_token"] == 2.5 and "per token" in facts["loss"]
    floor = set_facts(configure(corpus=load_corpus("synthetic")))
    assert 0 < floor["entropy_rate"] < 5.6


@pytest.mark.parametrize("key", LEGACY_FACTS)
def test_sets_of_the_first_version_share_what_they_left_unsaid(key: str, configure) -> None:
    assert stated_fact({}, key) == LEGACY_FACTS[key] == set_facts(configure())[key]
    assert stated_fact({key: "other"}, key) == "other"
    assert stated_fact({}, "weight_decay") is None
