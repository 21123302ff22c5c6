"""Bills written in fractions come apart into what was done to them, and into nothing else."""

from __future__ import annotations

import datetime as dt
import decimal
import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from anthropic_usage.analysis.prices import KINDS, WEB_SEARCH
from anthropic_usage.analysis.reconcile import Part, Reconciliation, reconcile
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger import MODELS, WORKSPACES, Ledger, Use, list_cost, random_use
from support import DAY, utc

FIRST = utc(2026, 10, 12)
NEAR = Fraction(1, 10**6)
"""More than the rounding of a bill comes to here, and less than anything that is done to it."""
TIERS = {"flex": "flex tier", "priority": "priority tier"}
PLAIN = MODELS[:3]
COMBINATIONS = (("standard", "global"), ("standard", "us"), ("batch", "global"))


def compare(ledger: Ledger, *span: Any) -> tuple[Reconciliation, dict[str, Fraction]]:
    """Reconcile a ledger, and prove that all of it adds up exactly."""
    source: Any = ledger
    result = reconcile(source, *(span or (ledger.first, ledger.last)))
    residuals = {item.name: Fraction(item.amount) for item in result.residuals}
    assert len(residuals) == len(result.residuals)
    assert Fraction(result.list_cost) + sum(residuals.values()) == Fraction(result.billed)
    assert sum(Fraction(cell.billed) for cell in result.cells) == Fraction(result.billed)
    assert sum(Fraction(cell.unexplained) for cell in result.cells) == residuals["unexplained"]
    for item in result.residuals:
        if item.parts:
            assert sum(Fraction(part.amount) for part in item.parts) == Fraction(item.amount)
    return result, residuals


def parts_of(result: Reconciliation, name: str) -> list[Part]:
    """Return what a residual depends on, the largest first."""
    return [part for item in result.residuals if item.name == name for part in item.parts]


def filled(seed: int, days: int = 10, first: dt.datetime = FIRST, **how: Any) -> Ledger:
    """Return a ledger with use."""
    ledger = Ledger(first, days)
    random_use(ledger, random.Random(seed), **how)
    return ledger


SCOPES: dict[str, Callable[[Use], bool]] = {
    "for every line": lambda use: True,
    "for claude-opus-4-8": lambda use: use["model"] == "claude-opus-4-8",
    "for claude-haiku-5-5": lambda use: use["model"] == "claude-haiku-5-5",
    "for claude-opus-4-8 and claude-sonnet-4-6": lambda use: (
        use["model"] in ("claude-opus-4-8", "claude-sonnet-4-6")
    ),
    "for workspace wrkspc_1": lambda use: use["workspace_id"] == "wrkspc_1",
    "for workspace default": lambda use: use["workspace_id"] is None,
    "from 2026-10-15 on": lambda use: use["day"] >= utc(2026, 10, 15),
    "up to 2026-10-15": lambda use: use["day"] <= utc(2026, 10, 15),
    "on 2026-10-15": lambda use: use["day"] == utc(2026, 10, 15),
    "for tier batch": lambda use: use["service_tier"] == "batch",
    "for output_tokens": lambda use: use["kind"] == "output_tokens",
    "for geo us": lambda use: use["inference_geo"] == "us",
    "for workspace wrkspc_2 from 2026-10-15 on": lambda use: (
        use["workspace_id"] == "wrkspc_2" and use["day"] >= utc(2026, 10, 15)
    ),
    "for claude-sonnet-4-6 from 2026-10-15 on up to 2026-10-18": lambda use: (
        use["model"] == "claude-sonnet-4-6" and utc(2026, 10, 15) <= use["day"] <= utc(2026, 10, 18)
    ),
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("percent", "places"), [(85, 6), (50, None), (110, 6)])
def test_a_ratio_is_found_with_what_it_holds_for(
    scope: str, percent: int, places: int | None
) -> None:
    ledger = Ledger(FIRST, 8)
    chance = random.Random(percent)
    for day in ledger.days:
        for workspace in WORKSPACES:
            for model in MODELS:
                for tier, geo in COMBINATIONS:
                    for kind in KINDS:
                        ledger.use(
                            day,
                            chance.randrange(1, 4_000_000),
                            workspace_id=workspace,
                            model=model,
                            service_tier=tier,
                            inference_geo="global" if "4-5" in model else geo,
                            kind=kind,
                        )
    holds = SCOPES[scope]
    ratio = Fraction(percent, 100)
    ledger.bill(lambda use: ratio if holds(use) else Fraction(1), places=places)
    result, residuals = compare(ledger)
    taken = sum((list_cost(use) * (ratio - 1) for use in ledger.uses if holds(use)), Fraction())
    name = "discount" if percent < 100 else "unexplained"
    assert abs(residuals.pop(name) - taken) < NEAR
    (part,) = parts_of(result, name)
    assert part.ratio == Decimal(percent) / 100
    assert part.text() == f"{percent} % of the list {scope}"
    assert f"{percent} %" in part.text()
    assert all(abs(left) < NEAR for left in residuals.values())
    if percent < 100:
        assert not any(cell.unexplained for cell in result.cells)
    assert abs(Fraction(result.list_cost) - ledger.listed) < NEAR


@given(
    seed=st.integers(0, 10**6),
    scope=st.sampled_from(["none", *SCOPES]),
    percent=st.sampled_from([99, 93, 85, 70, 50]),
    places=st.sampled_from([6, None]),
    mistakes=st.integers(0, 3),
    flex_is_billed=st.booleans(),
    credit=st.booleans(),
)
@settings(max_examples=40)
def test_every_residual_is_the_one_that_was_put_there(
    seed: int,
    scope: str,
    percent: int,
    places: int | None,
    mistakes: int,
    flex_is_billed: bool,
    credit: bool,
) -> None:
    chance = random.Random(seed)
    ledger = filled(seed, models=PLAIN, tiers=("standard", "batch", "flex", "priority"))
    holds = SCOPES.get(scope, lambda use: False)
    ratio = Fraction(percent, 100)

    def tier_of(use: Use) -> str | None:
        told = {"flex": "standard" if flex_is_billed else None, "priority": None}
        return told.get(use["service_tier"], use["service_tier"])

    ledger.bill(lambda use: ratio if holds(use) else Fraction(1), billed_as=tier_of, places=places)
    tokens = [line for line in ledger.lines if line["cost_type"] == "tokens"]
    put = Fraction(0)
    for line in chance.sample(tokens, min(mistakes, len(tokens))):
        cents = chance.choice((Decimal(1234), Decimal("0.5"), Decimal("-0.25")))
        line["amount"] = str(Decimal(line["amount"]) + cents)
        put += Fraction(cents) / 100
    if credit:
        ledger.line(FIRST, "-90", description="Promotional credit", cost_type=None)
    result, residuals = compare(ledger)
    assert abs(residuals["unexplained"] - put) < NEAR
    assert residuals.get("other: Promotional credit", 0) == (-90 if credit else 0)
    for tier, name in TIERS.items():
        uses = [use for use in ledger.uses if use["service_tier"] == tier]
        unbilled = sum((list_cost(use) for use in uses if use["kind"] != WEB_SEARCH), Fraction())
        unbilled = Fraction(0) if tier == "flex" and flex_is_billed else unbilled
        assert abs(residuals.get(name, Fraction(0)) + unbilled) < NEAR
    assert "price band" not in residuals
    assert abs(residuals.get("rounding", Fraction(0))) < NEAR
    assert sum(1 for cell in result.cells if cell.unexplained) <= mistakes


@given(
    seed=st.integers(0, 10**6),
    percent=st.sampled_from([100, 93, 70]),
    scope=st.sampled_from(["for every line", "for workspace wrkspc_1", "for claude-haiku-5-5"]),
    places=st.sampled_from([6, None]),
    refused=st.booleans(),
)
@settings(max_examples=25)
def test_an_open_price_is_solved_from_the_bill(
    seed: int, percent: int, scope: str, places: int | None, refused: bool
) -> None:
    ledger = filled(seed, fast=True)
    ledger.fast_refused = refused
    ratio = Fraction(percent, 100)
    ledger.bill(lambda use: ratio if SCOPES[scope](use) else Fraction(1), places=places)
    result, residuals = compare(ledger)
    assert abs(Fraction(result.list_cost) - ledger.listed) < NEAR
    assert residuals["unexplained"] == 0
    assert abs(residuals.get("price band", Fraction(0))) < NEAR
    models = {use["model"] for use in ledger.uses if use["kind"] != WEB_SEARCH}
    assert any(cell.solved for cell in result.cells) or not models & {"claude-haiku-5-5"}
    if "claude-haiku-5-5" in models:
        assert any("claude-haiku-5-5" in note and "solved" in note for note in result.notes)
    if refused and any(use.get("speed") == "fast" for use in ledger.uses):
        assert any("fast mode could not be read" in note for note in result.notes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cents", ["1234", "0.01", "250000"])
def test_no_band_swallows_an_overcharge(kind: str, cents: str) -> None:
    ledger = Ledger(FIRST, 5)
    chance = random.Random(kind + cents)
    for day in ledger.days:
        for each in KINDS:
            count = chance.randrange(10**8, 10**9)
            ledger.use(day, count, model="claude-haiku-5-5", kind=each)
    ledger.bill()
    wrong = chance.choice([line for line in ledger.lines if line["token_type"] == kind])
    wrong["amount"] = str(Decimal(wrong["amount"]) + Decimal(cents))
    result, residuals = compare(ledger)
    assert abs(residuals["unexplained"] - Fraction(cents) / 100) < NEAR
    (cell,) = (cell for cell in result.cells if cell.unexplained)
    assert (cell.day, cell.model, cell.kind) == (wrong["day"].date(), "claude-haiku-5-5", kind)
    (part,) = parts_of(result, "unexplained")
    assert f"more than the list for workspace wrkspc_1, claude-haiku-5-5, {kind}" in part.text()


def test_an_amount_that_several_numbers_fit_stays_an_interval() -> None:
    ledger = Ledger(FIRST, 1)
    for geo in ("global", "us"):
        ledger.use(FIRST, 10**6, model="claude-haiku-5-5", inference_geo=geo)
        ledger.use(FIRST, 10**6, model="claude-haiku-5-5", inference_geo=geo, long=True)
    ledger.bill()
    for line in ledger.lines:
        line["inference_geo"] = None
    result, residuals = compare(ledger)
    (cell,) = result.cells
    assert cell.low < cell.billed < cell.high
    assert residuals["price band"] == Fraction(cell.billed - cell.low)
    assert residuals["unexplained"] == 0


@pytest.mark.parametrize("hour", [0, 1, 2, 13, 23])
@pytest.mark.parametrize("empty", [False, True])
def test_the_newest_day_is_in_all_parts_or_in_none(hour: int, empty: bool) -> None:
    ledger = filled(3, days=7)
    ledger.now = ledger.last + dt.timedelta(hours=hour, minutes=15)
    ledger.bill()
    if empty:
        ledger.lines = [line for line in ledger.lines if line["day"] != ledger.days[-1]]
    result, residuals = compare(ledger)
    there = hour >= 1 and not empty
    assert result.ending_at == (ledger.last if there else ledger.last - DAY)
    assert abs(sum(map(Fraction, (cell.unexplained for cell in result.cells)))) == 0
    assert set(residuals) <= {"rounding", "unexplained"}
    assert bool(result.not_compared) is not there
    assert any("later days have none yet" in note for note in result.notes) is not there


def test_a_day_with_use_alone_or_a_bill_alone_is_named() -> None:
    ledger = filled(11, days=9, models=PLAIN)
    ledger.bill(lambda use: Fraction(9, 10))
    lost, new = ledger.days[3], ledger.days[6]
    ledger.lines = [line for line in ledger.lines if line["day"] != lost]
    ledger.uses = [use for use in ledger.uses if use["day"] != new]
    result, residuals = compare(ledger)
    used = sum((list_cost(use) for use in ledger.uses if use["day"] == lost), Fraction())
    billed = sum(Fraction(line["amount"]) for line in ledger.lines if line["day"] == new)
    assert abs(residuals["no bill"] + used) < NEAR
    assert abs(residuals["no use"] - Fraction(billed) / 100) < NEAR
    assert residuals["unexplained"] == 0
    assert f"{lost.date()} has use and no bill." in result.notes
    assert f"{new.date()} has a bill and no use." in result.notes


def test_what_is_billed_twice_or_not_at_all_is_named_by_what_it_is() -> None:
    ledger = filled(21, models=PLAIN)
    ledger.bill()
    kept = [line for line in ledger.lines if line["workspace_id"] != "wrkspc_2"]
    twice = [dict(line) for line in kept if line["day"] == ledger.days[2]]
    ledger.lines = [*kept, *twice]
    result, residuals = compare(ledger)
    said = {part.text().split(" tokens")[0] for part in parts_of(result, "unexplained")}
    assert "used and not billed for workspace wrkspc_2" in said
    assert any(text.startswith("200 % of the list") and "2026-10-14" in text for text in said)
    assert "discount" not in residuals


def test_several_discounts_are_told_apart() -> None:
    ledger = filled(5, models=PLAIN, tiers=("standard",))
    shares = {"claude-opus-4-8": Fraction(8, 10), "claude-sonnet-4-6": Fraction(9, 10)}
    ledger.bill(lambda use: shares.get(use["model"], Fraction(1)))
    result, residuals = compare(ledger)
    assert residuals["unexplained"] == 0
    assert {part.text() for part in parts_of(result, "discount")} == {
        "80 % of the list for claude-opus-4-8",
        "90 % of the list for claude-sonnet-4-6",
    }


def test_web_searches_are_counted_once_whatever_the_tier() -> None:
    ledger = Ledger(FIRST, 3)
    for day in ledger.days:
        for tier in ("standard", "batch", "flex", "priority", "priority_on_demand"):
            ledger.use(day, 1_000_000, service_tier=tier)
            ledger.use(day, 137, service_tier=tier, kind=WEB_SEARCH)
    told = {"standard", "batch"}
    ledger.bill(billed_as=lambda use: use["service_tier"] if use["service_tier"] in told else None)
    result, residuals = compare(ledger)
    assert "web search" not in residuals
    assert residuals["unexplained"] == 0
    assert Fraction(result.list_cost) == ledger.listed


@pytest.mark.parametrize(
    "facts",
    [
        {"dollars": "-90", "cost_type": None},
        {"dollars": "12.5", "cost_type": None},
        {"dollars": "-90", "cost_type": "tokens"},
        {"dollars": "-90", "cost_type": None, "workspace_id": None},
    ],
    ids=str,
)
def test_a_line_without_a_type_is_known_by_its_description(facts: dict[str, Any]) -> None:
    ledger = filled(8, models=PLAIN)
    ledger.bill()
    ledger.line(FIRST, description="Goodwill of the year", **facts)
    _, residuals = compare(ledger)
    assert residuals["other: Goodwill of the year"] == Fraction(facts["dollars"])
    assert residuals["unexplained"] == 0


def test_a_credit_within_a_charge_is_named_by_its_description() -> None:
    ledger = filled(8, models=PLAIN)
    ledger.bill()
    wrong = next(line for line in ledger.lines if line["token_type"])
    ledger.lines.append({**wrong, "amount": "-500", "description": "Correction of an error"})
    result, residuals = compare(ledger)
    assert residuals["credit"] == -5
    assert residuals["unexplained"] == 0
    assert any("Correction of an error" in item.note for item in result.residuals)


@pytest.mark.parametrize("dimension", ["model", "token_type", "service_tier", "context_window"])
def test_a_null_in_the_bill_agrees_with_any_value(dimension: str) -> None:
    ledger = filled(13, models=PLAIN)
    ledger.bill(lambda use: Fraction(9, 10))
    for line in ledger.lines:
        line[dimension] = None
    result, residuals = compare(ledger)
    assert residuals["unexplained"] == 0
    (part,) = parts_of(result, "discount")
    assert part.ratio == Decimal("0.9")


def test_an_alias_and_a_dated_id_are_one_model() -> None:
    ledger = filled(14, models=("claude-haiku-4-5-20251001",))
    ledger.bill()
    for line in ledger.lines:
        line["model"] = line["model"] and "claude-haiku-4-5"
    result, residuals = compare(ledger)
    assert set(residuals) <= {"rounding", "unexplained"}
    assert residuals["unexplained"] == 0
    assert len({cell.model for cell in result.cells if cell.model}) == 1


@pytest.mark.parametrize("long_part", [0, 1_234_567, 5_000_000])
def test_a_day_on_which_a_price_changes_has_both(long_part: int) -> None:
    day = utc(2026, 10, 7)
    ledger = Ledger(day, 1)
    ledger.use(day, 5_000_000, model="claude-sonnet-5-5", kind="cache_read_input_tokens")
    # $0.20 for a million before that day, and $0.10 after it.
    dollars = (Fraction(5_000_000) + long_part) / 10**7
    ledger.line(
        day,
        dollars,
        model="claude-sonnet-5-5",
        kind="cache_read_input_tokens",
        service_tier="standard",
        context_window="0-200k",
        inference_geo="global",
    )
    result, residuals = compare(ledger)
    assert set(residuals) == {"unexplained"}
    assert residuals["unexplained"] == 0
    assert any(f"{long_part:,} of 5,000,000" in note for note in result.notes)


def test_a_range_within_days_says_what_is_in_it() -> None:
    ledger = filled(3, days=5)
    ledger.bill()
    start, end = "2026-10-12T00:00:00+02:00", "2026-10-15T00:00:00+02:00"
    result, _ = compare(ledger, start, end)
    assert result.starting_at == utc(2026, 10, 11)
    assert any("all of 2026-10-11 and 2026-10-14" in note for note in result.notes)


def test_the_callers_decimal_context_changes_nothing() -> None:
    ledger = filled(3, days=4)
    ledger.bill(lambda use: Fraction(93, 100))
    usual = compare(ledger)
    with decimal.localcontext() as context:
        context.prec = 4
        context.rounding = decimal.ROUND_UP
        assert compare(ledger) == usual
