"""What a row's field says of itself, once; the answer's structs, rows and sums follow from it.

    class UsageRow(Bucketed, frozen=True, gc=False, kw_only=True):
        model: Annotated[str | None, Dimension("model", filter="models")] = None
        output_tokens: Annotated[int, Measure("output tokens", into="total_tokens")]
        total_tokens = Total("all tokens")

At import `fields_of(UsageRow)` makes of these the structs of the answer, what turns its results
into rows and what adds them up, names, headings, filters, and what null stands for. To a type
checker rows are plain classes.
"""

from __future__ import annotations

import datetime as dt
import functools
import operator
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    NamedTuple,
    Self,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
    overload,
)

import attrs
import msgspec

from ..errors import IncompleteReport
from ..money import add, parse_amount
from .compiled import answer_of, compiled, source_of_adder, source_of_maker

__all__ = [
    "ALWAYS",
    "PERIODS",
    "Breakdown",
    "Count",
    "Derived",
    "Dimension",
    "Field",
    "Fields",
    "Measure",
    "Money",
    "Nested",
    "Row",
    "Span",
    "Time",
    "Total",
    "fields_of",
    "unreadable",
]

R = TypeVar("R", bound="Row")
T = TypeVar("T")

ALWAYS: Final = "*"
"""The `group_by` of a dimension that comes with every answer."""

PERIODS: Final = ("day", "week", "month")
"""Time dimensions that every report can be summed by."""

Count = Annotated[int, msgspec.Meta(ge=0)]
"""A whole number in an answer: what is counted is never below zero."""


class _Names:
    """The names of the fields of one sort, in the rows' order."""

    def __init__(self, sort: str) -> None:
        self._sort = sort

    def __get__(self, row: object, owner: type[Row]) -> tuple[str, ...]:
        return tuple(getattr(fields_of(owner), self._sort))


class Row(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the rows of all reports have in common."""

    TIME: ClassVar = _Names("time")
    DIMENSIONS: ClassVar = _Names("dimensions")
    BREAKDOWN: ClassVar = _Names("breakdown")
    """What groups can be made of beyond the dimensions, by what is nested in a row."""
    MEASURES: ClassVar = _Names("measures")
    DERIVED: ClassVar = _Names("derived")
    NESTED: ClassVar = _Names("nested_columns")

    REPORT: ClassVar[str] = ""

    def as_dict(self) -> dict[str, Any]:
        """Return every field, the derived ones too, in the documented order."""
        return {name: getattr(self, name) for name in self.columns()}

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Return the names of all columns: time, dimensions, measures, derived, nested."""
        return fields_of(cls).columns()


@attrs.frozen
class Field:
    """What a field means; `at` is its path in the answer, if that is not its own name.

    `wire` is its type there, if not the row's, and `read` makes the row's value of it: a ValueError
    says that the shape changed. `heading` is what tables call it, if not its name in plain words;
    measures of one heading are shown added up, those without any (None) are not.
    """

    meaning: str
    at: str = ""
    wire: Any = None
    read: Callable[[Any], Any] | None = None
    heading: str | None = ""
    name: str = ""
    type: Any = None
    nullable: bool = False

    def answer(self) -> tuple[Any, ...]:
        """Return its type in the answer, and a default where the answer may lack it."""
        return (self.wire or self.type,)

    def value(self, path: str) -> str:
        """Return the source of a row's value, given its path in the answer."""
        return f"read_{self.name}({path})" if self.read else path

    @property
    def said(self) -> str:
        """What a column of it holds, in words."""
        return self.meaning


@attrs.frozen
class Time(Field):
    """When: `of` makes it of the start and the end of what a row is about."""

    of: Callable[[dt.datetime, dt.datetime], Any] = attrs.field(
        default=lambda start, end: start, kw_only=True
    )


@attrs.frozen
class Dimension(Field):
    """What rows are split by: null where it was not asked for, so the answer may leave it out.

    `null` is what null stands for where it was asked for, `filter` the parameter that filters by
    it, `values` what that takes (anything, if empty), `group` the `group_by` that brings it: its
    own name, if left out, or `ALWAYS`. Once grouped by it, a `certain` one has a value in every
    result; one that is not `echoed` may be missing all the same. Values of one spelling are
    told apart by the dimension `apart`.
    """

    null: str = ""
    filter: str = ""
    values: tuple[str, ...] = ()
    group: str = ""
    required: bool = False
    certain: bool = False
    echoed: bool = True
    apart: str = ""

    def answer(self) -> tuple[Any, ...]:
        kind = self.wire or self.type
        return (kind,) if self.required else (kind | None, None)

    @property
    def said(self) -> str:
        return f"{self.meaning}; null is {self.null}" if self.null else self.meaning


@attrs.frozen
class Breakdown(Field):
    """A dimension of the rows nested `within` a row, by which it can be taken apart.

    What a row has beside them is of none of the parts in particular: there it is not known.
    """

    within: str = ""


@attrs.frozen
class Measure(Field):
    """What adds up, `into` a `Total` too. Always in the answer: a silent zero is the worst.

    In a row it may be None, where sums of it can be not known; in the answer, if `wire` says so.
    """

    zero: ClassVar[Any] = int
    into: str = ""

    def answer(self) -> tuple[Any, ...]:
        return (self.wire or (Count if self.type is int else self.type),)

    def plus(self, total: str, path: str, of_row: bool = False) -> str:
        """Return the source of a statement that adds an answer's value, or a row's, to a total."""
        value = path if of_row else self.value(path)
        unknown = self.nullable if of_row else types.NoneType in get_args(self.wire)
        return f"{total} = known({total}, {value})" if unknown else f"{total} += {value}"


@attrs.frozen
class Money(Measure):
    """Cents: a decimal string in the answer, an exact `Decimal` in the row."""

    zero: ClassVar[Any] = Decimal
    wire: Any = str
    read: Callable[[Any], Any] | None = parse_amount

    def plus(self, total: str, path: str, of_row: bool = False) -> str:
        return f"{total} = add({total}, {path if of_row else self.value(path)})"


@attrs.frozen
class Nested(Measure):
    """Rows within a row, which add up by their own dimensions; the largest come first."""

    zero: ClassVar[Any] = dict
    largest_by: str = ""
    column: bool = True

    @property
    def fields(self) -> Fields[Any]:
        """All that follows from the class of the nested rows."""
        return fields_of(get_args(self.type)[0])

    def answer(self) -> tuple[Any, ...]:
        return (self.wire or list[self.fields.answer],)  # type: ignore[name-defined]

    def value(self, path: str) -> str:
        return f"tuple(rows_{self.name}({super().value(path)}, start, end))"

    def plus(self, total: str, path: str, of_row: bool = False) -> str:
        if of_row:
            return f"merge_{self.name}({path}, start, end, {total}, None)"
        return f"add_{self.name}({super().value(path)}, start, end, {total}, None)"

    def rows(self, groups: Mapping[tuple[Any, ...], list[Any]]) -> tuple[Any, ...]:
        """Return sums as rows: by name, then the largest first if it is said by what."""
        names = tuple(self.fields.dimensions)
        rows = [self.fields.row_of(names, key[1:], sums) for key, sums in groups.items()]
        rows.sort(key=operator.attrgetter(*names))
        if self.largest_by:
            rows.sort(key=operator.attrgetter(self.largest_by), reverse=True)
        return tuple(rows)


class Derived(property, Generic[T]):
    """A property that is a column too; its docstring is its meaning."""

    heading: str | None = None
    """What tables call it, if they show it."""

    if TYPE_CHECKING:

        def __init__(self, fget: Callable[[Any], T]) -> None: ...
        @overload
        def __get__(self, row: None, owner: type, /) -> Self: ...
        @overload
        def __get__(self, row: object, owner: type | None = None, /) -> T: ...
        def __get__(self, row: object, owner: type | None = None, /) -> Any: ...


class Total(Derived[int]):
    """The sum of what goes `into` it, or of its namesakes in the nested rows `over`."""

    def __init__(
        self, meaning: str, *, into: str = "", over: str = "", heading: str | None = None
    ) -> None:
        property.__init__(self, self._sum)
        self.heading = heading
        self.__doc__ = self.meaning = meaning
        self.into, self.over = into, over
        self._sums: dict[type, Callable[[Any], int]] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _sum(self, row: Row) -> int:
        kind = type(row)
        if kind not in self._sums:
            parts = fields_of(kind).parts(self._name)
            summed = " + ".join(f"row.{part}" for part in parts)
            if self.over:
                summed = f"sum([use.{self._name} for use in row.{self.over}])"
            self._sums[kind] = compiled(f"def made(row):\n    return {summed}\n", {})
        return self._sums[kind](row)


class Span(NamedTuple):
    """The results of one bucket or day, from `start` to `end`: decoded, or still as they came."""

    start: dt.datetime
    end: dt.datetime
    results: Any
    fit: Callable[[list[Any], dt.datetime], None] | None = None
    """What refuses results, and their start, that are no answer to the question."""


class Fields(Generic[R]):
    """All that follows from the annotations of a row class."""

    def __init__(self, row: type[R]) -> None:
        self.row = row
        self.all = {field.name: field for field in _bound(row)}
        self.time = {n: f for n, f in self.all.items() if isinstance(f, Time)}
        self.dimensions = {n: f for n, f in self.all.items() if isinstance(f, Dimension)}
        self.summed = {n: f for n, f in self.all.items() if isinstance(f, Measure)}
        self.nested = {n: f for n, f in self.summed.items() if isinstance(f, Nested)}
        self.nested_columns = {n: f for n, f in self.nested.items() if f.column}
        self.measures = {n: f for n, f in self.summed.items() if n not in self.nested}
        self.breakdown = {n: f for n, f in self.all.items() if isinstance(f, Breakdown)}
        named = [item for base in reversed(row.__mro__) for item in vars(base).items()]
        self.derived = {n: made for n, made in named if isinstance(made, Derived)}
        for name, made in self.derived.items():
            kind = int if isinstance(made, Total) else get_type_hints(made.fget)["return"]
            self.all[name] = Field(str(made.__doc__), name=name, type=kind, heading=made.heading)
        self.answer = answer_of(row, [*self.dimensions.values(), *self.summed.values()])
        self._decode = msgspec.json.Decoder(list[self.answer]).decode  # type: ignore[name-defined]
        self.periods = {
            "day": Field("the UTC day", name="day", type=dt.date),
            "week": Field("the Monday of the ISO week", name="week", type=dt.date),
            "month": Field("the calendar month", name="month", type=str),
        }
        self.scope = {"Row": row, "add": add, "known": _known, "zeros": self.zeros}
        self.scope["unknowns"] = self.unknowns
        self.scope |= {f"read_{name}": field.read for name, field in self.all.items()}
        self.scope |= {f"time_{name}": field.of for name, field in self.time.items()}
        for name, nest in self.nested.items():
            by = tuple(nest.fields.dimensions)
            self.scope |= {f"rows_{name}": nest.fields.maker, f"add_{name}": nest.fields.adder(by)}
            self.scope[f"merge_{name}"] = nest.fields.adder(by, of_rows=True)
        self.maker: Callable[..., list[R]] = compiled(source_of_maker(self), self.scope)

        groups = dict.fromkeys(f.group or n for n, f in self.dimensions.items())
        self.groups = tuple(name for name in groups if name != ALWAYS)
        """What `group_by` takes."""
        self.filters = {f.filter: f.values for f in self.dimensions.values() if f.filter}
        """The parameters that filter, and what they take; none is anything."""
        self.nulls = {n: f.null for n, f in self.dimensions.items() if f.null}
        """What null stands for, in words, where it stands for something."""
        self.headings = {
            n: f.heading or n.replace("_", " ")
            for n, f in self.all.items()
            if f.heading is not None
        }
        """What tables call the columns that they show."""

    @functools.cache  # noqa: B019 (there is one for each row class, for good)
    def adder(self, by: tuple[str, ...], of_rows: bool = False) -> Callable[..., None]:
        """Return what adds results, or rows, to groups: `(results, start, end, groups, begin)`.

        A group is `(begin, *values of by)`, and what it comes to is in the order of `summed`.
        """
        return compiled(source_of_adder(self, by, of_rows), self.scope)

    def parts(self, total: str) -> list[str]:
        """Return the measures that a total is the sum of."""
        into = [
            n for n, made in self.derived.items() if isinstance(made, Total) and made.into == total
        ]
        inner = [part for name in into for part in self.parts(name)]
        return inner + [name for name, field in self.measures.items() if field.into == total]

    @property
    def clock(self) -> str:
        """The field that says when a row begins."""
        return next(iter(self.time), "")

    def source(self, dimension: str) -> str:
        """Return the `group_by` that brings a dimension."""
        return self.dimensions[dimension].group or dimension

    def needed(self, by: Iterable[str]) -> tuple[str, ...]:
        """Return the `group_by` that sums by these need; names that nobody knows are kept."""
        without = {self.clock, ALWAYS, *self.breakdown, *PERIODS}
        sources = [self.source(name) if name in self.dimensions else name for name in by]
        return tuple(name for name in dict.fromkeys(sources) if name not in without)

    def asked(self, group_by: Iterable[str]) -> tuple[str, ...]:
        """Return the dimensions that a report grouped like this fills in."""
        by = {ALWAYS, *group_by}
        return tuple(name for name, field in self.dimensions.items() if (field.group or name) in by)

    def columns(self, dimensions: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the heads of a CSV file: no column for what was not asked."""
        asked = self.dimensions if dimensions is None else dimensions
        return (*self.time, *asked, *self.measures, *self.derived, *self.nested_columns)

    def facts(self, dimensions: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the columns that people read: no time, and money once, in dollars."""
        asked = self.dimensions if dimensions is None else dimensions
        counts = [name for name, field in self.measures.items() if not isinstance(field, Money)]
        return (*asked, *counts, *self.derived)

    def zeros(self) -> list[Any]:
        """Return the sums of nothing."""
        return [field.zero() for field in self.summed.values()]

    def unknowns(self) -> list[Any]:
        """Return the sums of parts by a breakdown: what is of no part in particular is None."""
        return [field.zero() if n in self.nested else None for n, field in self.summed.items()]

    def answer_of(self, values: Iterable[Any], sums: Iterable[Any]) -> Any:
        """Return sums by all dimensions as a result, as the API would have given it."""
        document: dict[str, Any] = {}
        named = dict(zip(self.dimensions, values, strict=True))
        named |= dict(zip(self.summed, sums, strict=True))
        for name, value in named.items():
            inner = document
            *heads, leaf = self.all[name].at.split(".")
            for head in heads:
                inner = inner.setdefault(head, {})
            inner[leaf] = value
        return msgspec.convert(document, self.answer)

    def row_of(
        self, names: Iterable[str], values: Iterable[Any], sums: list[Any], **time: Any
    ) -> R:
        """Return a group as a row."""
        totals = dict(zip(self.summed, sums, strict=True))
        totals |= {name: field.rows(totals[name]) for name, field in self.nested.items()}
        return self.row(**time, **dict(zip(names, values, strict=True)), **totals)

    def when(self, start: dt.datetime, end: dt.datetime, known: bool) -> dict[str, Any]:
        """Return a group's time; what may be None is so, unless the group is one period."""
        return {
            name: field.of(start, end)
            for name, field in self.time.items()
            if known or not field.nullable
        }

    def check(self, span: Span) -> None:
        """Read a span's results and keep nothing; raises IncompleteReport for any other shape."""
        reads = any(field.read for field in self.all.values()) or self.nested
        self.run(self.maker if reads else _unread, span)

    def rows(self, span: Span) -> list[R]:
        """Return a span's rows; raises IncompleteReport for any other shape."""
        return cast("list[R]", self.run(self.maker, span))

    def run(self, function: Callable[..., Any], span: Span, *rest: Any) -> Any:
        """Hand a span's results to a compiled function; any other shape is an IncompleteReport."""
        where = f" in the bucket of {span.start:%Y-%m-%dT%H:%MZ}"
        try:
            results = self.results(span)
        except (ValueError, RecursionError) as error:
            raise unreadable(self.row.REPORT, error, where) from None
        try:
            return function(results, span.start, span.end, *rest)
        except ValueError as error:
            place = ValueError(f"{error} - at `{self._place(results)}`")
            raise unreadable(self.row.REPORT, place, where) from None

    def _place(self, results: Iterable[Any]) -> str:
        """Return where the first value stands that cannot be read."""
        for number, result in enumerate(results):
            if place := self.unread(result):
                return f"$[{number}].{place}"
        return "$"

    def unread(self, result: Any) -> str:
        """Return the path of a result's first value that cannot be read; none, if all can."""
        for field in (*self.dimensions.values(), *self.summed.values()):
            value = operator.attrgetter(field.at)(result)
            try:
                value = field.read(value) if field.read else value
            except ValueError:
                return field.at
            if isinstance(field, Nested) and not field.read:
                for number, inner in enumerate(value):
                    if place := field.fields.unread(inner):
                        return f"{field.at}[{number}].{place}"
        return ""

    def results(self, span: Span) -> Any:
        """Return a span's results, decoded; raises ValueError for any other shape.

        It raises IncompleteReport if they are no answer to the question, as far as they tell.
        """
        results = span.results
        if isinstance(results, msgspec.Raw):
            results = self._decode(results)
            if span.fit is not None and results:
                span.fit(results, span.start)
        return results


@functools.cache
def _fields_of(row: type[Any]) -> Fields[Any]:
    return Fields(row)


def fields_of(row: type[R]) -> Fields[R]:
    """Return what follows from a row class; the same object every time."""
    return _fields_of(row)


def unreadable(report: str, error: Exception, where: str = "") -> IncompleteReport:
    """Return the error for an answer of another shape."""
    if isinstance(error, msgspec.ValidationError):
        return IncompleteReport(f"the {report} report's shape changed{where}: {error}")
    return IncompleteReport(f"the {report} report's answer is not readable{where}: {error}")


def _bound(row: type[Row]) -> Iterator[Any]:
    """Yield the fields of a row class; each knows its name, its type and its place."""
    for name, hint in get_type_hints(row, include_extras=True).items():
        for field in getattr(hint, "__metadata__", ()):
            kind = get_args(hint)[0]
            options = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
            plain = next(option for option in options if option is not types.NoneType)
            nullable = types.NoneType in options
            yield attrs.evolve(field, name=name, at=field.at or name, type=plain, nullable=nullable)


def _unread(results: Any, start: dt.datetime, end: dt.datetime) -> None:
    """Take results that are what they are once decoded."""


def _known(total: int | None, value: int | None) -> int | None:
    """Return a sum that is not known where a part of it is not."""
    return None if total is None or value is None else total + value
