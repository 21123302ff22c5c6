"""What to ask: a frozen question whose every argument was checked before any request."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs

from ..errors import IncompleteReport, InvalidQuery
from ..fields import PERIODS, Row, Span
from ..moments import DAY, Moment, ceil, floor, in_utc, parse_moment, rfc3339

if TYPE_CHECKING:
    from .kind import Kind, Page

__all__ = [
    "PERIODS",
    "Many",
    "Query",
    "check_choices",
    "check_filters",
    "check_limit",
    "check_range",
    "check_version",
    "unknown",
]

Many = str | Iterable[str]
"""One string or several."""

_LONGEST_FILTERS: Final = 60_000
"""Characters of a URL that filters may take; httpx and servers refuse a little more."""


@attrs.frozen(kw_only=True)
class Query:
    """A question about [starting_at, ending_at), which lie on bucket boundaries in UTC."""

    kind: Kind[Any] = attrs.field(repr=lambda kind: kind.name)
    starting_at: dt.datetime
    ending_at: dt.datetime
    bucket_width: str = "1d"
    limit: int
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, hash=False)
    strict: bool = True
    anthropic_version: str = "2023-06-01"

    @property
    def report(self) -> str:
        """The report's name."""
        return self.kind.name

    @property
    def row(self) -> type[Row]:
        """What its rows are."""
        return self.kind.fields.row

    @property
    def width(self) -> dt.timedelta:
        """The length of one bucket."""
        return self.kind.widths[self.bucket_width].length

    @property
    def window(self) -> dt.timedelta:
        """The longest span that one walk of pages takes."""
        return self.kind.widths[self.bucket_width].window

    @property
    def timezone(self) -> str | None:
        """The time zone whose days, weeks and months the rows are of; None for UTC."""
        return None

    def local(self, moment: dt.datetime) -> dt.datetime:
        """Return a moment on the clocks of the query's time zone."""
        return in_utc(moment)

    def midnight(self, day: dt.date) -> dt.datetime:
        """Return the moment at which a day begins."""
        return dt.datetime.combine(day, dt.time(), dt.UTC)

    def bucket_end(self, starting_at: dt.datetime) -> dt.datetime:
        """Return where the bucket that starts at `starting_at` ends."""
        return starting_at + self.width

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The row dimensions that the report fills in, in the rows' order."""
        return self.kind.fields.asked(self.group_by)

    @property
    def filtered(self) -> Mapping[str, tuple[str, ...]]:
        """Row dimensions -> the only values asked for."""
        return {
            name: self.filters[field.filter]
            for name, field in self.kind.fields.dimensions.items()
            if field.filter in self.filters
        }

    @property
    def named(self) -> Mapping[str, tuple[str, ...]]:
        """The filters by names and ids, in which a slip of the pen matches nothing: row dimension
        -> values."""
        return {
            name: self.filters[field.filter]
            for name, field in self.kind.fields.dimensions.items()
            if field.filter in self.filters and not field.values
        }

    def columns(self) -> tuple[str, ...]:
        """Return the fields worth showing: no column for what was not asked."""
        return self.kind.fields.columns(self.dimensions)

    def group_columns(self, by: Iterable[str]) -> tuple[str, ...]:
        """Return the fields that rows summed by these have something in."""
        fields, wanted = self.kind.fields, set(by)
        wanted |= {fields.dimensions[name].apart for name in by if name in fields.dimensions}
        periods = tuple(name for name in by if name in PERIODS)
        timed = tuple(fields.time) if periods or wanted & set(fields.time) else ()
        named = tuple(n for n in (*fields.dimensions, *fields.breakdown) if n in wanted)
        columns = (*periods, *timed, *named, *fields.measures, *fields.derived)
        return tuple(dict.fromkeys((*columns, *fields.nested_columns)))

    def grouped(self, group_by: tuple[str, ...]) -> Query:
        """Return the same question grouped by these; raises InvalidQuery if they are too many."""
        self.kind.check_groups(group_by)
        return attrs.evolve(self, group_by=group_by)

    def requests(self, now: dt.datetime) -> int:
        """Return how many requests the report takes at least: one a page, up to `now`."""
        end = min(self.ending_at, max(self.starting_at + self.width, now + DAY))
        windows = -(-(end - self.starting_at) // self.window)
        pages = -(-(self.window // self.width) // self.limit) if self.kind.pages_known else 1
        return windows * pages

    def request(
        self, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        """Build the request for one page, as keyword arguments of `httpx.Client.build_request`."""
        return self.kind.request(self, starting_at, ending_at, page)

    def decode(self, body: bytes) -> Page[Any]:
        """Return an answer as a page; raises IncompleteReport for any other shape.

        Results stay bytes until they are read: whoever keeps a page unread runs `check` once.
        """
        return self.kind.decode(body)

    def spans(self, page: Page[Any]) -> Iterator[Span]:
        """Yield what a page holds, a bucket or a day at a time, in time order."""
        return self.kind.spans(self, page)

    def rows(self, page: Page[Any]) -> Iterator[Any]:
        """Yield a page's rows in the answer's order; any other shape is an IncompleteReport."""
        for span in self.spans(page):
            yield from self.kind.fields.rows(span)

    def check(self, page: Page[Any]) -> None:
        """Read every result once; raises IncompleteReport for any other shape."""
        for span in self.spans(page):
            self.kind.fields.check(span)

    @property
    def fit(self) -> Callable[[list[Any], dt.datetime], None] | None:
        """What refuses results that were grouped or filtered otherwise than asked, if it can be
        told; it raises IncompleteReport.

        What may be null in any row (a workspace, a key) cannot tell that it was not grouped by.
        """
        fields = self.kind.fields.dimensions
        certain = tuple(n for n in self.group_by if n in fields and fields[n].certain)
        filtered = self.filtered
        if not certain and not filtered:
            return None

        def check(results: list[Any], start: dt.datetime) -> None:
            for name in certain:
                if all(getattr(result, name) is None for result in results):
                    raise self._no_answer(
                        f"it was to be grouped by {name}, and no result of {_minute(start)} has one"
                    )
            for name, wanted in filtered.items():
                grouped = name in self.group_by and fields[name].echoed
                for value in {getattr(result, name) for result in results}:
                    if not (_matches(value, wanted) if value is not None else not grouped):
                        raise self._no_answer(
                            f"only {name} {', '.join(wanted)[:80]} was asked for, and "
                            f"{_minute(start)} has {str(value)[:80]!r}"
                        )

        return check

    def _no_answer(self, why: str) -> IncompleteReport:
        return IncompleteReport(f"the {self.report} report is no answer to the question: {why}")

    def check_fold(self, dimensions: Iterable[str]) -> None:
        """Raise InvalidQuery unless rows of this query can be summed by `dimensions`."""
        fields = self.kind.fields
        anyway = (fields.clock, *fields.breakdown, *PERIODS)
        known = (fields.clock, *fields.dimensions, *fields.breakdown, *PERIODS)
        available = {*anyway, *self.dimensions}
        for name in dimensions:
            if name not in known:
                raise InvalidQuery(unknown("by()", name, known))
            if name not in available:
                by = list(self.group_by)
                raise InvalidQuery(
                    f"by({name!r}) needs the report grouped by it: add "
                    f"{fields.source(name)!r} to group_by "
                    f"({f'group_by={by}' if by else 'nothing is grouped by now'})"
                )

    def describe(self) -> dict[str, Any]:
        """Return the query as plain JSON values, as the commands print it."""
        return {
            "report": self.report,
            "starting_at": rfc3339(self.starting_at),
            "ending_at": rfc3339(self.ending_at),
            "group_by": list(self.group_by),
            **({"bucket_width": self.bucket_width} if self.kind.widths_said else {}),
            **{name: list(values) for name, values in self.filters.items()},
        }


def _matches(value: str, wanted: tuple[str, ...]) -> bool:
    """Tell whether a filter lets a value through; a model may be named without its date."""
    return value in wanted or any(value.startswith(f"{name}-") for name in wanted)


def _minute(moment: dt.datetime) -> str:
    return f"{in_utc(moment):%Y-%m-%dT%H:%MZ}"


def check_version(version: object) -> str:
    """Return a value for the `anthropic-version` header; raises InvalidQuery for no date."""
    if not isinstance(version, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", version, re.ASCII):
        raise InvalidQuery(f"{version!r} is no version of the API; give one like 2023-06-01")
    return version


def check_range(
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


def check_limit(limit: int | None, most: int, what: str) -> int:
    """Return a page size; raises InvalidQuery for one that the API would refuse."""
    if limit is None:
        return most
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise InvalidQuery(
            f"limit={limit!r} is out of range: {what} takes 1 to {most} "
            "(it is a page size; the report is always read to its end)"
        )
    return limit


def check_choices(name: str, value: Many | None, known: Iterable[str]) -> tuple[str, ...]:
    """Return one choice or several, each of which must be known."""
    choices = _many(name, value)
    known = tuple(known)
    for choice in choices:
        if choice not in known:
            raise InvalidQuery(unknown(name, choice, known))
    return choices


def check_filters(
    report: str, known: Mapping[str, tuple[str, ...]], given: Mapping[str, Many | None]
) -> dict[str, tuple[str, ...]]:
    """Return filters that a request can hold, `known` being what each takes (none: anything)."""
    filters: dict[str, tuple[str, ...]] = {}
    for name, value in given.items():
        if name not in known:
            raise InvalidQuery(unknown(f"the {report} report", name, known))
        if value is None:
            continue
        values = check_choices(name, value, known[name]) if known[name] else _many(name, value)
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


def unknown(what: str, given: object, known: Iterable[str]) -> str:
    """Say that `given` is not among the `known`, and which of them is nearest."""
    known = tuple(known)
    word = str(given)
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6) or [
        name for name in known if word and (word.lower() in name or name in word.lower())
    ]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{what} does not know {given!r}{hint}; it takes {', '.join(known)}"


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
