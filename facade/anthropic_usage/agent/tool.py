"""The tool `anthropic_usage`: a report as text of a bounded size, and never an exception.

>>> from anthropic_usage.agent import anthropic_usage, tools
>>> tools()  # definitions for the Messages API; empty without a key
>>> await anthropic_usage({"action": "cost", "starting_at": "2026-02-01T00:00:00Z"})
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..analysis.days import uneven
from ..client import AsyncUsageClient
from ..credentials import KEY_VARIABLES, OAUTH_VARIABLE
from ..engine.report import AsyncReport
from ..errors import AnthropicUsageError, ApiError, AuthenticationError, InvalidQuery
from ..moments import DAY, floor, parse_moment
from ..outside import whole
from .fitting import Answer, Reading, fit, look_up
from .untrusted import harmless, sentence

__all__ = [
    "DEFAULT_MAX_CHARS",
    "LEAST_MAX_CHARS",
    "NAME",
    "anthropic_usage",
    "ask",
    "bounded",
    "checked",
    "definition",
    "environment",
    "error_text",
    "settings",
    "strings",
    "tools",
    "words",
]

NAME = "anthropic_usage"
DEFAULT_MAX_CHARS = 32_000
"""Some 10,000 tokens: room for a week by day and model, and for the conversation around it."""
LEAST_MAX_CHARS = 300
"""With less not even an error has room."""
_LONGEST_ERROR = 1_000
_LONGEST_INPUT = 100_000

MOST_REQUESTS = 400
"""A year of Claude Code by day; what asks for more was not meant."""

ACTIONS = ("usage", "cost", "claude_code")
_PARAMETERS = ("action", "starting_at", "ending_at", "bucket_width", "group_by", "limit")
Progress = Callable[[float, str], Awaitable[None]]


def definition(*, strict: bool = False) -> dict[str, Any]:
    """Return the tool's definition for the Messages API: name, description, strict schema.

    With `strict` it also asks the API to hold the model to the schema, which has no keyword that
    the API refuses in strict tools (platform.claude.com, strict tool use).
    """
    made: dict[str, Any] = {
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
                    "type": "number",
                    "description": (
                        "Most time buckets (claude_code: records) to show, at least 1; totals "
                        "always cover the whole range."
                    ),
                },
            },
            "required": ["action", "starting_at"],
            "additionalProperties": False,
        },
    }
    return {**made, "strict": True} if strict else made


def environment() -> dict[str, str]:
    """Return the key and address that are set, from the environment or else a `.env` file."""
    names = (*KEY_VARIABLES, OAUTH_VARIABLE)
    found = {name: os.environ[name] for name in names if os.environ.get(name, "").strip()}
    address = os.environ.get("ANTHROPIC_BASE_URL", "")
    if not found:
        values = _dotenv()
        found = {name: value for name in names if (value := (values.get(name) or "").strip())}
        address = address or values.get("ANTHROPIC_BASE_URL") or ""
    return {**found, **({"ANTHROPIC_BASE_URL": address} if address else {})}


def _dotenv() -> Mapping[str, str | None]:
    """Return what a `.env` file in the working directory says; os.environ stays as it is."""
    if not os.path.isfile(".env"):
        return {}
    import dotenv

    try:
        return dotenv.dotenv_values(".env", interpolate=False)
    except (OSError, UnicodeError) as error:
        problem = f".env cannot be read ({type(error).__name__}): save it as text in UTF-8"
    # Raised anew: the error of a text that is no UTF-8 holds that text, and so the key.
    raise AuthenticationError(problem)


def tools() -> list[dict[str, Any]]:
    """Return the definitions to register: none unless a key is set, also in a `.env` file."""
    return [definition()] if set(environment()) - {"ANTHROPIC_BASE_URL"} else []


def settings() -> dict[str, Any]:
    """Return a client's arguments for the key that is set, also in a `.env` file.

    What the environment says itself is left to the client, which then names its variable.
    """
    known = {name: text for name, text in environment().items() if not os.environ.get(name)}
    key = next((known[name] for name in KEY_VARIABLES if name in known), None)
    token = None if key else known.get(OAUTH_VARIABLE)
    return {
        "api_key": key,
        "oauth_token": token,
        "base_url": known.get("ANTHROPIC_BASE_URL"),
        "max_requests": MOST_REQUESTS,
    }


async def anthropic_usage(
    arguments: Any,
    *,
    client: AsyncUsageClient | None = None,
    max_chars: int = DEFAULT_MAX_CHARS,
    progress: Progress | None = None,
) -> str:
    """Run the tool: a header line, then one JSON object; or a sentence that begins with `Error:`.

    Never raises for anything in `arguments` or from the API, and never returns more than
    `max_chars` characters (at least 300) nor the key.

    Args:
        arguments: the tool call's input, as `definition()` describes it.
        client: asks the API; else one is made with the key that is set.
        max_chars: how long the answer may be.
        progress: told the share that is read, and of what.
    """
    try:
        room = bounded(max_chars)
    except InvalidQuery as error:
        return error_text(error, DEFAULT_MAX_CHARS)
    try:
        if client is not None:
            return await _told(arguments, client, room, progress)
        async with AsyncUsageClient(**settings()) as opened:
            return await _told(arguments, opened, room, progress)
    except AnthropicUsageError as error:
        return error_text(error, room)


async def _told(
    arguments: Any, client: AsyncUsageClient, room: int, progress: Progress | None
) -> str:
    redact = client.settings.credentials.redact
    try:
        return (await ask(arguments, client, room, progress)).text
    except AnthropicUsageError as error:
        return error_text(error, room, redact)
    except Exception as error:
        # A tool's caller is a model: it can read a sentence, and cannot catch an exception.
        return error_text(f"{type(error).__name__} while making the report", room, redact)


def bounded(max_chars: Any) -> int:
    """Return how long an answer may be, 300 characters at the least; raises InvalidQuery."""
    if isinstance(max_chars, bool) or not isinstance(max_chars, int):
        raise InvalidQuery("max_chars must be a whole number")
    return max(LEAST_MAX_CHARS, max_chars)


def error_text(
    problem: object, room: int, redact: Callable[[bytes], bytes] = lambda text: text
) -> str:
    """Return one line that begins with `Error:`, of at most `room` characters, without the key."""
    text = redact(whole(words(problem)[:_LONGEST_INPUT]).encode()).decode()
    return sentence(f"Error: {text}", min(room, _LONGEST_ERROR))


def words(problem: object) -> str:
    """Return what went wrong, with what the API itself said of it marked as that."""
    text = str(problem)
    if isinstance(problem, ApiError) and problem.status is not None and problem.message:
        said = f"(the API's own words, untrusted: {harmless(problem.message, 300)})"
        text = text.replace(problem.message, said, 1)
    return text


async def ask(
    arguments: Any,
    client: AsyncUsageClient,
    max_chars: int = DEFAULT_MAX_CHARS,
    progress: Progress | None = None,
) -> Answer:
    """Read a report to its end and fit it into `max_chars`; raises AnthropicUsageError."""
    _without_secrets(arguments, client)
    report, limit = _report(arguments, client)
    query = report.query
    reading = Reading(query, limit, max_chars)
    async with contextlib.aclosing(report.parts()) as parts:
        async for part in parts:
            reading.add(part.page)
            if progress is not None:
                span = query.ending_at - query.starting_at
                await progress((part.ends - query.starting_at) / span, f"reading {query.report}")
            del part
    names, notes = await look_up(client, query)
    if query.kind.holds:
        given = checked(arguments, _PARAMETERS)
        cut = uneven(given["starting_at"], given.get("ending_at"), report.settled_until)
        notes += [cut] if cut else []
    return fit(query, report, reading, names, notes, max_chars)


def _without_secrets(arguments: Any, client: AsyncUsageClient) -> None:
    """Refuse an input that holds the key, before any sentence about it can repeat a part of it."""
    try:
        text = repr(arguments).encode(errors="replace")
    except RecursionError:
        raise InvalidQuery("the input is nested too deeply") from None
    if len(text) > _LONGEST_INPUT:
        raise InvalidQuery(f"the input is longer than {_LONGEST_INPUT:,} characters")
    if client.settings.credentials.redact(text) != text:
        raise InvalidQuery("the input holds the Admin API key: it is never an argument")


def _report(arguments: Any, client: AsyncUsageClient) -> tuple[AsyncReport[Any], int | None]:
    """Check the arguments; returns the report, and how many buckets or records to show."""
    given = checked(arguments, _PARAMETERS)
    action = given.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        raise InvalidQuery(f"action must be one of {', '.join(ACTIONS)}")
    for name in ("starting_at", "ending_at", "bucket_width"):
        if name in given and not isinstance(given[name], str):
            raise InvalidQuery(f"{name} must be a string")
    if "starting_at" not in given:
        raise InvalidQuery("starting_at is missing")
    limit = _whole(given.get("limit"))
    group_by: Any = strings(given.get("group_by", []))  # checked by the query
    start, end = given["starting_at"], given.get("ending_at")
    width = given.get("bucket_width", "1d")
    if action == "usage":
        return client.usage(start, end, bucket_width=width, group_by=group_by), limit
    if width != "1d":
        raise InvalidQuery(f"{action} is by day: bucket_width must be 1d")
    if action == "cost":
        return client.cost(start, end, group_by=group_by), limit
    if group_by:
        raise InvalidQuery("claude_code takes no group_by; its records are by person and day")
    return client.claude_code(start, _day_end(start, end)), limit


def checked(arguments: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that are given, null and "" being none.

    Raises InvalidQuery for others than `known`.
    """
    if not isinstance(arguments, Mapping):
        raise InvalidQuery("the input must be a JSON object")
    for name in arguments:
        if name not in known:
            raise InvalidQuery(
                f"unknown parameter {harmless(name)!r}; known are {', '.join(known) or 'none'}"
            )
    return {
        name: value
        for name, value in arguments.items()
        if value is not None and not (isinstance(value, str) and not value.strip())
    }


def _day_end(start: str, end: str | None) -> dt.datetime | None:
    """Return the end of a range of days; a time of day on the first day means all of that day."""
    if end is None:
        return None
    first, last = parse_moment(start, "starting_at"), parse_moment(end, "ending_at")
    return floor(first, DAY) + DAY if first <= last < floor(first, DAY) + DAY else last


def _whole(limit: Any) -> int | None:
    """Return a limit as JSON or a model writes it: 5, 5.0 or "5"."""
    if isinstance(limit, str) and limit.isascii() and limit.isdecimal() and len(limit) < 10:
        limit = int(limit)
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidQuery("limit must be a whole number of at least 1")
    return limit


def strings(group_by: Any) -> list[str]:
    """Return the dimensions of an array, also where a model wrote the array as a string."""
    if isinstance(group_by, str):
        group_by = [name.strip(" \"'") for name in group_by.strip("[] ").split(",")]
        group_by = [name for name in group_by if name]
    if not isinstance(group_by, list | tuple) or not all(isinstance(n, str) for n in group_by):
        raise InvalidQuery("group_by must be an array of strings")
    return list(group_by)
