"""The cost report: the usage of complete days at list prices, exact to the last digit."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest
from anthropic_usage.simulator import Simulator

from .conftest import Api

COST = "/cost_report"
WEEK = [("starting_at", "2026-11-10T00:00:00Z"), ("ending_at", "2026-11-17T00:00:00Z")]
BOTH = [("group_by[]", "workspace_id"), ("group_by[]", "description")]


def amounts(buckets: list[dict[str, Any]], *by: str) -> dict[tuple[Any, ...], Decimal]:
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for bucket in buckets:
        for row in bucket["results"]:
            sums[tuple(row[name] for name in by)] += Decimal(row["amount"])
    return sums


@pytest.mark.parametrize(
    "by", [(), ("workspace_id",), ("description",), ("workspace_id", "description")]
)
def test_pages_add_up_to_the_ledger(api: Api, simulator: Simulator, by: tuple[str, ...]) -> None:
    grouping = [("group_by[]", name) for name in by]
    buckets = api.data(COST, *WEEK, *grouping, ("limit", "2"))
    assert amounts(buckets, *by) == simulator.ledger.cost(
        date(2026, 11, 10), date(2026, 11, 17), by=by
    )


def test_tokens_cost_what_the_price_list_says(api: Api) -> None:
    """Price the usage report anew, from the data file and nothing else."""
    text = resources.files("anthropic_usage.simulator").joinpath("list_prices.json").read_text()
    prices = json.loads(text)["prices"]
    dims = ("model", "service_tier", "context_window", "inference_geo", "speed")
    usage = api.data(
        "/usage_report/messages",
        ("starting_at", "2025-12-01T00:00:00Z"),
        ("ending_at", "2026-11-20T00:00:00Z"),
        ("limit", "31"),
        *(("group_by[]", name) for name in dims),
        anthropic_beta="fast-mode-2026-02-01",
    )
    expected: dict[str, Decimal] = defaultdict(Decimal)
    seen = set()
    for bucket in usage:
        day = bucket["starting_at"][:10]
        for row in bucket["results"]:
            if row["service_tier"] not in ("standard", "batch"):
                continue
            price = next(
                price
                for price in prices
                if row["model"] in price["match"]
                and price["valid_from"] <= day < (price["valid_to"] or "9")
            )
            counts = {
                "uncached_input_tokens": row["uncached_input_tokens"],
                "output_tokens": row["output_tokens"],
                "cache_read_input_tokens": row["cache_read_input_tokens"],
            } | {f"cache_creation.{name}": n for name, n in row["cache_creation"].items()}
            for kind, count in counts.items():
                factor = Decimal(1)
                if row["service_tier"] == "batch":
                    factor *= Decimal(price["batch_multiplier"])
                if row["inference_geo"] == "us":
                    factor *= Decimal(price["us_geo_multiplier"])
                if row["speed"] == "fast":
                    assert price["fast"]["valid_from"] <= day < (price["fast"]["valid_to"] or "9")
                    factor *= Decimal(price["fast"]["multiplier"])
                if row["context_window"] == "200k-1M" and price["long_context"]:
                    band = "output" if kind == "output_tokens" else "input"
                    factor *= Decimal(price["long_context"][f"{band}_multiplier"])
                rate = Decimal(price["usd_per_mtok"][kind]) * factor
                expected[day] += count * rate / 10_000
            seen.update(row[name] for name in dims[1:])
    assert {"batch", "200k-1M", "us", "not_available", "fast"} <= seen

    billed: dict[str, Decimal] = defaultdict(Decimal)
    for bucket in api.data(
        COST,
        ("starting_at", "2025-12-01T00:00:00Z"),
        ("limit", "31"),
        ("group_by[]", "description"),
    ):
        for row in bucket["results"]:
            if row["cost_type"] == "tokens":
                billed[bucket["starting_at"][:10]] += Decimal(row["amount"])
    assert billed == expected


def test_web_searches_cost_a_cent_each(api: Api) -> None:
    usage = api.data("/usage_report/messages", *WEEK)
    searches = sum(
        row["server_tool_use"]["web_search_requests"] for day in usage for row in day["results"]
    )
    billed = amounts(api.data(COST, *WEEK, *BOTH), "cost_type")
    assert billed["web_search",] == searches > 0


def test_rows_are_described(api: Api) -> None:
    rows = [row for day in api.data(COST, *WEEK, *BOTH) for row in day["results"]]
    assert {row["cost_type"] for row in rows} == {
        "tokens",
        "web_search",
        "code_execution",
        "session_usage",
    }
    assert None in {row["workspace_id"] for row in rows}
    for row in rows:
        assert row["currency"] == "USD"
        assert row["service_tier"] in (None, "standard", "batch")
        told = [row[name] for name in ("model", "token_type", "service_tier", "context_window")]
        assert all(told) if row["cost_type"] == "tokens" else not any(told)
    writes = [
        row for row in rows if row["token_type"] == "cache_creation.ephemeral_5m_input_tokens"
    ]
    assert any(
        row["description"].startswith("Claude ")
        and row["description"].endswith(" Usage - Input Tokens, Cache Write")
        for row in writes
    )


def test_what_is_not_grouped_by_is_null(api: Api) -> None:
    names = {"workspace_id", "description", "cost_type", "model", "token_type", "inference_geo"}
    for by, filled in (([], set()), ([BOTH[0]], {"workspace_id"})):
        for row in api.get(COST, *WEEK, *by).json()["data"][0]["results"]:
            assert not any(row[name] for name in names - filled)


def test_amounts_are_unrounded_decimal_strings(api: Api) -> None:
    rows = [row for day in api.data(COST, *WEEK, *BOTH) for row in day["results"]]
    assert all(row["amount"].replace(".", "", 1).isdigit() for row in rows)
    assert any(-Decimal(row["amount"]).as_tuple().exponent >= 4 for row in rows)


def test_only_complete_days_come_back(api: Api) -> None:
    days = api.data(
        COST, ("starting_at", "2026-11-18T09:30:00Z"), ("ending_at", "2026-12-24T00:00:00Z")
    )
    assert [day["starting_at"][:10] for day in days] == ["2026-11-18", "2026-11-19"]
    floored = api.data(
        COST, ("starting_at", "2026-11-16T00:00:00Z"), ("ending_at", "2026-11-18T23:59:59Z")
    )
    assert floored[-1]["ending_at"] == "2026-11-18T00:00:00Z"


@pytest.mark.parametrize(
    "query",
    [
        [("starting_at", "2026-11-20T00:00:00Z")],
        [("starting_at", "2026-11-20T00:00:00Z"), ("ending_at", "2026-11-21T00:00:00Z")],
        [("starting_at", "2026-11-18T00:00:00Z"), ("ending_at", "2026-11-18T23:59:59Z")],
        [("starting_at", "2026-11-18T00:00:00Z"), ("ending_at", "2026-11-17T00:00:00Z")],
    ],
)
def test_a_range_without_a_complete_day_is_refused(api: Api, query: list[tuple[str, str]]) -> None:
    answer = api.get(COST, *query)
    assert answer.status_code == 400
    assert answer.headers["x-should-retry"] == "false"
    message = answer.json()["error"]["message"]
    assert message == "Invalid date range: ending date must be after starting date"


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (("bucket_width", "1h"), "bucket_width"),
        (("limit", "32"), "limit"),
        (("group_by[]", "model"), "group_by[]"),
        (("workspace_ids[]", "wrkspc_01"), "workspace_ids[]"),
    ],
)
def test_refusals_name_the_parameter(api: Api, extra: tuple[str, str], named: str) -> None:
    assert api.message(COST, *WEEK, extra).startswith(f"{named}:")


def test_yesterday_settles_within_the_hour(own: tuple[Simulator, Api]) -> None:
    simulator, api = own
    bills = []
    for minutes in (1, 4, 30, 61, 300):
        simulator.now = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(minutes=minutes)
        days = api.data(COST, ("starting_at", "2026-11-19T00:00:00Z"))
        bills.append(Decimal(days[0]["results"][0]["amount"]))
    assert bills == sorted(bills)
    assert bills[0] < bills[-2] == bills[-1]
