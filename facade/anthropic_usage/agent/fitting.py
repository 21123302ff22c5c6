"""Fits a report into so many characters: read once, summed up as far as it takes, exact totals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..client import AsyncUsageClient
from ..engine.fold import Fold
from ..engine.report import AsyncReport
from ..errors import AnthropicUsageError, InvalidQuery
from ..fields import Fields, Row
from ..reports import REGISTRY, Query
from ..sinks.plain import plain_value
from .untrusted import NOTE, SUFFIX, harmless

__all__ = ["Answer", "Reading", "fit", "look_up", "pretty"]

_SHORTEST_RECORD = 60
"""No record is written in fewer characters, so more than this many cannot be shown."""
_UNTRUSTED_VALUES = ("actor", "terminal_type")
_NAMED = {"workspace_id": "workspaces", "api_key_id": "api_keys", "account_id": "users"}

_Names = Mapping[str, Mapping[str, str]]
"""Dimension -> id -> harmless name."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a report came to."""

    header: str
    document: dict[str, Any]

    @property
    def text(self) -> str:
        """The header line and the JSON."""
        return f"{self.header}\n{pretty(self.document)}"


class Reading:
    """One pass over a report: the first records, and sums at every coarseness that can fit."""

    def __init__(self, query: Query, limit: int | None, room: int) -> None:
        self.query = query
        self.everything = Fold(query)
        self.records: list[Row] = []
        self.count = 0
        """How many records the report has."""
        self.buckets = 0
        self.left_out = False
        """Whether `limit` left records out."""
        self._limit = limit
        self._most = room // _SHORTEST_RECORD
        self._folds: dict[tuple[str, ...], Fold] = {
            dimensions: Fold(query, dimensions) for dimensions in query.kind.coarser(query)
        }

    def add(self, page: Any) -> None:
        """Read one page."""
        self.everything.add(page)
        for dimensions, fold in list(self._folds.items()):
            fold.add(page)
            if len(fold.groups) > self._most:
                del self._folds[dimensions]  # it will never fit, and would only grow
        by_bucket = self.query.kind.in_buckets
        last: Any = self.records[-1] if self.records else None
        started = getattr(last, "starting_at", None)
        for row in self.query.rows(page):
            self.count += 1
            if by_bucket and getattr(row, "starting_at", None) != started:
                started = getattr(row, "starting_at", None)
                self.buckets += 1
            shown = self.buckets if by_bucket else self.count
            if self._limit is not None and shown > self._limit:
                self.left_out = True
            elif len(self.records) <= self._most:
                self.records.append(row)

    def folds(self) -> list[tuple[tuple[str, ...], list[Row]]]:
        """Return the sums that were kept, finest first."""
        return [(dimensions, fold.rows()) for dimensions, fold in self._folds.items()]


async def look_up(
    client: AsyncUsageClient, query: Query
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Look up the names of the ids asked for; what is refused costs the names only."""
    found: dict[str, dict[str, str]] = {}
    notes = []
    for dimension in query.dimensions:
        lookup = _NAMED.get(dimension)
        if lookup is None:
            continue
        try:
            items = await getattr(client, lookup)()
        except AnthropicUsageError as error:
            notes.append(f"No names for {dimension}: {harmless(error, 160)}")
        else:
            found[dimension] = {item.id: harmless(item.name or item.id) for item in items}
    return found, notes


def fit(
    query: Query,
    report: AsyncReport[Any],
    reading: Reading,
    names: _Names,
    notes: Sequence[str],
    room: int,
) -> Answer:
    """Return the finest answer that fits."""
    document = _document(query, report, reading, names, notes)
    answer = Answer(header=_header(query), document=document)
    for shown, records in _levels(query, reading, names, room):
        document["shown"] = shown
        document["records"] = records
        if len(answer.text) <= room:
            return answer
    for name in query.row.NESTED:
        document["totals"].pop(name, None)
    # The header says the range and what the report is; what is not settled goes last.
    for leaving in ("group_by", "starting_at", "ending_at", "records", "notes", "shown"):
        if len(answer.text) <= room:
            return answer
        document.pop(leaving, None)
    if len(answer.text) <= room:
        return answer
    raise InvalidQuery(f"max_chars={room} has no room for the totals; allow 2,000 or more")


def _levels(
    query: Query, reading: Reading, names: _Names, room: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield what could be shown and a sentence on it, finest first."""
    if reading.left_out or len(reading.records) == reading.count:
        columns = _columns(query, None)
        shown = _shown(reading)
        yield shown, [_record(row, columns, names, nested=True) for row in reading.records]
        if query.row.NESTED:
            shown += f", without their tokens by model, for which {room:,} characters are too few"
            yield shown, [_record(row, columns, names) for row in reading.records]
    advice = "Ask for a shorter range, fewer dimensions or a limit to see more"
    many = f"{reading.count:,} records were too many for {room:,} characters"
    for dimensions, groups in reading.folds():
        columns = _columns(query, dimensions)
        yield (
            f"{many}: they are summed up by {', '.join(dimensions)}. {advice}; the totals are "
            "those of all records.",
            [_record(row, columns, names) for row in groups],
        )
    yield f"{many}: only the totals are shown. {advice}.", []


def _shown(reading: Reading) -> str:
    if not reading.left_out:
        return f"all {reading.count:,} records"
    return (
        f"{len(reading.records):,} of {reading.count:,} records, as limit says; the totals are "
        "those of all records"
    )


def _header(query: Query) -> str:
    span = f"{query.starting_at:%Y-%m-%dT%H:%MZ} up to {query.ending_at:%Y-%m-%dT%H:%MZ}"
    return f"{query.kind.title}, {span}"


def _document(
    query: Query,
    report: AsyncReport[Any],
    reading: Reading,
    names: _Names,
    notes: Sequence[str],
) -> dict[str, Any]:
    settled = report.settled_until
    said = list(notes)
    (totals,) = reading.everything.rows()
    if settled is not None and settled < query.ending_at:
        said.append(query.kind.unsettled)
    said += query.kind.caveats
    nulls = query.kind.fields.nulls
    said += [f"{n} null is {nulls[n]}." for n in query.dimensions if n in _NAMED and n in nulls]
    said.append(NOTE)
    if not reading.count:
        said.append("Nothing was used in this range: a real zero.")
    return {
        "report": query.report,
        "starting_at": plain_value(query.starting_at),
        "ending_at": plain_value(query.ending_at),
        "group_by": list(query.group_by),
        "complete": True,
        "settled_until": plain_value(settled),
        "totals": _record(totals, (*query.row.MEASURES, *query.row.DERIVED), names, nested=True),
        "shown": "",
        "records": [],
        "notes": said,
    }


def _columns(query: Query, folded: tuple[str, ...] | None) -> tuple[str, ...]:
    row, clock = query.row, query.kind.fields.clock
    said = (clock, *query.dimensions) if folded is None else folded
    return (*said, *row.MEASURES, *row.DERIVED)


def _record(
    row: Row, columns: Sequence[str], names: _Names, *, nested: bool = False
) -> dict[str, Any]:
    """Return a row as JSON values: names beside ids, texts harmless, no null that says nothing."""
    record: dict[str, Any] = {}
    kind = REGISTRY[row.REPORT]
    nulls = kind.fields.nulls
    for name in columns:
        value = getattr(row, name)
        if name in row.DIMENSIONS and isinstance(value, str):
            if name in _UNTRUSTED_VALUES:
                record[f"{name}{SUFFIX}"] = harmless(value)
                continue
            record[name] = harmless(value, 100)
            if value in names.get(name, {}):
                label = name.removesuffix("_id") + "_name"
                record[f"{label}{SUFFIX}"] = names[name][value]
        elif value is not None or (name in _NAMED and name in nulls):
            record[name] = plain_value(value)
    record |= {name: plain_value(value) for name, value in kind.more(row).items()}
    for name, field in kind.fields.nested.items():
        inner = field.fields
        if getattr(row, name) if not field.column else nested:
            record[name] = [
                {fact: _inner(use, fact, inner) for fact in inner.facts()}
                for use in getattr(row, name)
            ]
    return record


def _inner(use: Row, fact: str, fields: Fields[Any]) -> Any:
    value = getattr(use, fact)
    return harmless(value, 100) if fact in fields.dimensions else plain_value(value)


def pretty(document: Mapping[str, Any]) -> str:
    """Print pretty, but a record on a line of its own: indentation costs a model tokens."""
    entries = []
    for name, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n".join(f"    {json.dumps(item, ensure_ascii=False)}" for item in value)
            text = f"[\n{lines}\n  ]"
        else:
            text = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
        entries.append(f"  {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}"
