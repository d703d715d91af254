"""Where the bytes come from, how they are split, and what the hash notices."""

from __future__ import annotations

import hashlib
import math
import re
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_laws.common.errors import ProxyError
from scaling_laws.proxy.training.corpus import (
    Corpus,
    load_corpus,
    loading,
    markov_entropy,
    markov_source,
    text_files,
    token_cache,
)
from scaling_laws.proxy.training.corpus import (
    corpus as corpus_module,
)


def write(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


def texts(count: int, length: int = 40) -> dict[str, bytes]:
    """Files of equal length, each of one letter of its own."""
    return {f"{i:03d}.txt": bytes([i]) * length for i in range(count)}


@pytest.fixture(scope="module")
def synthetic() -> Corpus:
    return load_corpus("synthetic")


def test_standard_library() -> None:
    found = load_corpus("stdlib")
    assert found.name == "stdlib" and found.entropy_rate is None
    assert re.fullmatch("sha256:[0-9a-f]{64}", found.digest)
    total = found.train.size + found.validation.size
    assert total > 5_000_000
    assert 0.05 <= found.validation.size / total < 0.1
    assert b"\nimport os\n" in found.train.tobytes()


def test_standard_library_has_no_tests_and_no_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = {f"a/{name}.py": content for name, content in texts(30).items()}
    leave = ["site-packages/x.py", "a/test/x.py", "tests/x.py", "idlelib/idle_test/x.py", "a/x.txt"]
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ProxyError, match="no Python sources under"):
        load_corpus("stdlib")
    write(tmp_path, keep | {name: b"\xff" * 40 for name in leave})
    found = load_corpus("stdlib")
    everything = np.concatenate([found.train, found.validation])
    np.testing.assert_array_equal(np.unique(everything), np.arange(30))


def test_whole_files_are_held_out(tmp_path: Path) -> None:
    found = load_corpus(write(tmp_path, texts(50)))
    train, held_out = set(found.train.tolist()), set(found.validation.tolist())
    assert train | held_out == set(range(50)) and not train & held_out
    assert found.validation.size == 3 * 40  # the least that is 5 % of 2000
    assert found.train.size == 47 * 40
    with pytest.raises(ValueError, match="read-only"):
        found.train[0] = 1


def test_names_and_copies_change_nothing_of_what_is_held_out(tmp_path: Path) -> None:
    files = texts(50)
    first = load_corpus(write(tmp_path / "first", files))
    assert load_corpus(write(tmp_path / "same", files)).digest == first.digest
    copies = {f"z/{name}": content for name, content in files.items()}
    assert load_corpus(write(tmp_path / "copies", files | copies)).digest == first.digest
    renamed = {f"{99 - i:03d}.py": content for i, content in enumerate(files.values())}
    other = load_corpus(write(tmp_path / "renamed", renamed))
    assert set(other.validation.tolist()) == set(first.validation.tolist())


def test_the_hash_notices_every_byte_and_the_split() -> None:
    def digest(train: bytes, held_out: bytes) -> str:
        parts = (np.frombuffer(part, np.uint8).copy() for part in (train, held_out))
        return Corpus("parts", *parts).digest

    parts = [(b"abc", b"def"), (b"abd", b"def"), (b"abc", b"dee"), (b"abcd", b"ef"), (b"def", b"a")]
    assert len({digest(*pair) for pair in parts}) == len(parts)
    assert digest(b"abc", b"def") == digest(b"abc", b"def")


def test_one_file_is_cut_in_two(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1000)
    found = load_corpus(write(tmp_path, {"one.bin": content}) + "/one.bin")
    assert found.train.tobytes() == content[:950]
    assert found.validation.tobytes() == content[950:]


@pytest.mark.parametrize("small", [0, 1, 5])
def test_a_file_that_outweighs_the_rest_is_cut_in_two(tmp_path: Path, small: int) -> None:
    for trial in range(6):  # whichever comes first by its hash
        large = bytes([100 + trial]) * 10_000
        found = load_corpus(write(tmp_path / str(trial), {"z": large, "a": bytes(small)}))
        assert found.train.size + found.validation.size == 10_000 + small
        assert found.validation.size == 500


def test_patterns_folders_and_hidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"deep/{name}": content for name, content in texts(30).items()}
    hidden = [".git/x", "deep/.x.txt", "deep/__pycache__/x.pyc"]
    folder = write(tmp_path, files | {name: b"\xff" * 99 for name in hidden})
    found = load_corpus(folder)
    assert 255 not in found.train and 255 not in found.validation
    assert load_corpus(f"{folder}/**/*.txt").digest == found.digest
    monkeypatch.chdir(tmp_path)
    assert load_corpus("deep").digest == found.digest
    assert load_corpus("deep/00[0-9].txt").train.size < found.train.size
    (tmp_path / "stdlib").mkdir()
    (tmp_path / "stdlib" / "x").write_bytes(b"x" * 100)
    assert load_corpus("./stdlib").train.tobytes() == b"x" * 95


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the name is empty"),
        ("nothing/here", "no such file or folder, and no file matches it"),
        ("*.none", "no file matches it as a pattern"),
        ("x" * 5000, "no such file or folder"),
        ("a\0b", "no such file or folder"),
        ("empty", "the folder has no files"),
        ("emp*", "the folder has no files"),
        ("synthetic:", "'' is not a seed; write e.g. synthetic:7"),
        ("synthetic:x", "'x' is not a seed"),
        ("synthetic:-1", "'-1' is not a seed"),
        ("synthetic:²", "is not a seed"),
        ("synthetic:" + "9" * 9999, "is not a seed"),
        ("stream:", "'' is not a seed; write e.g. stream:7"),
    ],
)
def test_bad_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProxyError, match=re.escape(message)):
        load_corpus(name)


def test_too_large_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, texts(3))
    monkeypatch.setattr(loading, "MAX_BYTES", 100)
    with pytest.raises(ProxyError, match=r"larger than 100 bytes \(reached at .*002.txt\).*cache"):
        load_corpus(folder)
    assert load_corpus(folder, cache=tmp_path / "cache").train.size == 40 * 3 - 6
    opened = text_files.open_bytes
    monkeypatch.setattr(
        text_files, "open_bytes", lambda path, max_bytes: opened(path / "x", max_bytes)
    )
    with pytest.raises(ProxyError, match=r"cannot read .*000.txt: Not a directory"):
        load_corpus(folder)
    with pytest.raises(ProxyError, match=r"cannot read .*000.txt: Not a directory"):
        list(text_files.read_blocks("some", [text_files.Piece(Path(folder) / "000.txt", 0, 40)]))


def test_no_part_has_more_tokens_than_can_be_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "text", texts(3))
    for module in (corpus_module, loading, token_cache):
        monkeypatch.setattr(module, "MAX_TOKENS", 99)
    with pytest.raises(ProxyError, match="has a part of 114 tokens; the maximum is 99"):
        load_corpus(folder)
    with pytest.raises(ProxyError, match=r"larger than 99 bytes \(.*, the limit of 32-bit"):
        load_corpus(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(loading, "MAX_TOKENS", 1000)
    with pytest.raises(ProxyError, match="has more than 99 tokens"):
        load_corpus(folder, cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, 9])
def test_a_text_too_short_to_hold_some_out(tmp_path: Path, size: int) -> None:
    folder = write(tmp_path, {"one": b"x" * size})
    with pytest.raises(ProxyError, match=f"has only {size} bytes, too few to hold some out"):
        load_corpus(folder)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path, {"one": b"x" * 40})
    with pytest.raises(ProxyError, match="one became shorter than 41 bytes"):
        list(text_files.read_blocks("some", [text_files.Piece(Path(folder) / "one", 3, 41)]))


def plain_split(contents: list[bytes]) -> tuple[bytes, bytes]:
    """What to train on and what is held out, by joining everything in memory."""
    contents = list(dict.fromkeys(contents))
    total = sum(map(len, contents))
    held_out: set[int] = set()
    size = 0
    for i in sorted(range(len(contents)), key=lambda i: hashlib.sha256(contents[i]).digest()):
        if size < 0.05 * total and size + len(contents[i]) <= 0.25 * total:
            held_out.add(i)
            size += len(contents[i])
    if size < 0.05 * total:
        everything = b"".join(contents)
        cut = total - round(0.05 * total)
        return everything[:cut], everything[cut:]
    parts = [b"", b""]
    for i, content in enumerate(contents):
        parts[i in held_out] += content
    return parts[0], parts[1]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=25),
    repeats=st.lists(st.integers(0, 24), max_size=10),
    block=st.sampled_from([1, 7, 64, 1 << 18]),
    cached=st.booleans(),
)
def test_train_and_validation_never_overlap(
    sizes: list[int], repeats: list[int], block: int, cached: bool
) -> None:
    generator = np.random.default_rng(len(sizes))
    contents = [generator.bytes(size) for size in sizes]
    contents += [contents[i % len(sizes)] for i in repeats]
    train, held_out = plain_split(contents)
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "BLOCK", block)
        name = write(Path(place) / "text", {f"{i:03d}": each for i, each in enumerate(contents)})
        if not train or not held_out:
            with pytest.raises(ProxyError, match="too few to hold some out"):
                load_corpus(name)
            return
        found = load_corpus(name, cache=Path(place) / "cache" if cached else None)
        assert found.train.tobytes() == train and found.validation.tobytes() == held_out
        assert isinstance(found.train, np.memmap) == cached
        parts = text_files.split_files(
            name, text_files.inspect_files(name, text_files.find_files(name), None, "")
        )
        bytes_of: list[tuple[Path, int]] = []
        for piece in parts.train + parts.validation:
            bytes_of += [(piece.path, place) for place in range(piece.start, piece.stop)]
    assert len(bytes_of) == len(set(bytes_of)) == sum(map(len, set(contents)))


@pytest.mark.parametrize("part", [np.zeros(9), np.zeros((3, 3), np.uint8), np.zeros(9, np.int64)])
def test_a_part_is_a_row_of_bytes(part: np.ndarray) -> None:
    with pytest.raises(ProxyError, match="1-D arrays of uint8"):
        Corpus("odd", part, np.zeros(9, np.uint8))


def test_the_parts_of_a_corpus_fit_together() -> None:
    byte, wide = np.arange(9, dtype=np.uint8), np.arange(9, dtype=np.uint16)
    with pytest.raises(ProxyError, match="both of one dtype, not uint16"):
        Corpus("odd", byte, wide)
    with pytest.raises(ProxyError, match="has a token 8, and its vocabulary has only 8"):
        Corpus("odd", wide, wide, vocabulary=8)
    plain = Corpus("even", wide, wide, vocabulary=9)
    trained = Corpus("even", wide, wide, vocabulary=9, tokenizer_digest="sha256:0")
    assert plain.digest != trained.digest
    assert Corpus("bytes", byte, byte).digest == (
        "sha256:" + hashlib.sha256(((9).to_bytes(8, "little") + bytes(range(9))) * 2).hexdigest()
    )


def test_entropy_of_two_states_is_the_textbook_one() -> None:
    p, q = 0.2, 0.7
    entropy, stationary = markov_entropy(np.array([[1 - p, p], [q, 1 - q]]))
    surprise = [-(x * math.log(x) + (1 - x) * math.log(1 - x)) for x in (p, q)]
    assert stationary == pytest.approx([q / (p + q), p / (p + q)])
    assert entropy == pytest.approx((q * surprise[0] + p * surprise[1]) / (p + q))
    assert markov_entropy(np.eye(2)[::-1])[0] == 0
    assert markov_entropy(np.full((8, 8), 1 / 8))[0] == pytest.approx(math.log(8))


def test_entropy_of_the_source_by_repeated_steps(synthetic: Corpus) -> None:
    transition = markov_source(0)
    np.testing.assert_allclose(transition.sum(axis=1), 1)
    state = np.full(64, 1 / 64)
    for _ in range(500):
        state = state @ transition
    entropy = sum(-s * x * math.log(x) for s, row in zip(state, transition, strict=True)
                  for x in row if x > 0)  # fmt: skip
    assert synthetic.entropy_rate == pytest.approx(entropy, rel=1e-9)


def test_synthetic_text_has_that_entropy(synthetic: Corpus) -> None:
    for part, tolerance in ((synthetic.train, 2e-3), (synthetic.validation, 2e-2)):
        pairs = np.bincount(part[:-1].astype(int) * 64 + part[1:], minlength=64 * 64)
        joint = pairs[pairs > 0] / pairs.sum()
        single = np.bincount(part) / part.size
        single = single[single > 0]
        found = float((single * np.log(single)).sum() - (joint * np.log(joint)).sum())
        assert found == pytest.approx(synthetic.entropy_rate, rel=tolerance)
    total = synthetic.train.size + synthetic.validation.size
    assert synthetic.validation.size / total == pytest.approx(0.05, abs=1e-3)


def test_synthetic_seeds(synthetic: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_corpus("synthetic:0").digest == synthetic.digest
    monkeypatch.setattr(loading, "CHAIN_LENGTH", 32)
    first, again, other = (load_corpus(f"synthetic:{seed}") for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert first.entropy_rate != other.entropy_rate


def test_a_stream_shares_source_and_held_out_part_with_the_synthetic_text(
    synthetic: Corpus,
) -> None:
    found, other = load_corpus("stream"), load_corpus("stream:1")
    assert found.stream is not None and found.train.size == 0
    assert found.entropy_rate == synthetic.entropy_rate
    np.testing.assert_array_equal(found.validation, synthetic.validation)
    assert len({found.digest, other.digest, synthetic.digest}) == 3
    edges = np.pad(found.stream.thresholds / 2.0**32, ((0, 0), (1, 1)), constant_values=(0, 1))
    transition = markov_source(0)
    expected = np.vstack([transition, markov_entropy(transition)[1]])
    np.testing.assert_allclose(np.diff(edges), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["synthetic", "stream:3"])
def test_a_synthetic_text_has_no_words(name: str) -> None:
    with pytest.raises(ProxyError, match="tokenizer 'bpe:300' must be 'bytes'"):
        load_corpus(name, tokenizer="bpe:300")
