"""Proving a lake whole, making its tables again, its restatements, and letting history go."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs
import msgspec

from ..analysis.prices import PriceTable
from ..errors import AnthropicUsageError
from ..moments import DAY
from ..money import add
from ..sinks.columns import require
from ..wire import rows
from .curate import content_of, curate, parquet, prices_of, totals_of
from .snapshot import (
    CURATED,
    FileEntry,
    Manifest,
    Read,
    curated_name,
    later_stamp,
    load_manifests,
    newest,
    parts,
    stamp_of,
    unpack,
)
from .source import BY_KEY, BY_WORKSPACE
from .storage import Storage

__all__ = ["Change", "Verified", "changes", "prune", "rebuild", "verify"]

_WATCHED = {
    "usage_daily": ("total_tokens", "web_search_requests"),
    "cost_daily": ("amount_usd",),
    "claude_code_daily": ("num_sessions", "estimated_cost_usd"),
}


@attrs.frozen(kw_only=True)
class Verified:
    """What a verification found."""

    days: int
    files: int
    problems: tuple[str, ...]
    gaps: tuple[dt.date, ...]
    """Days between the first and the last that have no snapshot."""
    waste: int
    """Files that belong to no snapshot; the next tracking removes them."""
    notes: tuple[str, ...] = ()


def verify(storage: Storage) -> Verified:
    """Prove every day whole: files as they were written, tables as raw says, parts that add up."""
    known = load_manifests(storage)
    problems: list[str] = []
    notes: dict[str, None] = {}
    files = 0
    for snapshots in known.values():
        for manifest in snapshots:
            files += len(manifest.files()) + 1
            found = list(_check_files(storage, manifest))
            problems += found
            if manifest is snapshots[-1] and not found:
                problems += _check_content(storage, manifest, notes)
    belonging = {
        entry.name for found in known.values() for manifest in found for entry in manifest.files()
    }
    loose = [
        name
        for name in (*storage.list("raw/anthropic"), *storage.list(CURATED))
        if stamp_of(name) is not None and name not in belonging
    ]
    return Verified(
        days=len(known),
        files=files,
        problems=tuple(problems),
        gaps=tuple(_gaps(known)),
        waste=len(loose),
        notes=tuple(notes),
    )


def _gaps(known: Mapping[dt.date, Any]) -> Iterator[dt.date]:
    days = sorted(known)
    for before, after in itertools.pairwise(days):
        missing = before + DAY
        while missing < after:
            yield missing
            missing += DAY


def _check_files(storage: Storage, manifest: Manifest) -> Iterator[str]:
    for entry in manifest.files():
        try:
            data = storage.read(entry.name)
        except AnthropicUsageError as error:
            yield f"{manifest.date}: {error}"
            continue
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            yield f"{manifest.date}: {entry.name} is not as it was written"


def _check_content(storage: Storage, manifest: Manifest, notes: dict[str, None]) -> Iterator[str]:
    """Make the tables of a day anew and compare; then compare them with each other."""
    day = manifest.date
    prices = PriceTable.bundled().with_overrides(manifest.overrides)
    same_prices = prices_of(prices) == manifest.prices
    if not same_prices:
        notes["estimates were made with other prices and were not compared"] = None
    try:
        reads = _reads(storage, manifest)
        made = curate(day, reads, prices, manifest.agents)
        stored = {name: _rows(storage, name, entry) for name, entry in manifest.curated.items()}
    except AnthropicUsageError as error:
        yield f"{day}: {error}"
        return
    if set(made) != set(stored):
        yield f"{day}: the tables are {sorted(stored)}; raw has {sorted(made)}"
        return
    if content_of(made, manifest.complete, estimates=same_prices) != content_of(
        stored, manifest.complete, estimates=same_prices
    ):
        yield f"{day}: the tables are not what raw says"
    if same_prices and content_of(made, manifest.complete) != manifest.content:
        yield f"{day}: the manifest is not of what raw says"
    sums = totals_of(stored)
    if sums["usage_daily"]["total_tokens"] != sums["model_daily"]["total_tokens"]:
        yield f"{day}: usage_daily and model_daily do not add up to the same"
    for fast in (False, True):
        both = [_tokens(reads["usage"], day, grouped, fast) for grouped in (BY_KEY, BY_WORKSPACE)]
        if manifest.complete and both[0] != both[1]:
            yield f"{day}: usage by API key and by workspace do not add up to the same"


def _tokens(reads: Iterable[Read], day: dt.date, grouped: tuple[str, ...], fast: bool) -> int:
    total = 0
    for read in reads:
        if read.group_by == grouped and read.fast == fast:
            query = read.query(day)
            for part in parts(read, day):
                total += sum(row.total_tokens for row in rows(query, part.page))  # type: ignore[attr-defined]
    return total


def _reads(storage: Storage, manifest: Manifest) -> dict[str, tuple[Read, ...]]:
    return {
        kind: unpack(storage.read(entry.name), entry.name)
        for kind, entry in manifest.raw.items()
        if kind != "names"
    }


def _rows(storage: Storage, name: str, entry: FileEntry) -> list[dict[str, Any]]:
    pq: Any = require("pyarrow.parquet", "lake")
    table = pq.ParquetFile(io.BytesIO(storage.read(entry.name))).read()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def rebuild(storage: Storage) -> int:
    """Make the tables of every newest snapshot from raw alone; returns how many days were written.

    Prices are the bundled ones of today, with the overrides of each snapshot. Files that are lost
    are written again under their names; tables that come out otherwise, because prices did, become
    a snapshot of their own over the same raw documents, so that at no moment a day is half new.
    """
    written = 0
    for day, manifest in newest(load_manifests(storage)).items():
        prices = PriceTable.bundled().with_overrides(manifest.overrides)
        tables = curate(day, _reads(storage, manifest), prices, manifest.agents)
        files = {name: parquet(name, table) for name, table in tables.items()}
        same = {
            name: FileEntry.of(manifest.curated[name].name, data, len(tables[name]))
            for name, data in files.items()
            if name in manifest.curated
        }
        if same == manifest.curated:
            lost = [name for name, entry in same.items() if not _is_there(storage, entry)]
            for name in lost:
                storage.write(same[name].name, files[name])
            written += bool(lost)
            continue
        when = later_stamp(manifest)
        curated = {}
        for name, data in files.items():
            target = curated_name(name, day, when)
            storage.write(target, data)
            curated[name] = FileEntry.of(target, data, len(tables[name]))
        made = msgspec.structs.replace(
            manifest,
            stamp=when,
            curated=curated,
            content=content_of(tables, manifest.complete),
            prices=prices_of(prices),
            totals=totals_of(tables),
        )
        storage.write(made.name, made.encode())
        written += 1
    return written


def _is_there(storage: Storage, entry: FileEntry) -> bool:
    try:
        return hashlib.sha256(storage.read(entry.name)).hexdigest() == entry.sha256
    except AnthropicUsageError:
        return False


@attrs.frozen(kw_only=True)
class Change:
    """A restatement: what a finished day said, and says now."""

    date: dt.date
    table: str
    measure: str
    said: str
    says: str
    seen_at: dt.datetime
    """The API's time when the new number was first seen."""

    @property
    def difference(self) -> Decimal:
        """How much more it is."""
        return add(Decimal(self.says), -Decimal(self.said))


def changes(storage: Storage, since: dt.date | None = None) -> list[Change]:
    """Return what changed of days that were over and settled, by day and time."""
    found = []
    for day, snapshots in load_manifests(storage).items():
        if since is not None and day < since:
            continue
        finished = [manifest for manifest in snapshots if manifest.complete]
        for before, after in itertools.pairwise(finished):
            for table, measures in _WATCHED.items():
                for measure in measures:
                    said = before.totals.get(table, {}).get(measure)
                    says = after.totals.get(table, {}).get(measure)
                    if said is not None and says is not None and said != says:
                        found.append(
                            Change(
                                date=day,
                                table=table,
                                measure=measure,
                                said=str(said),
                                says=str(says),
                                seen_at=after.fetched_at,
                            )
                        )
    return found


def prune(storage: Storage, keep: int) -> int:
    """Remove all but each day's newest `keep` snapshots; returns how many were removed."""
    removed = 0
    for snapshots in load_manifests(storage).values():
        kept = {entry.name for manifest in snapshots[-keep:] for entry in manifest.files()}
        for manifest in snapshots[:-keep]:
            # The manifest first: should this be interrupted, the rest is waste and not a ruin.
            storage.remove(manifest.name)
            for entry in manifest.files():
                if entry.name not in kept:
                    storage.remove(entry.name)
            removed += 1
    return removed
