"""The tables of the lake, column by column: what each holds, and of which type."""

from __future__ import annotations

from typing import Any

from ..fields import Fields
from ..fields.columns import lake_columns
from ..reports import CLAUDE_CODE, COST, USAGE

__all__ = ["TABLES"]

Columns = dict[str, tuple[str, str]]

_DATE: Columns = {"date": ("date", "UTC day")}
_ESTIMATES: Columns = {
    "estimated_cost_low_usd": (
        "decimal(38,15)",
        "at list prices, at the least; null without a price",
    ),
    "estimated_cost_usd": ("decimal(38,15)", "at list prices, at the most; null without a price"),
    "unpriced_tokens": ("int64", "tokens of models without a list price on the day"),
    "unbilled_tokens": ("int64", "tokens of tiers that are not billed by the token"),
}
_LABEL: Columns = {
    "agent_label": ("string", "from ANTHROPIC_AGENT_MAP_JSON; null if not mapped"),
}


def _dimensions(fields: Fields[Any], *names: str) -> Columns:
    columns = lake_columns(fields, names)
    return {name: columns[name] for name in names}


_USE = lake_columns(USAGE.fields, ()) | _ESTIMATES

TABLES: dict[str, Columns] = {
    "usage_daily": _DATE | _dimensions(USAGE.fields, "model", "api_key_id") | _LABEL | _USE,
    "model_daily": _DATE | _dimensions(USAGE.fields, "model") | _USE,
    "cost_daily": _DATE | lake_columns(COST.fields, COST.fields.dimensions),
    "claude_code_daily": _DATE | lake_columns(CLAUDE_CODE.fields, CLAUDE_CODE.fields.dimensions),
}
"""Table -> column -> its type, and what it holds. One row a group; a day has one partition."""
