"""The tool `anthropic_usage`: a report as text of a bounded size, and never an exception.

>>> from anthropic_usage.agent import anthropic_usage, tools
>>> tools()  # definitions for the Messages API; empty without a key
>>> await anthropic_usage({"action": "cost", "starting_at": "2026-02-01T00:00:00Z"})
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from ..client import AsyncUsageClient
from ..credentials import KEY_VARIABLES, OAUTH_VARIABLE
from ..errors import AnthropicUsageError, InvalidQuery, MissingExtra
from ..fold import Fold
from ..moments import DAY, parse_moment, utc_now
from ..query import (
    ClaudeCodeQuery,
    CostQuery,
    Query,
    UsageQuery,
)
from ..report import AsyncReport
from ..rows import ClaudeCodeRow, Row
from ..sinks.plain import plain_row, plain_value
from ..wire import rows
from .untrusted import NOTE, SUFFIX, harmless

__all__ = [
    "DEFAULT_MAX_CHARS",
    "LEAST_MAX_CHARS",
    "NAME",
    "Answer",
    "anthropic_usage",
    "ask",
    "definition",
    "environment",
    "settings",
    "tools",
]

NAME = "anthropic_usage"
DEFAULT_MAX_CHARS = 32_000
"""Some 10,000 tokens: room for a week by day and model, and for the conversation around it."""
LEAST_MAX_CHARS = 300
"""With less not even an error has room."""

ACTIONS = ("usage", "cost", "claude_code")
_PARAMETERS = ("action", "starting_at", "ending_at", "bucket_width", "group_by", "limit")
_SHORTEST_RECORD = 60
"""No record is written in fewer characters, so more than this many cannot be shown."""
_TITLES = {
    "usage": "Anthropic usage report (tokens)",
    "cost": "Anthropic cost report (billed dollars)",
    "claude_code": "Anthropic Claude Code report (productivity)",
}
_UNTRUSTED_VALUES = ("actor", "terminal_type")
_NAMED = {"workspace_id": "workspaces", "api_key_id": "api_keys", "account_id": "users"}

Progress = Callable[[float, str], Awaitable[None]]


def definition() -> dict[str, Any]:
    """Return the tool's definition for the Messages API: name, description, strict schema."""
    return {
        "name": NAME,
        "description": (
            "Query Anthropic's Admin API for the organization's usage and cost reports. "
            "action=usage counts tokens, cost gives billed dollars by completed UTC day (without "
            "Priority Tier), claude_code gives developer productivity. The report is always read "
            "to its end: totals are exact and complete. Long answers are summed up to fit, and "
            "say so. Times are UTC; ending_at is exclusive and defaults to now."
        ),
        "input_schema": {
            "type": "object",
            "properties": {
                "action": {
                    "type": "string",
                    "enum": list(ACTIONS),
                    "description": "Which report.",
                },
                "starting_at": {
                    "type": "string",
                    "description": (
                        "Start: RFC 3339 for usage and cost, such as 2026-02-01T00:00:00Z; "
                        "YYYY-MM-DD for claude_code."
                    ),
                },
                "ending_at": {
                    "type": "string",
                    "description": "End, exclusive, in the same format; now if left out.",
                },
                "bucket_width": {
                    "type": "string",
                    "enum": ["1m", "1h", "1d"],
                    "description": "Time granularity; cost supports only 1d. Default 1d.",
                },
                "group_by": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": (
                        "Dimensions. usage: api_key_id, workspace_id, model, service_tier, "
                        "context_window, inference_geo, account_id, service_account_id, speed "
                        "(at most 5). cost: workspace_id, description."
                    ),
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "description": (
                        "Most time buckets (claude_code: records) to show; totals always cover "
                        "the whole range."
                    ),
                },
            },
            "required": ["action", "starting_at"],
            "additionalProperties": False,
        },
    }


def environment() -> dict[str, str]:
    """Return the key and address that are set, from the environment or else a `.env` file."""
    names = (*KEY_VARIABLES, OAUTH_VARIABLE)
    found = {name: os.environ[name] for name in names if os.environ.get(name, "").strip()}
    address = os.environ.get("ANTHROPIC_BASE_URL", "")
    if not found:
        import dotenv

        values = dotenv.dotenv_values(".env") if os.path.isfile(".env") else {}
        found = {name: value for name in names if (value := (values.get(name) or "").strip())}
        address = address or values.get("ANTHROPIC_BASE_URL") or ""
    return {**found, **({"ANTHROPIC_BASE_URL": address} if address else {})}


def tools() -> list[dict[str, Any]]:
    """Return the definitions to register: none unless a key is set, also in a `.env` file."""
    return [definition()] if set(environment()) - {"ANTHROPIC_BASE_URL"} else []


def settings() -> dict[str, Any]:
    """Return a client's arguments for the key that is set, also in a `.env` file."""
    known = environment()
    key = next((known[name] for name in KEY_VARIABLES if name in known), None)
    token = None if key else known.get(OAUTH_VARIABLE)
    return {"api_key": key, "oauth_token": token, "base_url": known.get("ANTHROPIC_BASE_URL")}


async def anthropic_usage(
    arguments: Any,
    *,
    client: AsyncUsageClient | None = None,
    max_chars: int = DEFAULT_MAX_CHARS,
    progress: Progress | None = None,
) -> str:
    """Run the tool: a header line, then one JSON object; or a sentence that begins with `Error:`.

    Never raises for anything in `arguments` or from the API, and never returns more than
    `max_chars` characters (at least 300).

    Args:
        arguments: the tool call's input, as `definition()` describes it.
        client: asks the API; else one is made with the key that is set.
        max_chars: how long the answer may be.
        progress: told the share that is read, and of what.
    """
    room = max(LEAST_MAX_CHARS, int(max_chars))
    try:
        if client is not None:
            answer = await ask(arguments, client, room, progress)
        else:
            async with AsyncUsageClient(**settings()) as opened:
                answer = await ask(arguments, opened, room, progress)
        return answer.text
    except asyncio.CancelledError:
        raise
    except MissingExtra as error:
        return _error(error, room)
    except AnthropicUsageError as error:
        return _error(error, room)
    except Exception as error:
        # A tool's caller is a model: it can read a sentence, and cannot catch an exception.
        return _error(f"{type(error).__name__} while making the report", room)


def _error(problem: object, room: int) -> str:
    text = f"Error: {' '.join(str(problem).split())}"
    text = "".join(character if character.isprintable() else "_" for character in text)
    return text if len(text) <= room else f"{text[: room - 3]}..."


@attrs.frozen(kw_only=True)
class Answer:
    """What a report came to."""

    header: str
    document: dict[str, Any]

    @property
    def text(self) -> str:
        """The header line and the JSON."""
        return f"{self.header}\n{_json(self.document)}"


async def ask(
    arguments: Any,
    client: AsyncUsageClient,
    max_chars: int = DEFAULT_MAX_CHARS,
    progress: Progress | None = None,
) -> Answer:
    """Read a report to its end and fit it into `max_chars`; raises AnthropicUsageError."""
    query, limit = _query(arguments)
    report = client.report(query)
    reading = _Reading(query, limit, max_chars // _SHORTEST_RECORD)
    async with contextlib.aclosing(report.parts()) as parts:
        async for part in parts:
            reading.add(part.page)
            if progress is not None:
                span = query.ending_at - query.starting_at
                await progress((part.ends - query.starting_at) / span, f"reading {query.report}")
            del part
    names, notes = await _names(client, query)
    return _fit(query, report, reading, names, notes, max_chars)


def _query(arguments: Any) -> tuple[Query, int | None]:
    """Check the arguments; returns what to ask, and how many buckets or records to show."""
    if not isinstance(arguments, Mapping):
        raise InvalidQuery("the input must be a JSON object with action and starting_at")
    unknown = [name for name in arguments if name not in _PARAMETERS]
    if unknown:
        raise InvalidQuery(
            f"unknown parameter {harmless(unknown[0])!r}; known are {', '.join(_PARAMETERS)}"
        )
    given = {name: value for name, value in arguments.items() if value is not None}
    action = given.get("action")
    if action not in ACTIONS or not isinstance(action, str):
        raise InvalidQuery(f"action must be one of {', '.join(ACTIONS)}")
    for name in ("starting_at", "ending_at", "bucket_width"):
        if name in given and not isinstance(given[name], str):
            raise InvalidQuery(f"{name} must be a string")
    if "starting_at" not in given:
        raise InvalidQuery("starting_at is missing")
    limit = given.get("limit")
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidQuery("limit must be a whole number of at least 1")
    group_by = given.get("group_by", [])
    group_by = [group_by] if isinstance(group_by, str) else group_by
    if not isinstance(group_by, list | tuple) or not all(isinstance(n, str) for n in group_by):
        raise InvalidQuery("group_by must be an array of strings")
    start = parse_moment(given["starting_at"], "starting_at")
    end = parse_moment(given["ending_at"], "ending_at") if "ending_at" in given else utc_now()
    width = given.get("bucket_width", "1d")
    if action == "usage":
        return UsageQuery.create(start, end, bucket_width=width, group_by=group_by), limit
    if width != "1d":
        raise InvalidQuery(f"{action} is by day: bucket_width must be 1d")
    if action == "cost":
        return CostQuery.create(start, end, group_by=group_by), limit
    if group_by:
        raise InvalidQuery("claude_code takes no group_by; its records are by person and day")
    if end < start + DAY and end.date() == start.date():
        end = start + DAY  # a time of day on the same day means that day
    return ClaudeCodeQuery.create(start, end), limit


class _Reading:
    """One pass over a report: the first records, and sums at every coarseness that can fit."""

    def __init__(self, query: Query, limit: int | None, most: int) -> None:
        self.query = query
        self.everything = Fold(query)
        self.records: list[Row] = []
        self.count = 0
        """How many records the report has."""
        self.buckets = 0
        self.left_out = False
        """Whether `limit` left records out."""
        self._limit = limit
        self._most = most
        self._folds: dict[tuple[str, ...], Fold] = {
            dimensions: Fold(query, dimensions) for dimensions in _coarser(query)
        }

    def add(self, page: Any) -> None:
        """Read one page."""
        self.everything.add(page)
        for dimensions, fold in list(self._folds.items()):
            fold.add(page)
            if len(fold.groups) > self._most:
                del self._folds[dimensions]  # it will never fit, and would only grow
        by_bucket = not issubclass(self.query.row, ClaudeCodeRow)
        last: Any = self.records[-1] if self.records else None
        started = getattr(last, "starting_at", None)
        for row in rows(self.query, page):
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


def _coarser(query: Query) -> list[tuple[str, ...]]:
    """Return by what to sum up when the records are too many, finest first."""
    asked: tuple[str, ...] = query.dimensions
    if issubclass(query.row, ClaudeCodeRow):
        return [("day", "actor"), ("week", "actor"), ("actor",), ("week",), ("month",)]
    levels: list[tuple[str, ...]] = []
    if query.width < DAY:
        levels.append(("day", *asked))
    levels += [("week", *asked), ("month", *asked), asked]
    if query.report == "cost" and "description" in asked:
        levels += [("model", "cost_type"), ("cost_type",)]
    elif "model" in asked:
        levels += [("day", "model"), ("model",)]
    elif asked:
        levels.append(asked[:1])
    levels += [("day",), ("month",)]
    return [level for level in dict.fromkeys(levels) if level]


async def _names(
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
            found[dimension] = {item.id: harmless(item.name) for item in items}
    return found, notes


def _fit(
    query: Query,
    report: AsyncReport[Any],
    reading: _Reading,
    names: Mapping[str, Mapping[str, str]],
    notes: Sequence[str],
    room: int,
) -> Answer:
    """Return the finest answer that fits."""
    header = _header(query)
    document = _document(query, report, reading, names, notes)
    columns = _columns(query, None)
    if reading.left_out or len(reading.records) == reading.count:
        document["shown"] = _shown(reading)
        document["records"] = [_record(row, columns, names) for row in reading.records]
        answer = Answer(header=header, document=document)
        if len(answer.text) <= room:
            return answer
    for dimensions, groups in reading.folds():
        columns = _columns(query, dimensions)
        document["shown"] = (
            f"{reading.count:,} records were too many for {room:,} characters: they are summed up "
            f"by {', '.join(dimensions)}. Ask for a shorter range, fewer dimensions or a limit to "
            "see more; the totals are those of all records."
        )
        document["records"] = [_record(row, columns, names) for row in groups]
        answer = Answer(header=header, document=document)
        if len(answer.text) <= room:
            return answer
    document["shown"] = (
        f"{reading.count:,} records were too many for {room:,} characters: only the totals are "
        "shown. Ask for a shorter range, fewer dimensions or a limit to see more."
    )
    document["records"] = []
    answer = Answer(header=header, document=document)
    for leaving in ("notes", "group_by", "shown", "records", "starting_at", "ending_at"):
        if len(answer.text) <= room:
            return answer
        document.pop(leaving, None)
    if len(answer.text) <= room:
        return answer
    raise InvalidQuery(f"max_chars={room} has no room for the totals; allow 2,000 or more")


def _shown(reading: _Reading) -> str:
    if not reading.left_out:
        return f"all {reading.count:,} records"
    return (
        f"{len(reading.records):,} of {reading.count:,} records, as limit says; the totals are "
        "those of all records"
    )


def _header(query: Query) -> str:
    span = f"{query.starting_at:%Y-%m-%dT%H:%MZ} up to {query.ending_at:%Y-%m-%dT%H:%MZ}"
    return f"{_TITLES[query.report]}, {span}"


def _document(
    query: Query,
    report: AsyncReport[Any],
    reading: _Reading,
    names: Mapping[str, Any],
    notes: Sequence[str],
) -> dict[str, Any]:
    settled = report.settled_until
    said = list(notes)
    (totals,) = reading.everything.rows()
    if settled is not None and settled < query.ending_at:
        if query.report == "cost":
            said.append("Only completed UTC days have a bill; later days are not in the totals.")
        else:
            said.append("What is later than settled_until can still grow.")
    if query.report == "cost":
        said.append("Priority Tier costs are never in the cost report.")
    if query.report == "claude_code":
        said.append("Estimated cost overlaps the cost report: never add the two.")
    if names or query.report == "claude_code":
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
        "totals": plain_row(totals, _totals(query)),
        "shown": "",
        "records": [],
        "notes": said,
    }


def _totals(query: Query) -> tuple[str, ...]:
    row = query.row
    return (*row.MEASURES, *row.DERIVED)


def _columns(query: Query, folded: tuple[str, ...] | None) -> tuple[str, ...]:
    row = query.row
    if folded is None:
        dimensions = row.DIMENSIONS if issubclass(row, ClaudeCodeRow) else query.dimensions
        return (*row.TIME[:1], *dimensions, *row.MEASURES, *row.DERIVED)
    return (*folded, *row.MEASURES, *row.DERIVED)


def _record(
    row: Row, columns: Sequence[str], names: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return a row as JSON values: names beside ids, texts harmless, nothing that is null."""
    record: dict[str, Any] = {}
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
        elif value is not None or name in names:
            record[name] = plain_value(value)
    return record


def _json(document: Any) -> str:
    """Print pretty, but a record on a line of its own: indentation costs a model tokens."""
    records = document.get("records") or []
    shell = {**document, "records": "RECORDS"} if "records" in document else document
    text = json.dumps(shell, indent=2, ensure_ascii=False)
    lines = ",\n".join(f"    {json.dumps(record, ensure_ascii=False)}" for record in records)
    return text.replace(
        '"records": "RECORDS"', f'"records": [\n{lines}\n  ]' if lines else '"records": []'
    )
