"""The bill is explained to the cent, and each reason for a difference has its name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from anthropic_usage import InvalidQuery, UsageClient
from anthropic_usage.analysis.prices import PriceTable
from anthropic_usage.analysis.reconcile import Reconciliation, reconcile
from anthropic_usage.simulator import Server, Simulator
from clock import NOW

SPAN = ("2026-10-01", "2026-11-20")


def run(options: dict[str, Any], prices: PriceTable | None = None) -> Reconciliation:
    """Reconcile seven weeks of a simulator that was told to misbehave."""
    simulator = Simulator(seed=7, size=1.0, now=NOW, **options)
    with (
        simulator.serve() as server,
        UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client,
    ):
        return reconcile(client, *SPAN, prices=prices)


def named(result: Reconciliation) -> dict[str, Decimal]:
    """Return the residuals by name, once they are proven to add up."""
    residuals = {item.name: item.amount for item in result.residuals}
    assert result.list_cost + sum(residuals.values()) == result.billed
    assert sum(cell.billed for cell in result.cells) == result.billed
    return residuals


@pytest.fixture(scope="module")
def plain() -> Reconciliation:
    """Give the reconciliation of an honest bill."""
    return run({})


def test_nothing_is_unexplained(plain: Reconciliation) -> None:
    residuals = named(plain)
    assert plain.unexplained == 0
    assert all(cell.unexplained == 0 for cell in plain.cells)
    assert residuals["code execution"] > 0
    assert residuals["session usage"] > 0
    for tier in ("priority", "priority on demand", "flex"):
        assert residuals[f"{tier} tier"] < 0, "every tier must be used, or this proves nothing"
    assert "discount" not in residuals


def test_the_bill_is_the_ledgers(plain: Reconciliation) -> None:
    simulator = Simulator(seed=7, size=1.0, now=NOW)
    start = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    cents = simulator.ledger.cost(start, dt.datetime(2026, 11, 20, tzinfo=dt.UTC))[()]
    assert plain.billed == cents / 100


def test_a_discount_is_named(plain: Reconciliation) -> None:
    result = run({"discount": "0.15"})
    residuals = named(result)
    assert result.unexplained == 0
    # The invented organisation uses a model some days before it has a price.
    beside = ("code execution", "session usage", "unpriced")
    tokens = plain.billed - sum(named(plain)[name] for name in beside)
    assert residuals["discount"] == -tokens * Decimal("0.15")
    assert any("85 %" in item.note for item in result.residuals)


def test_an_overcharge_is_unexplained() -> None:
    result = run({"overcharge": "12.34"})
    residuals = named(result)
    # What lands on a kind of token with a price band may be that band.
    assert result.unexplained + residuals.get("price band", Decimal(0)) == 50 * Decimal("12.34")
    assert result.unexplained > 0
    assert "discount" not in residuals
    wrong = [cell for cell in result.cells if cell.unexplained]
    assert all(cell.unexplained <= Decimal("12.34") for cell in wrong)


def test_a_model_without_a_price_is_named(plain: Reconciliation) -> None:
    table = PriceTable.bundled()
    model = max(
        (cell for cell in plain.cells if not cell.unpriced), key=lambda cell: cell.billed
    ).model
    without = PriceTable(
        (price for price in table.prices if model not in (price.model, *price.match)),
        table.web_search_usd,
    )
    result = run({}, without)
    residuals = named(result)
    assert result.unexplained == 0
    assert residuals["unpriced"] == sum(cell.billed for cell in result.cells if cell.unpriced)
    assert model in {cell.model for cell in result.cells if cell.unpriced}
    assert any(str(model) in item.note for item in result.residuals if item.name == "unpriced")


def test_which_of_two_prices_applied_is_solved_from_the_bill(plain: Reconciliation) -> None:
    solved = [cell for cell in plain.cells if cell.solved]
    assert {cell.model for cell in solved} >= {"claude-haiku-5-5"}
    assert all(cell.low == cell.high == cell.billed for cell in solved)
    assert "price band" not in named(plain)
    assert any("claude-haiku-5-5" in note and "solved" in note for note in plain.notes)


def test_days_without_a_bill_are_not_compared(client: UsageClient) -> None:
    result = reconcile(client, "2026-11-18", "2026-11-21")
    assert result.ending_at == dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    (open_day,) = result.not_compared
    assert open_day.name == "unsettled"
    assert open_day.amount > 0
    assert result.unexplained == 0


def test_a_range_without_a_bill_says_so(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    with pytest.raises(InvalidQuery, match="closed"):
        reconcile(client, "2026-11-20", "2026-11-21")
