"""Prices are dated, exact, and never guessed."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from decimal import Decimal
from typing import Any

import pytest
from anthropic_usage import InvalidQuery, UsageRow
from anthropic_usage.analysis.prices import (
    KINDS,
    WEB_SEARCH,
    PriceTable,
    add_costs,
    model_named,
)

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


@pytest.mark.parametrize("tier", ["standard", "batch", "priority", "priority_on_demand", "flex"])
def test_web_searches_cost_the_same_whatever_the_tier(tier: str) -> None:
    cost = TABLE.cost(row("claude-opus-5", service_tier=tier, web_search_requests=137))
    assert cost.by_kind[WEB_SEARCH] == (Decimal("1.37"), Decimal("1.37"))
    assert (cost.unbilled_tokens == 0) is (tier in ("standard", "batch"))


@pytest.mark.parametrize(
    ("model", "day", "changes", "input_usd", "output_usd"),
    [
        ("claude-opus-4-6", "2026-02-11", {"context_window": "200k-1M"}, "60", "225"),
        ("claude-opus-4-6", "2026-02-20", {"context_window": "200k-1M"}, "60", "225"),
        ("claude-opus-4-6", "2026-02-21", {"context_window": "200k-1M"}, "30", "150"),
        ("claude-opus-4-6", "2026-03-12", {"context_window": "200k-1M"}, "30", "150"),
        ("claude-opus-4-6", "2026-03-12", {}, "30", "150"),
        ("claude-opus-4-6", "2026-04-01", {"context_window": "200k-1M"}, "30", "150"),
        ("claude-fable-5-2", "2026-11-09", {"speed": "standard"}, "8", "40"),
        ("claude-mythos-5-2", "2026-11-09", {"speed": "standard"}, "8", "40"),
        ("claude-3-5-sonnet-20241022", "2025-09-01", {"speed": "standard"}, "3", "15"),
        ("claude-3-5-sonnet-20240620", "2025-09-01", {"speed": "standard"}, "3", "15"),
        ("claude-3-5-sonnet-latest", "2025-09-01", {"speed": "standard"}, "3", "15"),
        ("claude-3-sonnet-20240229", "2025-06-01", {"speed": "standard"}, "3", "15"),
        ("claude-2.1", "2025-06-01", {"speed": "standard"}, "8", "24"),
        ("claude-2.0", "2025-06-01", {"speed": "standard"}, "8", "24"),
        ("claude-mythos-preview", "2026-06-09", {"speed": "standard"}, "10", "50"),
        ("claude-3-7-sonnet-latest", "2025-06-01", {"speed": "standard"}, "3", "15"),
        ("claude-3-5-haiku-latest", "2025-06-01", {"speed": "standard"}, "0.80", "4"),
        ("claude-3-opus-latest", "2025-06-01", {"speed": "standard"}, "15", "75"),
        ("claude-4-opus-20250514", "2025-06-01", {"speed": "standard"}, "15", "75"),
        ("claude-4-sonnet-20250514", "2025-06-01", {"speed": "standard"}, "3", "15"),
    ],
)
def test_prices_of_the_dated_sources(
    model: str, day: str, changes: dict[str, str], input_usd: str, output_usd: str
) -> None:
    cost = TABLE.cost(row(model, day, **{"speed": "fast", **changes}))
    assert cost.exact
    assert cost.by_kind[KINDS[0]] == (Decimal(input_usd),) * 2
    assert cost.by_kind[KINDS[4]] == (Decimal(output_usd),) * 2


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("claude-fable-5-2", "2026-11-08"),
        ("claude-mythos-5-2", "2026-11-08"),
        ("claude-mythos-preview", "2026-06-08"),
    ],
)
def test_a_day_before_a_price_has_none(model: str, day: str) -> None:
    cost = TABLE.cost(row(model, day))
    assert (cost.by_kind, cost.unpriced_tokens) == ({}, 2_000_000)


def test_a_kind_that_no_source_prices_is_unpriced_not_free() -> None:
    cost = TABLE.cost(row("claude-2.1", "2025-06-01", cache_read_input_tokens=7))
    assert cost.unpriced_tokens == 7
    assert KINDS[3] not in cost.by_kind
    assert not cost.exact


@pytest.mark.parametrize(
    ("model", "day", "changes", "least", "most"),
    [
        ("claude-opus-4-6", "2026-03-13", {"context_window": "200k-1M"}, "30", "47.5"),
        ("claude-opus-4-6", "2026-03-13", {"context_window": "0-200k"}, "30", "30"),
        ("claude-sonnet-4-6", "2026-03-13", {"context_window": "200k-1M"}, "18", "28.5"),
        ("claude-opus-4-7", "2026-07-24", {"speed": "fast"}, "30", "180"),
    ],
)
def test_a_day_on_which_a_price_changes_has_both(
    model: str, day: str, changes: dict[str, str], least: str, most: str
) -> None:
    cost = TABLE.cost(row(model, day, **changes))
    assert (cost.low, cost.high) == (Decimal(least), Decimal(most))


def test_a_cache_read_on_the_day_of_its_new_price_is_between_both() -> None:
    read = {"uncached_input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 1_000_000}
    days = ("2026-10-06", "2026-10-07", "2026-10-08")
    costs = [TABLE.cost(row("claude-sonnet-5-5", day, **read)) for day in days]
    old, new = Decimal("0.20"), Decimal("0.10")
    assert [(cost.low, cost.high) for cost in costs] == [(old, old), (new, old), (new, new)]
    assert "2026-10-07" in costs[1].reasons[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("claude-haiku-4-5", "claude-haiku-4-5"),
        ("claude-sonnet-4", "claude-sonnet-4"),
        ("claude-sonnet-4-0", "claude-sonnet-4"),
        ("claude-3-7-sonnet", "claude-3-7-sonnet"),
        ("claude-new-9", "claude-new-9-20270101"),
        ("claude-new-9-20270101", "claude-new-9-20270101"),
    ],
)
def test_a_model_goes_by_each_of_its_names(text: str, name: str) -> None:
    model = TABLE.model_named(text, ["claude-new-9-20270101"])
    assert model.name == name
    assert name in model
    if name == "claude-sonnet-4-5":
        assert set(model.names) == {name, "claude-sonnet-4-5-20250929"}


def test_a_name_without_its_date_is_all_of_its_dates() -> None:
    names = set(model_named("claude-3-5-sonnet").names)
    assert {"claude-3-5-sonnet-20241022", "claude-3-5-sonnet-20240620"} <= names


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("claude-opus-4.1", "claude-opus-4-1"),
        ("opus", "claude-opus"),
        ("Claude-Opus-5", "claude-opus-5"),
        ("claude-opus-5-20990101", "claude-opus-5"),
    ],
)
def test_a_name_that_no_model_has_says_which_are_near(text: str, near: str) -> None:
    with pytest.raises(InvalidQuery, match=near):
        model_named(text)


def test_an_override_keeps_what_it_does_not_say() -> None:
    own = TABLE.with_overrides(
        {"claude-opus-4-6": {"input_per_million": 4, "output_per_million": 20}}
    )
    long = {"context_window": "200k-1M"}
    before, after = (row("claude-opus-4-6", day, **long) for day in ("2026-03-01", "2026-04-01"))
    assert own.cost(before).by_kind[KINDS[0]] == (8, 8)
    assert own.cost(after).by_kind[KINDS[0]] == (4, 4)
    fast = row("claude-opus-4-6", "2026-03-01", speed="fast", **long)
    assert own.cost(fast).by_kind[KINDS[0]] == (24, 24)
    read = {"cache_read_input_tokens": 1_000_000}
    sonnet = TABLE.with_overrides(
        {"claude-sonnet-5-5": {"input_per_million": 1, "output_per_million": 5}}
    )
    prices = [
        sonnet.cost(row("claude-sonnet-5-5", day, **read)).by_kind[KINDS[3]][0]
        for day in ("2026-10-01", "2026-11-01")
    ]
    assert prices == [Decimal("0.1"), Decimal("0.05")]
    output = TABLE.with_overrides({"claude-opus-5": {"output_per_million": 7}})
    assert output.cost(row("claude-opus-5")).low == 5 + 7


def test_dated_prices_of_one_override_stay_dated() -> None:
    own = TABLE.with_overrides(
        json.dumps(
            {
                "claude-opus-5": [
                    {"input_per_million": 4, "output_per_million": 20, "valid_to": "2026-10-01"},
                    {
                        "input_per_million": 3,
                        "output_per_million": 15,
                        "valid_from": "2026-10-01",
                        "valid_to": "2026-11-01",
                    },
                ]
            }
        )
    )
    days = ("2026-09-30", "2026-10-01", "2026-10-31", "2026-11-01")
    assert [own.cost(row("claude-opus-5", day)).low for day in days] == [24, 18, 18, 30]


def test_overrides_that_no_model_bears_are_told() -> None:
    terms = {"input_per_million": 1, "output_per_million": 2}
    own = TABLE.with_overrides({"claude-opus-4.1": terms, "claude-opus-4-1": terms})
    assert own.strangers == ("claude-opus-4.1",)
    assert own.cost(row("claude-opus-4-1-20250805", "2025-09-01")).low == 3
    assert TABLE.with_overrides({"claude-3-5-haiku-latest": terms}).strangers == ()


def test_the_callers_decimal_context_changes_nothing() -> None:
    own = {"claude-fable-5-1": {"input_per_million": "1.2345678", "output_per_million": 2}}
    use = row("claude-fable-5-1", cache_read_input_tokens=1_234_567, service_tier=None)
    expected = TABLE.with_overrides(own).cost(use)
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        assert TABLE.with_overrides(own).cost(use) == expected


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
        ('{"m": {"input_per_million": "x", "output_per_million": 1}}', "no number"),
        ('{"m": {"input_per_million": NaN, "output_per_million": 1}}', "NaN"),
        ('{"m": {"input_per_million": true, "output_per_million": 1}}', "number of dollars"),
        ('{"m": {"in": 1}}', "'in'"),
        (
            '{"claude-opus-4-1": {"input_per_million": 1}, "claude-opus-4-1-20250805": '
            '{"input_per_million": 2}}',
            "given twice",
        ),
        (
            '{"claude-opus-5": {"input_per_million": 1, "valid_from": "2026-1-1"}}',
            "day such as",
        ),
        (
            '{"claude-opus-5": {"input_per_million": 1, "valid_from": "2026-11-02", '
            '"valid_to": "2026-11-01"}}',
            "before they begin",
        ),
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
