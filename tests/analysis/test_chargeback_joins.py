"""Lines of a bill reach those whose use they bill, whatever the bill leaves null."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from anthropic_usage import Report
from anthropic_usage.analysis.chargeback import Chargeback, OwnerMap, chargeback
from anthropic_usage.analysis.prices import KINDS, PriceTable
from anthropic_usage.directory import Directory
from anthropic_usage.reports import COST, USAGE
from support import DAY, NOW, bucket, report_of, utc

MODELS = ("claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5-20251001")
DIMENSIONS = ("service_tier", "context_window", "inference_geo")
LINE = ("model", "token_type", *DIMENSIONS)
FIRST = utc(2026, 11, 2)
TABLE = PriceTable.bundled()


class Organisation:
    """Uses and lines of days, answered as the reports answer."""

    def __init__(self, uses: list[dict[str, Any]], lines: list[dict[str, Any]]) -> None:
        self.uses, self.lines = uses, lines

    def usage(
        self,
        starting_at: Any,
        ending_at: Any = None,
        *,
        bucket_width: str = "1d",
        group_by: Any = (),
        speeds: Any = None,
    ) -> Report[Any]:
        query = USAGE.ask(starting_at, ending_at, group_by=group_by, speeds=speeds)
        uses = [use for use in self.uses if speeds is None]
        groups: dict[Any, dict[str, Any]] = {}
        for use in uses:
            key = use["day"], *(use.get(name) for name in query.group_by)
            result = groups.setdefault(key, self._nothing(use, query.group_by))
            *path, field = use["kind"].split(".")
            counts = result[path[0]] if path else result
            counts[field] += use["count"]
            result["server_tool_use"]["web_search_requests"] += use.get("searches", 0)
        return self._report(query, [(key[0], result) for key, result in groups.items()])

    def cost(self, starting_at: Any, ending_at: Any = None, *, group_by: Any = ()) -> Report[Any]:
        query = COST.ask(starting_at, ending_at, group_by=group_by)
        return self._report(query, [(line["day"], dict(line)) for line in self.lines])

    @staticmethod
    def _nothing(use: dict[str, Any], grouped: Any) -> dict[str, Any]:
        return {
            "uncached_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
            "server_tool_use": {"web_search_requests": 0},
            **{name: use.get(name) for name in grouped},
        }

    @staticmethod
    def _report(query: Any, results: list[tuple[dt.datetime, dict[str, Any]]]) -> Report[Any]:
        days: dict[dt.datetime, list[Any]] = defaultdict(list)
        for day, result in results:
            days[day].append({name: value for name, value in result.items() if name != "day"})
        data = []
        day = query.starting_at
        while day < query.ending_at:
            data.append(bucket(day, days[day]))
            day += DAY
        return report_of(query, data, now=NOW)


def used(key: str, count: int = 1_000_000, **changes: Any) -> dict[str, Any]:
    return {
        "day": FIRST,
        "workspace_id": "wrkspc_1",
        "api_key_id": key,
        "model": "claude-opus-4-8",
        "kind": "output_tokens",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
        "count": count,
        **changes,
    }


def line(dollars: str, **changes: Any) -> dict[str, Any]:
    return {
        "day": FIRST,
        "currency": "USD",
        "amount": str(Decimal(dollars) * 100),
        "workspace_id": "wrkspc_1",
        "description": "Output",
        "cost_type": "tokens",
        "model": "claude-opus-4-8",
        "token_type": "output_tokens",
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
        **changes,
    }


def split(uses: list[dict[str, Any]], lines: list[dict[str, Any]], **how: Any) -> Chargeback:
    source: Any = Organisation(uses, lines)
    last = max(row["day"] for row in (*uses, *lines))
    result = chargeback(source, FIRST, last + DAY, **{"by": "api_key", **how})
    billed = sum(Fraction(row["amount"]) for row in lines) / 100
    assert Fraction(result.exact_usd) == billed
    assert sum(Fraction(part.exact_usd) for part in result.lines) == billed
    assert sum(part.amount_usd for part in result.lines) == result.billed_usd
    return result


def amounts(result: Chargeback) -> dict[str, str]:
    return {part.id or part.name: str(part.amount_usd) for part in result.lines}


NULLS = [
    names
    for size in range(len(LINE) + 1)
    for names in itertools.combinations((*LINE, "workspace_id"), size)
]


@pytest.mark.parametrize("nulls", NULLS, ids=" ".join)
def test_a_null_in_the_bill_matches_any_value(nulls: tuple[str, ...]) -> None:
    uses = [used("apikey_1", 3_000_000), used("apikey_2")]
    result = split(uses, [line("100", **dict.fromkeys(nulls))])
    assert amounts(result) == {"apikey_1": "75.00", "apikey_2": "25.00"}


@pytest.mark.parametrize("name", ["inference_geo", "workspace_id"])
def test_a_dimension_that_the_usage_lacks_is_not_joined_on(name: str) -> None:
    uses = [used("apikey_1", 3_000_000, **{name: None}), used("apikey_2", **{name: None})]
    lines = [line("90", service_tier="batch"), line("10", inference_geo="us")]
    assert amounts(split(uses, lines)) == {"apikey_1": "75.00", "apikey_2": "25.00"}


def test_use_of_a_tier_that_is_not_billed_pays_nothing_where_no_line_names_a_tier() -> None:
    uses = [used("apikey_1"), used("apikey_2", 3_000_000, service_tier="priority")]
    assert amounts(split(uses, [line("25", service_tier=None)])) == {"apikey_1": "25.00"}


def test_what_only_one_line_can_bill_is_its_own() -> None:
    uses = [
        used("apikey_1", 3_000_000),
        used("apikey_2"),
        used("apikey_3", inference_geo="us"),
    ]
    # The place of the first line is null, but only the second is for use in the US.
    lines = [line("80", inference_geo=None), line("11", inference_geo="us")]
    expected = {"apikey_1": "60.00", "apikey_2": "20.00", "apikey_3": "11.00"}
    assert amounts(split(uses, lines)) == expected


def test_a_use_that_two_lines_bill_is_weighed_once() -> None:
    uses = [used("apikey_1"), used("apikey_2", inference_geo="us")]
    # 25.00 and 27.50 at list; a part of the use in the US is in the line without a place.
    lines = [line("20", inference_geo="us"), line("32.50", inference_geo=None)]
    assert amounts(split(uses, lines)) == {"apikey_1": "25.00", "apikey_2": "27.50"}


def test_keys_pay_the_lines_of_their_own_workspace() -> None:
    uses = [used("apikey_1"), used("apikey_2", workspace_id="wrkspc_2")]
    lines = [line("25"), line("5", workspace_id="wrkspc_2")]
    assert amounts(split(uses, lines)) == {"apikey_1": "25.00", "apikey_2": "5.00"}
    uses.append(used("apikey_3", workspace_id=None))
    lines.append(line("2", workspace_id=None))
    expected = {"apikey_1": "25.00", "apikey_2": "5.00", "apikey_3": "2.00"}
    assert amounts(split(uses, lines)) == expected


def test_a_line_that_agrees_with_no_use_goes_to_that_of_its_model_and_says_so() -> None:
    uses = [used("apikey_1"), used("apikey_2", model="claude-sonnet-5")]
    result = split(uses, [line("10", service_tier="batch", context_window="200k-1M")])
    assert amounts(result) == {"apikey_1": "10.00"}
    assert "no use agrees" in result.lines[0].rule
    assert len(result.rules) == 1
    (lost,) = split(uses, [line("10", model="claude-haiku-4-5")]).lines
    assert (lost.id, lost.name, lost.direct) == (None, "tokens (no key known)", True)


def test_an_alias_and_a_dated_id_are_one_model() -> None:
    uses = [
        used("apikey_1", model="claude-haiku-4-5-20251001"),
        used("apikey_2", model="claude-new-9-20270101"),
    ]
    lines = [line("5", model="claude-haiku-4-5"), line("7", model="claude-new-9")]
    assert amounts(split(uses, lines)) == {"apikey_1": "5.00", "apikey_2": "7.00"}
    lines.append(line("1", model="claude-haiku-4-5-20251001", inference_geo="us"))
    by_model = amounts(split(uses, lines, by="model"))
    assert by_model == {"claude-new-9": "7.00", "claude-haiku-4-5": "6.00"}


def test_tokens_of_no_named_model_are_those_of_the_models_used() -> None:
    uses = [used("apikey_1"), used("apikey_2", model="claude-sonnet-5")]
    lines = [line("25"), line("10", model=None)]
    result = split(uses, lines, by="model")
    assert amounts(result) == {"claude-opus-4-8": "25.00", "claude-sonnet-5": "10.00"}
    assert [part.direct for part in result.lines] == [True, False]


def test_a_line_without_a_type_is_what_it_says() -> None:
    empty = dict.fromkeys((*LINE, "cost_type"))
    lines = [line("25"), line("-5", description="Promotional credit", **empty)]
    for by in ("api_key", "model"):
        names = [part.name for part in split([used("apikey_1")], lines, by=by).lines]
        assert any("Promotional credit" in name for name in names), by


def test_searches_of_every_tier_are_split_by_their_number() -> None:
    uses = [
        used("apikey_1", searches=3, service_tier="priority"),
        used("apikey_2", searches=1),
    ]
    empty = dict.fromkeys(LINE)
    lines = [line("0.04", **{**empty, "cost_type": "web_search"}), line("25")]
    assert amounts(split(uses, lines)) == {"apikey_1": "0.03", "apikey_2": "25.01"}


def test_what_goes_by_one_name_is_told_apart_by_its_id() -> None:
    uses = [used("apikey_1", 3_000_000), used("apikey_2"), used("apikey_3", 2_000_000)]
    names = Directory(api_keys={"apikey_1": "ci", "apikey_2": "ci", "apikey_3": "web"})
    result = split(uses, [line("150")], directory=names)
    assert {part.name for part in result.lines} == {"ci (apikey_1)", "web", "ci (apikey_2)"}
    both = split(uses, [line("150")], directory=names, owners=OwnerMap.parse("ci: Tests"))
    assert amounts(both) == {"Tests": "100.00", "unmapped": "50.00"}
    assert both.unmapped is not None
    assert [part.name for part in both.unmapped.behind] == ["web"]


def test_owners_show_what_stands_behind_them_largest_first() -> None:
    uses = [used(f"apikey_{number}", number * 1_000_000) for number in (1, 3, 2)]
    result = split(uses, [line("150")], owners=OwnerMap.parse("nobody: X"))
    (only,) = result.lines
    assert only.name == "unmapped"
    assert [part.id for part in only.behind] == ["apikey_3", "apikey_2", "apikey_1"]
    assert sum(part.exact_usd for part in only.behind) == result.exact_usd


def test_a_cent_beside_its_own_rounding_is_marked() -> None:
    uses = [used(f"apikey_{number}") for number in range(3)]
    result = split(uses, [line("100")])
    assert [part.adjusted for part in result.lines] == [True, False, False]


def test_the_callers_decimal_context_changes_nothing() -> None:
    import decimal

    uses = [used("apikey_1", 2_000_001), used("apikey_2", inference_geo="us")]
    lines = [line("123456.789012345", inference_geo=None), line("-1.5")]
    expected = split(uses, lines)
    with decimal.localcontext() as context:
        context.prec = 5
        context.traps[decimal.Inexact] = True
        source: Any = Organisation(uses, lines)
        assert chargeback(source, FIRST, FIRST + DAY, by="api_key") == expected


def long(key: str, count: int, **changes: Any) -> dict[str, Any]:
    """Return use at $0.10 or, in prompts of more than 100k tokens, $0.50 a million tokens."""
    return used(key, count, kind="uncached_input_tokens", model="claude-haiku-5-5", **changes)


def long_line(tokens: int, above: int, ratio: str = "1", **changes: Any) -> dict[str, Any]:
    """Return a line for tokens, of which some had the higher price."""
    dollars = (Decimal(tokens - above) / 10 + Decimal(above) / 2) / 1_000_000 * Decimal(ratio)
    named = {"model": "claude-haiku-5-5", "token_type": "uncached_input_tokens"}
    return line(f"{dollars:f}", **{**named, **changes})


@pytest.mark.parametrize("above", [0, 1, 40_000_000, 90_000_000])
@pytest.mark.parametrize("ratio", ["1", "0.85"])
def test_long_prompts_are_of_those_who_sent_enough_for_one(above: int, ratio: str) -> None:
    # The second key's 100,000 tokens cannot be a prompt of more than these.
    uses = [long("apikey_1", 90_000_000), long("apikey_2", 100_000), used("apikey_3")]
    lines = [long_line(90_100_000, above, ratio), line(f"{25 * Decimal(ratio)}")]
    result = split(uses, lines)
    short = Fraction(ratio) * 100_000 / 10_000_000
    (other,) = (part for part in result.lines if part.id == "apikey_2")
    assert abs(Fraction(other.exact_usd) - short) < Fraction(1, 10**9)


@pytest.mark.parametrize("above", [0, 12_345_678, 80_000_000])
def test_what_was_in_long_prompts_is_solved_where_a_line_is_for_several_uses(above: int) -> None:
    uses = [
        long("apikey_1", 90_000_000),
        used("apikey_2", 10_000_000, kind="uncached_input_tokens"),
    ]
    lines = [
        long_line(90_000_000, above, model=None),
        line("50", model=None, token_type="uncached_input_tokens"),
    ]
    result = split(uses, lines)
    (other,) = (part for part in result.lines if part.id == "apikey_2")
    assert abs(Fraction(other.exact_usd) - 50) < Fraction(1, 10**9)


def test_long_prompts_that_several_may_have_sent_are_shared_by_tokens() -> None:
    uses = [long("apikey_1", 60_000_000), long("apikey_2", 30_000_000)]
    result = split(uses, [long_line(90_000_000, 30_000_000)])
    assert amounts(result) == {"apikey_1": "14.00", "apikey_2": "7.00"}


def invented(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Fraction]]:
    """Return uses, lines with nulls, and what each key owes, kept in fractions."""
    dice = random.Random(seed)
    discount = dice.choice(("none", "all", "workspace_id", "model"))
    ratios: dict[Any, Fraction] = defaultdict(lambda: Fraction(dice.randint(60, 100), 100))
    spaces = [None, *(f"wrkspc_{number}" for number in range(dice.randint(0, 3)))]
    keys = {f"apikey_{number}": dice.choice(spaces) for number in range(dice.randint(1, 6))}
    uses = []
    for day in range(dice.randint(1, 3)):
        for key, space in keys.items():
            for _ in range(dice.randint(1, 6)):
                uses.append(
                    used(
                        key,
                        dice.randint(1, 5_000_000),
                        day=FIRST + day * DAY,
                        workspace_id=space,
                        model=dice.choice(MODELS),
                        kind=dice.choice(KINDS),
                        service_tier=dice.choice(("standard", "batch")),
                        inference_geo=dice.choice(("global", "us")),
                    )
                )
    cells: dict[Any, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for use in uses:
        price = TABLE.price_of(use["model"], use["day"].date())
        assert price is not None
        cents = Fraction(price.usd_per_mtok[use["kind"]]) / 10_000 * use["count"]
        cents *= Fraction(1, 2) if use["service_tier"] == "batch" else 1
        us = use["inference_geo"] == "us" and price.us_geo_multiplier
        cents *= Fraction(us) if us else 1
        cell = tuple(use[name] for name in ("day", "workspace_id", "model", "kind", *DIMENSIONS))
        cells[cell][use["api_key_id"]] += cents
    nullable = [name for name in LINE if name != discount]
    # A dimension that is null in the whole bill, or now and then.
    always = {name for name in nullable if dice.random() < 0.1}
    rate = dice.choice((0, 0.1, 0.5))
    lines = []
    owed: dict[str, Fraction] = defaultdict(Fraction)
    for cell, by_key in cells.items():
        values = dict(zip(("day", "workspace_id", *LINE), cell, strict=True))
        ratio = Fraction(1) if discount == "none" else ratios[values.get(discount)]
        listed = sum(by_key.values(), Fraction(0)) * ratio
        amount = Decimal(round(listed * 10**6)).scaleb(-6)
        gone = {name for name in nullable if name in always or dice.random() < rate}
        blank = dict.fromkeys(gone)
        lines.append(line("0", **{**values, **blank, "amount": f"{amount:f}"}))
        for key, cents in by_key.items():
            owed[key] += cents * ratio / 100
    if dice.random() < 0.3:
        blank = dict.fromkeys((*LINE, "cost_type"))
        lines.append(line("-3.21", **{**blank, "description": "Credit"}))
    return uses, lines, owed


@pytest.mark.parametrize("group", range(10))
def test_a_hundred_ledgers_with_nulls_are_split_to_the_cent(group: int) -> None:
    for seed in range(10 * group, 10 * group + 10):
        uses, lines, owed = invented(seed)
        result = split(uses, lines)
        keys = {part.id: Fraction(part.exact_usd) for part in result.lines if part.id is not None}
        assert set(keys) == set(owed), seed
        beside = [part for part in result.lines if part.id is None]
        assert all(part.name == "Credit (no key known)" for part in beside), seed
        for key, amount in owed.items():
            assert abs(keys[key] - amount) < Fraction(1, 100), (seed, key)


def test_a_late_bill_is_not_settled_and_the_day_is_named() -> None:
    # The clock of these reports stands on 20 November: the 19th has closed, and has no line.
    uses = [used("apikey_1", day=NOW.replace(hour=0, minute=0, second=0) - DAY)]
    source: Any = Organisation(uses, [line("25", day=FIRST)])
    late = chargeback(source, FIRST, utc(2026, 11, 20))
    assert not late.settled
    assert any("2026-11-19" in sentence for sentence in late.unsettled)
    assert chargeback(source, FIRST, utc(2026, 11, 5)).settled
