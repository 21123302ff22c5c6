"""The tables of the lake, column by column: what each holds, and of which type."""

from __future__ import annotations

__all__ = ["TABLES"]

_USE = {
    "uncached_input_tokens": ("int64", "input tokens that no cache was asked for"),
    "cache_creation_5m_input_tokens": ("int64", "input tokens written to the 5-minute cache"),
    "cache_creation_1h_input_tokens": ("int64", "input tokens written to the 1-hour cache"),
    "cache_read_input_tokens": ("int64", "input tokens read from a cache"),
    "output_tokens": ("int64", "output tokens"),
    "web_search_requests": ("int64", "web searches"),
    "input_tokens": ("int64", "all input tokens"),
    "total_tokens": ("int64", "all tokens"),
    "estimated_cost_low_usd": (
        "decimal(38,15)",
        "at list prices, at the least; null without a price",
    ),
    "estimated_cost_usd": ("decimal(38,15)", "at list prices, at the most; null without a price"),
    "unpriced_tokens": ("int64", "tokens of models without a list price on the day"),
    "unbilled_tokens": ("int64", "tokens of tiers that are not billed by the token"),
}

TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "usage_daily": {
        "date": ("date", "UTC day"),
        "model": ("string", "model"),
        "api_key_id": ("string", "API key; null is use without a key (the Console)"),
        "agent_label": ("string", "from ANTHROPIC_AGENT_MAP_JSON; null if not mapped"),
        **_USE,
    },
    "model_daily": {
        "date": ("date", "UTC day"),
        "model": ("string", "model"),
        **_USE,
    },
    "cost_daily": {
        "date": ("date", "UTC day"),
        "workspace_id": ("string", "workspace; null is the default one"),
        "description": ("string", "the bill's own words"),
        "cost_type": ("string", "tokens, web_search, code_execution, session_usage"),
        "model": ("string", "model; null for charges without one"),
        "token_type": ("string", "kind of token; null for other charges"),
        "service_tier": ("string", "standard or batch"),
        "context_window": ("string", "0-200k or 200k-1M"),
        "inference_geo": ("string", "where inference ran"),
        "currency": ("string", "USD"),
        "amount_usd": ("decimal(38,15)", "billed US dollars, exact"),
    },
    "claude_code_daily": {
        "date": ("date", "UTC day"),
        "actor": ("string", "email address, or the API key's name"),
        "actor_type": ("string", "user_actor or api_actor"),
        "organization_id": ("string", "organization"),
        "customer_type": ("string", "api or subscription"),
        "subscription_type": ("string", "enterprise or team; null otherwise"),
        "terminal_type": ("string", "terminal"),
        "is_remote": ("bool", "whether it ran in the cloud"),
        "num_sessions": ("int64", "sessions"),
        "lines_added": ("int64", "lines added"),
        "lines_removed": ("int64", "lines removed"),
        "commits_by_claude_code": ("int64", "commits"),
        "pull_requests_by_claude_code": ("int64", "pull requests"),
        **{
            f"{tool}_{answer}": ("int64", f"{tool} proposals {answer}")
            for tool in ("edit_tool", "multi_edit_tool", "write_tool", "notebook_edit_tool")
            for answer in ("accepted", "rejected")
        },
        "input_tokens": ("int64", "input tokens, uncached"),
        "output_tokens": ("int64", "output tokens"),
        "cache_read_tokens": ("int64", "tokens read from a cache"),
        "cache_creation_tokens": ("int64", "tokens written to a cache"),
        "estimated_cost_usd": ("decimal(38,15)", "estimate; overlaps the bill"),
    },
}
"""Table -> column -> its type, and what it holds. One row a group; a day has one partition."""
