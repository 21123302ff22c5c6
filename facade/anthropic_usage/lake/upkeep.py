"""Proving a lake whole, making its tables again, its restatements, and letting history go."""

from __future__ import annotations

import datetime as dt
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
from ..money import subtract
from ..reports import SETTLING
from ..sinks.columns import require
from . import delta
from .curate import ESTIMATES, content_of, curate, parquet, prices_of, totals_of
from .snapshot import (
    CURATED,
    RAW,
    FileEntry,
    Manifest,
    Read,
    check,
    curated_name,
    day_of,
    is_intact,
    later_stamp,
    load_manifests,
    newest,
    parts,
    pending,
    pending_name,
    read_raw,
    stamp_of,
    unpack,
)
from .source import BY_KEY, BY_WORKSPACE, may_be_fast
from .storage import LakeError, Storage

__all__ = ["Change", "Verified", "changes", "lost_manifests", "prune", "rebuild", "verify"]

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
    """Files that belong to no snapshot: a killed run's, or those of a manifest that is lost."""
    notes: tuple[str, ...] = ()
    lacking: Mapping[dt.date, tuple[str, ...]] = attrs.field(factory=dict)
    """Days that were tracked without something, and what it is."""


def verify(storage: Storage) -> Verified:
    """Prove every day whole: files as they were written, tables as raw says, parts that add up."""
    problems: list[str] = []
    known = load_manifests(storage, problems)
    notes: dict[str, None] = {}
    files = len(problems)
    for snapshots in known.values():
        for manifest in snapshots:
            files += len(manifest.files()) + 1
            found = list(_check_files(storage, manifest))
            problems += found
            if manifest is snapshots[-1] and not found:
                problems += _check_content(storage, manifest, notes)
    loose = _loose(storage, known)
    return Verified(
        days=len(known),
        files=files,
        problems=tuple(problems),
        gaps=tuple(_gaps(known)),
        waste=len(loose),
        notes=tuple(notes),
        lacking={
            day: tuple(sorted(manifest.lacks))
            for day, manifest in newest(known).items()
            if manifest.lacks
        },
    )


def _gaps(known: Mapping[dt.date, Any]) -> Iterator[dt.date]:
    days = sorted(known)
    for before, after in itertools.pairwise(days):
        missing = before + DAY
        while missing < after:
            yield missing
            missing += DAY


def _loose(storage: Storage, known: Mapping[dt.date, list[Manifest]]) -> list[str]:
    """Return the files that are named as a snapshot's, and are of none."""
    belonging = {
        entry.name for found in known.values() for manifest in found for entry in manifest.files()
    }
    there = (*storage.list("raw/anthropic"), *storage.list(CURATED))
    return [name for name in there if name not in belonging and stamp_of(name) is not None]


def _check_files(storage: Storage, manifest: Manifest) -> Iterator[str]:
    for entry in manifest.files():
        try:
            check(storage, [entry])
        except AnthropicUsageError as error:
            yield f"{manifest.date}: {error}"


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
    stated, told = (
        {name: _compared(sums, same_prices) for name, sums in totals.items()}
        for totals in (manifest.totals, totals_of(made))
    )
    if stated != told:
        yield f"{day}: the totals of the manifest are not what raw says"
    if manifest.complete and not {"usage", "cost"} <= reads.keys():
        yield f"{day}: it is said to be complete, but has no usage or no bill"
        return
    if same_prices and content_of(made, manifest.complete) != manifest.content:
        yield f"{day}: the manifest is not of what raw says"
    sums = totals_of(stored)
    if sums["usage_daily"]["total_tokens"] != sums["model_daily"]["total_tokens"]:
        yield f"{day}: usage_daily and model_daily do not add up to the same"
    for fast in (False, True):
        both = [_tokens(reads["usage"], day, grouped, fast) for grouped in (BY_KEY, BY_WORKSPACE)]
        if manifest.complete and both[0] != both[1]:
            yield f"{day}: usage by API key and by workspace do not add up to the same"


def _compared(sums: Mapping[str, Any], estimates: bool) -> dict[str, str]:
    left_out = () if estimates else ESTIMATES
    return {name: str(value) for name, value in sums.items() if name not in left_out}


def _tokens(reads: Iterable[Read], day: dt.date, grouped: tuple[str, ...], fast: bool) -> int:
    total = 0
    for read in reads:
        if read.group_by == grouped and read.fast == fast:
            query = read.query(day)
            for part in parts(read, day):
                total += sum(row.total_tokens for row in query.rows(part.page))
    return total


def _reads(storage: Storage, manifest: Manifest) -> dict[str, tuple[Read, ...]]:
    return {
        kind: read_raw(storage, entry, manifest.date)
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
    Raw documents whose manifest is lost get one again.
    """
    found = _found_again(storage)
    done = {manifest.date for manifest in found}
    for manifest in found:
        _make_tables(storage, manifest, manifest.stamp)
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
            lost = [name for name, entry in same.items() if not is_intact(storage, entry)]
            for name in lost:
                storage.write(same[name].name, files[name])
            if lost:
                done.add(day)
            continue
        _make_tables(storage, manifest, later_stamp(manifest))
        done.add(day)
    return len(done)


def _make_tables(storage: Storage, manifest: Manifest, when: str) -> None:
    """Write the tables of a snapshot's raw documents, and their manifest."""
    day = manifest.date
    prices = PriceTable.bundled().with_overrides(manifest.overrides)
    tables = curate(day, _reads(storage, manifest), prices, manifest.agents)
    mark = pending_name(day, when)
    if when != manifest.stamp:
        storage.write(mark, b"{}\n")
    curated = {}
    for name, rows_ in tables.items():
        data, target = parquet(name, rows_), curated_name(name, day, when)
        storage.write(target, data)
        curated[name] = FileEntry.of(target, data, len(rows_))
    made = msgspec.structs.replace(
        manifest,
        stamp=when,
        curated=curated,
        content=content_of(tables, manifest.complete),
        prices=prices_of(prices),
        totals=totals_of(tables),
    )
    storage.write(made.name, made.encode())
    storage.remove(mark)


def _found_again(storage: Storage) -> list[Manifest]:
    """Return what the manifests of raw documents that have none must have been.

    Labels and prices of their own are not known any more.
    """
    unfinished = {(day, when) for _, day, when in pending(storage)}
    groups: dict[tuple[dt.date, str], dict[str, str]] = {}
    for name in _loose(storage, load_manifests(storage)):
        for kind, (folder, _) in RAW.items():
            if name.startswith(f"raw/anthropic/{folder}/"):
                place = day_of(name), stamp_of(name)
                groups.setdefault(place, {})[kind] = name  # type: ignore[arg-type]
    found = []
    for (day, when), names in sorted(groups.items()):
        if "usage" not in names or (day, when) in unfinished:
            continue
        try:
            data = {kind: storage.read(name) for kind, name in names.items()}
            reads = {
                kind: unpack(data[kind], names[kind], day) for kind in names if kind != "names"
            }
            pages = [page for read in reads.values() for part in read for page in part.pages]
            now = min(page.now for page in pages)
        except (LakeError, ValueError):
            # A damaged document gets no manifest; verify goes on to count it.
            continue
        end = dt.datetime.combine(day + DAY, dt.time(), dt.UTC)
        over = end + SETTLING <= now
        wanted = ("cost", "claude_code") if over else ("claude_code",)
        missing = {kind: "its raw document is not there" for kind in wanted if kind not in reads}
        prices = PriceTable.bundled()
        usage = reads["usage"]
        if len(usage) < 4 and may_be_fast(prices, day, usage[0]):
            missing["fast"] = "it was not read"
        found.append(
            Manifest(
                date=day,
                stamp=when,
                fetched_at=now,
                complete=over and not missing,
                content="",
                prices="",
                raw={kind: FileEntry.of(name, data[kind]) for kind, name in names.items()},
                curated={},
                totals={},
                missing=missing,
            )
        )
    return found


def lost_manifests(storage: Storage) -> int:
    """Return how many days have raw documents and no manifest."""
    known = load_manifests(storage)
    days = {day_of(name) for name in _loose(storage, known) if name.startswith("raw/")}
    return len(days - known.keys())


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
        return subtract(Decimal(self.says), Decimal(self.said))


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
    """Remove all but each day's newest `keep` snapshots; returns how many were removed.

    Delta logs beside the tables that name a file that is to go are brought to the newest snapshots
    first, so that no reader of them meets a missing file. A file that is not as it was written is
    somebody else's now, and stays.
    """
    known = load_manifests(storage)
    going = [manifest for snapshots in known.values() for manifest in snapshots[:-keep]]
    if not going:
        return 0
    delta.leave(storage, {entry.name for manifest in going for entry in manifest.files()})
    kept = {
        entry.name
        for snapshots in known.values()
        for manifest in snapshots[-keep:]
        for entry in manifest.files()
    }
    for manifest in going:
        own = [
            entry.name
            for entry in manifest.files()
            if entry.name not in kept and is_intact(storage, entry)
        ]
        # The mark first, then the manifest: should this be interrupted, the next tracking goes on.
        mark = pending_name(manifest.date, manifest.stamp)
        storage.write(mark, b"{}\n")
        storage.remove(manifest.name)
        for name in own:
            storage.remove(name)
        storage.remove(mark)
    return len(going)
