"""stdout and stderr as they are: closed, absent, of any encoding; and what is said beside data."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

import click

from ..outside import clean

__all__ = ["JSON", "PLAIN", "encoding_of", "is_terminal", "note", "one_line", "steady"]

PLAIN = "anthropic_usage.plain"
"""How to encode text for people: what the encoding lacks becomes a plain sign, a letter a `?`."""
JSON = "anthropic_usage.json"
"""How to encode JSON: what the encoding lacks is escaped, so that nothing is lost."""

_SIGNS = {
    **dict.fromkeys("─━═‐‑‒–—―−", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("┼╋╬┌┐└┘├┤┬┴", "+"),
    **dict.fromkeys("█▉▊▋▌▍▎▏", "#"),
    **dict(zip("▁▂▃▄▅▆▇", "._-=+*%", strict=True)),
    **dict.fromkeys("‘’‚", "'"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("•·", "*"),
    **dict.fromkeys("\u00a0\u2007\u202f\u2009", " "),
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060", ""),
    "…": "~",
    "×": "x",
}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SIGNS.get(sign, "?") for sign in lacking), error.end


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[place : place + 2].hex() for place in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end


codecs.register_error(PLAIN, _plainly)
codecs.register_error(JSON, _escaped)


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """Let nothing that is printed meanwhile fail for want of a letter, or of a stream.

    A descriptor that was closed is opened on nothing: else the next file or socket would get its
    number, and what a library says on stderr would end up in it.
    """
    for _ in range(3):
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            break
    before = []
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and not stream.closed:
            before.append((reconfigure, stream.errors))
            reconfigure(errors=PLAIN)
    try:
        yield
    finally:
        for reconfigure, errors in before:
            with contextlib.suppress(ValueError):  # closed meanwhile
                reconfigure(errors=errors)


def is_terminal(stream: IO[str] | None) -> bool:
    """Tell whether a stream is there, open and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def encoding_of(stream: Any) -> str:
    """Return the encoding of a stream; UTF-8 for one that takes text as it is."""
    return getattr(stream, "encoding", None) or "utf-8"


def one_line(text: Any) -> str:
    """Return a text from anywhere as one line."""
    # Not `split()`, which takes no-break spaces for ends of words.
    return clean(re.sub(r"[ \t\r\n\f\v]+", " ", str(text)).strip(" "))


def note(text: str) -> None:
    """Say something beside the data, in a line; nothing where nobody could read it."""
    if text and sys.stderr is not None and not sys.stderr.closed:
        click.echo(one_line(text), err=True)
