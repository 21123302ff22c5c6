"""Long exports into a folder: a file a window, and a list of them that survives being killed.

What is written is staged, fsynced and renamed; the list (`export.json`) is written after each file.
An export that was killed goes on behind the last file of the list, and ends as the same set of
files, byte for byte, as one that was not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from .client import UsageClient
from .errors import InvalidQuery
from .flow import Part
from .moments import parse_moment, rfc3339
from .plan import Window, windows
from .query import Query
from .sinks.columns import ArrowSink, require
from .sinks.delimited import CsvSink, NdjsonSink
from .sinks.sink import Staged

__all__ = ["FORMATS", "Exported", "export"]

FORMATS: Final = ("parquet", "csv", "ndjson")
LIST: Final = "export.json"
_STAGED: Final = ".*.partial"


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

    Args:
        client: asks the API.
        query: what to ask.
        folder: made if it is not there; it belongs to this export alone.
        file_format: `parquet` (needs the extra `arrow`), `csv` or `ndjson`.
        asked: the question in the asker's words; an unfinished export of the same words is gone on
            with over the range it began with, though "7d" means another one by now.
        wrote: told the name of each file.

    Raises:
        InvalidQuery: the folder holds another export.
        IncompleteReport, ApiError, ConnectionFailed: as a report does; files written stay.
    """
    if file_format not in FORMATS:
        raise InvalidQuery(f"format {file_format!r} is none of {', '.join(FORMATS)}")
    if file_format == "parquet":
        require("pyarrow", "arrow")
    asked = json.loads(json.dumps(asked or {}))
    folder.mkdir(parents=True, exist_ok=True)
    known = _read_list(folder)
    query = _same_export(known, query, folder, file_format, asked)
    for leftover in folder.glob(_STAGED):
        leftover.unlink()
    listing: dict[str, Any] = known or {
        "query": query.describe(),
        "asked": asked,
        "format": file_format,
        "files": [],
        "complete": False,
        "settled_until": None,
    }
    if listing["complete"] and not _settled(listing, query.ending_at):
        # What could still change when it was written is asked for again.
        whole = itertools.takewhile(lambda tile: _settled(listing, tile.ending_at), _tiles(query))
        listing["files"] = listing["files"][: sum(1 for _ in whole)]
        listing["complete"] = False
    kept = len(listing["files"])
    if not listing["complete"]:
        _write_list(folder, listing)
        _write_rest(
            client, query, itertools.islice(_tiles(query), kept, None), folder, listing, wrote
        )
    return Exported(
        folder=folder,
        files=len(listing["files"]),
        rows=sum(file["rows"] for file in listing["files"]),
        kept=kept,
        settled_until=listing["settled_until"],
    )


def _tiles(query: Query) -> Iterator[Window]:
    """Return all windows of the query, those in the future too: files are named after them."""
    return windows(query, query.ending_at)


def _write_rest(
    client: UsageClient,
    query: Query,
    tiles: Iterator[Window],
    folder: Path,
    listing: dict[str, Any],
    wrote: Callable[[str], None],
) -> None:
    """Write the windows that are not on the list yet."""
    tile = next(tiles, None)
    if tile is not None:
        report = client.report(attrs.evolve(query, starting_at=tile.starting_at))
        gathered: list[Part] = []
        for part in report.parts():
            gathered.append(part)
            if tile is not None and part.ends >= tile.ending_at:
                _write_window(query, tile, gathered, folder, listing)
                wrote(listing["files"][-1]["name"])
                gathered.clear()
                tile = next(tiles, None)
        if gathered and tile is not None:
            # The last window is not over yet; its file holds what there is.
            _write_window(query, tile, gathered, folder, listing)
            wrote(listing["files"][-1]["name"])
        settled = report.settled_until
        listing["settled_until"] = None if settled is None else rfc3339(settled)
    listing["complete"] = True
    _write_list(folder, listing)


def _write_window(
    query: Query, window: Window, parts: list[Part], folder: Path, listing: dict[str, Any]
) -> None:
    """Write one file and put it on the list."""
    suffix = listing["format"]
    start, end = window.starting_at, window.ending_at
    name = f"{query.report}_{start:%Y%m%dT%H%MZ}_{end:%Y%m%dT%H%MZ}.{suffix}"
    path = folder / name
    rows = _WRITERS[suffix](query, parts, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    listing["files"].append({"name": name, "rows": rows, "sha256": digest})
    _write_list(folder, listing)


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
    known: dict[str, Any] | None,
    query: Query,
    folder: Path,
    file_format: str,
    asked: Mapping[str, Any] | None,
) -> Query:
    """Return the query to go on with; raises InvalidQuery if the folder holds another export."""
    if known is None:
        if any(not file.match(_STAGED) for file in folder.iterdir()):
            raise InvalidQuery(f"{folder} is not empty and holds no export; choose another folder")
        return query
    stored = known["query"]
    ends = parse_moment(stored["ending_at"], "ending_at")
    unfinished = not known["complete"] or not _settled(known, ends)
    if unfinished and asked and known["asked"] == asked:
        query = attrs.evolve(
            query,
            starting_at=parse_moment(stored["starting_at"], "starting_at"),
            ending_at=ends,
        )
    if stored != query.describe() or known["format"] != file_format:
        raise InvalidQuery(
            f"{folder} holds another export ({stored['report']} from {stored['starting_at']} to "
            f"{stored['ending_at']}, {known['format']}); choose another folder"
        )
    return query


def _settled(listing: dict[str, Any], moment: dt.datetime) -> bool:
    """Tell whether what was written up to `moment` could not change any more."""
    until = listing["settled_until"]
    return until is not None and parse_moment(until, "settled_until") >= moment


def _read_list(folder: Path) -> dict[str, Any] | None:
    try:
        listing: dict[str, Any] = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return listing


def _write_list(folder: Path, listing: dict[str, Any]) -> None:
    with Staged(folder / LIST) as staged:
        staged.file.write((json.dumps(listing, indent=1) + "\n").encode())
