"""A lake as a source of reports: no network, no key, and the very pages that the API sent."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import attrs
from anthropic_admin_client.models.api_key import ApiKey
from anthropic_admin_client.models.cost_group_by import CostGroupBy
from anthropic_admin_client.models.organization import Organization
from anthropic_admin_client.models.usage_group_by import UsageGroupBy
from anthropic_admin_client.models.user import User
from anthropic_admin_client.models.workspace import Workspace

from ..analysis.prices import PriceTable
from ..engine.fold import Fold
from ..engine.report import Report
from ..errors import IncompleteReport, InvalidQuery, PermissionDenied
from ..moments import DAY, Moment, utc_now
from ..reports import (
    CLAUDE_CODE,
    COST,
    SETTLING,
    USAGE,
    ClaudeCodeRow,
    CostRow,
    Many,
    Part,
    Query,
    UsageRow,
)
from .snapshot import FileEntry, Page, Read, current, parts, read_checked, read_raw
from .storage import LakeError, Storage

__all__ = ["BY_KEY", "BY_WORKSPACE", "COST_BY", "DaySource", "LakeSource", "may_be_fast"]

_PRICED: Final[tuple[UsageGroupBy, ...]] = (
    "model",
    "service_tier",
    "context_window",
    "inference_geo",
)
BY_KEY: Final[tuple[UsageGroupBy, ...]] = ("api_key_id", *_PRICED)
BY_WORKSPACE: Final[tuple[UsageGroupBy, ...]] = ("workspace_id", *_PRICED)
COST_BY: Final[tuple[CostGroupBy, ...]] = ("workspace_id", "description")

_KEPT = 256 * 2**20
"""How many bytes of raw documents are held."""

_EMPTY = (
    b'{"data": [{"starting_at": "%s", "ending_at": "%s", "results": []}], '
    b'"has_more": false, "next_page": null}'
)


class NotInLake(LakeError, PermissionDenied):
    """A reading that was refused or broken when its day was tracked: not known, and not zero."""

    def __init__(self, wanted: Read, day: dt.date, why: str | None) -> None:
        what = "fast use" if wanted.fast else f"the {wanted.report} report"
        super().__init__(what, status=403)
        self.args = (
            f"the lake does not know {what} of {day}{f' ({why})' if why else ''}: "
            f"run anthropic-usage-track --date {day}",
        )

    def __reduce__(self) -> Any:
        return LakeError, self.args


class DaySource:
    """The reports of days whose readings are at hand, by day."""

    def __init__(
        self,
        load: Callable[[dt.date, str], tuple[Read, ...]],
        days: Mapping[dt.date, Any],
        prices: PriceTable | None = None,
    ) -> None:
        self._load = load
        self._days = sorted(days)
        self._prices = prices or PriceTable.bundled()

    def usage(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        bucket_width: str = "1d",
        group_by: Many | None = (),
        speeds: Many | None = None,
    ) -> Report[UsageRow]:
        """Return tokens by day, by API key or by workspace; raises InvalidQuery for anything else.

        The report is grouped as the snapshots are: by what was asked for, and more.
        """
        if bucket_width != "1d":
            raise InvalidQuery("a lake holds whole days: bucket_width must be 1d")
        asked = USAGE.ask(starting_at, _end(ending_at), group_by=group_by, speeds=speeds)
        fast = dict(asked.filters).get("speeds") == ("fast",)
        for grouped in (BY_WORKSPACE, BY_KEY):
            if set(asked.group_by) <= set(grouped):
                break
        else:
            raise InvalidQuery(
                "a lake knows usage by API key or by workspace, each with "
                f"{', '.join(_PRICED)}; not by {', '.join(asked.group_by)} at once"
            )
        read = Read(report="usage", group_by=grouped, fast=fast)
        query = USAGE.ask(asked.starting_at, asked.ending_at, group_by=grouped, speeds=speeds)
        return Report(query, lambda: self._parts(query, read))

    def cost(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        group_by: Many | None = (),
    ) -> Report[CostRow]:
        """Return the bill by day, workspace and description."""
        asked = COST.ask(starting_at, _end(ending_at), group_by=group_by)
        query = COST.ask(asked.starting_at, asked.ending_at, group_by=COST_BY)
        read = Read(report="cost", group_by=COST_BY)
        return Report(query, lambda: self._parts(query, read))

    def claude_code(
        self, starting_at: Moment, ending_at: Moment | None = None
    ) -> Report[ClaudeCodeRow]:
        """Return what Claude Code did, by day."""
        query = CLAUDE_CODE.ask(starting_at, _end(ending_at))
        return Report(query, lambda: self._parts(query, Read(report="claude_code")))

    def _parts(self, query: Query, wanted: Read) -> Generator[Part]:
        """Yield the pages of each day of a range; a day that is missing between others is a hole.

        Before the first and after the last day of the lake there is nothing to be known. Raises
        NotInLake where a reading was refused or broken when the day was tracked.
        """
        first, last = query.starting_at.date(), query.ending_at.date()
        known = [day for day in self._days if first <= day < last]
        if not known:
            raise IncompleteReport(
                f"the lake has no day {_span(first, last - DAY)}: run anthropic-usage-track "
                f"--since {first} --until {last}"
            )
        self._refuse_holes([first + step * DAY for step in range((known[-1] - first).days + 1)])
        for day in known:
            read = self._find(day, wanted)
            if read is None:
                # A bill that is not there yet ends the report; it never has holes.
                why = self._why_missing(day, "fast" if wanted.fast else wanted.report)
                later = (self._find(other, wanted) for other in known if other > day)
                young = bool(query.kind.holds) and all(found is None for found in later)
                if why is not None or not young:
                    raise NotInLake(wanted, day, why)
                return
            for part in parts(read, day):
                yield _aged(part, known[-1])

    def _refuse_holes(self, days: list[dt.date]) -> None:
        known = set(self._days)
        missing = [day for day in days if day not in known]
        if missing:
            end = missing[0]
            while end + DAY in missing:
                end += DAY
            more = len(missing) - (end - missing[0]).days - 1
            raise IncompleteReport(
                f"the lake has no {_span(missing[0], end)}"
                f"{f' (nor {more} later days)' if more else ''}: run anthropic-usage-track "
                f"--since {missing[0]} --until {end + DAY}"
            )

    def _why_missing(self, day: dt.date, what: str) -> str | None:
        """Return why something could not be read when the day was tracked; None if it could."""
        return None

    def _find(self, day: dt.date, wanted: Read) -> Read | None:
        reads = self._load(day, wanted.report)
        for read in reads:
            if read.group_by == wanted.group_by and read.fast == wanted.fast:
                return read
        same = [read for read in reads if read.group_by == wanted.group_by]
        if wanted.fast and same and not may_be_fast(self._prices, day, same[0]):
            # No model of that day could be fast, so nobody asked.
            times = [f"{moment}T00:00:00Z".encode() for moment in (day, day + DAY)]
            start = dt.datetime.combine(day, dt.time(), dt.UTC)
            body = _EMPTY % tuple(times)
            page = same[0].pages[0]
            made = Page(begins=start, ends=start + DAY, now=page.now, body=body)
            return Read(report="usage", group_by=wanted.group_by, fast=True, pages=(made,))
        return None


def may_be_fast(prices: PriceTable, day: dt.date, read: Read) -> bool:
    """Tell whether the price of any model of a day depends on its speed."""
    models = Fold(read.query(day), ("model",))
    for part in parts(read, day):
        models.add(part.page)
    return any(prices.may_be_fast(model, day) for _, model in models.groups)


def _span(first: dt.date, last: dt.date) -> str:
    return str(first) if first >= last else f"{first} to {last}"


def _end(ending_at: Moment | None) -> Moment:
    """Return the end of a range: the end of today if nothing else is said."""
    return ending_at if ending_at is not None else utc_now()


def _aged(part: Part, last: dt.date) -> Part:
    """Return a part that claims to know no more than the lake does: up to its last day."""
    end = dt.datetime.combine(last + DAY, dt.time(), dt.UTC) + SETTLING
    return attrs.evolve(part, now=min(part.now, end))


class LakeSource(DaySource):
    """The newest snapshots of a lake, as a `Source` for analyses.

    Raises LakeError if there is no lake at the root.
    """

    def __init__(self, root: str | Storage) -> None:
        self.storage = root if isinstance(root, Storage) else Storage(root)
        self.manifests = current(self.storage)
        self._kept: dict[tuple[dt.date, str], tuple[Read, ...]] = {}
        self._kept_bytes = 0
        super().__init__(self._read, self.manifests)

    @property
    def first_day(self) -> dt.date:
        """The first day that the lake holds."""
        return min(self.manifests)

    def _read(self, day: dt.date, report: str) -> tuple[Read, ...]:
        key = (day, report)
        if key not in self._kept:
            entry = self.manifests[day].raw.get(report)
            size = 0 if entry is None else entry.size
            if self._kept_bytes + size > _KEPT:
                self._kept.clear()
                self._kept_bytes = 0
            self._kept[key] = () if entry is None else read_raw(self.storage, entry, day)
            self._kept_bytes += size
        return self._kept[key]

    def _why_missing(self, day: dt.date, what: str) -> str | None:
        return self.manifests[day].missing.get(what)

    def workspaces(self) -> list[Workspace]:
        """Return the workspaces as of the last snapshot."""
        return [Workspace.from_dict(item) for item in self._names("workspaces")]

    def api_keys(self) -> list[ApiKey]:
        """Return the API keys as of the last snapshot."""
        return [ApiKey.from_dict(item) for item in self._names("api_keys")]

    def users(self) -> list[User]:
        """Return the users as of the last snapshot."""
        return [User.from_dict(item) for item in self._names("users")]

    def organization(self) -> Organization:
        """Return the organization as of the last snapshot; raises LakeError if it is not known."""
        found = self._names("organization")
        return Organization.from_dict(found[0])

    def _names(self, kind: str) -> list[dict[str, Any]]:
        why = None
        for manifest in sorted(self.manifests.values(), key=lambda m: m.stamp, reverse=True):
            if (entry := manifest.raw.get("names")) is None:
                continue
            items: list[dict[str, Any]] | None = self._document(entry).get(kind)
            if items is not None:
                return items
            why = why or manifest.missing.get(f"names.{kind}")
        raise LakeError(
            f"the key could not look up {kind} when it was tracked{f' ({why})' if why else ''}"
        )

    def _document(self, entry: FileEntry) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(read_checked(self.storage, entry))
        except ValueError as error:
            raise LakeError(f"{entry.name} is damaged: {error}") from None
        return found
