"""Prices are dated, exact, and never guessed."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from anthropic_usage import InvalidQuery, UsageRow
from anthropic_usage.analysis.prices import KINDS, WEB_SEARCH, PriceTable, add_costs

TABLE = PriceTable.bundled()
FULL = {
    "service_tier": "standard",
    "context_window": "0-200k",
    "inference_geo": "global",
    "speed": "standard",
}


def row(model: str, day: str = "2026-11-10", **changes: Any) -> UsageRow:
    """Return a million tokens of each kind, unless told otherwise."""
    start = dt.datetime.fromisoformat(f"{day}T00:00:00+00:00")
    measures = dict.fromkeys(UsageRow.MEASURES, 0)
    measures.update(uncached_input_tokens=1_000_000, output_tokens=1_000_000)
    return UsageRow(
        starting_at=start,
        ending_at=start + dt.timedelta(days=1),
        model=model,
        **{**FULL, **measures, **changes},
    )


def test_a_row_costs_what_the_list_says() -> None:
    cost = TABLE.cost(row("claude-opus-5"))
    price = TABLE.price_of("claude-opus-5", dt.date(2026, 11, 10))
    assert price is not None
    assert cost.low == cost.high == price.usd_per_mtok[KINDS[0]] + price.usd_per_mtok[KINDS[4]]
    assert cost.exact
    assert cost.reasons == ()


def test_prices_have_their_days() -> None:
    opus = "claude-opus-4-6"
    before, after = (TABLE.price_of(opus, dt.date(2026, 3, day)) for day in (12, 13))
    assert before is not None
    assert after is not None
    assert before.long_context is not None
    assert after.long_context is None
    assert TABLE.price_of(opus, dt.date(2026, 2, 4)) is None


@pytest.mark.parametrize("model", ["claude-opus-5-20990101", "claude-opus", "Claude-Opus-5", ""])
def test_a_model_that_is_not_listed_has_no_price(model: str) -> None:
    cost = TABLE.cost(row(model))
    assert (cost.low, cost.high, cost.unpriced_tokens) == (0, 0, 2_000_000)
    assert not cost.exact
    assert "no price" in cost.reasons[0]


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"service_tier": "batch"}, "0.5"),
        ({"inference_geo": "us"}, "1.1"),
        ({"inference_geo": "not_available"}, "1"),
        ({"speed": "fast"}, "2"),
        ({"service_tier": "batch", "inference_geo": "us"}, "0.55"),
    ],
)
def test_what_multiplies_a_price(changes: dict[str, str], factor: str) -> None:
    plain = TABLE.cost(row("claude-opus-5")).low
    cost = TABLE.cost(row("claude-opus-5", **changes))
    assert cost.low == cost.high == plain * Decimal(factor)


def test_long_context_costs_more_where_rows_say_it() -> None:
    short = TABLE.cost(row("claude-sonnet-4-5"))
    long = TABLE.cost(row("claude-sonnet-4-5", context_window="200k-1M"))
    assert short.exact
    assert long.exact
    assert long.by_kind[KINDS[0]][0] == 2 * short.by_kind[KINDS[0]][0]
    assert long.by_kind[KINDS[4]][0] == Decimal("1.5") * short.by_kind[KINDS[4]][0]


def test_a_band_that_rows_do_not_say_is_an_interval() -> None:
    cost = TABLE.cost(row("claude-haiku-5-5"))
    assert cost.high == 5 * cost.low
    assert "100k" in cost.reasons[0]
    long = TABLE.cost(row("claude-haiku-5-5", context_window="200k-1M"))
    assert long.low == long.high == cost.high


@pytest.mark.parametrize(
    ("missing", "least", "most"),
    [("service_tier", "0.5", "1"), ("inference_geo", "1", "1.1"), ("speed", "1", "2")],
)
def test_what_was_not_grouped_by_is_an_interval(missing: str, least: str, most: str) -> None:
    plain = TABLE.cost(row("claude-opus-5")).low
    cost = TABLE.cost(row("claude-opus-5", **{missing: None}))
    assert (cost.low, cost.high) == (plain * Decimal(least), plain * Decimal(most))
    assert missing in cost.reasons[0]


def test_priority_tier_is_not_billed_by_the_token() -> None:
    cost = TABLE.cost(row("claude-opus-5", service_tier="priority"))
    assert (cost.high, cost.unbilled_tokens) == (0, 2_000_000)


def test_web_searches_cost_a_cent() -> None:
    cost = TABLE.cost(row("claude-opus-5", web_search_requests=123))
    assert cost.by_kind[WEB_SEARCH] == (Decimal("1.23"), Decimal("1.23"))


def test_sums_and_savings() -> None:
    cached = row("claude-opus-5", uncached_input_tokens=0, cache_read_input_tokens=1_000_000)
    both = add_costs([TABLE.cost(cached), TABLE.cost(row("nothing-known"))])
    assert both.low == TABLE.cost(cached).low
    assert both.unpriced_tokens == 2_000_000
    assert TABLE.without_caching(cached).low == TABLE.cost(row("claude-opus-5")).low
    assert TABLE.without_caching(cached).low > TABLE.cost(cached).low


def test_overrides_in_the_form_of_a_file() -> None:
    text = '{"claude-opus-4-1": {"input_per_million": 1.10, "output_per_million": 7}}'
    own = TABLE.with_overrides(text)
    price = own.price_of("claude-opus-4-1-20250805", dt.date(2020, 1, 1))
    assert price is not None
    assert price.usd_per_mtok[KINDS[0]] == Decimal("1.10")
    assert price.usd_per_mtok[KINDS[3]] == Decimal("0.110")
    assert own.price_of("claude-opus-5", dt.date(2026, 11, 1)) == TABLE.price_of(
        "claude-opus-5", dt.date(2026, 11, 1)
    )
    new = own.with_overrides({"my-model": {"input_per_million": "2", "output_per_million": 1}})
    mine = new.price_of("my-model", dt.date(2026, 1, 1))
    assert mine is not None
    assert mine.usd_per_mtok[KINDS[2]] == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "object"),
        ("{", "no JSON"),
        ('{"m": 3}', "m must be an object"),
        ('{"m": {"input_per_million": 3}}', "lack output_per_million"),
        ('{"m": {"input_per_million": -3, "output_per_million": 1}}', "below zero"),
        ('{"m": {"input_per_million": "x", "output_per_million": 1}}', "no amount"),
        ('{"m": {"input_per_million": NaN, "output_per_million": 1}}', "NaN"),
        ('{"m": {"input_per_million": true, "output_per_million": 1}}', "number of dollars"),
        ('{"m": {"in": 1}}', "'in'"),
    ],
)
def test_bad_overrides_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InvalidQuery, match=says):
        TABLE.with_overrides(text)


def test_the_table_is_what_the_file_says() -> None:
    from importlib import resources

    data = resources.files("anthropic_usage").joinpath("data", "claude_prices.json").read_text()
    entries = json.loads(data)["prices"]
    assert len(entries) == len(TABLE.prices)
    for entry, price in zip(entries, TABLE.prices, strict=True):
        assert price.confidence == entry["confidence"]
        assert {kind: str(rate) for kind, rate in price.usd_per_mtok.items()} == entry[
            "usd_per_mtok"
        ]
