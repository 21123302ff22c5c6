"""What developers did with Claude Code, a day a request: `…/usage_report/claude_code`."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

import msgspec
from anthropic_admin_client.api.claude_code import get_claude_code_usage_report
from anthropic_admin_client.types import UNSET

from ..fields import (
    ALWAYS,
    Breakdown,
    Count,
    Derived,
    Dimension,
    Measure,
    Money,
    Nested,
    Row,
    Span,
    Time,
    Total,
)
from ..fields import fields_of as _fields_of
from ..moments import DAY, in_utc, monday
from ..money import dollars, parse_amount, total
from .cost import usd
from .dimensions import Text
from .kind import Kind, Page, Proof, When, Width, Window, decoded, said
from .query import Query

__all__ = ["CLAUDE_CODE", "TOOLS", "ClaudeCodeRow", "ModelUse", "ToolUse"]

TOOLS: Final = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
"""The tools that have columns of their own."""

_Always = functools.partial(Dimension, group=ALWAYS)


class _Action(msgspec.Struct, gc=False):
    accepted: Count
    rejected: Count


class _Estimate(msgspec.Struct, gc=False):
    """An estimate, as a number or a string; kept as written, so no float comes between."""

    currency: str
    amount: msgspec.Raw


def _cents(estimate: _Estimate) -> Decimal:
    usd(estimate.currency)
    text = bytes(estimate.amount).decode()
    return parse_amount(msgspec.json.decode(text, type=str) if text[0] == '"' else text)


def _proposals(name: str) -> Measure:
    """Return how often one of the tools' proposals were taken, or not; unused, it is not there."""
    tool, _, answer = name.rpartition("_")

    def read(actions: dict[str, _Action]) -> int:
        return getattr(actions[tool], answer) if tool in actions else 0

    said = f"{tool} proposals {answer}"
    return Measure(said, "tool_actions", dict[str, _Action], read, heading=None)


def _actor(actor: dict[str, Any]) -> Text:
    """Return the email address or the key's name; of an unknown kind, its first text.

    Mail goes to one box however its address is spelled, so that one person is one here too.
    """
    email = actor.get("email_address")
    if isinstance(email, str):
        return email.strip().lower()
    names = ("api_key_name", *sorted(actor))
    texts = (actor.get(name) for name in names if name != "type")
    return next((text for text in texts if isinstance(text, str)), None)


def _actor_type(actor: dict[str, Any]) -> Text:
    kind = actor.get("type")
    return kind if isinstance(kind, str) else None


class ModelUse(Row, frozen=True, gc=False, kw_only=True):
    """What one actor used of one model in Claude Code: tokens, and the estimated cost in cents."""

    REPORT: ClassVar = "claude_code"

    model: Annotated[str, Dimension("model", required=True)]
    input_tokens: Annotated[int, Measure("input tokens, uncached", at="tokens.input")]
    output_tokens: Annotated[int, Measure("output tokens", at="tokens.output")]
    cache_read_tokens: Annotated[int, Measure("tokens read from a cache", at="tokens.cache_read")]
    cache_creation_tokens: Annotated[
        int, Measure("tokens written to a cache", at="tokens.cache_creation")
    ]
    estimated_cost_cents: Annotated[
        Decimal, Money("estimated cents, exact", at="estimated_cost", wire=_Estimate, read=_cents)
    ]

    @Derived
    def estimated_cost_usd(self) -> Decimal:
        """estimate; overlaps the bill"""
        return dollars(self.estimated_cost_cents)


class ToolUse(Row, frozen=True, gc=False, kw_only=True):
    """How often the proposals of a tool were taken."""

    REPORT: ClassVar = "claude_code"

    tool: Annotated[str, Dimension("tool", required=True)]
    accepted: Annotated[int, Measure("proposals accepted")]
    rejected: Annotated[int, Measure("proposals rejected")]


def _others(actions: dict[str, _Action]) -> list[ToolUse]:
    return [
        ToolUse(tool=name, accepted=action.accepted, rejected=action.rejected)
        for name, action in actions.items()
        if name not in TOOLS
    ]


class ClaudeCodeRow(Row, frozen=True, kw_only=True):
    """One actor's day of Claude Code on one kind of terminal and subscription.

    Source: platform.claude.com, claude-code-analytics-api. `actor` is the email address of a
    `user_actor`, in lower case, so that one person in two spellings is one; or the key's name of an
    `api_actor`, as it is written. The estimated cost overlaps the cost report: never add the two.
    `date` is None on a group that is not one period.

    The API splits tokens and estimated cost by model, and nothing else: in a group by `model` the
    other measures are None, for they are not known.
    """

    TOOLS: ClassVar = TOOLS
    REPORT: ClassVar = "claude_code"

    date: Annotated[dt.date | None, Time("UTC day", of=lambda start, end: start.date())] = None
    actor: Annotated[
        Text,
        _Always(
            "email address, or the API key's name",
            wire=dict[str, Any],
            read=_actor,
            apart="actor_type",
            required=True,
        ),
    ] = None
    actor_type: Annotated[
        Text, _Always("user_actor or api_actor", "actor", dict[str, Any], _actor_type, "kind")
    ] = None
    organization_id: Annotated[Text, _Always("organization", heading="organization")] = None
    customer_type: Annotated[Text, _Always("api or subscription", heading="customer")] = None
    subscription_type: Annotated[
        Text, _Always("enterprise or team", heading="subscription", null="neither")
    ] = None
    terminal_type: Annotated[Text, _Always("terminal", heading="terminal")] = None
    is_remote: Annotated[bool | None, _Always("whether it ran in the cloud", heading="remote")] = (
        None
    )
    model: Annotated[Text, Breakdown("model, in a group by it", within="models")] = None
    num_sessions: Annotated[
        int | None, Measure("sessions", at="core_metrics.num_sessions", heading="sessions")
    ]
    lines_added: Annotated[
        int | None, Measure("lines added", at="core_metrics.lines_of_code.added", heading="lines +")
    ]
    lines_removed: Annotated[
        int | None,
        Measure("lines removed", at="core_metrics.lines_of_code.removed", heading="lines -"),
    ]
    commits_by_claude_code: Annotated[
        int | None, Measure("commits", at="core_metrics.commits_by_claude_code", heading="commits")
    ]
    pull_requests_by_claude_code: Annotated[
        int | None,
        Measure("pull requests", at="core_metrics.pull_requests_by_claude_code", heading="PRs"),
    ]
    edit_tool_accepted: Annotated[int | None, _proposals("edit_tool_accepted")]
    edit_tool_rejected: Annotated[int | None, _proposals("edit_tool_rejected")]
    multi_edit_tool_accepted: Annotated[int | None, _proposals("multi_edit_tool_accepted")]
    multi_edit_tool_rejected: Annotated[int | None, _proposals("multi_edit_tool_rejected")]
    write_tool_accepted: Annotated[int | None, _proposals("write_tool_accepted")]
    write_tool_rejected: Annotated[int | None, _proposals("write_tool_rejected")]
    notebook_edit_tool_accepted: Annotated[int | None, _proposals("notebook_edit_tool_accepted")]
    notebook_edit_tool_rejected: Annotated[int | None, _proposals("notebook_edit_tool_rejected")]
    models: Annotated[
        tuple[ModelUse, ...],
        Nested("use by model", "model_breakdown", largest_by="estimated_cost_cents"),
    ]
    other_tools: Annotated[
        tuple[ToolUse, ...],
        Nested("other tools", "tool_actions", dict[str, _Action], _others, column=False),
    ] = ()

    @property
    def accepted(self) -> int | None:
        """Proposals of any tool that were accepted; None where they are not known."""
        return self._sum_of("accepted")

    @property
    def rejected(self) -> int | None:
        """Proposals of any tool that were rejected; None where they are not known."""
        return self._sum_of("rejected")

    def _sum_of(self, answer: str) -> int | None:
        if self.num_sessions is None:
            return None
        named: int = sum(getattr(self, f"{tool}_{answer}") for tool in TOOLS)
        others: int = sum(getattr(use, answer) for use in self.other_tools)
        return named + others

    input_tokens = Total("input tokens, uncached", over="models", heading="tokens")
    output_tokens = Total("output tokens", over="models", heading="tokens")
    cache_read_tokens = Total("tokens read from a cache", over="models", heading="tokens")
    cache_creation_tokens = Total("tokens written to a cache", over="models", heading="tokens")

    @Derived
    def estimated_cost_usd(self) -> Decimal:
        """estimate; overlaps the bill"""
        return dollars(total(use.estimated_cost_cents for use in self.models))

    estimated_cost_usd.heading = "est. cost"

    @property
    def day(self) -> dt.date | None:
        """The same as `date`."""
        return self.date

    @property
    def week(self) -> dt.date | None:
        """The Monday of the row's ISO week."""
        return None if self.date is None else monday(self.date)

    @property
    def month(self) -> str | None:
        """The row's calendar month, as `YYYY-MM`."""
        return None if self.date is None else f"{self.date:%Y-%m}"


class _Dated(msgspec.Struct, gc=False):
    date: When


_DATED = msgspec.json.Decoder(_Dated)


class ClaudeCode(Kind[ClaudeCodeRow]):
    """The Claude Code report. Data appears within about an hour."""

    name = "claude_code"
    path = "/v1/organizations/usage_report/claude_code"
    whole_days = "Claude Code's records are of whole UTC days and say no hour"
    pages_known = False
    fields = _fields_of(ClaudeCodeRow)
    title = "Anthropic Claude Code report (productivity)"
    largest_by = "estimated_cost_usd"
    in_buckets = False
    page_of = "a page of records"
    widths_said = False
    widths: ClassVar = {"1d": Width(DAY, 1000, DAY)}
    caveats = ("Estimated cost overlaps the cost report: never add the two.",)
    table = (
        "sessions",
        "lines +",
        "lines -",
        "commits",
        "PRs",
        "accepted",
        "tokens",
        "est. cost",
    )
    shares: ClassVar = {"accepted": ("accepted", "rejected")}
    gives_way = ("tokens", "lines -", "PRs", "accepted", "commits")

    _decoder = msgspec.json.Decoder(Page[msgspec.Raw])

    def request(
        self, query: Query, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        return get_claude_code_usage_report.request(
            starting_at=starting_at.date(),
            limit=query.limit,
            page=UNSET if page is None else page,
            anthropic_version=query.anthropic_version,
        )

    def decode(self, body: bytes) -> Page[msgspec.Raw]:
        return decoded(self._decoder, body, self.name)

    def spans(self, query: Query, page: Page[msgspec.Raw]) -> Iterator[Span]:
        if page.data:
            start = _day_of(page.data[0])
            yield Span(start, start + DAY, msgspec.Raw(b"[%s]" % b",".join(page.data)))

    def coarser(self, query: Query) -> list[tuple[str, ...]]:
        who = ("actor", "actor_type")
        return [("day", *who), ("week", *who), who, ("week",), ("month",)]

    def more(self, row: ClaudeCodeRow) -> dict[str, Any]:
        accepted, rejected = row.accepted or 0, row.rejected or 0
        asked = accepted + rejected
        return {
            "estimated_cost_cents": total(use.estimated_cost_cents for use in row.models),
            "tool_acceptance_rate": round(accepted / asked, 3) if asked else None,
        }

    def proof(self, query: Query, window: Window) -> Proof:
        return _RecordProof(query, window)


def _day_of(record: msgspec.Raw) -> dt.datetime:
    """Return the midnight that a record's day begins with."""
    moment = in_utc(decoded(_DATED, record, "claude_code").date)
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


class _RecordProof(Proof):
    """Records must be of the day asked for, and no page and no person's record may come again.

    Equal records of API keys are two: a key is known by its name there, and two keys may share one.
    An address is one person's.
    """

    def __init__(self, query: Query, window: Window) -> None:
        super().__init__(query, window)
        self._seen: set[bytes] = set()

    def take(self, page: Page[msgspec.Raw], body: bytes) -> None:
        day = self.window.starting_at
        for raw in page.data:
            if _day_of(raw) != day:
                when = said(decoded(_DATED, raw, "claude_code").date)
                raise self.broken(f"asked for {day:%Y-%m-%d}, got a record of {when}")
        records = [decoded(_ANY, raw, "claude_code") for raw in page.data]
        # In one order, however the keys of a record are ordered.
        texts = [_ORDERED.encode(record) for record in records]
        known = [("a page", b"".join(sorted(texts)))] if records else []
        known += [
            ("a record of a person", text)
            for record, text in zip(records, texts, strict=True)
            if _is_person(record)
        ]
        for what, text in known:
            mark = hashlib.sha256(what.encode() + text).digest()
            if mark in self._seen:
                raise self.broken(f"{what} of {day:%Y-%m-%d} came twice")
            self._seen.add(mark)


_ANY: Final = msgspec.json.Decoder(dict[str, Any])
_ORDERED: Final = msgspec.msgpack.Encoder(order="deterministic")


def _is_person(record: dict[str, Any]) -> bool:
    actor = record.get("actor")
    return isinstance(actor, dict) and "email_address" in actor


CLAUDE_CODE: Final = ClaudeCode()
