"""Settings as they are typed: as text, as TOML, and written back."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_laws.common.errors import ProxyError, ScheduleError
from scaling_laws.proxy import SETTINGS, SIZES, config_of, get_size
from scaling_laws.proxy.training.batches import SAMPLINGS
from scaling_laws.proxy.training.optimizers import OPTIMIZERS, WIDTH_RULES
from scaling_laws.proxy.training.proxy_config import PRECISIONS
from scaling_laws.proxy.training.settings import normalized_settings, settings_as_text

PLAN = {"schedule": "constant:peak=1e-3,steps=8", "corpus": "synthetic"}
# setting -> text as a flag has it, the same in TOML, the value
SAME: dict[str, tuple[str, str, Any]] = {
    "size": ("pico", '"pico"', "pico"),
    "width": ("48", "48", 48),
    "layers": ("3", "3", 3),
    "heads": ("2", "2", 2),
    "mlp_width": ("64", "64", 64),
    "context": ("32", "32", 32),
    "batch": ("8", "8", 8),
    "validation_windows": ("16", "16", 16),
    "tied": ("true", "true", True),
    "qk_norm": ("false", "false", False),
    "corpus": ("synthetic:3", '"synthetic:3"', "synthetic:3"),
    "tokenizer": ("bytes", '"bytes"', "bytes"),
    "sampling": ("epochs", '"epochs"', "epochs"),
    "seed": ("7", "7", 7),
    "every": ("4", "4", 4),
    "optimizer": ("muon", '"muon"', "muon"),
    "weight_decay": ("0.25", "0.25", 0.25),
    "width_rule": ("none", '"none"', "none"),
    "batch_ramp": ("128@4,256@8", '["128@4", "256@8"]', ((4, 128), (8, 256))),
    "ema": ("0.9,0.99", "[0.9, 0.99]", (0.9, 0.99)),
    "merge": ("2,4", "[2, 4]", (2, 4)),
    "precision": ("bfloat16", '"bfloat16"', "bfloat16"),
}


def test_every_setting_is_covered_here() -> None:
    assert list(SAME) == [each.name for each in SETTINGS]


@pytest.mark.parametrize("name", SAME)
def test_text_and_toml_read_the_same(name: str) -> None:
    text, toml, value = SAME[name]
    assert normalized_settings({name: text})[name] == value
    assert normalized_settings(tomllib.loads(f"{name} = {toml}"))[name] == value


def test_one_of_several_needs_no_list() -> None:
    for name, value in (("ema", 0.9), ("merge", 4)):
        assert (
            normalized_settings({name: value})[name]
            == normalized_settings({name: str(value)})[name]
            == (value,)
        )
    assert normalized_settings({"batch_ramp": "8@2"})["batch_ramp"] == ((2, 8),)
    assert normalized_settings({"weight_decay": 1})["weight_decay"] == 1.0
    assert isinstance(normalized_settings({"weight_decay": 1})["weight_decay"], float)


def test_defaults() -> None:
    found = normalized_settings({})
    assert list(found) == [each.name for each in SETTINGS]
    assert found == normalized_settings({each.name: None for each in SETTINGS})
    config = config_of(PLAN)
    assert config.size == replace(get_size("nano"), vocabulary=config.corpus.vocabulary)
    assert (config.every, config.weight_decay, config.seed) == (20, 0.1, 0)
    assert (config.optimizer, config.width_rule, config.precision) == (
        "adamw",
        "per-layer",
        "float32",
    )


@given(st.sets(st.sampled_from(list(SAME))))
def test_what_is_written_reads_back(names: set[str]) -> None:
    chosen = {name: SAME[name][0] for name in names}
    text = settings_as_text(chosen)
    assert normalized_settings(text) == normalized_settings(chosen)
    assert settings_as_text(text) == text
    assert all(isinstance(value, str) for value in text.values())
    toml = tomllib.loads("\n".join(f"{name} = {SAME[name][1]}" for name in names))
    assert settings_as_text(toml) == text


@given(
    ema=st.lists(st.floats(0, 1, exclude_max=True), max_size=3),
    decay=st.floats(0, 10),
    ramp=st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), max_size=3),
)
def test_numbers_are_written_exactly(ema: list[float], decay: float, ramp: Any) -> None:
    chosen = {
        "ema": ema,
        "weight_decay": decay,
        "batch_ramp": [f"{batch}@{step}" for step, batch in ramp],
    }
    found = normalized_settings(settings_as_text(chosen))
    assert found["ema"] == tuple(ema) and found["weight_decay"] == decay
    assert found["batch_ramp"] == tuple(ramp)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("every", "two"),
        ("every", 2.0),
        ("every", True),
        ("every", [2]),
        ("weight_decay", "much"),
        ("weight_decay", [0.1]),
        ("weight_decay", {"a": 1}),
        ("weight_decay", True),
        ("tied", "yes"),
        ("tied", 1),
        ("tied", []),
        ("size", 3),
        ("corpus", ["a", "b"]),
        ("ema", "0.9,x"),
        ("ema", [[0.9]]),
        ("ema", {"a": 1}),
        ("merge", [2.5]),
        ("batch_ramp", "128"),
        ("batch_ramp", "128@4@5"),
        ("batch_ramp", [128]),
        ("batch_ramp", "x@4"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_setting(name: str, value: Any) -> None:
    with pytest.raises(ProxyError) as caught:
        normalized_settings({name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: ")
    assert str(caught.value).endswith(next(each.help for each in SETTINGS if each.name == name))


def test_unknown_keys_name_the_near_match() -> None:
    with pytest.raises(ProxyError, match="unknown setting 'weight_deacy'; did you mean 'weight_de"):
        config_of(PLAN | {"weight_deacy": 0.1})


@pytest.mark.parametrize("spec", [None, 3])
def test_a_schedule_is_wanted(spec: Any) -> None:
    with pytest.raises(ProxyError, match=rf"schedule={spec}: expected a spec such as cosine:"):
        config_of({"schedule": spec, "corpus": "synthetic"})
    with pytest.raises(ScheduleError):
        config_of(PLAN | {"schedule": "cosin:peak=1"})


def test_a_registered_size_with_changes() -> None:
    size = config_of(PLAN | {"size": "pico", "batch": "8", "tied": "true"}).size
    assert size == replace(get_size("pico"), batch=8, tied=True)


def test_a_size_of_ones_own() -> None:
    own = {"width": 24, "layers": 2, "heads": 3}
    size = config_of(PLAN | own).size
    assert (size.name, size.width, size.layers, size.heads) == ("24x2x3", 24, 2, 3)
    assert (size.mlp_width, size.context, size.batch) == (96, 64, 64)
    assert config_of(PLAN | own | {"size": "mine", "mlp_width": 50}).size.name == "mine"
    with pytest.raises(ProxyError, match="needs width, layers and heads; only heads, width given"):
        config_of(PLAN | {"width": 24, "heads": 3})
    with pytest.raises(ProxyError, match="unknown proxy size 'mine'"):
        config_of(PLAN | {"size": "mine"})


def test_settings_reach_the_configuration() -> None:
    chosen = {name: text for name, (text, _, _) in SAME.items() if name != "batch_ramp"}
    config = config_of(PLAN | chosen | {"batch_ramp": "128@4"})
    for name in ("seed", "every", "weight_decay", "optimizer", "sampling", "precision", "ema"):
        assert getattr(config, name) == SAME[name][2]
    assert config.ramp == ((4, 128),) and config.merge == (2, 4) and config.width_rule == "none"
    for name in ("width", "layers", "heads", "mlp_width", "context", "batch", "tied", "qk_norm"):
        assert getattr(config.size, name) == SAME[name][2]
    assert config.size.validation_windows == 16 and config.corpus.name == "synthetic:3"


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("size", [size.name for size in SIZES]),
        ("optimizer", [each.name for each in OPTIMIZERS]),
        ("sampling", SAMPLINGS),
        ("precision", [*PRECISIONS, "auto"]),
        ("width_rule", WIDTH_RULES),
    ],
)
def test_the_help_names_every_choice(name: str, choices: Any) -> None:
    text = next(each.help for each in SETTINGS if each.name == name)
    assert all(choice in text for choice in choices)


def test_reading_settings_imports_nothing_heavy() -> None:
    code = (
        "import sys, scaling_laws.proxy as proxy; proxy.settings_as_text({'ema': '0.9'}); "
        "sys.exit(any(name in sys.modules for name in ('jax', 'numpy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
