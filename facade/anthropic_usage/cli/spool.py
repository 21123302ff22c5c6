"""Text that reaches a file or stdout only if nothing went wrong."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from ..errors import InvalidQuery
from ..outside import whole
from ..sinks.sink import Staged
from .streams import JSON, PLAIN, encoding_of, is_terminal, note

__all__ = ["BOM", "after", "spool"]

BOM = "\ufeff"
"""A byte order mark, by which a spreadsheet knows UTF-8."""

_FORMS = {"json": JSON, "ndjson": JSON, "csv": "strict"}
"""What becomes of a letter that stdout's encoding lacks; where people read, `PLAIN`."""


@contextlib.contextmanager
def spool(output: str | None, form: str = "table", mark: bool = False) -> Iterator[IO[str]]:
    """Collect text aside; it reaches the file or stdout only if nothing went wrong.

    Files are UTF-8, with a byte order mark if `mark`. What stdout's encoding lacks is replaced in a
    table, escaped in JSON, and refused in CSV. Raises InvalidQuery where nothing can be written.
    """
    path = None if output is None else Path(output)
    if path is None:
        yield from _to_stdout(form, mark)
    elif path.is_file() or not path.exists():
        yield from _to_file(path, output or "", mark)
    else:
        yield from _to_device(path, mark)


def _to_file(path: Path, output: str, mark: bool) -> Iterator[IO[str]]:
    try:
        staged = Staged(output)
    except OSError as error:
        raise InvalidQuery(f"cannot write {output}: {error.strerror}") from None
    said: list[str] = []
    try:
        with staged:
            text = io.TextIOWrapper(staged.file, encoding="utf-8", newline="", write_through=True)
            yield _opened(_Spool(text, said), mark)
            text.flush()
    except OSError as error:
        error.filename = output  # the name that the user knows
        raise
    _say(said)
    note(f"wrote {output} ({path.stat().st_size:,} bytes)")


def _to_device(path: Path, mark: bool) -> Iterator[IO[str]]:
    said: list[str] = []
    with tempfile.SpooledTemporaryFile(2**24, "w+", encoding="utf-8", newline="") as spooled:
        yield _opened(_Spool(spooled, said), mark)
        spooled.seek(0)
        try:
            # A device or a pipe is written to; a file put in its place would not be it.
            with path.open("w", encoding="utf-8", newline="") as target:
                shutil.copyfileobj(spooled, target)
        except OSError as error:
            error.filename = os.fspath(path)
            raise
    _say(said)


def _to_stdout(form: str, mark: bool) -> Iterator[IO[str]]:
    stdout = sys.stdout
    if stdout is None or stdout.closed:
        raise InvalidQuery("stdout is closed: say where with --output FILE")
    encoding, said = encoding_of(stdout), list[str]()
    errors = _FORMS.get(form, PLAIN)
    with tempfile.SpooledTemporaryFile(
        2**24, "w+", encoding=encoding, errors=errors, newline=""
    ) as spooled:
        try:
            yield _opened(_Spool(spooled, said, tty=is_terminal(stdout)), mark)
            spooled.flush()
        except UnicodeEncodeError as error:
            lacking = error.object[error.start : error.end]
            raise InvalidQuery(
                f"stdout is {encoding} and has no {lacking[:1]!r}: write the CSV to a file with "
                "--output FILE, or set PYTHONIOENCODING=utf-8"
            ) from None
        spooled.seek(0)
        try:
            shutil.copyfileobj(spooled, stdout)
            stdout.flush()
        except OSError as error:
            error.filename = "stdout"
            raise
    _say(said)


def _opened(spooled: _Spool, mark: bool) -> IO[str]:
    if mark:
        spooled.write(BOM)
    return cast("IO[str]", spooled)


def after(out: Any, sentence: str) -> None:
    """Say a sentence beside the data once that is printed; at once if `out` is no spool."""
    later = getattr(out, "said", None)
    if isinstance(later, list):
        later.append(sentence)
    else:
        note(sentence)


def _say(said: list[str]) -> None:
    for sentence in filter(None, dict.fromkeys(said)):
        note(sentence)


class _Spool:
    """Text that is collected, with what is to be said behind it."""

    def __init__(self, text: Any, said: list[str], tty: bool = False) -> None:
        self._text = text
        self._tty = tty
        self.said = said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._text, name)

    def write(self, text: str) -> int:
        """Collect a text; a half of a character, which no encoding has, is replaced."""
        try:
            written: int = self._text.write(whole(text))
        except OSError as error:
            # Of what is collected aside; a file that is written says its own name.
            error.filename = error.filename or tempfile.gettempdir()
            raise
        return written

    def isatty(self) -> bool:
        """Tell whether what it will be copied to is a terminal."""
        return self._tty
