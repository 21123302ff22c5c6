"""Files under a root, on this machine or in an object store, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import socket
import stat
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import AnthropicUsageError, InvalidQuery
from ..sinks.columns import require
from ..sinks.sink import sync_folder

__all__ = ["STAGING", "LakeError", "Storage"]

STAGING = ".staging"
_LOCK = ".lock"
_STAGED = "anthropic-usage-"
_SCHEME = re.compile(r"(s3|gs|gcs|abfss?|hdfs|file|https?|[a-z][a-z0-9+.-]+(?=:/)):(?!//)", re.I)
_HOSTS = {"s3": "s3.amazonaws.com", "gs": "storage.googleapis.com"}
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_PATIENCE = 3.0
"""Seconds within which an object store must take a connection."""


class LakeError(AnthropicUsageError):
    """The lake cannot be read or written, or is not what its manifests say."""


class Storage:
    """A root, given as a path or a URL (`s3://`, `gs://`, `abfss://`).

    Local files are staged outside the tables, fsynced and renamed; in an object store a file
    appears when it is closed. Raises InvalidQuery for what is no root, and LakeError for a store
    that cannot be reached.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        fs: Any = require("pyarrow.fs", "lake")
        self.root = os.fspath(root)
        self.local: Path | None = None
        self._reached = False
        if not self.root.strip() or "\0" in self.root:
            raise InvalidQuery("the lake's root is an empty name: give a folder, or a URL")
        if "://" in self.root:
            self.filesystem, self.base = _connect(fs, self.root)
            if isinstance(self.filesystem, fs.LocalFileSystem):
                self.local = Path(self.base)
        elif found := _SCHEME.match(self.root):
            raise InvalidQuery(
                f"{_plain(self.root)} is no place for a lake: a URL begins with {found[1]}://, and "
                f"a folder of that name is ./{found[0]}..."
            )
        else:
            try:
                self.local = Path(self.root).expanduser().absolute()
            except RuntimeError:
                raise InvalidQuery(
                    f"{self.root}: the home folder is not known (HOME is not set): give "
                    "--datalake-root a folder"
                ) from None
            self.filesystem, self.base = fs.LocalFileSystem(), self.local.as_posix()
        self.base = self.base.rstrip("/")

    def __str__(self) -> str:
        return str(self.local) if self.local is not None else _plain(self.root)

    def path(self, name: str) -> str:
        """Return where a file of the lake is, for engines that read it."""
        return f"{self.base}/{name}"

    def url(self, name: str) -> str:
        """Return a file's URL for engines that take their credentials from elsewhere."""
        if self.local is not None:
            return f"file://{self.path(name)}"
        scheme, _, rest = self.root.partition("?")[0].rstrip("/").partition("://")
        place, slash, folder = rest.partition("/")
        user, _, host = place.rpartition("@")
        if scheme in ("abfs", "abfss") and user:
            host = f"{user.partition(':')[0]}@{host}"
        return f"{scheme}://{host}{slash}{folder}/{name}"

    def list(self, folder: str) -> list[str]:
        """Return the names of all files under a folder of the lake, sorted."""
        fs: Any = require("pyarrow.fs", "lake")
        selector = fs.FileSelector(self.path(folder), recursive=True, allow_not_found=True)
        with self._failing(f"list {folder}"):
            found = self.filesystem.get_file_info(selector)
        skip = len(self.base) + 1
        return sorted(info.path[skip:] for info in found if info.is_file)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, read piece by piece."""
        with (
            self._failing(f"read {name}"),
            self.filesystem.open_input_stream(self.path(name), compression=None) as file,
        ):
            digest = hashlib.sha256()
            while piece := file.read(2**20):
                digest.update(piece)
            return digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        with (
            self._failing(f"read {name}"),
            self.filesystem.open_input_stream(self.path(name), compression=None) as file,
        ):
            data: bytes = file.read()
            return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file that appears when it is whole."""
        with self._failing(f"write {name}"):
            if self.local is None:
                with self.filesystem.open_output_stream(self.path(name), compression=None) as file:
                    file.write(data)
                return
            target = self.local / name
            staging = self.local / STAGING
            _make_folder(staging)
            _make_folder(target.parent)
            staged = staging / f"{_STAGED}{uuid.uuid4().hex}.partial"
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
            try:
                # The kernel applies the umask.
                with os.fdopen(os.open(staged, flags, 0o666), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(staged, stat.S_IMODE(target.stat().st_mode))
                os.replace(staged, target)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise
            sync_folder(target.parent)

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is fine.

        Raises LakeError for one that a link puts outside the lake.
        """
        if self.local is not None:
            folder = (self.local / name).parent.resolve()
            if not folder.is_relative_to(self.local.resolve()):
                raise LakeError(
                    f"{name} leads out of {self}, to {folder}: nothing is removed there"
                )
        with self._failing(f"remove {name}"), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def clean_staging(self) -> None:
        """Remove what a killed run left staged."""
        if self.local is not None:
            for leftover in (self.local / STAGING).glob(f"{_STAGED}*.partial"):
                leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, patience: float = 60.0) -> Iterator[None]:
        """Keep other trackers of this machine out, waiting up to `patience` seconds for them.

        An object store has no lock, and needs none: every snapshot has a name of its own, and the
        newest one of a day counts.
        """
        if self.local is None:
            yield
            return
        with self._failing("make the folder"):
            _make_folder(self.local)
            handle = os.open(self.local / _LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            until = time.monotonic() + patience
            while True:
                with self._failing("lock"):
                    if _locked(handle):
                        break
                if time.monotonic() >= until:
                    raise LakeError(
                        f"another tracker has been at work in {self} for {patience:g} s; "
                        "try again later, or give --lock-timeout"
                    )
                time.sleep(0.05)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        if self.local is None and not self._reached:
            _reach(self.root)
            self._reached = True
        try:
            yield
        except _store_errors() as error:
            reason = getattr(error, "strerror", None) or _reason(error, self.root)
            raise LakeError(f"cannot {what} in {self}: {reason}") from None


def _locked(handle: int) -> bool:
    """Take a lock unless somebody has it; the system lets go of it when its holder dies."""
    try:
        import fcntl
    except ImportError:
        return _locked_elsewhere(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_elsewhere(handle: int) -> bool:
    """Take a lock on Windows."""
    try:
        import msvcrt
    except ImportError:
        raise LakeError(
            "this system has no file locks, so that two trackers could meet: track into an object "
            "store (s3://, gs://, abfss://)"
        ) from None
    windows: Any = msvcrt
    try:
        windows.locking(handle, windows.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLK, errno.EAGAIN):
            return False
        raise
    return True


def _store_errors() -> tuple[type[Exception], ...]:
    """Return what a folder or an object store may raise; pyarrow has errors of its own."""
    arrow = sys.modules.get("pyarrow")
    more = () if arrow is None else (arrow.ArrowException,)
    return (OSError, ValueError, NotImplementedError, *more)


def _connect(fs: Any, url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    try:
        # With a region nobody is asked yet: what is wrong with the URL itself is said at once.
        asks = url.startswith("s3://") and not re.search(r"[?&](region|endpoint_override)=", url)
        known = f"{url}{'&' if '?' in url else '?'}region=us-east-1" if asks else url
        filesystem, base = fs.FileSystem.from_uri(known)
        if asks and base.strip("/"):
            _reach(url)
            filesystem, base = fs.FileSystem.from_uri(url)
    except _store_errors() as error:
        reason = _reason(error, url)
        if not isinstance(error, ValueError | NotImplementedError):
            raise LakeError(f"{_plain(url)} cannot be opened: {reason}") from None
        raise InvalidQuery(
            f"{_plain(url)} is no place for a lake ({reason}): give a folder, or a URL that begins "
            "with s3://, gs:// or abfss://"
        ) from None
    if not base.strip("/"):
        raise InvalidQuery(
            f"{_plain(url)} is no place for a lake: it names no bucket; write s3://bucket/folder"
        )
    return filesystem, base


def _host(parts: urllib.parse.SplitResult) -> str | None:
    """Return the host that a URL leads to, as far as that is known."""
    if parts.scheme not in ("abfs", "abfss"):
        return _HOSTS.get(parts.scheme)
    host = parts.hostname or ""
    if "." in host:
        return host
    return f"{parts.username}.blob.core.windows.net" if parts.username else None


def _reach(url: str) -> None:
    """Raise LakeError if an object store's host takes no connection: clients try for longer."""
    try:
        parts = urllib.parse.urlsplit(url)
        asked = dict(urllib.parse.parse_qsl(parts.query))
        where = asked.get("endpoint_override") or _host(parts)
        if where is None or any(os.environ.get(name) for name in _PROXIES):
            return
        place = urllib.parse.urlsplit(where if "://" in where else f"//{where}")
        plain = "http" in (asked.get("scheme"), place.scheme)
        host, port = place.hostname, place.port or (80 if plain else 443)
    except ValueError:
        return
    outcome: list[OSError | None] = []

    def try_it() -> None:
        try:
            socket.create_connection((host, port), timeout=_PATIENCE).close()
            outcome.append(None)
        except (OSError, UnicodeError) as error:
            outcome.append(error if isinstance(error, OSError) else OSError(str(error)))

    # In a thread, for nothing limits how long a name may take to be looked up.
    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    error = outcome[0] if outcome else TimeoutError(f"no answer within {_PATIENCE:g} s")
    if error is not None:
        raise LakeError(
            f"{_plain(url)} cannot be reached: {host}:{port}: {error.strerror or error}"
        )


def _plain(url: str) -> str:
    """Return a URL without what may be secret in it."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url.partition("?")[0]
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _reason(error: Exception, url: str) -> str:
    """Return what an error says in a line, without the secrets of a URL."""
    text = " ".join(str(error).split()).replace(url, _plain(url))
    rest = url.partition("://")[2]
    secrets = [*re.split(r"[:/@]", rest.rpartition("@")[0]), *re.split("[?&=]", rest)[1:]]
    if "URI" in text and "://" in text and url != _plain(url):
        return "it is no valid URL"
    if any(len(secret) > 3 and secret in text for secret in secrets):
        return type(error).__name__
    return text[:300]


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents such that they last."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
