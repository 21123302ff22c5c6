"""Long exports into a folder: a file a window, and a list of them that survives being killed.

What is written is staged, fsynced and renamed; the list (`export.json`) is written after each file.
An export that was killed goes on with what is missing, and ends as the same set of files, byte for
byte, as one that was not. A file of the list counts only while its hash is that of the list.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import msgspec

from .client import UsageClient
from .engine.plan import windows
from .errors import InvalidQuery
from .moments import parse_moment, rfc3339
from .reports import Part, Query, Window
from .sinks.columns import ArrowSink, require
from .sinks.delimited import CsvSink, NdjsonSink
from .sinks.sink import LITTER, PARTIAL, Staged, alone

__all__ = ["FORMATS", "Exported", "export"]

FORMATS: Final = ("parquet", "csv", "ndjson")
LIST: Final = "export.json"
_STAGED: Final = f".*{PARTIAL}"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A file of an export."""

    name: str
    rows: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str


class _List(msgspec.Struct, forbid_unknown_fields=True):
    """`export.json`: what was asked, and what was written of it."""

    query: dict[str, Any]
    asked: dict[str, Any]
    format: str
    files: list[_File] = msgspec.field(default_factory=list)
    complete: bool = False
    settled_until: str | None = None


@attrs.frozen(kw_only=True)
class Exported:
    """What an export came to."""

    folder: Path
    files: int
    rows: int
    kept: int
    """How many of the files an earlier run had written."""
    settled_until: str | None


def export(
    client: UsageClient,
    query: Query,
    folder: Path,
    file_format: str = "parquet",
    asked: Mapping[str, Any] | None = None,
    wrote: Callable[[str], None] = lambda name: None,
) -> Exported:
    """Write a report into `folder`, a file a window, going on where an earlier run was killed.

    A file that is gone or damaged is written anew; whoever else exports into the folder is refused.

    Args:
        client: asks the API.
        query: what to ask.
        folder: made if it is not there; it belongs to this export alone.
        file_format: `parquet` (needs the extra `arrow`), `csv` or `ndjson`.
        asked: the question in the asker's words; an unfinished export of the same words is gone on
            with over the range it began with, though "7d" means another one by now.
        wrote: told the name of each file.

    Raises:
        InvalidQuery: the folder holds another export or a damaged one, or somebody exports into it.
        IncompleteReport, ApiError, ConnectionFailed: as a report does; files written stay.
    """
    if file_format not in FORMATS:
        raise InvalidQuery(f"format {file_format!r} is none of {', '.join(FORMATS)}")
    if file_format == "parquet":
        require("pyarrow", "arrow")
    words: dict[str, Any] = json.loads(json.dumps(asked or {}))
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        known = _read_list(folder)
        query = _same_export(known, query, folder, file_format, words)
        for leftover in folder.glob(_STAGED):
            leftover.unlink(missing_ok=True)
        listing = known or _List(query=query.describe(), asked=words, format=file_format)
        listing.files = _kept(listing, query, folder)
        kept = len(listing.files)
        missing = list(_missing(listing, query))
        if missing or not listing.complete:
            listing.complete = False
            _write_list(folder, listing)
            for tiles in missing:
                _write_span(client, query, tiles, folder, listing, wrote)
            listing.complete = True
            _write_list(folder, listing)
    return Exported(
        folder=folder,
        files=len(listing.files),
        rows=sum(file.rows for file in listing.files),
        kept=kept,
        settled_until=listing.settled_until,
    )


def _tiles(query: Query) -> Iterator[Window]:
    """Return all windows of the query, those in the future too: files are named after them."""
    return windows(query, query.ending_at)


def _kept(listing: _List, query: Query, folder: Path) -> list[_File]:
    """Return the files of the list that are there as they were written, and final if it is."""
    files = {file.name: file for file in listing.files}
    kept = []
    for tile in _tiles(query):
        file = files.get(_name(query, tile, listing.format))
        if file is None:
            continue
        # What could still change when it was written is asked for again.
        final = not listing.complete or _settled(listing, tile.ending_at)
        if final and _hash(folder / file.name) == file.sha256:
            kept.append(file)
    return kept


def _missing(listing: _List, query: Query) -> Iterator[list[Window]]:
    """Return the windows without a file, those that follow each other together."""
    there = {file.name for file in listing.files}
    for gap, tiles in itertools.groupby(
        list(_tiles(query)), lambda tile: _name(query, tile, listing.format) not in there
    ):
        if gap:
            yield list(tiles)


def _write_span(
    client: UsageClient,
    query: Query,
    tiles: list[Window],
    folder: Path,
    listing: _List,
    wrote: Callable[[str], None],
) -> None:
    """Write windows that follow each other."""
    start, end = tiles[0].starting_at, tiles[-1].ending_at
    last = end >= query.ending_at
    # The last ones are asked for as the query has it, for it may end within a bucket.
    span = attrs.evolve(query, starting_at=start, ending_at=query.ending_at if last else end)
    report = client.report(span)
    waiting = iter(tiles)
    tile = next(waiting, None)
    gathered: list[Part] = []
    for part in report.parts():
        gathered.append(part)
        if tile is not None and part.ends >= tile.ending_at:
            wrote(_write_window(query, tile, gathered, folder, listing))
            gathered.clear()
            tile = next(waiting, None)
    if gathered and tile is not None:
        # The last window is not over yet; its file holds what there is.
        wrote(_write_window(query, tile, gathered, folder, listing))
    if last:
        settled = report.settled_until
        listing.settled_until = None if settled is None else rfc3339(settled)


def _write_window(
    query: Query, window: Window, parts: list[Part], folder: Path, listing: _List
) -> str:
    """Write one file and put it on the list; returns its name."""
    name = _name(query, window, listing.format)
    rows = _WRITERS[listing.format](query, parts, folder / name)
    digest = _hash(folder / name)
    if digest is None:
        raise FileNotFoundError(2, "was removed while it was written", str(folder / name))
    listing.files.append(_File(name=name, rows=rows, sha256=digest))
    listing.files.sort(key=lambda file: file.name)
    _write_list(folder, listing)
    return name


def _name(query: Query, window: Window, suffix: str) -> str:
    start, end = window.starting_at, window.ending_at
    return f"{query.report}_{start:%Y%m%dT%H%MZ}_{end:%Y%m%dT%H%MZ}.{suffix}"


def _hash(path: Path) -> str | None:
    """Return a file's sha256; None if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return None


def _write_parquet(query: Query, parts: list[Part], path: Path) -> int:
    """Write one row group, however the API cut its pages."""
    sink = ArrowSink(query)
    for part in parts:
        sink.add(part.page)
    table = sink.finish().combine_chunks()
    with Staged(path) as staged:
        require("pyarrow.parquet", "arrow").write_table(
            table, staged.file, compression="zstd", row_group_size=max(1, table.num_rows)
        )
    rows: int = table.num_rows
    return rows


def _write_text(kind: type[CsvSink] | type[NdjsonSink]) -> Callable[[Query, list[Part], Path], int]:
    def write(query: Query, parts: list[Part], path: Path) -> int:
        sink = kind(query, path)
        try:
            for part in parts:
                sink.add(part.page)
        except BaseException:
            sink.abort()
            raise
        sink.finish()
        return sink.rows

    return write


_WRITERS: Final[dict[str, Callable[[Query, list[Part], Path], int]]] = {
    "parquet": _write_parquet,
    "csv": _write_text(CsvSink),
    "ndjson": _write_text(NdjsonSink),
}


def _same_export(
    known: _List | None,
    query: Query,
    folder: Path,
    file_format: str,
    asked: Mapping[str, Any] | None,
) -> Query:
    """Return the query to go on with; raises InvalidQuery if the folder holds another export."""
    if known is None:
        strangers = [file.name for file in folder.iterdir() if not _is_litter(file.name)]
        if strangers:
            raise InvalidQuery(
                f"{folder} is not empty and holds no export ({min(strangers)}); choose another "
                "folder"
            )
        return query
    stored = known.query
    start, end = (parse_moment(stored[name], name) for name in ("starting_at", "ending_at"))
    unfinished = not known.complete or not _settled(known, end)
    if unfinished and asked and known.asked == asked:
        query = attrs.evolve(query, starting_at=start, ending_at=end)
    if stored != query.describe() or known.format != file_format:
        raise InvalidQuery(
            f"{folder} holds another export ({stored.get('report')} from {stored['starting_at']} "
            f"to {stored['ending_at']}, {known.format}); choose another folder"
        )
    return query


def _is_litter(name: str) -> bool:
    """Tell whether a file is nobody's: a file manager's, or one that an export left unfinished."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in (*LITTER, _STAGED))


def _settled(listing: _List, moment: dt.datetime) -> bool:
    """Tell whether what was written up to `moment` could not change any more."""
    until = listing.settled_until
    return until is not None and parse_moment(until, "settled_until") >= moment


def _read_list(folder: Path) -> _List | None:
    path = folder / LIST
    try:
        listing = msgspec.json.decode(path.read_bytes(), type=_List, strict=True)
        if listing.settled_until is not None:
            parse_moment(listing.settled_until, "settled_until")
        for name in ("starting_at", "ending_at"):
            parse_moment(listing.query[name], name)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError, InvalidQuery) as error:
        raise InvalidQuery(
            f"{path} is damaged ({' '.join(str(error).split())[:100]}): remove the folder and "
            "export again, or choose another"
        ) from None
    return listing


def _write_list(folder: Path, listing: _List) -> None:
    document = msgspec.to_builtins(listing)
    with Staged(folder / LIST) as staged:
        staged.file.write((json.dumps(document, indent=1) + "\n").encode())
