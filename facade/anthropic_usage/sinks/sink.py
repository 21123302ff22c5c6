"""What a report can be poured into, and the one way in which files are written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self, TypeVar

from ..errors import InvalidQuery
from ..reports import Page

T_co = TypeVar("T_co", covariant=True)

__all__ = ["LITTER", "PARTIAL", "Sink", "Staged", "alone", "check_target", "sync_folder"]

PARTIAL: Final = ".partial"
"""How the name of a file ends that is not whole yet."""
LITTER: Final = (
    ".DS_Store",
    "._*",
    ".localized",
    ".Spotlight-V100",
    ".TemporaryItems",
    ".Trash*",
    ".fseventsd",
    ".apdisk",
    "Icon\r",
    "Thumbs.db*",
    "ehthumbs*.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "System Volume Information",
    ".directory",
    ".hidden",
    ".nfs*",
    ".~lock.*#",
    "lost+found",
    "@eaDir",
)
"""What file managers, file servers and systems leave in folders that they were shown."""

_BUFFER: Final = 2**18
_UNSYNCED: Final = {
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EACCES,
    errno.EPERM,
    errno.EBADF,
}
"""What a folder that cannot be synced answers."""


class Sink(Protocol[T_co]):
    """Takes pages in order, then gives its result; `abort` undoes what was begun."""

    def add(self, page: Page[Any]) -> None:
        """Take one page."""

    def finish(self) -> T_co:
        """Return the result, once every page was taken."""

    def abort(self) -> None:
        """Leave nothing behind."""


class Staged:
    """A file that appears only when it is whole: staged under another name, fsynced, renamed.

    What a link leads to is replaced, not the link. A file that is there keeps its mode and, where
    the system lets it, its owner; a new one has the mode that the umask leaves. What is no regular
    file (a device, a pipe) is written to once everything is there, and never replaced.

    Args:
        path: the file to be, as its user names it: so does every OSError.
        staging: the folder of the file that is not whole yet, on the same file system; the file's
            own, if left out.

    Raises:
        OSError: the folder is not there, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        staging: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = os.fspath(path)
        self._staged: Path | None = None
        with _named(self.name):
            check_target(path)
            self._before = _stat(Path(path))
            if self._before is not None and not stat.S_ISREG(self._before.st_mode):
                self.path = Path(path)
                # Closed by `commit` or `discard`, as the other one is.
                self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
                return
            self.path = Path(path).resolve()
            folder = self.path.parent if staging is None else Path(staging)
            self._staged = folder / f".{self.path.name[:200]}.{secrets.token_hex(6)}{PARTIAL}"
            # The kernel applies the umask.
            raw = _NamedFile(self._staged, "xb")
            raw.said = self.name
            self.file = io.BufferedWriter(raw, _BUFFER)

    def commit(self) -> Path:
        """Give the file its name; leaves nothing behind if that fails."""
        try:
            with _named(self.name):
                self._commit()
        except BaseException:
            self.discard()
            raise
        return self.path

    def _commit(self) -> None:
        self.file.flush()
        if self._staged is None:
            self.file.seek(0)
            # Not made if it has gone meanwhile, and not cut: it is no file.
            with open(os.open(self.path, os.O_WRONLY | getattr(os, "O_BINARY", 0)), "wb") as target:
                shutil.copyfileobj(self.file, target)
            self.file.close()
            return
        if self._before is not None:
            _keep(self._staged, self._before)
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self._staged, self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove what was staged."""
        with contextlib.suppress(OSError, ValueError):
            self.file.close()
        if self._staged is not None:
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


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise the OSError that writing a file would end in, as far as can be told before any work."""
    name = os.fspath(path)
    if not name:
        raise FileNotFoundError(errno.ENOENT, "a file without a name", name)
    before = _stat(Path(path))
    if before is not None and stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", name)
    if before is not None and not stat.S_ISREG(before.st_mode):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "may not be written", name)
        return
    target = Path(path).resolve()
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {target.parent}", name)
    if not target.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{target.parent} is no folder", name)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"may not write in {target.parent}", name)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a folder; raises InvalidQuery if one is in it.

    Needs no file of its own, and the kernel lets go when its holder dies. Where the system or the
    file system has no such lock, everybody is let in.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidQuery(f"another export is at work in {folder}: wait for it") from None
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield
    finally:
        os.close(descriptor)


class _NamedFile(io.FileIO):
    """A file whose errors carry the name that its user knows."""

    said: str

    def write(self, data: Any) -> int:
        """Write bytes."""
        with _named(self.said):
            return super().write(data)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors name the file as its user does."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = name, None
        raise


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _keep(staged: Path, before: os.stat_result) -> None:
    """Give a file the owner and the mode of the one that it replaces."""
    now = staged.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid) and hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):
            os.chown(staged, before.st_uid, before.st_gid)
    os.chmod(staged, stat.S_IMODE(before.st_mode))


def sync_folder(folder: Path) -> None:
    """Make a rename last; not every system, and not every file system, can sync folders."""
    flags: Any = getattr(os, "O_DIRECTORY", None)
    if flags is None:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
