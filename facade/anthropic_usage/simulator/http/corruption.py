"""Data faults: a good answer of a report, spoiled in one particular way."""

from __future__ import annotations

from typing import Any

import msgspec

_NOVELTY = {"since": "later", "values": [1, 2, 3]}
_ENUMS = ("service_tier", "context_window", "inference_geo", "cost_type", "customer_type")


def corrupt(kind: str, body: bytes, cursor: str) -> bytes:
    """Return the answer with a fault of `kind`; `cursor` is the token of the page itself.

    An answer that has nothing to spoil stays as it is, such as a page without rows for a measure to
    be missing from.
    """
    page: dict[str, Any] = msgspec.json.decode(body)
    data: list[dict[str, Any]] = page["data"]
    buckets = "results" in data[0] if data else False
    row = next(_rows(data), None)
    match kind:
        case "has-more-without-next-page":
            page |= {"has_more": True, "next_page": None}
        case "repeat-cursor":
            page |= {"has_more": True, "next_page": cursor}
        case "missing-bucket" if buckets:
            del data[len(data) // 2]
        case "duplicate-bucket" if buckets:
            data.insert(0, data[0])
        case "out-of-order" if buckets:
            data[:2] = reversed(data[:2])
        case "unknown-field":
            page["novelty"] = _NOVELTY
            for item in data[:1]:
                item["novelty"] = _NOVELTY
            if row is not None:
                row["novelty"] = _NOVELTY
        case "unknown-enum" if row is not None:
            name = next((name for name in _ENUMS if row.get(name) is not None), None)
            if name is not None:
                row[name] = "something_new"
        case "unknown-actor" if data and not buckets:
            data[0]["actor"] = {"type": "robot_actor", "robot_id": "robot_01"}
        case "missing-measure" if row is not None:
            holder, name = _measure(row)
            del holder[name]
        case "null-measure" if row is not None:
            holder, name = _measure(row)
            holder[name] = None
        case "wrong-type" if row is not None:
            holder, name = _measure(row)
            holder[name] = {"value": holder[name]}
    return msgspec.json.encode(page)


def _rows(data: list[dict[str, Any]]) -> Any:
    for item in data:
        yield from item.get("results", [item])


def _measure(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the measure that a row can least do without, as its holder and name."""
    if "core_metrics" in row:
        return row["core_metrics"], "num_sessions"
    return row, "amount" if "amount" in row else "output_tokens"
