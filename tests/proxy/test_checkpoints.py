"""Positions on disk: exact, whole, and refused with one message when they are not."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import ProxyError
from scaling_laws.models.schedules import Schedule
from scaling_laws.proxy import ProxyConfig
from scaling_laws.proxy.training import training_loop
from scaling_laws.proxy.training.checkpoints import (
    check_origin,
    fingerprint,
    load_position,
    save_position,
    settings_of,
    stored_settings,
)
from tests.proxy.conftest import TINY, make_corpus

OPTIONS: tuple[dict[str, Any], ...] = ({}, {"optimizer": "muon", "ema": (0.5, 0.9), "merge": (2,)})


def after(config: ProxyConfig, windows: int) -> training_loop.Position:
    position = training_loop.begin([config])
    held_out = jnp.asarray(config.validation_windows)
    for window in list(config.log_intervals())[:windows]:
        position, _ = training_loop.advance([config], position, window, held_out)
    return position


def assert_same(one: training_loop.Position, other: training_loop.Position) -> None:
    assert (one.step, one.seconds) == (other.step, other.seconds)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if hasattr(left, "dtype"):
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.mark.parametrize("options", OPTIONS, ids=["adamw", "muon with averages"])
def test_a_position_reads_back_bit_for_bit(options, configure, tmp_path: Path) -> None:
    config = configure(**options)
    path = tmp_path / "new" / "p.npz"
    for windows in (0, 1, 2):
        position = after(config, windows)
        save_position(path, position, [settings_of(config)])
        found, told = load_position(path, [config])
        assert_same(found, position)
        assert told == stored_settings(path) == [settings_of(config)]
    assert [each.name for each in path.parent.iterdir()] == ["p.npz"]


@pytest.fixture(scope="module")
def written(configure, tmp_path_factory) -> tuple[ProxyConfig, bytes]:
    config = configure()
    path = tmp_path_factory.mktemp("kept") / "p.npz"
    save_position(path, after(config, 1), [settings_of(config)])
    return config, path.read_bytes()


def test_what_is_written_is_no_pickle(written, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(written[1])
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiuU" for name in file.files)
        assert json.loads(str(file["header"]))["version"] == 1


def refused(config: ProxyConfig, path: Path, message: str = "not a readable checkpoint") -> None:
    with pytest.raises(ProxyError) as caught:
        load_position(path, [config])
    text = str(caught.value)
    assert str(path) in text and message in text and "remove it to train again" in text


@given(share=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=30)
def test_a_truncated_file_is_refused(written, tmp_path_factory, share: float) -> None:
    config, content = written
    path = tmp_path_factory.getbasetemp() / "short.npz"
    path.write_bytes(content[: int(share * len(content))])
    refused(config, path)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=100)
def test_a_damaged_file_is_refused_or_unharmed(
    written, tmp_path_factory, place: float, flip: int
) -> None:
    config, content = written
    path = tmp_path_factory.getbasetemp() / "bad.npz"
    path.write_bytes(content)
    whole, _ = load_position(path, [config])
    index = int(place * len(content))
    path.write_bytes(content[:index] + bytes([content[index] ^ flip]) + content[index + 1 :])
    try:
        found, _ = load_position(path, [config])
    except ProxyError as error:
        assert str(path) in str(error)
    else:
        assert_same(found, whole)  # a byte of the archive that means nothing


def rewritten(content: bytes, path: Path, **changes: Any) -> None:
    """The same file with other arrays, or without those that are None."""
    path.write_bytes(content)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays = {name: each for name, each in (arrays | changes).items() if each is not None}
    with path.open("wb") as target:
        np.savez(target, **arrays)


def test_other_contents_are_refused(written, tmp_path: Path) -> None:
    config, content = written
    path = tmp_path / "p.npz"
    rewritten(content, path)
    header = stored_settings(path) and json.loads(str(np.load(path)["header"]))
    rewritten(content, path, leaf_3=None)
    refused(config, path)
    rewritten(content, path, header=np.array([{"version": 1}], dtype=object))  # a pickle
    refused(config, path)
    for text in ("[]", "{}", "3", "no JSON", json.dumps(header | {"leaves": "x"})):
        rewritten(content, path, header=np.array(text))
        refused(config, path)
    rewritten(content, path, header=np.array(json.dumps(header | {"version": 2})))
    refused(config, path, "is a checkpoint of version 2; this program reads version 1")
    rewritten(content, path, header=np.array(json.dumps(header | {"snapshots": 1})))
    refused(config, path, "contains a model of another shape")
    for rows in (np.zeros((1, 1, 3)), np.zeros(4), np.zeros((2, 1, len(training_loop.COLUMNS)))):
        rewritten(content, path, rows=rows)
        refused(config, path, "contains a model of another shape")
    path.write_text("no archive")
    refused(config, path)
    path.write_bytes(b"")
    refused(config, path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused(config, tmp_path / "one.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    refused(config, path)
    path.unlink()
    refused(config, path)


@pytest.mark.parametrize(
    "given",
    [
        {"size": replace(TINY, width=32)},
        {"size": replace(TINY, tied=True)},
        {"size": replace(TINY, qk_norm=False)},
        {"optimizer": "muon"},
        {"ema": (0.5,)},
        {"merge": (2,)},
    ],
)
def test_another_shape_is_refused(written, configure, tmp_path: Path, given) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(written[1])
    refused(configure(**given), path, "contains a model of another shape")


CHANGES: dict[str, dict[str, Any]] = {
    "width": {"size": replace(TINY, width=32)},
    "context": {"size": replace(TINY, context=8)},
    "validation_windows": {"size": replace(TINY, validation_windows=4)},
    "tied": {"size": replace(TINY, tied=True)},
    "corpus_hash": {"corpus": make_corpus(1)},
    "seed": {"seed": 1},
    "every": {"every": 3},
    "weight_decay": {"weight_decay": 0.2},
    "optimizer": {"optimizer": "muon"},
    "sampling": {"sampling": "epochs"},
    "ramp": {"ramp": ((2, 8),)},
    "precision": {"precision": "bfloat16"},
    "width_rule": {"width_rule": "none"},
    "ema": {"ema": (0.5,)},
    "merge": {"merge": (2,)},
    "rates": {"spec": "constant:peak=1e-2,steps=6,warmup=3"},
}


@pytest.mark.parametrize("key", CHANGES)
def test_every_choice_is_in_the_settings(key: str, configure, written, tmp_path: Path) -> None:
    base, changed = configure(), configure(**CHANGES[key])
    ours, theirs = settings_of(base), settings_of(changed)
    assert {name for name in ours if ours[name] != theirs[name]} == {key}
    assert fingerprint(ours) != fingerprint(theirs)
    path = tmp_path / "p.npz"
    path.write_bytes(written[1])
    check_origin(path, ours, "mine", "old", 2)
    named = "other learning rates" if key == "rates" else rf"{key} = .*, not "
    with pytest.raises(ProxyError, match=f"mine cannot branch from old@2, which has {named}"):
        check_origin(path, theirs, "mine", "old", 2)


def test_what_comes_later_is_in_no_origin(configure) -> None:
    base = configure()
    lr = base.schedule.lr.copy()
    lr[4:] *= 0.5
    other = replace(base, schedule=Schedule("drop", lr), ramp=((4, 8),))
    assert settings_of(base, 4) == settings_of(other, 4)
    assert settings_of(base, 5) != settings_of(other, 5)
    longer = replace(base, schedule=Schedule("long", np.append(base.schedule.lr, 1e-2)))
    assert settings_of(base, 6) == settings_of(longer, 6) == settings_of(base)
    assert settings_of(base) != settings_of(longer)


def test_a_fingerprint_is_of_numbers_and_not_of_words(configure) -> None:
    base = configure()
    same = replace(
        base,
        schedule=Schedule("another name", base.schedule.lr.copy()),
        size=replace(TINY, name="by another name"),
    )
    assert fingerprint(settings_of(base)) == fingerprint(settings_of(same))
    both = fingerprint(settings_of(base), settings_of(base))
    assert both != fingerprint(settings_of(base)) and both.startswith("sha256:")
    stored = json.loads(json.dumps(settings_of(base)))
    assert fingerprint(stored) == fingerprint(settings_of(base))
