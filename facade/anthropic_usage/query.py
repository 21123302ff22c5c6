"""What to ask: frozen queries whose every argument is checked before any request.

A query knows its report's parameters and limits, and builds each request through the generated
client, so the wire names (`group_by[]`, ...) stand in one place only: the patched spec.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, get_args
from urllib.parse import quote

import attrs
from anthropic_admin_client.api.claude_code import get_claude_code_usage_report
from anthropic_admin_client.api.cost import get_cost_report
from anthropic_admin_client.api.usage import get_messages_usage_report
from anthropic_admin_client.models.context_window import ContextWindow
from anthropic_admin_client.models.cost_group_by import CostGroupBy
from anthropic_admin_client.models.inference_geo import InferenceGeo
from anthropic_admin_client.models.service_tier import ServiceTier
from anthropic_admin_client.models.speed import Speed
from anthropic_admin_client.models.usage_group_by import UsageGroupBy
from anthropic_admin_client.types import UNSET

from .errors import InvalidQuery
from .moments import DAY, Moment, ceil, floor, parse_moment, rfc3339
from .rows import ClaudeCodeRow, CostRow, Row, UsageRow

__all__ = ["ClaudeCodeQuery", "CostQuery", "Many", "Query", "UsageQuery", "check_version"]

Many = str | Iterable[str]
"""One string or several."""

FAST_MODE_BETA: Final = "fast-mode-2026-02-01"
"""The beta header under which usage can be grouped or filtered by speed."""

PERIODS: Final = ("day", "week", "month")
"""Time dimensions that every report can be folded by."""

COST_DESCRIPTION_DIMENSIONS: Final = (
    "description",
    "cost_type",
    "model",
    "token_type",
    "service_tier",
    "context_window",
    "inference_geo",
)
"""What the cost report fills in when it is grouped by description."""


FILTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "api_key_ids": (),
    "workspace_ids": (),
    "models": (),
    "service_tiers": get_args(ServiceTier),
    "context_window": get_args(ContextWindow),
    "inference_geos": get_args(InferenceGeo),
    "account_ids": (),
    "service_account_ids": (),
    "speeds": get_args(Speed),
}
"""Filters of the usage report -> the values they take, none meaning any."""


_LONGEST_FILTERS: Final = 60_000
"""Characters of a URL that filters may take; httpx and servers refuse a little more."""


def check_version(version: object) -> str:
    """Return a value for the `anthropic-version` header; raises InvalidQuery for no date."""
    if not isinstance(version, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", version, re.ASCII):
        raise InvalidQuery(f"{version!r} is no version of the API; give one like 2023-06-01")
    return version


@attrs.frozen(kw_only=True)
class Query:
    """A report over [starting_at, ending_at), which lie on bucket boundaries in UTC."""

    report: ClassVar[str]
    path: ClassVar[str]
    row: ClassVar[type[Row]]
    records: ClassVar[bool] = False
    """Whether a page holds records of one day rather than buckets."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    limit: int
    group_by: tuple[str, ...] = ()
    strict: bool = True
    anthropic_version: str = "2023-06-01"

    @property
    def width(self) -> dt.timedelta:
        """The length of one bucket."""
        return DAY

    @property
    def window(self) -> dt.timedelta:
        """The longest span that one page can hold."""
        return self.width

    @property
    def timezone(self) -> str | None:
        """The time zone whose days, weeks and months the rows are of; None for UTC."""
        return None

    def local(self, moment: dt.datetime) -> dt.datetime:
        """Return a moment on the clocks of the query's time zone."""
        return moment.astimezone(dt.UTC)

    def midnight(self, day: dt.date) -> dt.datetime:
        """Return the moment at which a day begins."""
        return dt.datetime.combine(day, dt.time(), dt.UTC)

    def bucket_end(self, starting_at: dt.datetime) -> dt.datetime:
        """Return where the bucket that starts at `starting_at` ends."""
        return starting_at + self.width

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The row dimensions this query asks for, in the rows' order."""
        return tuple(name for name in self.row.DIMENSIONS if name in self.group_by)

    @property
    def never_null(self) -> tuple[str, ...]:
        """The dimensions of these that every result has, once it is grouped by them."""
        return ()

    @property
    def filtered(self) -> Mapping[str, tuple[str, ...]]:
        """Row dimensions -> the only values asked for."""
        return {}

    def requests(self, now: dt.datetime) -> int:
        """Return how many requests the report takes at least: one a page, up to `now`."""
        end = min(self.ending_at, max(self.starting_at + self.width, now + DAY))
        windows = -(-(end - self.starting_at) // self.window)
        return windows * self.pages

    @property
    def pages(self) -> int:
        """How many pages a whole window takes at least."""
        return -(-(self.window // self.width) // self.limit)

    def columns(self) -> tuple[str, ...]:
        """The fields worth showing of this query's rows: no column for what was not asked."""
        row = self.row
        return (*row.TIME, *self.dimensions, *row.MEASURES, *row.DERIVED, *row.NESTED)

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """The filters by names and ids, in which a slip of the pen matches nothing: row dimension
        -> values."""
        return {}

    def check_fold(self, dimensions: tuple[str, ...]) -> None:
        """Raise InvalidQuery unless rows of this query can be folded by `dimensions`."""
        anyway = (*self.row.TIME[:1], *self.row.BREAKDOWN, *PERIODS)
        known = (*self.row.TIME[:1], *self.row.DIMENSIONS, *self.row.BREAKDOWN, *PERIODS)
        available = {*anyway, *self.dimensions}
        for name in dimensions:
            if name not in known:
                raise InvalidQuery(_unknown("by()", name, known))
            if name not in available:
                by_description = self.report == "cost" and name in COST_DESCRIPTION_DIMENSIONS
                source = "description" if by_description else name
                raise InvalidQuery(
                    f"by({name!r}) needs the report grouped by it: "
                    f"add {source!r} to group_by ({self._asked()})"
                )

    def request(
        self, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        """Build the request for one page, as keyword arguments of `httpx.Client.build_request`."""
        raise AssertionError(f"{type(self).__name__} builds no request")  # pragma: no cover

    def describe(self) -> dict[str, Any]:
        """Return the query as plain JSON values, as the commands print it."""
        return {
            "report": self.report,
            "starting_at": rfc3339(self.starting_at),
            "ending_at": rfc3339(self.ending_at),
            "group_by": list(self.group_by),
        }

    def _asked(self) -> str:
        return f"group_by={list(self.group_by)}" if self.group_by else "nothing is grouped by now"


@attrs.frozen(kw_only=True)
class UsageQuery(Query):
    """Tokens used through the Messages API (`/v1/organizations/usage_report/messages`)."""

    report: ClassVar = "usage"
    path: ClassVar = "/v1/organizations/usage_report/messages"
    row: ClassVar = UsageRow

    WIDTHS: ClassVar[Mapping[str, tuple[dt.timedelta, int]]] = {
        "1d": (DAY, 31),
        "1h": (dt.timedelta(hours=1), 168),
        "1m": (dt.timedelta(minutes=1), 1440),
    }
    """Bucket width -> its length, and the most buckets a page can hold."""

    MOST_DIMENSIONS: ClassVar = 5

    bucket_width: str
    filters: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, hash=False)

    @classmethod
    def create(
        cls,
        starting_at: Moment,
        ending_at: Moment,
        *,
        bucket_width: str = "1d",
        group_by: Many | None = (),
        limit: int | None = None,
        strict: bool = True,
        anthropic_version: str = "2023-06-01",
        **filters: Many | None,
    ) -> UsageQuery:
        """Check every argument and return the query; raises InvalidQuery."""
        if not isinstance(bucket_width, str) or bucket_width not in cls.WIDTHS:
            raise InvalidQuery(_unknown("bucket_width", bucket_width, cls.WIDTHS))
        width, most = cls.WIDTHS[bucket_width]
        start, end = _range(starting_at, ending_at, width)
        dimensions = _choices("group_by", group_by, get_args(UsageGroupBy))
        if len(dimensions) > cls.MOST_DIMENSIONS:
            raise InvalidQuery(
                f"group_by takes at most {cls.MOST_DIMENSIONS} dimensions, not {len(dimensions)}: "
                "leave one out, or ask twice"
            )
        return cls(
            starting_at=start,
            ending_at=end,
            bucket_width=bucket_width,
            group_by=dimensions,
            filters=_filters(filters),
            limit=_limit(limit, most, f"a page of {bucket_width} buckets"),
            strict=strict,
            anthropic_version=anthropic_version,
        )

    @property
    def width(self) -> dt.timedelta:
        return self.WIDTHS[self.bucket_width][0]

    @property
    def never_null(self) -> tuple[str, ...]:
        return tuple(n for n in ("model", "service_tier", "context_window") if n in self.group_by)

    @property
    def filtered(self) -> Mapping[str, tuple[str, ...]]:
        return {
            name if name == "context_window" else name[:-1]: values
            for name, values in self.filters.items()
        }

    @property
    def window(self) -> dt.timedelta:
        width, most = self.WIDTHS[self.bucket_width]
        return width * most

    def request(
        self, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        by_speed = "speed" in self.group_by or "speeds" in self.filters
        return get_messages_usage_report.request(
            starting_at=starting_at,
            ending_at=ending_at,
            bucket_width=self.bucket_width,  # type: ignore[arg-type]
            group_by=list(self.group_by) or UNSET,  # type: ignore[arg-type]
            limit=self.limit,
            page=UNSET if page is None else page,
            anthropic_version=self.anthropic_version,
            anthropic_beta=FAST_MODE_BETA if by_speed else UNSET,
            **{name: list(values) for name, values in self.filters.items()},  # type: ignore[arg-type]
        )

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        return {
            name.removesuffix("s"): values
            for name, values in self.filters.items()
            if not FILTERS[name]
        }

    def describe(self) -> dict[str, Any]:
        filters = {name: list(values) for name, values in self.filters.items()}
        return {**super().describe(), "bucket_width": self.bucket_width, **filters}


@attrs.frozen(kw_only=True)
class CostQuery(Query):
    """Billed dollars (`/v1/organizations/cost_report`): completed UTC days only."""

    report: ClassVar = "cost"
    path: ClassVar = "/v1/organizations/cost_report"
    row: ClassVar = CostRow
    MOST_DAYS: ClassVar = 31

    @classmethod
    def create(
        cls,
        starting_at: Moment,
        ending_at: Moment,
        *,
        bucket_width: str = "1d",
        group_by: Many | None = (),
        limit: int | None = None,
        strict: bool = True,
        anthropic_version: str = "2023-06-01",
    ) -> CostQuery:
        """Check every argument and return the query; raises InvalidQuery."""
        if bucket_width != "1d":
            raise InvalidQuery(
                f"the cost report has no bucket_width {bucket_width!r}: it is daily, use '1d'"
            )
        start, end = _range(starting_at, ending_at, DAY)
        return cls(
            starting_at=start,
            ending_at=end,
            group_by=_choices("group_by", group_by, get_args(CostGroupBy)),
            limit=_limit(limit, cls.MOST_DAYS, "a page of days"),
            strict=strict,
            anthropic_version=anthropic_version,
        )

    @property
    def window(self) -> dt.timedelta:
        return DAY * self.MOST_DAYS

    @property
    def never_null(self) -> tuple[str, ...]:
        return ("description",) if "description" in self.group_by else ()

    @property
    def dimensions(self) -> tuple[str, ...]:
        asked = {*self.group_by, "currency"}
        if "description" in asked:
            asked.update(COST_DESCRIPTION_DIMENSIONS)
        return tuple(name for name in CostRow.DIMENSIONS if name in asked)

    def request(
        self, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        return get_cost_report.request(
            starting_at=starting_at,
            ending_at=ending_at,
            bucket_width="1d",
            group_by=list(self.group_by) or UNSET,  # type: ignore[arg-type]
            limit=self.limit,
            page=UNSET if page is None else page,
            anthropic_version=self.anthropic_version,
        )

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "bucket_width": "1d"}


@attrs.frozen(kw_only=True)
class ClaudeCodeQuery(Query):
    """Claude Code records (`/v1/organizations/usage_report/claude_code`), one day a request."""

    report: ClassVar = "claude_code"
    path: ClassVar = "/v1/organizations/usage_report/claude_code"
    row: ClassVar = ClaudeCodeRow
    records: ClassVar = True
    MOST_RECORDS: ClassVar = 1000

    @classmethod
    def create(
        cls,
        starting_at: Moment,
        ending_at: Moment,
        *,
        limit: int | None = None,
        anthropic_version: str = "2023-06-01",
    ) -> ClaudeCodeQuery:
        """Check every argument and return the query; raises InvalidQuery."""
        start, end = _range(starting_at, ending_at, DAY)
        return cls(
            starting_at=start,
            ending_at=end,
            limit=_limit(limit, cls.MOST_RECORDS, "a page of records"),
            anthropic_version=anthropic_version,
        )

    @property
    def dimensions(self) -> tuple[str, ...]:
        return ClaudeCodeRow.DIMENSIONS

    def request(
        self, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        return get_claude_code_usage_report.request(
            starting_at=starting_at.date(),
            limit=self.limit,
            page=UNSET if page is None else page,
            anthropic_version=self.anthropic_version,
        )

    @property
    def pages(self) -> int:
        return 1  # nobody knows how many records a day has


def _range(
    starting_at: Moment, ending_at: Moment, width: dt.timedelta
) -> tuple[dt.datetime, dt.datetime]:
    """Return the range of whole buckets that [starting_at, ending_at) touches.

    The API snaps the start down and drops a last bucket that is not over by `ending_at`, so an end
    at 23:59:59 would lose a day; snapping it up keeps every bucket that the range touches.
    """
    start, end = parse_moment(starting_at, "starting_at"), parse_moment(ending_at, "ending_at")
    if start == end:
        raise InvalidQuery(
            f"the range is empty: starting_at and ending_at are both {rfc3339(start)}, "
            "and ending_at is exclusive"
        )
    if start > end:
        raise InvalidQuery(
            f"the range is reversed: starting_at {rfc3339(start)} lies after "
            f"ending_at {rfc3339(end)}; swap them"
        )
    try:
        return floor(start, width), ceil(end, width)
    except OverflowError:
        raise InvalidQuery(f"ending_at {rfc3339(end)} is too far away") from None


def _limit(limit: int | None, most: int, what: str) -> int:
    if limit is None:
        return most
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise InvalidQuery(
            f"limit={limit!r} is out of range: {what} takes 1 to {most} "
            "(it is a page size; the report is always read to its end)"
        )
    return limit


def _many(name: str, value: Many | None) -> tuple[str, ...]:
    """Return one string or several as a tuple without repeats; None is none."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = (value,)
    elif isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidQuery(f"{name}={value!r} is neither a string nor several strings")
    strings = list(value)
    for string in strings:
        if not isinstance(string, str) or not string or not string.isprintable():
            raise InvalidQuery(f"{name} holds {string!r}, which is no identifier")
    return tuple(dict.fromkeys(strings))


def _choices(name: str, value: Many | None, known: Iterable[str]) -> tuple[str, ...]:
    """Return one choice or several, each of which must be known."""
    choices = _many(name, value)
    known = tuple(known)
    for choice in choices:
        if choice not in known:
            raise InvalidQuery(_unknown(name, choice, known))
    return choices


def _filters(given: Mapping[str, Many | None]) -> dict[str, tuple[str, ...]]:
    filters: dict[str, tuple[str, ...]] = {}
    for name, value in given.items():
        if name not in FILTERS:
            raise InvalidQuery(_unknown("the usage report", name, FILTERS))
        if value is None:
            continue
        values = _choices(name, value, FILTERS[name]) if FILTERS[name] else _many(name, value)
        if not values:
            raise InvalidQuery(f"{name} is empty and would match nothing; leave it out for all")
        filters[name] = values
    length = sum(len(quote(value)) + 32 for values in filters.values() for value in values)
    if length > _LONGEST_FILTERS:
        raise InvalidQuery(
            f"the filters hold {sum(map(len, filters.values())):,} values, more than one request "
            "can: ask for fewer, or group by the dimension and pick from the answer"
        )
    return filters


def _unknown(what: str, given: object, known: Iterable[str]) -> str:
    """Say that `given` is not among the `known`, and which of them is nearest."""
    known = tuple(known)
    word = str(given)
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6) or [
        name for name in known if word and (word.lower() in name or name in word.lower())
    ]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{what} does not know {given!r}{hint}; it takes {', '.join(known)}"
