"""What a report can be poured into."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self, TypeVar

from ..wire import Page

T_co = TypeVar("T_co", covariant=True)

__all__ = ["Sink", "Staged"]

_UMASK: Final = os.umask(0o077)
"""Read once, for reading it means setting it, and that is for the whole process."""
os.umask(_UMASK)


class Sink(Protocol[T_co]):
    """Takes pages in order, then gives its result; `abort` undoes what was begun."""

    def add(self, page: Page) -> None:
        """Take one page."""

    def finish(self) -> T_co:
        """Return the result, once every page was taken."""

    def abort(self) -> None:
        """Leave nothing behind."""


class Staged:
    """A file that appears only when it is whole: staged under another name, fsynced, renamed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        handle, staged = tempfile.mkstemp(
            dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".partial"
        )
        self._staged = Path(staged)
        self.file: IO[bytes] = os.fdopen(handle, "wb")

    def commit(self) -> Path:
        """Give the file its name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.chmod(self._staged, 0o666 & ~_UMASK)
        os.replace(self._staged, self.path)
        _sync_folder(self.path.parent)
        return self.path

    def discard(self) -> None:
        """Remove what was staged."""
        with contextlib.suppress(OSError):
            self.file.close()
        self._staged.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


def _sync_folder(folder: Path) -> None:
    """Make a rename last; folders cannot be synced on every system."""
    flags: Any = getattr(os, "O_DIRECTORY", None)
    if flags is None:
        return
    descriptor = os.open(folder, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
