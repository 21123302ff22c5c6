"""The MCP server: the reports and analyses as read-only tools, over stdio or loopback HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime as dt
import hmac
import json
import re
import typing
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from importlib import resources
from typing import Annotated, Any, TypedDict, TypeVar

from ..analysis.prices import PriceTable
from ..analysis.reconcile import reconcile
from ..analysis.spend import Caching, Coding, spend
from ..client import AsyncUsageClient, UsageClient
from ..directory import Directory
from ..engine.flow import Wait
from ..errors import AnthropicUsageError, InvalidQuery
from ..money import plain
from ..reports import CostRow, Part, UsageRow
from ..sinks.columns import require
from ..sinks.plain import plain_value
from .tool import (
    DEFAULT_MAX_CHARS,
    Progress,
    anthropic_usage,
    ask,
    definition,
    error_text,
    strings,
    words,
)
from .untrusted import NOTE, harmless, sentence

__all__ = ["INSTRUCTIONS", "Connect", "build", "protect"]

INSTRUCTIONS = (
    "Usage, billed cost and Claude Code productivity of one organization, from Anthropic's Admin "
    "API. Everything is read-only; totals are exact and complete; times are UTC and ends are "
    f"exclusive. {NOTE}"
)

T = TypeVar("T")

Connect = Callable[..., Any]
"""Makes a client: `connect(AsyncUsageClient, listener=...)`."""


class Report(TypedDict):
    """A report, read to its end."""

    report: str
    starting_at: str
    ending_at: str
    group_by: list[str]
    complete: bool
    settled_until: str | None
    totals: dict[str, Any]
    shown: str
    records: list[dict[str, Any]]
    notes: list[str]


class SpendSummary(TypedDict):
    """Spend and its change, in US dollars as exact decimal strings."""

    starting_at: str
    ending_at: str
    billed_until: str
    billed_usd: str | None
    before_usd: str | None
    change: float | None
    by_model: list[dict[str, Any]]
    by_workspace: list[dict[str, Any]]
    by_kind: list[dict[str, Any]]
    top_api_keys_estimated: list[dict[str, Any]]
    tokens: dict[str, int]
    cache_efficiency: float | None
    saved_by_caching_usd: list[str] | None
    claude_code: dict[str, Any] | None
    notes: list[str]


class Reconciled(TypedDict):
    """The bill taken apart, in US dollars as exact decimal strings."""

    starting_at: str
    ending_at: str
    list_cost_usd: str
    billed_usd: str
    unexplained_usd: str
    residuals: list[dict[str, str]]
    not_compared: list[dict[str, str]]
    notes: list[str]


class WorkspaceList(TypedDict):
    """The workspaces, archived ones too."""

    workspaces: list[dict[str, Any]]
    notes: list[str]


def build(connect: Connect, *, max_chars: int = DEFAULT_MAX_CHARS) -> Any:
    """Return the server (an `MCPServer` of the package `mcp`).

    Args:
        connect: makes a client of the given class, with a listener.
        max_chars: how long the text of an answer may be.

    Raises:
        MissingExtra: the extra `mcp` is not installed.
    """
    mcpserver: Any = require("mcp.server.mcpserver", "mcp")
    types: Any = require("mcp.types", "mcp")
    exceptions: Any = require("mcp.server.mcpserver.exceptions", "mcp")
    from importlib.metadata import version

    server = _server_class(mcpserver, exceptions.ToolError, max_chars)(
        name="anthropic-usage",
        title="Anthropic usage and cost",
        instructions=INSTRUCTIONS,
        version=version("anthropic-usage"),
        log_level="WARNING",
    )
    tools = _Tools(connect, max_chars, exceptions.ToolError)
    read_only = types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    field: Any = require("pydantic", "mcp").Field
    given: Any = require("pydantic", "mcp").BeforeValidator

    def add(function: Callable[..., Any], description: str) -> None:
        # The server reads annotations, and what stands in them is not known until now.
        known = typing.get_type_hints(function, localns={"Any": Any})
        function.__annotations__.update(
            {
                name: Annotated[
                    known[name], given(_READ.get(name, _blank)), field(description=meaning)
                ]
                for name, meaning in _PARAMETERS.items()
                if name in known
            }
        )
        function.__annotations__["context"] = mcpserver.Context
        server.tool(description=description, annotations=read_only)(function)

    async def anthropic_usage(
        action: str,
        starting_at: str,
        ending_at: str | None = None,
        bucket_width: str | None = None,
        group_by: list[str] | None = None,
        limit: int | None = None,
        context: Any = None,
    ) -> str:
        given = {
            "action": action,
            "starting_at": starting_at,
            "ending_at": ending_at,
            "bucket_width": bucket_width,
            "group_by": group_by,
            "limit": limit,
        }
        return await tools.text(given, context)

    async def get_usage_report(
        starting_at: str,
        ending_at: str | None = None,
        bucket_width: str | None = None,
        group_by: list[str] | None = None,
        limit: int | None = None,
        context: Any = None,
    ) -> Report:
        asked = {"bucket_width": bucket_width, "group_by": group_by, "limit": limit}
        return await tools.report("usage", starting_at, ending_at, asked, context)

    async def get_cost_report(
        starting_at: str,
        ending_at: str | None = None,
        group_by: list[str] | None = None,
        limit: int | None = None,
        context: Any = None,
    ) -> Report:
        asked = {"group_by": group_by, "limit": limit}
        return await tools.report("cost", starting_at, ending_at, asked, context)

    async def get_claude_code_usage(
        starting_at: str,
        ending_at: str | None = None,
        limit: int | None = None,
        context: Any = None,
    ) -> Report:
        return await tools.report("claude_code", starting_at, ending_at, {"limit": limit}, context)

    async def get_spend_summary(
        starting_at: str, ending_at: str | None = None, context: Any = None
    ) -> SpendSummary:
        return await tools.spend_summary(starting_at, ending_at, context)

    async def reconcile_costs(
        starting_at: str, ending_at: str | None = None, context: Any = None
    ) -> Reconciled:
        return await tools.reconcile(starting_at, ending_at, context)

    async def list_workspaces(context: Any = None) -> WorkspaceList:
        return await tools.workspaces(context)

    add(anthropic_usage, definition()["description"])
    add(
        get_usage_report,
        "Tokens by time bucket. group_by: api_key_id, workspace_id, model, service_tier, "
        "context_window, inference_geo, account_id, service_account_id, speed; at most five.",
    )
    add(
        get_cost_report,
        "Billed dollars by completed UTC day. group_by: workspace_id, description. Priority Tier "
        "costs are never in it.",
    )
    add(
        get_claude_code_usage,
        "What Claude Code did, by person and UTC day: sessions, lines, commits, pull requests, "
        "accepted proposals, tokens, estimated cost.",
    )
    add(
        get_spend_summary,
        "Spend of a range against the same span before it: by model, workspace and kind; top API "
        "keys; caching; Claude Code; what the bill does not have.",
    )
    add(
        reconcile_costs,
        "Compare usage at list prices with the bill, and name what differs.",
    )
    add(list_workspaces, "The workspaces' ids and names, archived ones too.")
    _add_resources(server)
    _add_prompts(server)
    return server


_VOCABULARY = frozenset((*UsageRow.DIMENSIONS, *CostRow.DIMENSIONS, "1m", "1h", "1d"))
_PARAMETERS = {
    "action": "Which report: usage, cost or claude_code.",
    "starting_at": "Start, UTC: RFC 3339 such as 2026-02-01T00:00:00Z, or YYYY-MM-DD.",
    "ending_at": "End, exclusive, in the same format; now if left out.",
    "bucket_width": "1m, 1h or 1d; only usage knows anything but 1d.",
    "group_by": "Dimensions to split by, as the tool's description lists them.",
    "limit": "Most time buckets (Claude Code: records) to show; totals cover the whole range.",
}


def _blank(value: Any) -> Any:
    """Read a field that a client fills in though it has nothing to say."""
    return None if isinstance(value, str) and not value.strip() else value


def _words(value: Any) -> Any:
    """Read an array as models write it: also as one word, or as text."""
    return strings(value) if isinstance(value, str) and value.strip() else _blank(value)


_READ: dict[str, Callable[[Any], Any]] = {"group_by": _words}


def _server_class(mcpserver: Any, refusal: type[Exception], max_chars: int) -> Any:
    """Return a server that refuses unknown parameters, repeats no argument, and bounds texts."""
    validation: Any = require("pydantic", "mcp").ValidationError

    class Server(mcpserver.MCPServer):  # type: ignore[misc]
        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            tools = {tool.name: tool for tool in await self.list_tools()}
            if name in tools:
                known = tools[name].input_schema.get("properties", {})
                for given in arguments:
                    if given not in known:
                        # Whatever is no name of a parameter may be anything, even a key.
                        shown = f" {given!r}" if given.isidentifier() and len(given) < 40 else ""
                        names = ", ".join(known) or "none"
                        raise refusal(f"unknown parameter{shown}; known are {names}")
            try:
                result = await super().call_tool(name, arguments, context)
            except refusal as error:
                cause = error.__cause__
                if not isinstance(cause, validation):
                    raise refusal(_unrepeated(str(error), arguments)) from None
                # The names only: a value that was refused may be anything, even a key.
                fields = sorted({str(problem["loc"][0]) for problem in cause.errors()})
                wrong = f"{name}: missing or of the wrong type: {', '.join(fields)}"
            else:
                return _bounded(result, max_chars)
            raise refusal(wrong)

    return Server


_QUOTED = re.compile(r"(?<!\w)('(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$))", re.DOTALL)


def _unrepeated(text: str, arguments: Any) -> str:
    """Return a refusal without what it quotes of the arguments, which may be anything."""
    asked = repr(arguments)

    def quoted(found: re.Match[str]) -> str:
        word = found[0][1:-1]
        known = word in _VOCABULARY or word[:20] not in asked
        return found[0] if known else "what was given"

    return sentence(_QUOTED.sub(quoted, text))


def _shortened(document: dict[str, Any], max_chars: int) -> dict[str, Any]:
    """Halve the longest list until the document has room, and say so; the notes go last."""
    made = copy.deepcopy(document)

    def size(value: Any) -> int:
        return len(json.dumps(value, indent=2, ensure_ascii=False))

    while size(made) > max_chars:
        lists = [value for name, value in made.items() if name != "notes" and _is_long(value)]
        if lists:
            longest = max(lists, key=size)
            del longest[len(longest) // 2 :]
            if "notes" in made and _CUT not in made["notes"]:
                made["notes"].insert(0, _CUT)
        elif len(made.get("notes", ())) > 1:
            made["notes"].pop()
        else:
            raise AnthropicUsageError(f"the answer has no room in {max_chars:,} characters")
    return made


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


_CUT = "Lists are cut to fit: ask for a shorter range, fewer dimensions or a limit."


def _bounded(result: Any, max_chars: int) -> Any:
    """Cut what a model would read of a result to `max_chars`, and say so."""
    structured = getattr(result, "structured_content", None)
    if isinstance(structured, dict) and "result" not in structured:
        made = _shortened(structured, max_chars)
        if made != structured:
            result.structured_content = made
            for block in result.content:
                block.text = json.dumps(made, indent=2, ensure_ascii=False)
    said = "... (cut: ask for a shorter range, fewer dimensions or a limit)"
    for block in getattr(result, "content", ()):
        if getattr(block, "type", "") == "text" and len(block.text) > max_chars:
            block.text = block.text[: max_chars - len(said)] + said
    return result


class _Tools:
    """What the tools do, apart from how they are declared."""

    def __init__(self, connect: Connect, max_chars: int, refusal: type[Exception]) -> None:
        self._connect = connect
        self._max_chars = max_chars
        self._refusal = refusal

    async def text(self, arguments: dict[str, Any], context: Any) -> str:
        """Return the report as text, or a sentence on what went wrong."""
        try:
            client = self._connect(AsyncUsageClient)
        except AnthropicUsageError as error:
            return error_text(error, self._max_chars)
        async with client:
            text = await anthropic_usage(
                arguments, client=client, max_chars=self._max_chars, progress=_progress(context)
            )
        return _unrepeated(text, arguments) if text.startswith("Error:") else text

    async def report(
        self,
        action: str,
        starting_at: str,
        ending_at: str | None,
        asked: dict[str, Any],
        context: Any,
    ) -> Report:
        """Return a report as an object."""
        given = {"action": action, "starting_at": starting_at, "ending_at": ending_at, **asked}
        with self._refusing():
            async with self._connect(AsyncUsageClient) as client:
                # The protocol prints it with an indentation that takes as much room again.
                answer = await ask(given, client, self._max_chars // 2, _progress(context))
        made: Report = {
            "report": action,
            "starting_at": starting_at,
            "ending_at": ending_at or "",
            "group_by": [],
            "complete": True,
            "settled_until": None,
            "totals": {},
            "shown": "",
            "records": [],
            "notes": [],
        }
        made.update(answer.document)  # type: ignore[typeddict-item]
        return made

    async def spend_summary(
        self, starting_at: str, ending_at: str | None, context: Any
    ) -> SpendSummary:
        """Return the spend of a range."""

        def run(client: UsageClient) -> SpendSummary:
            directory = Directory.read(client, kinds=("workspaces", "api_keys"))
            result = spend(client, starting_at, ending_at, directory=directory)
            caching, coding = result.caching, result.coding
            return {
                "starting_at": plain_value(result.starting_at),
                "ending_at": plain_value(result.ending_at),
                "billed_until": plain_value(result.billed_until),
                "billed_usd": _exact(result.billed),
                "before_usd": _exact(result.before),
                "change": result.change,
                "by_model": [_slice(part) for part in result.by_model[:_MOST]],
                "by_workspace": [_slice(part) for part in result.by_workspace[:_MOST]],
                "by_kind": [_slice(part) for part in result.by_kind[:_MOST]],
                "top_api_keys_estimated": [
                    {
                        "id": None if key.id is None else harmless(key.id),
                        "name_untrusted": harmless(key.name),
                        "low_usd": _exact(key.low),
                        "high_usd": _exact(key.high),
                        "tokens": key.tokens,
                    }
                    for key in result.keys[:10]
                ],
                "tokens": {name: now for name, (now, _) in result.tokens.items()},
                "cache_efficiency": None if caching is None else caching.efficiency,
                "saved_by_caching_usd": _saved(caching),
                "claude_code": None if coding is None else _figures(coding),
                "notes": [
                    *(sentence(text) for text in result.notes),
                    *(harmless(text, 200) for text in directory.missing),
                    NOTE,
                ],
            }

        return await self._in_thread(run, context)

    async def reconcile(self, starting_at: str, ending_at: str | None, context: Any) -> Reconciled:
        """Return the bill of a range, taken apart."""

        def run(client: UsageClient) -> Reconciled:
            result = reconcile(client, starting_at, ending_at)
            return {
                "starting_at": plain_value(result.starting_at),
                "ending_at": plain_value(result.ending_at),
                "list_cost_usd": plain(result.list_cost),
                "billed_usd": plain(result.billed),
                "unexplained_usd": plain(result.unexplained),
                "residuals": [_residual(item) for item in result.residuals],
                "not_compared": [_residual(item) for item in result.not_compared],
                "notes": [sentence(text) for text in result.notes],
            }

        return await self._in_thread(run, context)

    async def workspaces(self, context: Any) -> WorkspaceList:
        """Return the workspaces."""

        def run(client: UsageClient) -> WorkspaceList:
            found = client.workspaces(include_default=True)
            most = self._max_chars // 250
            more = f"{len(found):,} workspaces; only the first {most:,} are listed"
            return {
                "workspaces": [
                    {
                        "id": harmless(item.id),
                        "name_untrusted": harmless(item.name or item.id),
                        "archived": isinstance(item.archived_at, dt.datetime),
                    }
                    for item in found[:most]
                ],
                "notes": [NOTE, *([more] if len(found) > most else [])],
            }

        return await self._in_thread(run, context)

    async def _in_thread(self, run: Callable[[UsageClient], T], context: Any) -> T:
        """Run an analysis beside the event loop, telling it of each page."""
        loop = asyncio.get_running_loop()
        progress = _progress(context)
        told: list[Any] = []
        cancelled = False

        def listen(event: Wait | Part) -> None:
            if cancelled:
                raise AnthropicUsageError("nobody waits for the answer any more")
            if progress is not None and isinstance(event, Part):
                said = _awaited(progress(float(len(told) + 1), "pages read"))
                told.append(asyncio.run_coroutine_threadsafe(said, loop))

        def work() -> T:
            with self._connect(UsageClient, listener=listen) as client:
                return run(client)

        try:
            with self._refusing():
                made = await asyncio.to_thread(work)
        except asyncio.CancelledError:
            cancelled = True
            raise
        await asyncio.gather(*map(asyncio.wrap_future, told))
        return made

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn errors that say what to do into the tool errors of the protocol."""
        try:
            yield
        except AnthropicUsageError as error:
            raise self._refusal(words(error)) from None


_MOST = 25


async def _awaited(said: Awaitable[None]) -> None:
    await said


def _progress(context: Any) -> Progress | None:
    """Return what tells the client how far it is, if there is a client to tell."""
    if context is None:
        return None

    async def tell(done: float, what: str) -> None:
        total = 1.0 if done <= 1 and what.startswith("reading") else None
        await context.report_progress(done, total, what)

    return tell


def _exact(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _figures(coding: Coding) -> dict[str, Any]:
    """Return what Claude Code came to, without who it was: names are text from outside."""
    said: dict[str, Any] = plain_value(coding)
    return {name: value for name, value in said.items() if name != "who"}


def _saved(caching: Caching | None) -> list[str] | None:
    if caching is None or caching.saved_low is None or caching.saved_high is None:
        return None
    return [plain(caching.saved_low), plain(caching.saved_high)]


def _residual(item: Any) -> dict[str, str]:
    return {
        "name": sentence(item.name, 100),
        "amount_usd": plain(item.amount),
        "note": sentence("; ".join([*_said(item), item.note])),
    }


def _said(item: Any) -> list[str]:
    """Say what the parts of a residual depend on, the largest first."""
    if item.name == "discount":
        return []  # its note says that
    return [f"{plain(part.amount)} {part.text()}" for part in item.parts[:5]]


def _slice(part: Any) -> dict[str, Any]:
    return {
        "id": None if part.id is None else harmless(part.id),
        "name_untrusted": harmless(part.name),
        "billed_usd": plain(part.billed),
        "before_usd": _exact(part.before),
    }


def _add_resources(server: Any) -> None:
    def prices() -> str:
        """Return the bundled list prices, dated, in USD for a million tokens."""
        folder = resources.files("anthropic_usage")
        return folder.joinpath("data", "claude_prices.json").read_text(encoding="utf-8")

    def lake_schema() -> str:
        """Return the tables that anthropic-usage-track writes, column by column."""
        from ..lake.schema import TABLES

        return json.dumps(TABLES, indent=2)

    as_of = PriceTable.bundled().as_of
    server.resource(
        "anthropic-usage://prices",
        name="prices",
        description=f"Dated list prices of Claude models, as of {as_of}",
        mime_type="application/json",
    )(prices)
    server.resource(
        "anthropic-usage://lake/schema",
        name="lake_schema",
        description="The tables of the usage lake: columns, types, meaning",
        mime_type="application/json",
    )(lake_schema)


def _add_prompts(server: Any) -> None:
    def spend_this_month() -> str:
        """Ask how much was spent on the Anthropic API this month."""
        first = dt.datetime.now(dt.UTC).replace(day=1)
        return (
            "How much have I spent on the Anthropic API this month? Use anthropic_usage with "
            f'{{"action": "cost", "starting_at": "{first:%Y-%m-%d}T00:00:00Z", '
            '"bucket_width": "1d"}, and say up to which day the bill reaches.'
        )

    def usage_past_week_by_model() -> str:
        """Ask for the token usage of the past week, by model."""
        week_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
        return (
            "Show my token usage for the past week grouped by model. Use anthropic_usage with "
            f'{{"action": "usage", "starting_at": "{week_ago:%Y-%m-%d}T00:00:00Z", '
            '"bucket_width": "1d", "group_by": ["model"]}.'
        )

    server.prompt(title="Spend this month")(spend_this_month)
    server.prompt(title="Usage of the past week by model")(usage_past_week_by_model)


def protect(app: Any, token: str) -> Any:
    """Return an ASGI application that answers only those who bring the token."""
    if len(token) < 16:
        raise InvalidQuery("the token must have at least 16 characters")
    expected = f"Bearer {token}".encode()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, expected):
                await send(
                    {
                        "type": "http.response.start",
                        "status": 401,
                        "headers": [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")],
                    }
                )
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    return guarded
