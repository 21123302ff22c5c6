"""Tracking: a day's reports, read, kept as they came, and made into tables."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import msgspec

from ..analysis.owners import Owner, OwnerMap
from ..analysis.prices import PriceTable
from ..client import UsageClient
from ..errors import (
    ApiError,
    AuthenticationError,
    InvalidQuery,
    PermissionDenied,
)
from ..flow import SETTLING
from ..moments import DAY, utc_now
from ..report import Report
from ..wire import UsagePage, usage_results
from .curate import Rows, content_of, curate, parquet, prices_of, totals_of
from .snapshot import (
    CURATED,
    FileEntry,
    Manifest,
    Page,
    Read,
    check_day,
    compress,
    curated_name,
    later_stamp,
    load_manifests,
    manifest_name,
    pack,
    parts,
    raw_name,
    stamp,
    stamp_of,
)
from .source import BY_KEY, BY_WORKSPACE, COST_BY
from .storage import LakeError, Storage

__all__ = ["Tracked", "Tracker", "missing_days", "sweep"]

_SIDE_BY_SIDE = 4


@attrs.frozen(kw_only=True)
class Tracked:
    """What tracking a day came to."""

    day: dt.date
    written: bool
    """Whether anything was new; otherwise nothing was written."""
    complete: bool
    totals: Mapping[str, Mapping[str, Any]]
    models: Rows
    notes: tuple[str, ...] = ()


class Tracker:
    """Keeps a lake up to date.

    Args:
        client: asks the API.
        storage: where the lake is.
        overrides: prices that go first, in the form of `PriceTable.with_overrides`.
        agents: patterns of API keys' ids or names, and the labels of who uses them.
        compressed: whether raw documents are written as `.json.zst`.
        dry_run: read, and say what would be written, but write nothing.
    """

    def __init__(
        self,
        client: UsageClient,
        storage: Storage,
        *,
        overrides: Mapping[str, Any] | None = None,
        agents: Mapping[str, str] | None = None,
        compressed: bool = False,
        dry_run: bool = False,
    ) -> None:
        self._client = client
        self._storage = storage
        self._overrides = dict(overrides or {})
        self._prices = PriceTable.bundled().with_overrides(self._overrides)
        self._agents = dict(agents or {})
        self._compressed = compressed
        self._dry_run = dry_run
        self._names: bytes | None = None

    def track(self, days: Iterable[dt.date]) -> Iterator[Tracked]:
        """Track days, several side by side, and yield each as it is done, in order.

        To be called under the lake's lock. Raises AnthropicUsageError at the first day that cannot
        be read or written; the days before it are there.
        """
        days = [check_day(day) for day in days]
        known = load_manifests(self._storage)
        if self._names is None:
            self._names = self._look_up()
            self._agents = _by_id(self._agents, self._names)
        with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="anthropic-usage-track") as pool:
            ahead = []
            waiting = iter(days)
            try:
                for day in waiting:
                    ahead.append((day, pool.submit(self._read, day)))
                    if len(ahead) >= 2 * _SIDE_BY_SIDE:
                        done, reading = ahead.pop(0)
                        yield self._keep(done, *reading.result(), known.get(done, []))
                while ahead:
                    done, reading = ahead.pop(0)
                    yield self._keep(done, *reading.result(), known.get(done, []))
            finally:
                for _, reading in ahead:
                    reading.cancel()

    def _read(self, day: dt.date) -> tuple[dict[str, tuple[Read, ...]], tuple[str, ...]]:
        """Ask for everything about a day; returns readings by report, and what to tell people."""
        client, end = self._client, day + DAY
        notes = []
        with _explained("usage"):
            by_key = _keep_pages(client.usage(day, end, group_by=BY_KEY), BY_KEY)
            by_workspace = _keep_pages(client.usage(day, end, group_by=BY_WORKSPACE), BY_WORKSPACE)
            usage = [by_key, by_workspace]
            if self._may_be_fast(day, by_key):
                for grouped in (BY_KEY, BY_WORKSPACE):
                    report = client.usage(day, end, group_by=grouped, speeds="fast")
                    try:
                        usage.append(_keep_pages(report, grouped, fast=True))
                    except ApiError as error:
                        if error.status not in (400, 403):
                            raise
                        notes.append("fast use cannot be told apart: estimates are intervals")
                        break
        reads: dict[str, tuple[Read, ...]] = {"usage": tuple(usage)}
        try:
            with _explained("cost"):
                reads["cost"] = (_keep_pages(client.cost(day, end, group_by=COST_BY), COST_BY),)
        except InvalidQuery:
            notes.append(f"no bill of {day} yet: the cost report holds completed UTC days only")
        try:
            reads["claude_code"] = (_keep_pages(client.claude_code(day, end), ()),)
        except PermissionDenied as error:
            notes.append(f"no Claude Code report: {error}")
        return reads, tuple(notes)

    def _may_be_fast(self, day: dt.date, read: Read) -> bool:
        models = {
            result.model
            for part in parts(read, day)
            if isinstance(part.page, UsagePage)
            for bucket in part.page.data
            for result in usage_results(bucket)
        }
        return any(self._prices.may_be_fast(model, day) for model in models)

    def _keep(
        self,
        day: dt.date,
        reads: dict[str, tuple[Read, ...]],
        notes: tuple[str, ...],
        known: list[Manifest],
    ) -> Tracked:
        """Write a day's snapshot unless the newest one says the same."""
        now = min(page.now for found in reads.values() for read in found for page in read.pages)
        over = dt.datetime.combine(day + DAY, dt.time(), dt.UTC) + SETTLING <= now
        complete = over and "cost" in reads
        tables = curate(day, reads, self._prices, self._agents)
        content = content_of(tables, complete)
        totals = totals_of(tables)
        changed = not known or known[-1].content != content
        if changed and not self._dry_run:
            self._write(day, reads, tables, now, complete, content, totals, known)
        return Tracked(
            day=day,
            written=changed,
            complete=complete,
            totals=totals,
            models=tables["model_daily"],
            notes=notes,
        )

    def _write(
        self,
        day: dt.date,
        reads: dict[str, tuple[Read, ...]],
        tables: dict[str, Rows],
        now: dt.datetime,
        complete: bool,
        content: str,
        totals: dict[str, dict[str, Any]],
        known: list[Manifest],
    ) -> None:
        when = later_stamp(known[-1]) if known else stamp(utc_now())
        raw: dict[str, FileEntry] = {}
        documents = {kind: pack(day, found) for kind, found in reads.items()}
        documents["names"] = self._names or b"{}\n"
        for kind, data in documents.items():
            packed = compress(data) if self._compressed and kind != "names" else data
            name = raw_name(kind, day, when, self._compressed and kind != "names")
            self._storage.write(name, packed)
            raw[kind] = FileEntry.of(name, packed)
        curated: dict[str, FileEntry] = {}
        for table, rows in tables.items():
            data = parquet(table, rows)
            name = curated_name(table, day, when)
            self._storage.write(name, data)
            curated[table] = FileEntry.of(name, data, len(rows))
        manifest = Manifest(
            date=day,
            stamp=when,
            fetched_at=now,
            complete=complete,
            content=content,
            prices=prices_of(self._prices),
            overrides=_as_text(self._overrides),
            agents=self._agents,
            raw=raw,
            curated=curated,
            totals=totals,
        )
        # Last of all: with it the day counts.
        self._storage.write(manifest_name(day, when), manifest.encode())

    def _look_up(self) -> bytes:
        """Return the names as JSON; what may not be looked up is left out."""
        client = self._client
        found: dict[str, Any] = {}
        lookups: dict[str, Callable[[], list[Any]]] = {
            "workspaces": client.workspaces,
            "api_keys": client.api_keys,
            "users": client.users,
            "organization": lambda: [client.organization()],
        }
        for kind, lookup in lookups.items():
            try:
                found[kind] = [item.to_dict() for item in lookup()]
            except AuthenticationError:
                raise
            except ApiError:
                continue
        return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


@contextlib.contextmanager
def _explained(report: str) -> Iterator[None]:
    """Turn a refusal of a whole report into what to do about it."""
    try:
        yield
    except ApiError as error:
        refused = isinstance(error, AuthenticationError | PermissionDenied)
        if not refused and error.status != 404:
            raise
        raise LakeError(
            f"the {report} report is not available to this account: {error}. It needs an "
            "organization (not an individual account) and an Admin API key in "
            "ANTHROPIC_ADMIN_API_KEY; `anthropic-usage doctor` says more"
        ) from None


def _keep_pages(report: Report[Any], group_by: tuple[str, ...], fast: bool = False) -> Read:
    return Read(
        report=report.query.report,
        group_by=group_by,
        fast=fast,
        pages=tuple(Page.of(part) for part in report.collect().parts()),
    )


def _as_text(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        model: {name: str(value) for name, value in terms.items()}
        for model, terms in overrides.items()
    }


def missing_days(
    storage: Storage, today: dt.date, *, reread: int = 3, since: dt.date | None = None
) -> list[dt.date]:
    """Return what catching up has to track: days that are missing or were not over, and the last
    `reread` days, whose numbers may have changed late."""
    known = load_manifests(storage)
    first = since or (min(known) if known else today)
    days = []
    day = first
    while day <= today:
        snapshots = known.get(day)
        late = day > today - (reread + 1) * DAY
        if not snapshots or not snapshots[-1].complete or late:
            days.append(day)
        day += DAY
    return days


def sweep(storage: Storage) -> int:
    """Remove the files of snapshots that were never finished; returns how many there were.

    To be called under the lake's lock. An object store has no lock, so that files which are younger
    than a day are left alone there: somebody may be about to finish them.
    """
    storage.clean_staging()
    belonging = {
        entry.name
        for found in load_manifests(storage).values()
        for manifest in found
        for entry in manifest.files()
    }
    young = stamp(utc_now() - DAY) if storage.local is None else None
    removed = 0
    for name in (*storage.list("raw/anthropic"), *storage.list(CURATED)):
        when = stamp_of(name)
        if when is None or name in belonging or (young is not None and when > young):
            continue
        storage.remove(name)
        removed += 1
    return removed


def _by_id(agents: dict[str, str], names: bytes) -> dict[str, str]:
    """Return labels with those of keys' names also under the keys' ids, for names may change."""
    owners = OwnerMap({pattern: Owner(team=label) for pattern, label in agents.items()})
    keys = msgspec.json.decode(names).get("api_keys", ())
    found = {key["id"]: owners.owner(key["id"], key.get("name")) for key in keys}
    return agents | {key: owner.team for key, owner in found.items() if owner}
