"""Tables made of raw snapshots: a pure function, so that they can be made again."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ..analysis.owners import Owner, OwnerMap
from ..analysis.priced import priced_usage
from ..analysis.prices import Cost, PriceTable, add_costs
from ..moments import DAY
from ..money import ZERO, add, plain
from ..reports import UsageRow
from ..sinks.columns import require
from ..sinks.plain import plain_value
from .schema import TABLES
from .snapshot import Read
from .source import DaySource
from .storage import LakeError

__all__ = [
    "ESTIMATES",
    "arrow_schema",
    "content_of",
    "curate",
    "parquet",
    "prices_of",
    "table_of",
    "totals_of",
]

Rows = list[dict[str, Any]]

_MONEY = 15
"""Decimal places of money columns: more than the bill and any list price have."""
ESTIMATES = (
    "estimated_cost_low_usd",
    "estimated_cost_usd",
    "unpriced_tokens",
    "unbilled_tokens",
)


def curate(
    day: dt.date,
    reads: Mapping[str, tuple[Read, ...]],
    prices: PriceTable,
    agents: Mapping[str, str],
) -> dict[str, Rows]:
    """Return the tables' rows of a day; a table whose report is not there is left out.

    `agents` are patterns of API keys' ids, and the labels of who uses them.
    """
    owners = OwnerMap({pattern: Owner(team=label) for pattern, label in agents.items()})
    source = DaySource(lambda _, report: reads.get(report, ()), {day: None}, prices)
    end = day + DAY
    usage = priced_usage(source, day, end, by="api_key_id", prices=prices)
    costs = [(row, prices.cost(row)) for row in usage]
    tables = {
        "usage_daily": [
            {
                "date": day,
                "model": model,
                "api_key_id": key,
                "agent_label": owner.team if (owner := owners.owner(key)) else None,
                **_summed(group),
            }
            for (model, key), group in _groups(costs, "model", "api_key_id")
        ],
        "model_daily": [
            {"date": day, "model": model, **_summed(group)}
            for (model,), group in _groups(costs, "model")
        ],
    }
    if reads.get("cost"):
        dimensions = [name for name in TABLES["cost_daily"] if name not in ("date", "amount_usd")]
        tables["cost_daily"] = [
            {"date": day, **{name: getattr(row, name) for name in dimensions}, "amount_usd": amount}
            for row, amount in (
                (row, row.amount_usd) for row in source.cost(day, end).by(*dimensions)
            )
        ]
    if reads.get("claude_code"):
        names = [name for name in TABLES["claude_code_daily"] if name != "date"]
        by = names[: names.index("num_sessions")]
        tables["claude_code_daily"] = [
            {"date": day, **{name: getattr(row, name) for name in names}}
            for row in source.claude_code(day, end).by(*by)
        ]
    for name, rows in tables.items():
        # In one order, so that the same content gives the same bytes.
        columns = list(TABLES[name])
        rows.sort(key=lambda row: [(row[column] is None, str(row[column])) for column in columns])
    return tables


def _groups(
    costs: Iterable[tuple[UsageRow, Cost]], *names: str
) -> Iterable[tuple[tuple[Any, ...], list[tuple[UsageRow, Cost]]]]:
    groups: dict[tuple[Any, ...], list[tuple[UsageRow, Cost]]] = {}
    for row, cost in costs:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append((row, cost))
    return groups.items()


def _summed(group: list[tuple[UsageRow, Cost]]) -> dict[str, Any]:
    cost = add_costs(cost for _, cost in group)
    # What has no price is not known; the group's searches would look like all of its cost.
    priced = not cost.unpriced_tokens
    names = (*UsageRow.MEASURES, *UsageRow.DERIVED)
    return {
        **{name: sum(getattr(row, name) for row, _ in group) for name in names},
        "estimated_cost_low_usd": cost.low if priced else None,
        "estimated_cost_usd": cost.high if priced else None,
        "unpriced_tokens": cost.unpriced_tokens,
        "unbilled_tokens": cost.unbilled_tokens,
    }


def totals_of(tables: Mapping[str, Rows]) -> dict[str, dict[str, Any]]:
    """Return the sums of each table's measures; money as strings."""
    sums: dict[str, dict[str, Any]] = {}
    for name, rows in tables.items():
        kinds = {column: kind for column, (kind, _) in TABLES[name].items()}
        total: dict[str, Any] = {"rows": len(rows)}
        for column, kind in kinds.items():
            if kind == "int64":
                total[column] = sum(row[column] for row in rows)
            elif kind.startswith("decimal"):
                amount = ZERO
                for row in rows:
                    if row[column] is not None:
                        amount = add(amount, row[column])
                total[column] = plain(amount)
        sums[name] = total
    return sums


def content_of(tables: Mapping[str, Rows], complete: bool, *, estimates: bool = True) -> str:
    """Return a hash of what the tables say."""
    left_out = () if estimates else ESTIMATES
    text = json.dumps(
        {
            "complete": complete,
            "tables": {
                name: [
                    {
                        column: _written(value)
                        for column, value in row.items()
                        if column not in left_out
                    }
                    for row in rows
                ]
                for name, rows in sorted(tables.items())
            },
        },
        sort_keys=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _written(value: Any) -> Any:
    """Write a value the same however it was held: 1.10 is 1.1."""
    return plain(value) if isinstance(value, Decimal) else plain_value(value)


def prices_of(prices: PriceTable) -> str:
    """Return a hash of a price table, to know estimates that were made with another one."""
    text = "\n".join(map(repr, prices.prices)) + repr(prices.web_search_usd)
    return hashlib.sha256(text.encode()).hexdigest()


def arrow_schema(name: str) -> Any:
    """Return a table's Arrow schema, with what each column holds as metadata."""
    pa: Any = require("pyarrow", "lake")
    types = {
        "date": pa.date32(),
        "string": pa.string(),
        "int64": pa.int64(),
        "bool": pa.bool_(),
        f"decimal(38,{_MONEY})": pa.decimal128(38, _MONEY),
    }
    return pa.schema(
        [
            pa.field(column, types[kind], metadata={"description": meaning})
            for column, (kind, meaning) in TABLES[name].items()
        ]
    )


def table_of(name: str, rows: Rows) -> Any:
    """Return rows as an Arrow table; raises LakeError for what a column cannot hold."""
    pa: Any = require("pyarrow", "lake")
    schema = arrow_schema(name)
    try:
        return pa.table(
            {
                field.name: pa.array([row[field.name] for row in rows], field.type)
                for field in schema
            },
            schema=schema,
        )
    except (pa.ArrowInvalid, OverflowError) as error:
        raise LakeError(f"a value does not fit its column of {name}: {error}") from None


def parquet(name: str, rows: Rows) -> bytes:
    """Return rows as a Parquet file."""
    pa: Any = require("pyarrow", "lake")
    pq: Any = require("pyarrow.parquet", "lake")
    sink = pa.BufferOutputStream()
    pq.write_table(table_of(name, rows), sink, compression="zstd")
    made: bytes = sink.getvalue().to_pybytes()
    return made
