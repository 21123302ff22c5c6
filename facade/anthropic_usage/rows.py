"""The rows of the three reports, flat, under the API's own words.

A dimension is None when it was not asked for in `group_by`. Where it was asked for, None is the
API's null: `workspace_id` None is the default workspace, `api_key_id` None is use without a key
(the Console's workbench).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from .money import add, dollars, total

__all__ = ["ClaudeCodeRow", "CostRow", "ModelUse", "Row", "ToolUse", "UsageRow"]


class Row(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the rows of all reports have in common."""

    TIME: ClassVar[tuple[str, ...]] = ()
    DIMENSIONS: ClassVar[tuple[str, ...]] = ()
    MEASURES: ClassVar[tuple[str, ...]] = ()
    DERIVED: ClassVar[tuple[str, ...]] = ()
    BREAKDOWN: ClassVar[tuple[str, ...]] = ()
    """What groups can be made of beyond the dimensions, by what is nested in a row."""
    NESTED: ClassVar[tuple[str, ...]] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return every field, the derived ones too, in the documented order."""
        return {name: getattr(self, name) for name in self.columns()}

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Return the names of all fields and derived fields."""
        return (*cls.TIME, *cls.DIMENSIONS, *cls.MEASURES, *cls.DERIVED, *cls.NESTED)


class _Bucketed(Row, frozen=True, gc=False, kw_only=True):
    """A row about one time bucket, or, when folded, about one group over the report's range."""

    starting_at: dt.datetime
    ending_at: dt.datetime

    @property
    def day(self) -> dt.date:
        """The UTC day that the row starts on."""
        return self.starting_at.date()

    @property
    def week(self) -> dt.date:
        """The Monday of the ISO week that the row starts in."""
        return monday(self.day)

    @property
    def month(self) -> str:
        """The calendar month that the row starts in, as `YYYY-MM`."""
        return f"{self.starting_at:%Y-%m}"


class UsageRow(_Bucketed, frozen=True, gc=False, kw_only=True):
    """Tokens of one bucket and one combination of the dimensions grouped by.

    Source: platform.claude.com, api/admin/usage_report. Counts are whole tokens or requests.
    """

    TIME: ClassVar = ("starting_at", "ending_at")
    DIMENSIONS: ClassVar = (
        "api_key_id",
        "workspace_id",
        "model",
        "service_tier",
        "context_window",
        "inference_geo",
        "account_id",
        "service_account_id",
        "speed",
    )
    MEASURES: ClassVar = (
        "uncached_input_tokens",
        "cache_creation_5m_input_tokens",
        "cache_creation_1h_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "web_search_requests",
    )
    DERIVED: ClassVar = ("input_tokens", "total_tokens")

    api_key_id: str | None = None
    workspace_id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    account_id: str | None = None
    service_account_id: str | None = None
    speed: str | None = None
    uncached_input_tokens: int
    cache_creation_5m_input_tokens: int
    cache_creation_1h_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    web_search_requests: int

    @property
    def input_tokens(self) -> int:
        """All input: uncached, both kinds of cache writes, and cache reads."""
        return (
            self.uncached_input_tokens
            + self.cache_creation_5m_input_tokens
            + self.cache_creation_1h_input_tokens
            + self.cache_read_input_tokens
        )

    @property
    def total_tokens(self) -> int:
        """All input and all output."""
        return self.input_tokens + self.output_tokens

    @property
    def cache_efficiency(self) -> float | None:
        """Cache reads as a share of all input, from 0 to 1; None where there was no input."""
        return self.cache_read_input_tokens / self.input_tokens if self.input_tokens else None


class CostRow(_Bucketed, frozen=True, gc=False, kw_only=True):
    """Billed dollars of one UTC day and one combination of the dimensions grouped by.

    Source: platform.claude.com, api/admin/cost_report. Amounts are exact and unrounded; Priority
    Tier costs never appear. `cost_type`, `model`, `token_type`, `service_tier`, `context_window`
    and `inference_geo` come with `group_by=["description"]`.
    """

    TIME: ClassVar = ("starting_at", "ending_at")
    DIMENSIONS: ClassVar = (
        "workspace_id",
        "description",
        "cost_type",
        "model",
        "token_type",
        "service_tier",
        "context_window",
        "inference_geo",
        "currency",
    )
    MEASURES: ClassVar = ("amount_cents",)
    DERIVED: ClassVar = ("amount_usd",)

    workspace_id: str | None = None
    description: str | None = None
    cost_type: str | None = None
    model: str | None = None
    token_type: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
    currency: str = "USD"
    amount_cents: Decimal

    @property
    def amount_usd(self) -> Decimal:
        """The amount in dollars, exact."""
        return dollars(self.amount_cents)


class ModelUse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one actor used of one model in Claude Code: tokens, and the estimated cost in cents."""

    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    estimated_cost_cents: Decimal

    @property
    def estimated_cost_usd(self) -> Decimal:
        """The estimated cost in dollars, exact."""
        return dollars(self.estimated_cost_cents)

    def plus(self, other: ModelUse) -> ModelUse:
        """Return both uses of the same model as one."""
        return ModelUse(
            model=self.model,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_creation_tokens=self.cache_creation_tokens + other.cache_creation_tokens,
            estimated_cost_cents=add(self.estimated_cost_cents, other.estimated_cost_cents),
        )


class ToolUse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How often the proposals of a tool were taken."""

    tool: str
    accepted: int
    rejected: int


class ClaudeCodeRow(Row, frozen=True, kw_only=True):
    """One actor's day of Claude Code on one kind of terminal and subscription.

    Source: platform.claude.com, claude-code-analytics-api. `actor` is the email address of a
    `user_actor`, in lower case, so that one person in two spellings is one; or the key's name of an
    `api_actor`, as it is written. The estimated cost overlaps the cost report: never add the two.
    `date` is None on a group that is not one period.

    The API splits tokens and estimated cost by model, and nothing else: in a group by `model` the
    other measures are None, for they are not known.
    """

    TIME: ClassVar = ("date",)
    DIMENSIONS: ClassVar = (
        "actor",
        "actor_type",
        "organization_id",
        "customer_type",
        "subscription_type",
        "terminal_type",
        "is_remote",
    )
    BREAKDOWN: ClassVar = ("model",)
    TOOLS: ClassVar = ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
    MEASURES: ClassVar = (
        "num_sessions",
        "lines_added",
        "lines_removed",
        "commits_by_claude_code",
        "pull_requests_by_claude_code",
        "edit_tool_accepted",
        "edit_tool_rejected",
        "multi_edit_tool_accepted",
        "multi_edit_tool_rejected",
        "write_tool_accepted",
        "write_tool_rejected",
        "notebook_edit_tool_accepted",
        "notebook_edit_tool_rejected",
    )
    DERIVED: ClassVar = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_creation_tokens",
        "estimated_cost_usd",
    )
    NESTED: ClassVar = ("models",)

    date: dt.date | None = None
    actor: str | None = None
    actor_type: str | None = None
    organization_id: str | None = None
    customer_type: str | None = None
    subscription_type: str | None = None
    terminal_type: str | None = None
    is_remote: bool | None = None
    model: str | None = None
    """The model, in a group by `model`; `models` has it alone, then."""
    num_sessions: int | None
    lines_added: int | None
    lines_removed: int | None
    commits_by_claude_code: int | None
    pull_requests_by_claude_code: int | None
    edit_tool_accepted: int | None
    edit_tool_rejected: int | None
    multi_edit_tool_accepted: int | None
    multi_edit_tool_rejected: int | None
    write_tool_accepted: int | None
    write_tool_rejected: int | None
    notebook_edit_tool_accepted: int | None
    notebook_edit_tool_rejected: int | None
    models: tuple[ModelUse, ...]
    """The breakdown by model, largest estimated cost first in groups."""
    other_tools: tuple[ToolUse, ...] = ()
    """Tools beyond the four named ones; not a column, so that the columns stay as documented."""

    @property
    def accepted(self) -> int | None:
        """Proposals of any tool that were accepted; None where they are not known."""
        return self._proposals("accepted")

    @property
    def rejected(self) -> int | None:
        """Proposals of any tool that were rejected; None where they are not known."""
        return self._proposals("rejected")

    def _proposals(self, answer: str) -> int | None:
        if self.num_sessions is None:
            return None
        named: int = sum(getattr(self, f"{tool}_{answer}") for tool in self.TOOLS)
        others: int = sum(getattr(use, answer) for use in self.other_tools)
        return named + others

    @property
    def input_tokens(self) -> int:
        """Uncached input tokens over all models."""
        return sum(use.input_tokens for use in self.models)

    @property
    def output_tokens(self) -> int:
        """Output tokens over all models."""
        return sum(use.output_tokens for use in self.models)

    @property
    def cache_read_tokens(self) -> int:
        """Tokens read from the cache over all models."""
        return sum(use.cache_read_tokens for use in self.models)

    @property
    def cache_creation_tokens(self) -> int:
        """Tokens written to the cache over all models."""
        return sum(use.cache_creation_tokens for use in self.models)

    @property
    def estimated_cost_usd(self) -> Decimal:
        """The estimated cost in dollars over all models, exact."""
        return dollars(total(use.estimated_cost_cents for use in self.models))

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


def monday(day: dt.date) -> dt.date:
    """Return the Monday of the ISO week that `day` lies in."""
    return day - dt.timedelta(days=day.weekday())
