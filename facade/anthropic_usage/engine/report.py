"""The lazy report: a question that is asked when it is iterated, summed up or written somewhere.

Each of these asks the API anew, in constant memory; `collect()` asks once and keeps the answer.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast, overload

from ..errors import InvalidQuery, NothingMatchedWarning, warn
from ..fields import Row
from ..moments import DAY, floor, rfc3339, utc_now
from ..reports import SETTLING, Part, Query, hole
from ..sinks.columns import ArrowSink, ParquetSink, require, to_pandas, to_polars
from ..sinks.delimited import CsvSink, NdjsonSink
from ..sinks.sink import Sink
from .fold import Fold
from .groups import Groups, as_html, flat

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = ["AsyncReport", "Collected", "Report"]

R = TypeVar("R", bound=Row)
T = TypeVar("T")
Target = str | os.PathLike[str] | IO[str]


class Parts(Protocol):
    """Parts of a report, to be closed behind their reader."""

    def __aiter__(self) -> AsyncIterator[Part]: ...

    async def aclose(self) -> None: ...


class _Extent:
    """How far a report was read, and whether its windows join up."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.ends = query.starting_at
        self.now: dt.datetime | None = None
        self.pages = 0
        self.empty = bool(query.named)
        """Whether a filter by names or ids has matched nothing so far."""

    def take(self, part: Part) -> Part:
        """Take the next part; one that does not follow on is an IncompleteReport."""
        if part.page.data and part.begins > self.ends:
            hole(self.query, self.ends, part.begins)
        self.ends = max(self.ends, part.ends)
        self.now = part.now
        self.pages += 1
        self.empty = self.empty and next(self.query.rows(part.page), None) is None
        return part

    def settled_until(self) -> dt.datetime:
        """Return up to where nothing can change; raises InvalidQuery if no day has closed."""
        query = self.query
        if query.starting_at > (self.now or utc_now()):
            raise InvalidQuery(
                f"starting_at (--since) {rfc3339(query.starting_at)} lies in the future: "
                "not one day of it exists yet"
            )
        if query.kind.holds and self.ends <= query.starting_at:
            raise InvalidQuery(
                f"no day from {query.starting_at:%Y-%m-%d} on has closed yet: {query.kind.holds}, "
                "the first of these closes at "
                f"{rfc3339(query.starting_at + DAY)}; start earlier, or ask for usage"
            )
        if self.now is None:
            return self.ends
        if self.ends < query.ending_at and self.ends + query.width <= self.now - SETTLING:
            # The windows were cut by this machine's clock, and that is slow.
            hole(query, self.ends, min(query.ending_at, floor(self.now, query.width)))
        return min(self.ends, self.now - SETTLING)


class _Lazy(Generic[R]):
    """What sync and async reports share."""

    query: Query
    """The question, checked."""

    settled_until: dt.datetime | None
    """Up to here the answer is whole and will not change; later buckets may still grow or did not
    exist yet. None until the report was read to its end once."""

    read_at: dt.datetime | None
    """The API's time when the answer was read to its end; None before."""

    _again: Callable[[Query], Any] | None

    pages: int | None
    """How many pages the last complete reading took; None before."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.settled_until = None
        self.read_at = None
        self.pages = None

    def __repr__(self) -> str:
        facts = " ".join(f"{name}={value!r}" for name, value in self.query.describe().items())
        return f"<{type(self).__name__} {facts}>"

    def _end(self, extent: _Extent) -> None:
        self.settled_until = extent.settled_until()
        self.read_at = extent.now
        self.pages = extent.pages
        if extent.empty and extent.ends > self.query.starting_at:
            asked = (
                f"{name} {value!r}" for name, values in self.query.named.items() for value in values
            )
            warn(
                f"nothing in this range matches {', '.join(asked)}: use that is zero, or a name "
                "that nothing has; group_by shows which there are",
                NothingMatchedWarning,
            )

    def _finer(self, dimensions: tuple[str, ...]) -> Query:
        """Return the question that can be summed by these: this one, if it can."""
        query, fields = self.query, self.query.kind.fields
        known = [name for name in dimensions if name in fields.dimensions]
        missing = [name for name in fields.needed(known) if name not in query.group_by]
        if not missing or self._again is None:
            query.check_fold(dimensions)
            return query
        finer = query.grouped((*query.group_by, *missing))
        finer.check_fold(dimensions)
        return finer

    def _like(self, other: _Lazy[R]) -> None:
        self.settled_until = other.settled_until
        self.read_at = other.read_at
        self.pages = other.pages


class Report(_Lazy[R]):
    """A report over blocking I/O.

    Iterating yields rows in time order. Every method that reads raises IncompleteReport if the
    answer cannot be proven whole, ApiError or one of its kinds if the API refuses, and
    ConnectionFailed if it cannot be reached.
    """

    def __init__(
        self,
        query: Query,
        source: Callable[[], Generator[Part]],
        drive: Callable[[Callable[[Part], None]], None] | None = None,
        again: Callable[[Query], Report[R]] | None = None,
    ) -> None:
        """Make a report of the parts of `source`.

        `drive` hands all parts to a function that does not block, where that is cheaper than to
        hand over one by one; `again` asks another question of the same kind.
        """
        super().__init__(query)
        self._again = again
        self._source = source
        self._drive = drive

    def __iter__(self) -> Iterator[R]:
        with contextlib.closing(self.parts()) as parts:
            for part in parts:
                yield from self.query.rows(part.page)

    def parts(self) -> Generator[Part]:
        """Yield the proven pages, each with the very bytes that the API sent."""
        extent = _Extent(self.query)
        with contextlib.closing(self._source()) as source:
            for part in source:
                yield extent.take(part)
                del part  # or it would be kept while the next one is fetched
        self._end(extent)

    def by(self, *dimensions: str | Iterable[str]) -> Groups[R]:
        """Return one row a group, measures summed, largest first; in time order if by a period.

        `dimensions` are dimensions of the row, one by one or in a list, and `day`, `week`, `month`.
        What the report is not grouped by yet is asked for as well.
        """
        asked = flat(dimensions)
        finer = self._finer(asked)
        if finer is not self.query and self._again is not None:
            report = self._again(finer)
            groups: Groups[R] = report.by(*asked)
            self._like(report)
            return groups
        rows = self._add_up(_Sums[R](self.query, asked))
        return Groups(rows, self.query, asked, self.settled_until)

    def totals(self) -> R:
        """Return everything as one row."""
        return self._add_up(_Sums[R](self.query, ()))[0]

    def collect(self) -> Collected[R]:
        """Return the same report, held in memory: asking it anything more costs no request.

        It has a length, and its rows have indices.
        """
        kept = [_readable(part, self.query) for part in self.parts()]
        report: Collected[R] = Collected(self.query, lambda: (part for part in kept))
        report._like(self)
        return report

    def to_csv(self, target: Target, *, excel_safe: bool = True) -> None:
        """Write rows as CSV to a path (which appears when whole) or an open text file.

        With `excel_safe` a name or description that a spreadsheet would take for a formula gets an
        apostrophe in front.
        """
        self._pour(CsvSink(self.query, target, excel_safe))

    def to_ndjson(self, target: Target) -> None:
        """Write rows as one JSON object a line to a path or an open text file."""
        self._pour(NdjsonSink(self.query, target))

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file with decimal money. Needs the extra `arrow`."""
        self._pour(ParquetSink(self.query, path))

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table with decimal money. Needs the extra `arrow`."""
        return self._add_up(ArrowSink(self.query))

    def to_pandas(self, *, money: Literal["decimal", "float"] = "decimal") -> pandas.DataFrame:
        """Return a pandas frame; money is `Decimal`, or a float, which is not exact.

        Needs the extra `pandas`.
        """
        require("pandas", "pandas")
        return to_pandas(self.to_arrow(), money)

    def to_polars(self) -> polars.DataFrame:
        """Return a Polars frame. Needs the extra `polars`."""
        require("polars", "polars")
        return to_polars(self.to_arrow())

    def _add_up(self, sink: Sink[T]) -> T:
        """Read into a sink that only computes: beside the decoder, without handing pages over."""
        if self._drive is None:
            return self._pour(sink)
        extent = _Extent(self.query)
        self._drive(lambda part: sink.add(extent.take(part).page))
        self._end(extent)
        return sink.finish()

    def _pour(self, sink: Sink[T]) -> T:
        """Read into a sink that may write somewhere, in the caller's thread."""
        try:
            with contextlib.closing(self.parts()) as parts:
                for part in parts:
                    sink.add(part.page)
                    del part
            return sink.finish()
        except BaseException:
            sink.abort()
            raise


class Collected(Report[R]):
    """A report held in memory: it has a length, and its rows have indices."""

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> list[R]: ...
    def __getitem__(self, place: int | slice) -> R | list[R]:
        return self._held[place]

    @functools.cached_property
    def _held(self) -> list[R]:
        return [row for part in self._source() for row in self.query.rows(part.page)]

    def _repr_html_(self) -> str:
        return as_html(self.query.columns(), self._held)


class AsyncReport(_Lazy[R]):
    """A report over asyncio: the same as `Report`, with `async for` and `await`."""

    def __init__(
        self,
        query: Query,
        source: Callable[[], Parts],
        again: Callable[[Query], AsyncReport[R]] | None = None,
    ) -> None:
        super().__init__(query)
        self._source = source
        self._again = again

    async def __aiter__(self) -> AsyncGenerator[R]:
        async with contextlib.aclosing(self.parts()) as parts:
            async for part in parts:
                for row in self.query.rows(part.page):
                    yield row

    async def parts(self) -> AsyncGenerator[Part]:
        """Yield the proven pages, each with the very bytes that the API sent."""
        extent = _Extent(self.query)
        async with contextlib.aclosing(self._source()) as source:
            async for part in source:
                yield extent.take(part)
                del part
        self._end(extent)

    def by(self, *dimensions: str | Iterable[str]) -> Awaitable[Groups[R]]:
        """See `Report.by`."""
        asked = flat(dimensions)
        return self._by(asked, self._finer(asked))

    async def _by(self, asked: tuple[str, ...], finer: Query) -> Groups[R]:
        if finer is not self.query and self._again is not None:
            report = self._again(finer)
            groups: Groups[R] = await report.by(*asked)
            self._like(report)
            return groups
        rows = await self._pour(_Sums[R](self.query, asked))
        return Groups(rows, self.query, asked, self.settled_until)

    async def totals(self) -> R:
        """See `Report.totals`."""
        return (await self._pour(_Sums[R](self.query, ())))[0]

    async def collect(self) -> AsyncReport[R]:
        """See `Report.collect`."""
        kept = [_readable(part, self.query) async for part in self.parts()]

        async def again() -> AsyncGenerator[Part]:
            for part in kept:
                yield part

        report: AsyncReport[R] = AsyncReport(self.query, again)
        report._like(self)
        return report

    async def to_csv(self, target: Target, *, excel_safe: bool = True) -> None:
        """See `Report.to_csv`."""
        await self._pour(CsvSink(self.query, target, excel_safe))

    async def to_ndjson(self, target: Target) -> None:
        """See `Report.to_ndjson`."""
        await self._pour(NdjsonSink(self.query, target))

    async def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """See `Report.to_parquet`."""
        await self._pour(ParquetSink(self.query, path))

    async def to_arrow(self) -> pyarrow.Table:
        """See `Report.to_arrow`."""
        return await self._pour(ArrowSink(self.query))

    async def to_pandas(
        self, *, money: Literal["decimal", "float"] = "decimal"
    ) -> pandas.DataFrame:
        """See `Report.to_pandas`."""
        require("pandas", "pandas")
        return to_pandas(await self.to_arrow(), money)

    async def to_polars(self) -> polars.DataFrame:
        """See `Report.to_polars`."""
        require("polars", "polars")
        return to_polars(await self.to_arrow())

    async def _pour(self, sink: Sink[T]) -> T:
        try:
            async with contextlib.aclosing(self.parts()) as parts:
                async for part in parts:
                    sink.add(part.page)
                    del part
            return sink.finish()
        except BaseException:
            sink.abort()
            raise


def _readable(part: Part, query: Query) -> Part:
    """Return the part once its every result was read; raises IncompleteReport."""
    query.check(part.page)
    return part


class _Sums(Generic[R]):
    """A fold as a sink."""

    def __init__(self, query: Query, dimensions: tuple[str, ...]) -> None:
        self._fold = Fold(query, dimensions)
        self.add = self._fold.add

    def finish(self) -> list[R]:
        return cast("list[R]", self._fold.rows())

    def abort(self) -> None:
        """A sum leaves nothing behind."""
