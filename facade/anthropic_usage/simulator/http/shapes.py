"""The JSON of the reports, field for field as published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..bill import CostLine
from ..claude_code import TOOLS, ModelUse, Record
from ..costs import decimal_text

if TYPE_CHECKING:
    from ..events import Measures
    from ..streams import Dims


class CacheCreation(msgspec.Struct, gc=False):
    """Tokens written to the cache, by how long they stay there."""

    ephemeral_1h_input_tokens: int
    ephemeral_5m_input_tokens: int


class ServerToolUse(msgspec.Struct, gc=False):
    """Requests that Anthropic's own tools made."""

    web_search_requests: int


class UsageResult(msgspec.Struct, gc=False):
    """One row of the usage report."""

    account_id: str | None
    api_key_id: str | None
    cache_creation: CacheCreation
    cache_read_input_tokens: int
    context_window: str | None
    inference_geo: str | None
    model: str | None
    output_tokens: int
    server_tool_use: ServerToolUse
    service_account_id: str | None
    service_tier: str | None
    uncached_input_tokens: int
    workspace_id: str | None


class UsageResultWithSpeed(UsageResult, gc=False):
    """One row of the usage report when it is grouped by speed."""

    speed: str | None


class CostResult(msgspec.Struct, gc=False):
    """One row of the cost report."""

    amount: str
    context_window: str | None
    cost_type: str | None
    currency: str
    description: str | None
    inference_geo: str | None
    model: str | None
    service_tier: str | None
    token_type: str | None
    workspace_id: str | None


class Bucket(msgspec.Struct, gc=False):
    """One interval of a report."""

    starting_at: str
    ending_at: str
    results: list[UsageResult] | list[CostResult]


class Page(msgspec.Struct):
    """One answer of a report."""

    data: list[Bucket] | list[dict[str, object]]
    has_more: bool
    next_page: str | None


def usage_result(by: tuple[str, ...], key: Dims, measures: Measures) -> UsageResult:
    """Return a row with the grouped dimensions filled and the others null."""
    dims = dict(zip(by, key, strict=True))
    uncached, write_5m, write_1h, read, output, searches = measures
    row = (
        dims.get("account_id"),
        dims.get("api_key_id"),
        CacheCreation(write_1h, write_5m),
        read,
        dims.get("context_window"),
        dims.get("inference_geo"),
        dims.get("model"),
        output,
        ServerToolUse(searches),
        dims.get("service_account_id"),
        dims.get("service_tier"),
        uncached,
        dims.get("workspace_id"),
    )
    return UsageResultWithSpeed(*row, dims["speed"]) if "speed" in dims else UsageResult(*row)


def cost_result(line: CostLine, by: tuple[str, ...]) -> CostResult:
    """Return a row: `description` fills what the description says, `workspace_id` the workspace."""
    described = "description" in by
    return CostResult(
        amount=decimal_text(line.amount),
        context_window=line.context_window if described else None,
        cost_type=line.cost_type if described else None,
        currency="USD",
        description=line.description if described else None,
        inference_geo=line.inference_geo if described else None,
        model=line.model if described else None,
        service_tier=line.service_tier if described else None,
        token_type=line.token_type if described else None,
        workspace_id=line.workspace_id if "workspace_id" in by else None,
    )


def claude_code_record(record: Record, organisation_id: str) -> dict[str, object]:
    """Return a record of the Claude Code report."""
    seat = record.seat
    name = "email_address" if seat.actor_type == "user_actor" else "api_key_name"
    return {
        "actor": {"type": seat.actor_type, name: seat.actor},
        "core_metrics": {
            "commits_by_claude_code": record.commits,
            "lines_of_code": {"added": record.lines_added, "removed": record.lines_removed},
            "num_sessions": record.num_sessions,
            "pull_requests_by_claude_code": record.pull_requests,
        },
        "customer_type": seat.customer_type,
        "date": record.date,
        "is_remote": seat.is_remote,
        "model_breakdown": [_model_use(use) for use in record.models],
        "organization_id": organisation_id,
        "subscription_type": seat.subscription_type,
        "terminal_type": seat.terminal_type,
        "tool_actions": {
            tool: {"accepted": accepted, "rejected": rejected}
            for tool, (accepted, rejected) in zip(TOOLS, record.tools, strict=True)
        },
    }


def _model_use(use: ModelUse) -> dict[str, object]:
    return {
        "estimated_cost": {"amount": use.cents, "currency": "USD"},
        "model": use.model,
        "tokens": {
            "cache_creation": use.cache_creation,
            "cache_read": use.cache_read,
            "input": use.input,
            "output": use.output,
        },
    }


def sort_key(dims: Dims) -> tuple[str, ...]:
    """Return the order of rows within a bucket; null comes first."""
    return tuple(value or "" for value in dims)
