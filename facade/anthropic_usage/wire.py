"""Bytes to rows: the answers' shapes as msgspec Structs, and rows out of them.

Measures are required, dimensions optional, and unknown fields or values pass: a contract test holds
these fields against the patched spec. A body of any other shape is an IncompleteReport that names
the place.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from .errors import IncompleteReport
from .money import parse_amount
from .query import Query
from .rows import ClaudeCodeRow, CostRow, ModelUse, Row, ToolUse, UsageRow

__all__ = ["Page", "decode", "decode_error", "rows", "usage_results"]

Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0)]
"""What is counted is never below zero."""


class CacheCreation(msgspec.Struct, gc=False):
    """Tokens written to the cache, by how long they are kept."""

    ephemeral_1h_input_tokens: Count
    ephemeral_5m_input_tokens: Count


class ServerToolUse(msgspec.Struct, gc=False):
    """Calls of tools that run on the server."""

    web_search_requests: Count


class UsageResult(msgspec.Struct, gc=False):
    """One combination of dimensions in one bucket of the usage report."""

    uncached_input_tokens: Count
    cache_creation: CacheCreation
    cache_read_input_tokens: Count
    output_tokens: Count
    server_tool_use: ServerToolUse
    api_key_id: str | None = None
    workspace_id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    account_id: str | None = None
    service_account_id: str | None = None
    speed: str | None = None


class CostResult(msgspec.Struct, gc=False):
    """One line of one day of the cost report; `amount` is a decimal string in cents."""

    currency: str
    amount: str
    workspace_id: str | None = None
    description: str | None = None
    cost_type: str | None = None
    model: str | None = None
    token_type: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None


class UsageBucket(msgspec.Struct, gc=False):
    """One interval of the usage report; `usage_results` reads its results.

    They stay bytes until their turn comes, so that a page of tens of thousands costs no more memory
    than its JSON, and each bucket's objects are used while they are still in the processor's cache.
    """

    starting_at: Moment
    ending_at: Moment
    results: msgspec.Raw


class SummedBucket(UsageBucket, gc=False):
    """An interval that was put together from shorter ones."""

    summed: list[UsageResult]


class CostBucket(msgspec.Struct, gc=False):
    """One day of the cost report."""

    starting_at: Moment
    ending_at: Moment
    results: list[CostResult]


class LinesOfCode(msgspec.Struct, gc=False):
    """Lines that Claude Code wrote and removed."""

    added: Count
    removed: Count


class CoreMetrics(msgspec.Struct, gc=False):
    """What a developer got done in a day."""

    num_sessions: Count
    lines_of_code: LinesOfCode
    commits_by_claude_code: Count
    pull_requests_by_claude_code: Count


class ToolAction(msgspec.Struct, gc=False):
    """How often a tool's proposals were taken."""

    accepted: Count
    rejected: Count


class ModelTokens(msgspec.Struct, gc=False):
    """Tokens of one model."""

    input: Count
    output: Count
    cache_read: Count
    cache_creation: Count


class EstimatedCost(msgspec.Struct, gc=False):
    """An estimate in cents, as a number or a string; kept as written, so no float comes between."""

    currency: str
    amount: msgspec.Raw


class ModelBreakdown(msgspec.Struct, gc=False):
    """One model's part of a record."""

    model: str
    tokens: ModelTokens
    estimated_cost: EstimatedCost


class ClaudeCodeRecord(msgspec.Struct):
    """One actor's day; `actor` and `tool_actions` are open maps, as new kinds may come."""

    date: Moment
    actor: dict[str, Any]
    core_metrics: CoreMetrics
    tool_actions: dict[str, ToolAction]
    model_breakdown: list[ModelBreakdown]
    organization_id: str | None = None
    customer_type: str | None = None
    terminal_type: str | None = None
    subscription_type: str | None = None
    is_remote: bool | None = None


class UsagePage(msgspec.Struct):
    """An answer of the usage report."""

    data: list[UsageBucket]
    has_more: bool
    next_page: str | None


class CostPage(msgspec.Struct):
    """An answer of the cost report."""

    data: list[CostBucket]
    has_more: bool
    next_page: str | None


class ClaudeCodePage(msgspec.Struct):
    """An answer of the Claude Code report."""

    data: list[ClaudeCodeRecord]
    has_more: bool
    next_page: str | None


Page = UsagePage | CostPage | ClaudeCodePage

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "usage": msgspec.json.Decoder(UsagePage),
    "cost": msgspec.json.Decoder(CostPage),
    "claude_code": msgspec.json.Decoder(ClaudeCodePage),
}
_RESULTS: Final = msgspec.json.Decoder(list[UsageResult])
_NAMED_TOOLS: Final = ClaudeCodeRow.TOOLS
_NO_ACTIONS: Final = ToolAction(0, 0)


def decode(query: Query, body: bytes) -> Page:
    """Return the page that `body` holds; raises IncompleteReport for any other shape.

    The results of usage buckets are read, and refused, when they are asked for.
    """
    try:
        page: Page = _DECODERS[query.report].decode(body)
        if isinstance(page, CostPage | ClaudeCodePage):
            _check_money(page)
        if isinstance(page, CostPage):
            for day in page.data:
                _check_fit(query, day.results, day.starting_at)
    except (ValueError, RecursionError) as error:
        raise _unreadable(query.report, error) from None
    return page


def usage_results(bucket: UsageBucket, query: Query | None = None) -> list[UsageResult]:
    """Return a bucket's results; raises IncompleteReport for any other shape.

    It also does if they are no answer to `query`, as far as they tell.
    """
    if isinstance(bucket, SummedBucket):
        return bucket.summed
    try:
        results = _RESULTS.decode(bucket.results)
    except (ValueError, RecursionError) as error:
        start = in_utc(bucket.starting_at)
        raise _unreadable("usage", error, f" in the bucket of {start:%Y-%m-%dT%H:%MZ}") from None
    if query is not None:
        _check_fit(query, results, bucket.starting_at)
    return results


def _check_fit(query: Query, results: list[Any], start: dt.datetime) -> None:
    """Refuse results that were grouped or filtered otherwise than asked; raises IncompleteReport.

    What may be null in any row (a workspace, a key) cannot tell that it was not grouped by.
    """
    if not results:
        return
    for name in query.never_null:
        if all(getattr(result, name) is None for result in results):
            raise IncompleteReport(
                f"the {query.report} report is no answer to the question: it was to be grouped by "
                f"{name}, and no result of {in_utc(start):%Y-%m-%dT%H:%MZ} has one"
            )
    for name, wanted in query.filtered.items():
        # `speed` is the beta's: it may not come back.
        grouped = name in query.group_by and name != "speed"
        for value in {getattr(result, name) for result in results}:
            if not (_matches(value, wanted) if value is not None else not grouped):
                raise IncompleteReport(
                    f"the {query.report} report is no answer to the question: only {name} "
                    f"{', '.join(wanted)[:80]} was asked for, and {in_utc(start):%Y-%m-%dT%H:%MZ} "
                    f"has {str(value)[:80]!r}"
                )


def _matches(value: str, wanted: tuple[str, ...]) -> bool:
    """Tell whether a filter lets a value through; a model may be named without its date."""
    return value in wanted or any(value.startswith(f"{name}-") for name in wanted)


def rows(query: Query, page: Page) -> Iterator[Row]:
    """Yield the page's rows in the answer's order."""
    if isinstance(page, UsagePage):
        for bucket in page.data:
            start, end = clock(query, bucket.starting_at), clock(query, bucket.ending_at)
            for result in usage_results(bucket, query):
                yield usage_row(start, end, result)
    elif isinstance(page, CostPage):
        for day in page.data:
            start, end = in_utc(day.starting_at), in_utc(day.ending_at)
            for line in day.results:
                yield cost_row(start, end, line)
    else:
        for record in page.data:
            yield claude_code_row(record)


def usage_row(start: dt.datetime, end: dt.datetime, result: UsageResult) -> UsageRow:
    """Flatten one result."""
    return UsageRow(
        starting_at=start,
        ending_at=end,
        api_key_id=result.api_key_id,
        workspace_id=result.workspace_id,
        model=result.model,
        service_tier=result.service_tier,
        context_window=result.context_window,
        inference_geo=result.inference_geo,
        account_id=result.account_id,
        service_account_id=result.service_account_id,
        speed=result.speed,
        uncached_input_tokens=result.uncached_input_tokens,
        cache_creation_5m_input_tokens=result.cache_creation.ephemeral_5m_input_tokens,
        cache_creation_1h_input_tokens=result.cache_creation.ephemeral_1h_input_tokens,
        cache_read_input_tokens=result.cache_read_input_tokens,
        output_tokens=result.output_tokens,
        web_search_requests=result.server_tool_use.web_search_requests,
    )


def cost_row(start: dt.datetime, end: dt.datetime, line: CostResult) -> CostRow:
    """Flatten one line of the bill."""
    return CostRow(
        starting_at=start,
        ending_at=end,
        workspace_id=line.workspace_id,
        description=line.description,
        cost_type=line.cost_type,
        model=line.model,
        token_type=line.token_type,
        service_tier=line.service_tier,
        context_window=line.context_window,
        inference_geo=line.inference_geo,
        currency=line.currency,
        amount_cents=Decimal(line.amount),
    )


def claude_code_row(record: ClaudeCodeRecord) -> ClaudeCodeRow:
    """Flatten one actor's record."""
    actions = record.tool_actions
    edit, multi_edit, write, notebook_edit = (
        actions.get(name, _NO_ACTIONS) for name in _NAMED_TOOLS
    )
    core = record.core_metrics
    kind = record.actor.get("type")
    return ClaudeCodeRow(
        date=in_utc(record.date).date(),
        actor=_actor_name(record.actor),
        actor_type=kind if isinstance(kind, str) else None,
        organization_id=record.organization_id,
        customer_type=record.customer_type,
        subscription_type=record.subscription_type,
        terminal_type=record.terminal_type,
        is_remote=record.is_remote,
        num_sessions=core.num_sessions,
        lines_added=core.lines_of_code.added,
        lines_removed=core.lines_of_code.removed,
        commits_by_claude_code=core.commits_by_claude_code,
        pull_requests_by_claude_code=core.pull_requests_by_claude_code,
        edit_tool_accepted=edit.accepted,
        edit_tool_rejected=edit.rejected,
        multi_edit_tool_accepted=multi_edit.accepted,
        multi_edit_tool_rejected=multi_edit.rejected,
        write_tool_accepted=write.accepted,
        write_tool_rejected=write.rejected,
        notebook_edit_tool_accepted=notebook_edit.accepted,
        notebook_edit_tool_rejected=notebook_edit.rejected,
        models=tuple(
            ModelUse(
                model=use.model,
                input_tokens=use.tokens.input,
                output_tokens=use.tokens.output,
                cache_read_tokens=use.tokens.cache_read,
                cache_creation_tokens=use.tokens.cache_creation,
                estimated_cost_cents=_estimate(use.estimated_cost),
            )
            for use in record.model_breakdown
        ),
        other_tools=tuple(
            ToolUse(tool=name, accepted=action.accepted, rejected=action.rejected)
            for name, action in actions.items()
            if name not in _NAMED_TOOLS
        ),
    )


def in_utc(moment: dt.datetime) -> dt.datetime:
    """Return the moment in UTC, without a new object where it already is."""
    try:
        return moment if moment.tzinfo is dt.UTC else moment.astimezone(dt.UTC)
    except OverflowError:
        raise IncompleteReport(
            f"an answer holds {moment.isoformat()}, which no clock shows"
        ) from None


def clock(query: Query, moment: dt.datetime) -> dt.datetime:
    """Return a bucket's moment in UTC; buckets of a time zone's days are on its clocks already."""
    return in_utc(moment) if query.timezone is None else moment


class ErrorDetail(msgspec.Struct):
    """What went wrong, in the API's words."""

    type: Any = None
    message: Any = None


class ErrorBody(msgspec.Struct):
    """The API's error envelope; what is no text in it is None."""

    error: ErrorDetail
    request_id: Any = None


def decode_error(body: bytes) -> ErrorBody:
    """Return the error an answer holds; an empty one if it is none (a proxy's page, say)."""
    try:
        answer = msgspec.json.decode(body, type=ErrorBody)
    except (ValueError, RecursionError):
        return ErrorBody(ErrorDetail())
    detail = ErrorDetail(_text(answer.error.type), _text(answer.error.message))
    return ErrorBody(detail, _text(answer.request_id))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _actor_name(actor: dict[str, Any]) -> str | None:
    """Return the email address or the key's name; of an unknown kind, its first text.

    Mail goes to one box however its address is spelled, so that one person is one here too.
    """
    email = actor.get("email_address")
    if isinstance(email, str):
        return email.strip().lower()
    for name in ("api_key_name", *sorted(actor)):
        value = actor.get(name)
        if name != "type" and isinstance(value, str):
            return value
    return None


def _check_money(page: CostPage | ClaudeCodePage) -> None:
    """Refuse amounts that are no exact dollars; raises ValueError naming the place."""
    if isinstance(page, CostPage):
        for i, bucket in enumerate(page.data):
            for j, line in enumerate(bucket.results):
                _check_currency(line.currency, f"$.data[{i}].results[{j}]")
                try:
                    parse_amount(line.amount)
                except ValueError as error:
                    raise ValueError(f"{error} - at `$.data[{i}].results[{j}].amount`") from None
        return
    for i, record in enumerate(page.data):
        for j, use in enumerate(record.model_breakdown):
            _check_currency(use.estimated_cost.currency, f"$.data[{i}].model_breakdown[{j}]")
            try:
                _estimate(use.estimated_cost)
            except ValueError as error:
                raise ValueError(f"{error} - at `$.data[{i}].model_breakdown[{j}]`") from None


def _estimate(cost: EstimatedCost) -> Decimal:
    """Return an estimate's cents; raises ValueError for what is no decimal number."""
    written = bytes(cost.amount).decode()
    return parse_amount(msgspec.json.decode(written, type=str) if written[0] == '"' else written)


def _unreadable(report: str, error: Exception, where: str = "") -> IncompleteReport:
    if isinstance(error, msgspec.ValidationError):
        return IncompleteReport(f"the {report} report's shape changed{where}: {error}")
    return IncompleteReport(f"the {report} report's answer is not readable{where}: {error}")


def _check_currency(currency: str, where: str) -> None:
    if currency != "USD":
        raise ValueError(
            f"the currency is {currency[:10]!r}, and only USD can be added up - at `{where}`"
        )
