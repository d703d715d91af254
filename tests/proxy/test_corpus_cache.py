"""Tokens in a cache: made once, mapped, and made again whenever they are not what they were."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scaling_laws.common.errors import OutputError
from scaling_laws.proxy.training.corpus import load_corpus, token_cache
from tests.proxy.test_corpus import texts, write


def words() -> dict[str, bytes]:
    """Files of words that repeat."""
    generator = np.random.default_rng(5)
    known = [generator.integers(97, 123, size=size).astype(np.uint8).tobytes() for size in
             generator.integers(2, 9, size=40)]  # fmt: skip
    return {f"{i:02d}.txt": b" ".join(known[j] for j in generator.integers(0, 40, size=300))
            for i in range(30)}  # fmt: skip


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_a_cache_is_made_once_and_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: str
) -> None:
    if tokenizer != "bytes":
        pytest.importorskip("tokenizers")
    name, cache = write(tmp_path / "text", words()), tmp_path / "a" / "cache"
    plain = load_corpus(name, tokenizer=tokenizer)
    first = load_corpus(name, tokenizer=tokenizer, cache=cache)

    def fail(*given: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(token_cache, "read_blocks", fail)
    second = load_corpus(name, tokenizer=tokenizer, cache=cache)
    for found in (first, second):
        assert isinstance(found.train, np.memmap) and not found.train.flags.writeable
        assert found.digest == plain.digest and found.bytes_per_token == plain.bytes_per_token
        assert (found.vocabulary, found.tokenizer) == (plain.vocabulary, plain.tokenizer)
        np.testing.assert_array_equal(found.train, plain.train)
        np.testing.assert_array_equal(found.validation, plain.validation)
    with pytest.raises(AssertionError, match="tokenised again"):
        load_corpus(name, tokenizer="bpe:299", cache=cache)
    (tmp_path / "text" / "new").write_bytes(b"new")
    with pytest.raises(AssertionError, match="tokenised again"):
        load_corpus(name, tokenizer=tokenizer, cache=cache)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train.npy", lambda content: b""),
        ("train.npy", lambda content: content[:-1]),
        ("train.npy", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        ("train.npy", lambda content: content[:-1] + b"\xff"),
        ("train.npy", lambda content: content.replace(b"'<u2'", b"'<i2'")),
        ("train.npy", lambda content: content.replace(b"'<u2'", b"'|O' ")),
        ("validation.npy", lambda content: b"PK\x03\x04" + content),
        ("validation.npy", None),
        ("tokenizer.json", lambda content: content + b" "),
        ("tokenizer.json", lambda content: b"\xff"),
        ("tokenizer.json", None),
        ("corpus.json", lambda content: content.replace(b"sha256:", b"sha256:0")),
        ("corpus.json", lambda content: b"{}"),
        ("corpus.json", lambda content: b"[1]"),
        ("corpus.json", lambda content: b"{"),
        ("corpus.json", None),
    ],
)
def test_a_damaged_cache_is_made_again(
    tmp_path: Path, file: str, damage: Callable[[bytes], bytes] | None
) -> None:
    pytest.importorskip("tokenizers")
    name, cache = write(tmp_path / "text", words()), tmp_path / "cache"
    first = load_corpus(name, tokenizer="bpe:300", cache=cache)
    (path,) = cache.rglob(file)
    content = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        assert damage(content) != content
        path.write_bytes(damage(content))
    again = load_corpus(name, tokenizer="bpe:300", cache=cache)
    assert again.digest == first.digest and path.read_bytes() == content
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "corpus.json", "tokenizer.json", "train.npy", "validation.npy",
    ]  # fmt: skip


def test_the_cache_of_another_text_is_made_again(tmp_path: Path) -> None:
    names = [write(tmp_path / each, texts(count)) for each, count in (("a", 30), ("b", 40))]
    found = [load_corpus(name, cache=tmp_path / "cache") for name in names]
    folders = [Path(str(each.train.filename)).parent for each in found]  # type: ignore[attr-defined]
    for file in folders[0].iterdir():
        (folders[1] / file.name).write_bytes(file.read_bytes())
    assert load_corpus(names[1], cache=tmp_path / "cache").digest == found[1].digest
    facts = json.loads((folders[1] / "corpus.json").read_text())
    assert facts["digest"] == found[1].digest and facts["train_tokens"] == found[1].train.size


def test_each_tokenizer_of_a_text_has_its_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tokenizers")
    name, cache = write(tmp_path / "text", words()), tmp_path / "cache"
    names = ("bytes", "bpe:300")
    made = {each: load_corpus(name, tokenizer=each, cache=cache).digest for each in names}
    monkeypatch.setattr(token_cache, "read_blocks", None)  # nothing is tokenised again
    for each in names:
        assert load_corpus(name, tokenizer=each, cache=cache).digest == made[each]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    name = write(tmp_path / "text", texts(30))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot make the folder"):
        load_corpus(name, cache=tmp_path / "file")
    load_corpus(name, cache=tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("train.npy")
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=r"train.npy is a folder"):
        load_corpus(name, cache=tmp_path / "cache")


def test_a_text_goes_to_the_cache_piece_by_piece(tmp_path: Path) -> None:
    size = 24 << 20
    content = np.random.default_rng(0).bytes(size)
    name = write(tmp_path / "text", {"large": content})
    tracemalloc.start()
    try:
        found = load_corpus(name, cache=tmp_path / "cache")
        assert tracemalloc.get_traced_memory()[1] < size / 4
    finally:
        tracemalloc.stop()
    assert found.train[-9:].tobytes() + found.validation[:9].tobytes() in content
    assert found.train.size + found.validation.size == size
