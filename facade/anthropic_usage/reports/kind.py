"""What the engine, sinks, lake, command line and agent may ask of a report, and nothing else.

A report is a `Kind`. A question to it is a `Query`, frozen and checked; an answer is a `Page`,
which a `Proof` takes or refuses and `spans` makes readable. Whatever has to know which report it
has in hand belongs into that report's own file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import attrs
import msgspec

from ..errors import IncompleteReport, IncompleteReportWarning, InvalidQuery, warn
from ..fields import Fields, Money, Row, Span, unreadable
from ..moments import DAY, Moment, in_utc, rfc3339
from .query import Many, Query, check_choices, check_filters, check_limit, check_range, unknown

__all__ = [
    "SETTLING",
    "Figure",
    "Kind",
    "Page",
    "Part",
    "Proof",
    "When",
    "Width",
    "Window",
    "decoded",
    "hole",
    "said",
]

R = TypeVar("R", bound=Row)
T = TypeVar("T")
When = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""A moment in an answer."""

SETTLING: Final = dt.timedelta(hours=1)
"""How long the newest data can still be missing or change. Anthropic says about 5 minutes,
sometimes later (manage-claude/usage-cost-api), and for Claude Code an hour
(claude-code-analytics-api)."""


@attrs.frozen
class Window:
    """A span [starting_at, ending_at) that one walk of pages takes."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    last: bool = False
    """Whether nothing later seemed worth asking for when the range was cut."""


class Width(NamedTuple):
    """How long a bucket is, the most of `limit`, and how long a span one walk of pages takes."""

    length: dt.timedelta
    most: int
    window: dt.timedelta


class Page(msgspec.Struct, Generic[T]):
    """An answer of a report."""

    data: list[T]
    has_more: bool
    next_page: str | None


@attrs.frozen
class Part:
    """A page of a report, proven to follow on what came before it in its window."""

    page: Page[Any]
    body: bytes = attrs.field(repr=False)
    """The JSON as the API sent it."""
    begins: dt.datetime
    ends: dt.datetime
    """The page covers [begins, ends)."""
    now: dt.datetime
    """The API's time when it answered."""

    @property
    def size(self) -> int:
        """How many bytes of JSON the page was."""
        return len(self.body)


class Figure(NamedTuple):
    """A column of numbers in a table: the sum of fields of a row.

    As a `share`, the first of them as a part of the sum of all.
    """

    heading: str
    of: tuple[str, ...]
    share: bool = False
    gives_way: int | None = None
    """The place in the order in which columns give way to a narrow terminal."""


class Proof:
    """Proves that a window's pages are whole; everything else about them is an IncompleteReport."""

    def __init__(self, query: Query, window: Window) -> None:
        self.query, self.window = query, window
        self.last = window.starting_at
        """How far the window is proven."""

    def take(self, page: Any, body: bytes) -> None:
        """Take the next page, and the bytes it was."""
        raise AssertionError(f"{type(self).__name__} takes no page")  # pragma: no cover

    def finish(self, now: dt.datetime, here: dt.datetime | None) -> None:
        """Take the window as ended; what has no data had no use.

        `here` is this machine's time, where `now`, the answer's, lies far behind it.
        """
        self.last = self.window.ending_at

    def excuses(self, status: int, message: str, now: dt.datetime) -> bool:
        """Tell whether a refusal only means that nothing of the window can be there yet."""
        return False

    def broken(self, what: str) -> IncompleteReport:
        """Return the error for pages that are not whole."""
        return IncompleteReport(f"the {self.query.report} report is not whole: {what}")


class Kind(Generic[R]):
    """A report. Each subclass has one instance, which nothing changes."""

    name: ClassVar[str]
    fields: Fields[R]
    widths: ClassVar[Mapping[str, Width]]
    widths_said: ClassVar[bool] = True
    """Whether a question to it has a bucket width at all."""
    path: ClassVar[str]
    """Where the API has it."""
    largest_by: ClassVar[str]
    """The column by which groups are sorted, largest first."""
    most_dimensions: ClassVar[int] = 5
    filters: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The parameters that filter, and the values they take; none is anything."""
    whole_days: ClassVar[str] = ""
    """Why it has no days of a time zone, if so."""
    page_of: ClassVar[str] = "a page"
    """What `limit` counts, in words."""
    holds: ClassVar[str] = ""
    """What it holds, if it refuses a range of which it holds nothing yet."""
    pages_known: ClassVar[bool] = True
    """Whether a range tells how many pages it takes."""
    in_buckets: ClassVar[bool] = True
    """Whether it is cut into buckets; if not, it is a list of records."""
    title: ClassVar[str]
    caveats: ClassVar[tuple[str, ...]] = ()
    """What whoever shows its numbers must say, once."""
    unsettled: ClassVar[str] = "What is later than settled_until can still grow."
    """What is to be said of a range that is not settled."""
    table: ClassVar[tuple[str, ...]] = ()
    """The headings of figures in a table's order; those that are not named follow."""
    shares: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Headings of shares -> the fields that they are of."""
    gives_way: ClassVar[tuple[str, ...]] = ()
    """The headings that a narrow terminal has no room for, the first to go first."""

    def request(
        self, query: Query, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        """Return the request for one page, as `httpx.Client.build_request` takes it."""
        raise AssertionError(f"{self.name} builds no request")  # pragma: no cover

    def decode(self, body: bytes) -> Page[Any]:
        """Return an answer as a page; raises IncompleteReport for any other shape.

        Results stay bytes until they are read: whoever keeps a page unread runs `check` once.
        """
        raise AssertionError(f"{self.name} decodes nothing")  # pragma: no cover

    def spans(self, query: Query, page: Page[Any]) -> Iterator[Span]:
        """Yield what a page holds, a bucket or a day at a time, in time order."""
        raise AssertionError(f"{self.name} has no spans")  # pragma: no cover

    def proof(self, query: Query, window: Window) -> Proof:
        """Return what proves a window whole."""
        return Proof(query, window)

    def ask(
        self,
        starting_at: Moment,
        ending_at: Moment,
        *,
        bucket_width: str = "1d",
        group_by: Many | None = (),
        limit: int | None = None,
        strict: bool = True,
        anthropic_version: str = "2023-06-01",
        **filters: Many | None,
    ) -> Query:
        """Check every argument and return the question; raises InvalidQuery."""
        if len(self.widths) == 1 and bucket_width not in list(self.widths):
            raise InvalidQuery(
                f"the {self.name} report has no bucket_width {bucket_width!r}: it is daily, "
                f"use {next(iter(self.widths))!r}"
            )
        if not isinstance(bucket_width, str) or bucket_width not in self.widths:
            raise InvalidQuery(unknown("bucket_width", bucket_width, self.widths))
        width = self.widths[bucket_width]
        start, end = check_range(starting_at, ending_at, width.length)
        dimensions = check_choices("group_by", group_by, self.fields.groups)
        self.check_groups(dimensions)
        return Query(
            kind=self,
            starting_at=start,
            ending_at=end,
            bucket_width=bucket_width,
            group_by=dimensions,
            filters=check_filters(self.name, self.filters, filters),
            limit=check_limit(limit, width.most, self.page_of.format(width=bucket_width)),
            strict=strict,
            anthropic_version=anthropic_version,
        )

    def check_groups(self, group_by: tuple[str, ...]) -> None:
        """Raise InvalidQuery for more dimensions than the API groups by."""
        if len(group_by) > self.most_dimensions:
            raise InvalidQuery(
                f"group_by takes at most {self.most_dimensions} dimensions, not {len(group_by)}: "
                "leave one out, or ask twice"
            )

    def figures(self) -> list[Figure]:
        """Return the columns of numbers that a table has."""
        fields = self.fields
        added: dict[str, tuple[str, ...]] = dict(self.shares)
        for name in (*fields.measures, *fields.derived):
            if name in fields.headings and not isinstance(fields.all[name], Money):
                heading = fields.headings[name]
                added[heading] = (*added.get(heading, ()), name)
        order = [*self.table, *(heading for heading in added if heading not in self.table)]
        return [
            Figure(
                heading,
                added[heading],
                heading in self.shares,
                self.gives_way.index(heading) if heading in self.gives_way else None,
            )
            for heading in order
        ]

    def coarser(self, query: Query) -> list[tuple[str, ...]]:
        """Return by what to sum up where rows are too many, finest first."""
        asked = query.dimensions
        levels = [("day", *asked)] if query.width < DAY else []
        levels += [("week", *asked), ("month", *asked), asked, *self.summaries(asked)]
        levels += [("day",), ("month",)]
        return [level for level in dict.fromkeys(levels) if level]

    def summaries(self, asked: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Return what is most worth knowing of these dimensions."""
        if "model" in asked:
            return [("day", "model"), ("model",)]
        return [asked[:1]]

    def more(self, row: R) -> dict[str, Any]:
        """Return what is worth saying of a row beyond its columns."""
        return {}

    def __repr__(self) -> str:
        return f"<{self.name} report>"


def decoded(decoder: msgspec.json.Decoder[T], body: bytes, report: str) -> T:
    """Return what a body holds; raises IncompleteReport for any other shape."""
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise unreadable(report, error) from None


def hole(query: Query, start: dt.datetime, end: dt.datetime) -> None:
    """Refuse a report with nothing from `start` to `end`, or warn if it is not to be strict."""
    missing = f"no bucket from {said(start)} to {said(end)}"
    if query.strict:
        raise IncompleteReport(
            f"the {query.report} report is not whole: {missing} "
            "(strict=False or --allow-gaps makes this a warning)"
        )
    warn(f"the {query.report} report has a hole: {missing}", IncompleteReportWarning)


def said(moment: dt.datetime) -> str:
    """Write a moment as messages do."""
    return rfc3339(in_utc(moment))
