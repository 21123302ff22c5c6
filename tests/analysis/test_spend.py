"""A report's figures are the API's own, and the span before is as long as what has a bill."""

from __future__ import annotations

import datetime as dt

import pytest
from anthropic_usage import PermissionDenied, UsageClient
from anthropic_usage.analysis.spend import spend
from anthropic_usage.directory import Directory
from anthropic_usage.simulator import Server, Simulator


def day(number: int, month: int = 11) -> dt.datetime:
    """Return a midnight of 2026."""
    return dt.datetime(2026, month, number, tzinfo=dt.UTC)


def test_the_figures_are_the_ledgers(client: UsageClient, served: tuple[Simulator, Server]) -> None:
    ledger = served[0].ledger
    result = spend(client, "2026-11-01", "2026-11-21", directory=Directory.read(client))
    assert result.billed_until == day(20)
    assert result.compared_from == day(13, 10)
    assert result.billed == ledger.cost(day(1), day(20))[()] / 100
    assert result.before == ledger.cost(day(13, 10), day(1))[()] / 100
    for parts in (result.by_model, result.by_workspace, result.by_kind):
        assert sum(part.billed for part in parts) == result.billed
        assert sum(part.before for part in parts) == result.before
        assert list(parts) == sorted(parts, key=lambda part: -part.billed)
    assert sum(day.billed for day in result.by_day) == result.billed
    assert [entry.day.day for entry in result.by_day] == list(range(1, 20))
    truth = ledger.usage(day(1), day(21))[()]
    for name in ("uncached_input_tokens", "output_tokens", "web_search_requests"):
        assert result.tokens[name][0] == truth[name]
    caching = result.caching
    assert caching.read_tokens == truth["cache_read_input_tokens"]
    assert caching.efficiency == caching.read_tokens / caching.input_tokens
    assert 0 < caching.saved_low <= caching.saved_high
    code = ledger.claude_code(day(1).date(), day(21).date())
    assert result.coding.sessions == sum(sums["num_sessions"] for sums in code.values())
    assert result.coding.people > 0
    assert set(result.unbilled) <= {"priority", "priority_on_demand", "flex", "flex_discount"}
    assert any("have none yet" in note for note in result.notes)


def test_names_stand_beside_ids(client: UsageClient) -> None:
    named = spend(client, "2026-11-10", "2026-11-20", directory=Directory.read(client))
    bare = spend(client, "2026-11-10", "2026-11-20")
    assert [part.id for part in named.by_workspace] == [part.id for part in bare.by_workspace]
    assert {part.name for part in bare.by_workspace if part.id} == {
        part.id for part in bare.by_workspace if part.id
    }
    assert not any(key.name.startswith("apikey_") for key in named.keys)


def test_the_first_day_of_a_month_has_tokens_and_no_bill(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    simulator = served[0]
    kept, simulator.now = simulator.now, dt.datetime(2026, 11, 1, 9, tzinfo=dt.UTC)
    try:
        result = spend(client, "2026-11-01", "2026-11-02")
    finally:
        simulator.now = kept
    assert (result.billed, result.before, result.change) == (0, 0, None)
    assert result.tokens["output_tokens"][0] > 0
    assert "No day of this range has a bill yet" in result.notes[0]


def test_use_of_nothing_is_a_real_zero(client: UsageClient) -> None:
    result = spend(client, "2023-02-01", "2023-02-08")
    assert result.billed == 0
    assert result.caching.efficiency is None
    assert result.coding.cost_per_person is None
    assert result.keys == ()


def test_a_refused_report_is_an_error_and_not_a_zero(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = ["403@cost"]
    with pytest.raises(PermissionDenied):
        spend(client, "2026-11-10", "2026-11-20")


def test_a_refused_claude_code_report_costs_its_section_only(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = ["403@claude_code"]
    result = spend(client, "2026-11-10", "2026-11-20")
    assert result.billed > 0
    assert result.coding.sessions == 0
    assert "may not read" in result.notes[0]
