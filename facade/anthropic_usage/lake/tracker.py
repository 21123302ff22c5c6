"""Tracking: a day's reports, read, kept as they came, and made into tables."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import attrs
import msgspec

from ..analysis.owners import Owner, OwnerMap
from ..analysis.prices import PriceTable
from ..client import UsageClient
from ..engine.report import Report
from ..errors import (
    AnthropicUsageError,
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    IncompleteReport,
    InvalidQuery,
    PermissionDenied,
)
from ..moments import DAY, utc_now
from ..money import ZERO, times
from ..reports import SETTLING
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
    is_intact,
    later_stamp,
    load_manifests,
    manifest_name,
    names_of,
    pack,
    pending,
    pending_name,
    raw_name,
    read_raw,
    stamp,
)
from .source import BY_KEY, BY_WORKSPACE, COST_BY, may_be_fast
from .storage import LakeError, Storage

__all__ = ["Tracked", "Tracker", "Vain", "missing_days", "sweep", "vain_days"]

_SIDE_BY_SIDE = 4
_REFUSED = "refused: "
_NEEDS = (
    "It needs an organization (not an individual account) and an Admin API key in "
    "ANTHROPIC_ADMIN_API_KEY; `anthropic-usage doctor` says more"
)
_LOST = {
    "fast": "fast use cannot be told apart, so that estimates are intervals",
    "cost": "no cost report, the day is left without its bill",
    "claude_code": "no Claude Code report",
}


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
    missing: Mapping[str, str] = attrs.field(factory=dict)
    """What could not be read though it should be there, and why."""
    unpriced_searches_usd: Decimal = ZERO
    """The web searches of models without a price; no part of their estimate, which is not known."""

    @property
    def failed(self) -> bool:
        """Whether the day was left incomplete: no bill, or something that may work another time."""
        return "cost" in self.missing or any(
            not why.startswith(_REFUSED) for why in self.missing.values()
        )


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
        self._nameless: dict[str, str] = {}

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

    def _read(
        self, day: dt.date
    ) -> tuple[dict[str, tuple[Read, ...]], dict[str, str], tuple[str, ...]]:
        """Ask for everything about a day.

        Returns readings by report, what could not be read and why, and what to tell people.
        """
        client, end = self._client, day + DAY
        with _explained("usage"):
            by_key = _keep_pages(client.usage(day, end, group_by=BY_KEY), BY_KEY)
            by_workspace = _keep_pages(client.usage(day, end, group_by=BY_WORKSPACE), BY_WORKSPACE)
        reads: dict[str, tuple[Read, ...]] = {"usage": (by_key, by_workspace)}
        missing: dict[str, str] = {}
        if may_be_fast(self._prices, day, by_key):
            with _missing("fast", missing):
                # Both or none: the two groupings are to be priced alike.
                reads["usage"] += tuple(
                    _keep_pages(
                        client.usage(day, end, group_by=grouped, speeds="fast"), grouped, fast=True
                    )
                    for grouped in (BY_KEY, BY_WORKSPACE)
                )
        notes = []
        try:
            with _missing("cost", missing):
                reads["cost"] = (_keep_pages(client.cost(day, end, group_by=COST_BY), COST_BY),)
        except InvalidQuery:
            notes.append(f"no bill of {day} yet: the cost report holds completed UTC days only")
        with _missing("claude_code", missing):
            reads["claude_code"] = (_keep_pages(client.claude_code(day, end), ()),)
        notes += [f"{day}: {_LOST[what]}: {why}" for what, why in missing.items()]
        if missing.get("cost", "").startswith(_REFUSED):
            notes.append(f"the cost report is not available to this account: {_NEEDS}")
        return reads, missing, tuple(notes)

    def refused(self, day: dt.date, whats: Iterable[str]) -> dict[str, str]:
        """Return what of a day is still refused, and why: asking for more such days is vain."""
        client, end = self._client, day + DAY
        asked: dict[str, Callable[[], Any]] = {
            "fast": lambda: client.usage(day, end, group_by=BY_KEY, speeds="fast").totals(),
            "cost": lambda: client.cost(day, end, group_by=COST_BY).totals(),
            "claude_code": lambda: client.claude_code(day, end).totals(),
        }
        missing: dict[str, str] = {}
        for what in whats:
            with contextlib.suppress(InvalidQuery), _missing(what, missing):
                asked[what]()
        return missing

    def _keep(
        self,
        day: dt.date,
        reads: dict[str, tuple[Read, ...]],
        missing: dict[str, str],
        notes: tuple[str, ...],
        known: list[Manifest],
    ) -> Tracked:
        """Write a day's snapshot unless the newest one says the same and is whole.

        What could not be read this time, and is known from an earlier snapshot, stays known.
        """
        lost = self._fill_up(day, reads, missing, known)
        now = min(page.now for found in reads.values() for read in found for page in read.pages)
        over = dt.datetime.combine(day + DAY, dt.time(), dt.UTC) + SETTLING <= now
        complete = over and "cost" in reads and not lost
        tables = curate(day, reads, self._prices, self._agents)
        content = content_of(tables, complete)
        totals = totals_of(tables)
        changed = (
            not known
            or known[-1].content != content
            or known[-1].lacks != lost.keys()
            or not all(is_intact(self._storage, entry) for entry in known[-1].files())
        )
        if changed and not self._dry_run:
            self._write(day, reads, tables, now, complete, content, totals, lost, known)
        return Tracked(
            day=day,
            written=changed,
            complete=complete,
            totals=totals,
            models=tables["model_daily"],
            notes=notes,
            missing=missing,
            unpriced_searches_usd=times(
                sum(
                    row["web_search_requests"]
                    for row in tables["model_daily"]
                    if row["unpriced_tokens"]
                ),
                self._prices.web_search_usd,
            ),
        )

    def _fill_up(
        self,
        day: dt.date,
        reads: dict[str, tuple[Read, ...]],
        missing: dict[str, str],
        known: list[Manifest],
    ) -> dict[str, str]:
        """Take what could not be read this time from the last snapshot, as far as it has it.

        Returns what is missing nevertheless.
        """
        lost = dict(missing)
        for what in missing.keys() - (known[-1].lacks if known else missing.keys()):
            entry = known[-1].raw.get("usage" if what == "fast" else what)
            if entry is None or not is_intact(self._storage, entry):
                continue
            earlier = read_raw(self._storage, entry, day)
            if what != "fast":
                reads[what] = earlier
            elif _bodies(earlier[:2]) == _bodies(reads["usage"]) and len(earlier) == 4:
                reads["usage"] = earlier
            else:
                continue
            del lost[what]
        return lost

    def _write(
        self,
        day: dt.date,
        reads: dict[str, tuple[Read, ...]],
        tables: dict[str, Rows],
        now: dt.datetime,
        complete: bool,
        content: str,
        totals: dict[str, dict[str, Any]],
        missing: dict[str, str],
        known: list[Manifest],
    ) -> None:
        when = later_stamp(known[-1]) if known else stamp(utc_now())
        # Should this be killed, the mark proves whose the files are.
        mark = pending_name(day, when)
        self._storage.write(mark, b"{}\n")
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
            missing={**missing, **self._nameless},
        )
        # With it the day counts.
        self._storage.write(manifest_name(day, when), manifest.encode())
        self._storage.remove(mark)

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
        self._nameless = {}
        for kind, lookup in lookups.items():
            try:
                found[kind] = [item.to_dict() for item in lookup()]
            except AuthenticationError:
                raise
            except (ApiError, IncompleteReport, ConnectionFailed) as error:
                self._nameless[f"names.{kind}"] = _why(error)
        # As the standard library writes it: a lone surrogate, which JSON can hold, stays one.
        return json.dumps(found, indent=1).encode() + b"\n"

    @property
    def nameless(self) -> Mapping[str, str]:
        """What names could not be looked up, and why."""
        return {what.removeprefix("names."): why for what, why in self._nameless.items()}


def _why(error: AnthropicUsageError) -> str:
    """Return why something could not be read, in a line that says whether it was refused."""
    text = " ".join(str(error).split())
    refused = isinstance(error, ApiError) and error.status in (400, 403, 404)
    return f"{_REFUSED if refused else ''}{text}"


@contextlib.contextmanager
def _missing(what: str, missing: dict[str, str]) -> Iterator[None]:
    """Let what cannot be read cost itself, and nothing else of its day."""
    try:
        yield
    except AuthenticationError:
        raise
    except (ApiError, IncompleteReport, ConnectionFailed) as error:
        missing[what] = _why(error)


def _bodies(reads: Iterable[Read]) -> list[bytes]:
    return [page.body for read in reads for page in read.pages]


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
            f"the {report} report is not available to this account: {error}. {_NEEDS}"
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
    """Return what catching up has to track: days that are missing, were not over, or lack
    something, and the last `reread` days, whose numbers may have changed late."""
    known = load_manifests(storage)
    late = today - (reread + 1) * DAY
    first = since or min([*known, late + DAY])
    days = []
    day = first
    while day <= today:
        snapshots = known.get(day)
        if not snapshots or not snapshots[-1].complete or snapshots[-1].lacks or day > late:
            days.append(day)
        day += DAY
    return days


def vain_days(tracker: Tracker, storage: Storage, days: list[dt.date], late: dt.date) -> Vain:
    """Return which of the days would be asked for only what is still refused, and why it is."""
    known = load_manifests(storage)
    lacking = {
        day: known[day][-1].lacks
        for day in days
        if day <= late and day in known and _is_over(known[day][-1])
    }
    lacking = {day: lacks for day, lacks in lacking.items() if lacks}
    if len(lacking) < 2:
        return Vain()
    last = max(lacking)
    refused = tracker.refused(last, sorted({what for lacks in lacking.values() for what in lacks}))
    return Vain(
        days=tuple(day for day, lacks in lacking.items() if lacks <= refused.keys()), why=refused
    )


@attrs.frozen(kw_only=True)
class Vain:
    """Days that lack what is still refused."""

    days: tuple[dt.date, ...] = ()
    why: Mapping[str, str] = attrs.field(factory=dict)


def _is_over(manifest: Manifest) -> bool:
    end = dt.datetime.combine(manifest.date + DAY, dt.time(), dt.UTC)
    return end + SETTLING <= manifest.fetched_at


def sweep(storage: Storage) -> int:
    """Remove the files of snapshots that were never finished; returns how many there were.

    Only what a mark proves to be of an unfinished snapshot goes: a file without a manifest may as
    well be one whose manifest is lost, and raw documents cannot be made again. To be called under
    the lake's lock. An object store has no lock, so that marks which are younger than a day are
    left alone there: somebody may be about to finish.
    """
    storage.clean_staging()
    marks = pending(storage)
    if not marks:
        return 0
    young = stamp(utc_now() - DAY) if storage.local is None else None
    known = load_manifests(storage)
    belonging = {
        entry.name for found in known.values() for manifest in found for entry in manifest.files()
    }
    there = {*storage.list("raw/anthropic"), *storage.list(CURATED)}
    removed = 0
    for mark, day, when in marks:
        if young is not None and when > young:
            continue
        for name in names_of(day, when):
            if name in there and name not in belonging:
                storage.remove(name)
                removed += 1
        storage.remove(mark)
    return removed


def _by_id(agents: dict[str, str], names: bytes) -> dict[str, str]:
    """Return labels with those of keys' names also under the keys' ids, for names may change."""
    owners = OwnerMap({pattern: Owner(team=label) for pattern, label in agents.items()})
    keys = msgspec.json.decode(names).get("api_keys", ())
    found = {key["id"]: owners.owner(key["id"], key.get("name")) for key in keys}
    return agents | {key: owner.team for key, owner in found.items() if owner}
