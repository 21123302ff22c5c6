"""Terms of the bill beside the list prices: each does what it says, and nothing is the default."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from anthropic_usage.simulator import Billing, Credit, Discount, Simulator, Surcharge
from anthropic_usage.simulator.bill import TOKEN_DIMENSIONS, CostLine
from anthropic_usage.simulator.calendar import day_of

from .conftest import Api

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = date(2026, 11, 12)
COST = "/cost_report"
BOTH = [("group_by[]", "workspace_id"), ("group_by[]", "description")]


def simulator(billing: Billing | None = None, now: datetime = NOW) -> Simulator:
    return Simulator(seed=7, size=0.5, days=400, now=now, billing=billing)


def bill(billing: Billing | None = None, day: date = DAY, now: datetime = NOW) -> list[CostLine]:
    seconds = int(now.timestamp())
    return simulator(billing, now).ledger.cost_lines(day_of(day), seconds)


@contextlib.contextmanager
def served(simulator: Simulator) -> Iterator[Api]:
    with simulator.serve() as server:
        api = Api(server)
        with api.http:
            yield api


def test_no_terms_are_the_list() -> None:
    assert bill(Billing()) == bill()


def test_a_discount_is_taken_off_what_it_holds_for() -> None:
    plain = bill()
    model = next(line.model for line in plain if line.model)
    space = next(line.workspace_id for line in plain if line.workspace_id)
    discounts = (
        Discount(share=Decimal("0.5"), since=date(2026, 11, 13)),
        Discount(share=Decimal("0.1"), models=frozenset({str(model)})),
        Discount(share=Decimal("0.2"), workspaces=frozenset({space})),
    )
    for before, after in zip(plain, bill(Billing(discounts=discounts)), strict=True):
        other = Decimal("0.8") if before.workspace_id == space else 1
        assert after.amount == before.amount * (Decimal("0.9") if before.model == model else other)
    later = DAY + timedelta(days=1)
    halves = bill(Billing(discounts=discounts), later)
    assert [line.amount * 2 for line in halves] == [line.amount for line in bill(day=later)]


def test_amounts_are_rounded_as_published_ones_are() -> None:
    share = Discount(share=Decimal("0.123456"))
    exact = bill(Billing(discounts=(share,)))
    rounded = bill(Billing(discounts=(share,), rounded=True))
    assert [line.amount for line in rounded] == [round(line.amount, 6) for line in exact]
    assert rounded != exact


def test_nulls_are_of_the_lines_for_tokens() -> None:
    for line in bill(Billing(nulls=frozenset({"inference_geo", "model"}))):
        assert (line.inference_geo, line.model) == (None, None)
        assert (line.service_tier is None) == (line.cost_type != "tokens")
    some = [
        getattr(line, name) is None
        for line in bill(Billing(null_percent=50))
        if line.cost_type == "tokens"
        for name in TOKEN_DIMENSIONS
    ]
    assert 0.3 < sum(some) / len(some) < 0.7
    with pytest.raises(ValueError, match="workspace_id"):
        Billing(nulls=frozenset({"workspace_id"}))


def test_credits_and_surcharges_are_on_their_day() -> None:
    terms = Billing(
        credits=(Credit(day=DAY, cents=Decimal("-123.45"), description="Promotional credit"),),
        surcharges=(Surcharge(day=DAY, cents=Decimal(7), place=3),),
    )
    before, (*after, credit) = bill(), bill(terms)
    assert (credit.cost_type, credit.model, credit.amount) == (None, None, Decimal("-123.45"))
    more = [new.amount - old.amount for old, new in zip(before, after, strict=True)]
    assert sorted(more)[-2:] == [0, 7]
    assert bill(terms, DAY - timedelta(days=1)) == bill(day=DAY - timedelta(days=1))


def test_a_late_bill_comes_and_is_not_kept_from_coming() -> None:
    late = Billing(late={date(2026, 11, 18): timedelta(hours=40)})
    moment = datetime(2026, 11, 20, 15, 59, tzinfo=UTC)
    late_day = date(2026, 11, 18)
    assert bill(late, late_day, moment) == []
    assert bill(late, late_day, moment + timedelta(minutes=1)) == bill(day=late_day)
    assert bill(late) == bill()


def test_a_page_with_a_late_bill_is_not_settled() -> None:
    late = simulator(Billing(late={date(2026, 11, 18): timedelta(hours=64)}))
    query = [("starting_at", "2026-11-17T00:00:00Z"), ("ending_at", "2026-11-20T00:00:00Z")]
    with served(late) as api:
        first = [bool(bucket["results"]) for bucket in api.data(COST, *query, *BOTH)]
        late.now = datetime(2026, 11, 21, 16, tzinfo=UTC)
        then = [bool(bucket["results"]) for bucket in api.data(COST, *query, *BOTH)]
    assert (first, then) == ([True, False, True], [True, True, True])


def test_models_go_by_their_alias_in_the_bill_alone() -> None:
    day = date(2026, 1, 20)
    names = {line.model for line in bill(Billing(aliases=True), day)}
    dated = {line.model for line in bill(day=day)}
    assert "claude-opus-4-5-20251101" in dated
    assert "claude-opus-4-5" in names
    assert len(names) == len(dated)


def test_long_prompts_cost_more_where_rows_do_not_tell_them() -> None:
    plain, terms = bill(), bill(Billing(long_percent=70))
    for before, after in zip(plain, terms, strict=True):
        most = 5 if before.model == "claude-haiku-5-5" else 1
        assert before.amount <= after.amount <= before.amount * most
    assert sum(line.amount for line in terms) > sum(line.amount for line in plain)


def test_only_questions_after_the_fast_mode_are_refused() -> None:
    span = [("starting_at", "2026-11-12T00:00:00Z"), ("ending_at", "2026-11-13T00:00:00Z")]
    beta = {"anthropic_beta": "fast-mode-2026-02-01"}
    sim = simulator()
    sim.faults = ["403@fast_mode"]
    usage = "/usage_report/messages"
    with served(sim) as api:
        assert api.get(usage, *span).status_code == 200
        for name, value in (("speeds[]", "fast"), ("group_by[]", "speed")):
            assert api.get(usage, *span, (name, value), **beta).status_code == 403
        sim.faults = ["403@usage"]
        assert api.get(usage, *span).status_code == 403
        assert api.get(usage, *span, ("speeds[]", "fast"), **beta).status_code == 403
