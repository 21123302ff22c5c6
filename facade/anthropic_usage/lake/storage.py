"""Files under a root, on this machine or in an object store, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import AnthropicUsageError, InvalidQuery
from ..sinks.columns import require
from ..sinks.sink import Staged

__all__ = ["STAGING", "LakeError", "Storage"]

STAGING = ".staging"
_LOCK = ".lock"


class LakeError(AnthropicUsageError):
    """The lake cannot be read or written, or is not what its manifests say."""


class Storage:
    """A root, given as a path or a URL (`s3://`, `gs://`, `abfss://`).

    Local files are staged outside the tables, fsynced and renamed; in an object store a file
    appears when it is closed.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        fs: Any = require("pyarrow.fs", "lake")
        self.root = os.fspath(root)
        if "://" in self.root:
            try:
                self.filesystem, self.base = fs.FileSystem.from_uri(self.root)
            except (ValueError, OSError):
                # What it says repeats the URL, which may hold a secret.
                raise InvalidQuery(
                    f"{_plain(self.root)} is no place for a lake: give a folder, or a URL that "
                    "begins with s3://, gs:// or abfss://"
                ) from None
            self.local: Path | None = None
        else:
            self.local = Path(self.root).expanduser().absolute()
            self.filesystem, self.base = fs.LocalFileSystem(), str(self.local)
        self.base = self.base.rstrip("/")

    def __str__(self) -> str:
        return str(self.local) if self.local is not None else _plain(self.root)

    def path(self, name: str) -> str:
        """Return where a file of the lake is, for engines that read it."""
        return f"{self.base}/{name}"

    def list(self, folder: str) -> list[str]:
        """Return the names of all files under a folder of the lake, sorted."""
        fs: Any = require("pyarrow.fs", "lake")
        selector = fs.FileSelector(self.path(folder), recursive=True, allow_not_found=True)
        with self._failing(f"list {folder}"):
            found = self.filesystem.get_file_info(selector)
        skip = len(self.base) + 1
        return sorted(info.path[skip:] for info in found if info.is_file)

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
            staging = self.local / STAGING
            staging.mkdir(parents=True, exist_ok=True)
            target = self.local / name
            _make_folder(target.parent)
            with Staged(target, staging) as staged:
                staged.file.write(data)

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is fine."""
        with self._failing(f"remove {name}"), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def clean_staging(self) -> None:
        """Remove what a killed run left staged."""
        if self.local is not None:
            for leftover in (self.local / STAGING).glob("*.partial"):
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
            self.local.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.local / _LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            until = time.monotonic() + patience
            while True:
                try:
                    # The kernel lets go of it when its holder dies, however it dies.
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise LakeError(
                            f"another tracker has been at work in {self} for {patience:g} s; "
                            "try again later, or give --lock-timeout"
                        ) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())[:200]
            raise LakeError(f"cannot {what} in {self}: {reason}") from None


def _plain(url: str) -> str:
    """Return a URL without what may be secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents such that they last."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
