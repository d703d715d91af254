r"""Text of users inside other text: generated code, messages, terminals.

A file name, a column or a run's name may contain anything: quotes, line breaks, escape sequences of
a terminal, characters that reorder a line. These functions keep it data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "comment",
    "message_text",
    "one_line",
    "printable",
    "python_docstring",
    "shortened",
    "shown",
]

QUOTES = "'''"
WORD_LENGTH, MESSAGE_LENGTH = 300, 2_000  # characters of a word, e.g. a path, and of a message
LONG_WORD = re.compile(rf"\S{{{WORD_LENGTH + 1},}}")
VALUE_LENGTH = 60  # characters of a value that a message repeats


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with every character that is not printable as an escape sequence of Python.

    These are control characters, line breaks of any kind, marks that reorder text, and bytes of a
    file name that are not UTF-8.

    Args:
        text: any text.
        keep: characters to leave as they are, e.g. line breaks.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else ascii(character)[1:-1]
        for character in text
    )


def one_line(text: str) -> str:
    r"""The text on one line: white space of any kind becomes a space, the rest as `printable`.

    >>> one_line("a  b\nc\x00")
    'a b c\\x00'
    """
    return printable(" ".join(text.split()))


def shortened(text: str, length: int) -> str:
    """The text with its middle left out if it is longer than that many characters.

    >>> shortened("0123456789" * 3, 15)
    '012345 … 456789'
    """
    if len(text) <= length:
        return text
    half = (length - 3) // 2
    return f"{text[:half]} … {text[len(text) - half :]}"


def message_text(message: str) -> str:
    r"""A message on one line, in which no repeated value is longer than a reader needs.

    >>> message_text("bad.csv: 'a\x1b[2J\n' is not a number")
    "bad.csv: 'a\\x1b[2J\\n' is not a number"
    """
    plain = LONG_WORD.sub(lambda word: shortened(word[0], WORD_LENGTH), printable(message))
    return shortened(plain, MESSAGE_LENGTH)


def shown(value: Any, length: int = VALUE_LENGTH) -> str:
    """A value as a message repeats it: its literal, on one line, without the middle if it is long.

    >>> shown("x" * 100, 15)
    "'xxxxx … xxxxx'"
    """
    if isinstance(value, int) and value.bit_length() > 4000:  # Python refuses to print it
        return f"an integer of about {value.bit_length() * 3 // 10:,} digits"
    return shortened(printable(repr(value)), length)


def python_docstring(lines: Iterable[str]) -> str:
    r"""The lines as a triple-quoted literal of Python, whatever they contain.

    The literal evaluates to the lines, each as `printable`, between two line breaks.

    >>> print(python_docstring(["it's ''' \\"]), end="")
    '''
    it's \'\'\' \\
    '''
    """
    content = "\n".join(printable(line) for line in lines)
    content = content.replace("\\", "\\\\").replace(QUOTES, "\\'" * 3)
    return f"{QUOTES}\n{content}\n{QUOTES}\n"


def comment(lines: Iterable[str]) -> str:
    r"""The lines as comments of Python, shell, YAML or TOML, each on one line, as `printable`.

    >>> print(comment(["first", "\x85rm -rf /"]), end="")
    # first
    # \x85rm -rf /
    """
    return "".join(f"# {printable(line)}".rstrip() + "\n" for line in lines)
