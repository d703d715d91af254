"""What decides a curve, checked before it is trained; windows, tokens and products counted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import ProxyError
from scaling_laws.models.schedules import Schedule
from scaling_laws.proxy import Corpus, ProxyConfig, flops, load_corpus
from tests.proxy.conftest import TINY, make_corpus

TEXT = make_corpus()


def config(steps: int = 12, **changes: Any) -> ProxyConfig:
    plan = Schedule("any", np.full(steps, 1e-3))
    return ProxyConfig(**({"size": TINY, "schedule": plan, "corpus": TEXT, "every": 1} | changes))


@st.composite
def ramped(draw: st.DrawFn) -> ProxyConfig:
    every = draw(st.integers(1, 7))
    places = sorted(draw(st.sets(st.integers(1, 12), max_size=3)))
    ramp = tuple((every * place, draw(st.integers(1, 9))) for place in places)
    return config(draw(st.integers(1, 50)), every=every, ramp=ramp)


@given(ramped())
@settings(deadline=None)
def test_windows_hold_every_update_once(found: ProxyConfig) -> None:
    seen, changes = 0, dict(found.ramp)
    updates = []
    for window in found.log_intervals():
        assert window.seen == seen
        assert window.first % found.every == 0
        for step in range(window.first, window.end):
            # the batch of a step, looked up step by step
            batch = TINY.batch
            for start, changed in changes.items():
                batch = changed if step >= start else batch
            assert window.batch == batch
            seen += batch
            updates.append(step)
    assert updates == list(range(found.schedule.steps))
    assert found.tokens == seen * TINY.context
    assert all(len(range(w.first, w.end)) == found.every for w in list(found.log_intervals())[:-1])


@given(ramped(), st.integers(0, 12))
@settings(deadline=None)
def test_windows_from_a_step_on_are_the_rest(found: ProxyConfig, place: int) -> None:
    start = place * found.every
    rest = [each for each in found.log_intervals() if each.first >= start]
    assert list(found.log_intervals(start)) == rest


@given(ramped())
@settings(deadline=None)
def test_flops_add_up(found: ProxyConfig) -> None:
    held_out = found.validation_windows[..., 1:].size
    forward = found.size.forward_flops
    rows = len(list(found.log_intervals()))
    assert flops(found) == forward * (3 * found.tokens + rows * held_out)
    more = replace(found, ema=(0.5,), merge=(2, 3))
    assert flops(more) - flops(found) == forward * 3 * rows * held_out
    middle = found.every * (rows // 2)
    first = replace(found, schedule=Schedule("first", np.ones(middle))) if middle else None
    assert flops(found) == flops(found, middle) + (flops(first) if first else 0.0)


def test_the_vocabulary_is_that_of_the_corpus() -> None:
    text = Corpus("few", TEXT.train.copy(), TEXT.validation.copy(), vocabulary=128)
    assert config(corpus=text).size.vocabulary == 128
    assert config(corpus=text, size=replace(TINY, vocabulary=9999)).size.vocabulary == 128


def test_an_endless_corpus_has_no_train_part_and_no_epochs() -> None:
    corpus = load_corpus("stream")
    assert corpus.train.size == 0
    assert config(corpus=corpus).corpus is corpus
    with pytest.raises(ProxyError, match="sampling='epochs': corpus 'stream' is endless"):
        config(corpus=corpus, sampling="epochs")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"seed=-1 must lie in"),
        ({"seed": 2**31}, r"seed=2147483648 must lie in"),
        ({"every": 0}, r"every=0: must be at least 1"),
        ({"weight_decay": -0.1}, r"weight_decay=-0.1 must be a finite number >= 0"),
        ({"weight_decay": math.nan}, r"weight_decay=nan must be"),
        ({"optimizer": "adam"}, r"unknown optimizer 'adam'; did you mean 'adamw'"),
        ({"sampling": "epoch"}, r"sampling='epoch' must be random or epochs"),
        ({"precision": "float16"}, r"precision='float16' must be float32 or bfloat16"),
        ({"width_rule": "mup"}, r"width_rule='mup' must be per-layer or none"),
        ({"ema": (1.0,)}, r"ema=1.0: the decay of an average must lie in"),
        ({"ema": (0.5, math.nan)}, r"ema=nan"),
        ({"ema": (0.99, 0.99)}, r"ema=0.99,0.99: two columns would have the same name"),
        ({"ema": (0.9999999, 0.99999991)}, r"ema=1,1: two columns"),
        ({"merge": (0,)}, r"merge=0: an average needs at least 1"),
        ({"merge": (2, 2)}, r"merge=2,2: two columns"),
        (
            {"every": 2, "ramp": ((3, 8),)},
            r"batch ramp 8@3: steps must be increasing positive mult",
        ),
        ({"ramp": ((4, 8), (4, 9))}, r"batch ramp 9@4"),
        ({"ramp": ((0, 8),)}, r"batch ramp 8@0"),
        ({"ramp": ((4, 0),)}, r"batch ramp 0@4"),
        (
            {"corpus": Corpus("few", np.zeros(16, np.uint8), np.zeros(99, np.uint8))},
            r"corpus 'few' is too small for size 'tiny': its train part has 16 tokens.*takes 17",
        ),
        (
            {"corpus": Corpus("few", np.zeros(99, np.uint8), np.zeros(16, np.uint8))},
            r"its held-out part has 16 tokens",
        ),
    ],
)
def test_bad_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProxyError, match=message):
        config(**changes)
