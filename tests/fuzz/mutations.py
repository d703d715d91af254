"""Mutations of a file's bytes, whatever its format."""

from __future__ import annotations

import random
import re

__all__ = ["mutated"]

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
NUMBERS = [
    *(b"0", b"-1", b"1e-300", b"1e300", b"1e400", b"-1e400", b"nan", b"NaN", b"Infinity", b"1e11"),
    *(b"9" * 25, b"9" * 400, b"9" * 5000, b"0x10", b"1_000", "１２".encode(), b"1,5", b"true"),
    *(b"null", b'""', b'"3"', b"[]", b"{}", b"0.1.2", b"--1", b"1e", b"+", b"10000001"),
]
TOKENS = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n", b"\x1b[2J", b"\xe2\x80\xae"),
    *(b'"', b"'''", b"'", b"\\", b",", b";", b"\t", b":", b"=", b"+", b"|", b"#", b"[", b"]"),
    *(b"{", b"}", b"[" * 3000, b'{"a":' * 3000, b"loss", b"step", b"lr", b"run", b"nan", b"csv:"),
    *(b"../", b"/dev/zero", b"$(id)", b"%s" * 50, b"a" * 5000, b"," * 2000, b"\n" * 2000),
]


def mutated(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    """The data after one to four random changes.

    Args:
        data: what to change.
        others: data of which parts may be inserted.
        generator: of random numbers.
    """
    for _ in range(generator.choice((1, 1, 1, 2, 3, 4))):
        data = generator.choice(CHANGES)(data, others, generator)
    return data


def _span(data: bytes, generator: random.Random) -> tuple[int, int]:
    start = generator.randrange(len(data) + 1)
    return start, min(len(data), start + generator.choice((1, 2, 8, 64, 1024)))


def _number(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    found = list(NUMBER.finditer(data))
    if not found:
        return _token(data, others, generator)
    match = generator.choice(found)
    return data[: match.start()] + generator.choice(NUMBERS) + data[match.end() :]


def _token(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    start, end = _span(data, generator)
    kept = generator.choice((start, end))
    return data[:start] + generator.choice(TOKENS) + data[kept:]


def _flip(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    if not data:
        return b"\x00"
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 4, 32))):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _delete(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    start, end = _span(data, generator)
    return data[:start] + data[end:]


def _repeat(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    start, end = _span(data, generator)
    return data[:end] + data[start:end] * generator.choice((1, 2, 50)) + data[end:]


def _cut(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    return data[: generator.randrange(len(data) + 1)]


def _splice(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    other = generator.choice(others)
    start, end = _span(other, generator)
    at = generator.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


def _lines(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    lines = data.split(b"\n")
    match generator.randrange(4):
        case 0:
            generator.shuffle(lines)
        case 1:
            lines.reverse()
        case 2:
            lines.insert(generator.randrange(len(lines) + 1), generator.choice(lines))
        case 3:
            lines += lines
    return b"\n".join(lines)


CHANGES = (
    _number,
    _number,
    _number,
    _token,
    _token,
    _flip,
    _delete,
    _repeat,
    _cut,
    _splice,
    _lines,
)
