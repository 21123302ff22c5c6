"""Text that reaches a file or stdout only if nothing went wrong."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast

from ..errors import InvalidQuery
from ..sinks.sink import Staged

__all__ = ["spool"]


@contextlib.contextmanager
def spool(output: str | None) -> Iterator[IO[str]]:
    """Collect text aside; it reaches the file or stdout only if nothing went wrong."""
    if output is not None:
        try:
            staged = Staged(output)
        except OSError as error:
            raise InvalidQuery(f"cannot write {output}: {error.strerror}") from None
        with staged:
            text = io.TextIOWrapper(staged.file, encoding="utf-8", newline="", write_through=True)
            yield text
            text.flush()
        return
    with tempfile.SpooledTemporaryFile(
        max_size=2**24, mode="w+", encoding="utf-8", newline=""
    ) as spool:
        yield cast("IO[str]", _Spool(spool, tty=sys.stdout.isatty()))
        spool.seek(0)
        shutil.copyfileobj(spool, sys.stdout)
        sys.stdout.flush()


class _Spool:
    """A spooled file that says whether what it will be copied to is a terminal."""

    def __init__(self, spool: Any, tty: bool) -> None:
        self._spool = spool
        self._tty = tty

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)

    def isatty(self) -> bool:
        return self._tty
