"""Names of tokenizers, and a byte-pair encoding that loses nothing and learns from train alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import ProxyError
from scaling_laws.proxy.training.corpus import load_corpus
from scaling_laws.proxy.training.tokenizers import encode, train_tokenizer, vocabulary_of

SYLLABLES = np.random.default_rng(7).choice(
    [
        b"the",
        b" cat",
        b" sat",
        b" on",
        b"mat",
        b"ing ",
        b", ",
        b"12",
        b"\r\n\t",
        b"'s",
        "é ".encode(),
    ],
    size=1200,
)
TEXT = b"".join(SYLLABLES.tolist())
TRAIN_AGAIN = """
from scaling_laws.proxy.training.tokenizers import train_tokenizer
from tests.proxy.test_tokenizers import TEXT
print(train_tokenizer("text", 300, [TEXT]))
"""


@pytest.fixture(scope="module")
def trained() -> str:
    pytest.importorskip("tokenizers")
    return train_tokenizer("text", 300, [TEXT])


def vocabulary(trained: str) -> list[bytes]:
    """The bytes of every token, in the order of the ids."""
    ids = json.loads(trained)["model"]["vocab"]
    return [token.encode("latin-1") for token in sorted(ids, key=ids.get)]


def test_sizes_of_vocabularies() -> None:
    assert [vocabulary_of(each) for each in ("bytes", "bpe:257", "bpe:65536")] == [256, 257, 65536]


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        ("", "unknown tokenizer ''; use bytes, or bpe:N"),
        ("bpe", "unknown tokenizer 'bpe'"),
        ("bpe:", "unknown tokenizer 'bpe:'"),
        ("bpe:-300", "unknown tokenizer"),
        ("bpe:3e3", "unknown tokenizer"),
        ("bpe:" + "9" * 5000, "unknown tokenizer"),
        ("bpe:256", "'bpe:256': the number of tokens must lie between 257 and 65536"),
        ("bpe:65537", "must lie between"),
    ],
)
def test_bad_names(tokenizer: str, message: str) -> None:
    with pytest.raises(ProxyError, match=re.escape(message)):
        load_corpus("synthetic", tokenizer=tokenizer)


@settings(max_examples=100, deadline=None)
@given(blocks=st.lists(st.binary(max_size=200) | st.sampled_from([TEXT, TEXT[3:70]]), max_size=40))
def test_decoding_gives_any_bytes_back(trained: str, blocks: list[bytes]) -> None:
    tokens = list(encode(trained, iter(blocks)))
    known = vocabulary(trained)
    assert [b"".join(known[token] for token in each) for each in tokens] == blocks
    assert all(each.dtype == np.uint16 for each in tokens)


def test_a_repeated_text_gets_shorter(trained: str) -> None:
    known = vocabulary(trained)
    assert len(known) == 300 and sorted(known[:256]) == [bytes([byte]) for byte in range(256)]
    assert b"the" in known and b" sat" in known and "é".encode() in known
    (tokens,) = encode(trained, [TEXT])
    assert len(tokens) < len(TEXT) / 2


def test_words_are_cut_as_said(trained: str) -> None:
    """Letters, with bytes above 127 as such, digits, signs, white space; one space goes before."""
    import tokenizers

    text = "It's é1 a22  \n b?!\t;".encode()
    splitter = tokenizers.Tokenizer.from_str(trained).pre_tokenizer
    words = [word for word, _ in splitter.pre_tokenize_str(text.decode("latin-1"))]
    assert [word.encode("latin-1").decode() for word in words] == [
        "It", "'s", " é", "1", " a", "22", "  \n", " b", "?!", "\t", ";",
    ]  # fmt: skip


def test_the_same_text_gives_the_same_encoding(trained: str, root: Path) -> None:
    assert train_tokenizer("text", 300, [TEXT]) == trained
    again = subprocess.run(
        [sys.executable, "-c", TRAIN_AGAIN], cwd=root, capture_output=True, text=True, check=True
    )
    assert again.stdout.strip() == trained


def test_too_small_a_text() -> None:
    pytest.importorskip("tokenizers")
    with pytest.raises(ProxyError, match=r"'few' is too small for tokenizer 'bpe:300'.*258 tokens"):
        train_tokenizer("few", 300, [b"abcabc"])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ProxyError, match=re.escape("pip install 'scaling-laws[bpe]'")):
        load_corpus(str(tmp_path / "text"), tokenizer="bpe:300")


def test_only_the_train_part_is_learnt_from(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    first = load_corpus(str(path), tokenizer="bpe:290")
    cut = len(TEXT) - round(0.05 * len(TEXT))
    path.write_bytes(TEXT[:cut] + b"zq" * ((len(TEXT) - cut) // 2))
    other = load_corpus(str(path), tokenizer="bpe:290")
    assert other.tokenizer_digest == first.tokenizer_digest
    np.testing.assert_array_equal(other.train, first.train)
    assert other.digest != first.digest and other.bytes_per_token == 1 < first.bytes_per_token


def test_a_corpus_of_tokens_decodes_to_its_parts(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    generator = np.random.default_rng(0)
    for index in range(40):
        place = int(generator.integers(len(TEXT) // 2))
        (tmp_path / f"{index}").write_bytes(TEXT[place : place + 500] + generator.bytes(9))
    plain = load_corpus(str(tmp_path))
    found = load_corpus(str(tmp_path), tokenizer="bpe:280")
    known = vocabulary(train_tokenizer("text", 280, [plain.train.tobytes()]))
    assert (found.vocabulary, found.tokenizer, found.train.dtype) == (280, "bpe:280", np.uint16)
    assert found.entropy_rate is None and found.digest != plain.digest
    assert found.bytes_per_token == plain.validation.size / found.validation.size > 1.5
    for tokens, part in ((found.train, plain.train), (found.validation, plain.validation)):
        assert b"".join(known[token] for token in tokens) == part.tobytes()
