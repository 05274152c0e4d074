"""Formatting of messages."""

import re
import reprlib
import unicodedata
from collections.abc import Sequence

MAX_NAME = 200
"""Characters of a name of a file in a message."""


def format_list(names: Sequence[str], most: int = 8) -> str:
    """Return the first `most` names, separated by commas, and the number of further names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which takes an "s" unless the number is 1."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shorten(value: object) -> str:
    """Return a value as Python code, with `...` for the inner parts of long, large or deep values."""
    return reprlib.repr(value)


def has_control_characters(text: str) -> bool:
    """Return whether a string has control characters, such as line breaks and escape sequences of the terminal."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def printable(name: str) -> str:
    """Return a name of a file for a message: at most its first 200 characters, on one line."""
    return name[:MAX_NAME] if name.isprintable() else repr(name[:MAX_NAME])


def is_encodable(text: str) -> bool:
    """Return whether a string can be written in UTF-8; JSON and file names can hold half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_url(text: str) -> bool:
    """Return whether a text is an address, such as `https://host/data` or `s3://bucket/data`, and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None
