"""Budgets fire when they should, and only then."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from anthropic_usage import InvalidQuery, UsageClient
from anthropic_usage.analysis.budgets import Budget, Budgets, check
from anthropic_usage.directory import Directory
from anthropic_usage.simulator import Simulator
from clock import NOW
from played import Organisation, billed

TODAY = dt.date(2026, 11, 20)
QUIET = {"jump_factor": None, "cache_drop": None}


def kinds(client: UsageClient, budgets: Budgets) -> list[tuple[str, str]]:
    """Return what fires."""
    result = check(client, budgets, directory=Directory.read(client), today=TODAY)
    return [(alert.kind, alert.subject) for alert in result.alerts]


def spent(client: UsageClient) -> Decimal:
    return client.cost("2026-11-01", "2026-11-20").totals().amount_usd


def test_a_budget_fires_at_its_percentages(client: UsageClient) -> None:
    amount = spent(client)
    options = {"name": "all", "on_forecast": False}
    at = [
        (amount, [("budget", "all")]),
        (amount + 1, []),
        (amount - 1, [("budget", "all")]),
    ]
    for limit, fires in at:
        assert kinds(client, Budgets(budgets=(Budget(amount=limit, **options),), **QUIET)) == fires  # type: ignore[arg-type]
    warned = Budget(amount=amount * 2, warn_at=(50, 100), **options)  # type: ignore[arg-type]
    result = check(client, Budgets(budgets=(warned,), **QUIET), today=TODAY)  # type: ignore[arg-type]
    assert result.alerts[0].message.endswith("past 50%")


def test_a_projection_fires_before_the_budget_does(client: UsageClient) -> None:
    budget = Budget(name="all", amount=spent(client) + 10)
    assert kinds(client, Budgets(budgets=(budget,), **QUIET)) == [("forecast", "all")]  # type: ignore[arg-type]
    roomy = Budget(name="all", amount=spent(client) * 10)
    assert kinds(client, Budgets(budgets=(roomy,), **QUIET)) == []  # type: ignore[arg-type]


def test_a_week_is_projected_to_its_own_end() -> None:
    now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)  # a Friday
    days = [f"{now - step * dt.timedelta(1):%Y-%m-%d}" for step in range(1, 90)]
    flat = Organisation(now=now, cost=[billed(day, 1000) for day in days])
    budgets = tuple(
        Budget(name=period, amount=Decimal(10**6), period=period) for period in ("week", "month")
    )
    with flat.client() as client:
        result = check(client, Budgets(budgets=budgets, **QUIET), today=TODAY)  # type: ignore[arg-type]
    stand = {state.budget.name: (state.last_day.day, state.spent) for state in result.states}
    # The day before was billed; Thursday is the fourth of the week's days.
    assert stand == {"week": (22, 40), "month": (30, 190)}
    projected = {state.budget.name: state.projected for state in result.states}
    assert projected == {"week": 70, "month": 300}


def test_budgets_of_workspaces_keys_and_models(client: UsageClient) -> None:
    directory = Directory.read(client)
    rows = client.cost("2026-11-01", "2026-11-20", group_by="workspace_id").by("workspace_id")
    row = next(row for row in rows if row.workspace_id)
    for value in (row.workspace_id, directory.workspace(row.workspace_id)):
        budgets = Budgets(
            budgets=(Budget(name="w", amount=Decimal(10**9), subject="workspace", value=value),)
        )
        (state,) = check(client, budgets, directory=directory, today=TODAY).states
        assert state.spent == row.amount_usd
        assert not state.estimated
    key = next(iter(directory.api_keys.values()))
    budgets = Budgets(
        budgets=(Budget(name="k", amount=Decimal(1), subject="api_key", value=key, period="week"),)
    )
    result = check(client, budgets, directory=directory, today=TODAY)
    assert result.states[0].estimated
    assert result.states[0].first_day == dt.date(2026, 11, 16)
    assert any("the bill names no keys" in note for note in result.notes)


def test_a_budget_of_something_unknown_is_refused(client: UsageClient) -> None:
    budget = Budget(name="ghost", amount=Decimal(1), subject="workspace", value="nowhere")
    with pytest.raises(InvalidQuery, match="no workspace 'nowhere'"):
        check(client, Budgets(budgets=(budget,)), today=TODAY)


def test_a_jump_and_a_fallen_cache_rate_fire() -> None:
    simulator = Simulator(seed=7, size=0.5, now=NOW)
    simulator.restate("2026-11-19", 5)
    with (
        simulator.serve() as server,
        UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client,
    ):
        fired = kinds(client, Budgets())
        assert ("jump", "everything") in fired
        assert kinds(client, Budgets(jump_factor=Decimal(100))) == []
        assert kinds(client, Budgets(jump_usd=Decimal(10**6))) == []
        # The rate is flat in the simulator: a limit below its noise must fire, one above must not.
        assert ("cache", "everything") in kinds(client, Budgets(cache_drop=Decimal(-50)))


def test_a_quiet_organisation_is_quiet(client: UsageClient) -> None:
    assert kinds(client, Budgets(jump_factor=Decimal(20))) == []


def test_the_file() -> None:
    budgets = Budgets.parse(
        """
        budgets:
          - {name: everything, amount_usd: 12000.10, warn_at: [80, 100]}
          - {api_key: batch, amount_usd: "1,000", period: day, forecast: false}
        jump: {factor: 3}
        cache_drop: off
        """
    )
    first, second = budgets.budgets
    assert first == Budget(name="everything", amount=Decimal("12000.10"), warn_at=(80, 100))
    assert (second.name, second.subject, second.amount) == ("batch", "api_key", 1000)
    assert (budgets.jump_factor, budgets.cache_drop) == (3, None)
    assert Budgets.parse("jump: off").jump_factor is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgets: [", "no YAML"),
        ("- 1", "object"),
        ("budget: []", "'budget'"),
        ("budgets: {a: 1}", "list"),
        ("budgets: [3]", "budget 1 must be an object"),
        ("budgets: [{name: x}]", "budget 1 lacks amount_usd"),
        ("budgets: [{amount_usd: much}]", "'much'"),
        ("budgets: [{amount_usd: 0}]", "above 0"),
        ("budgets: [{amount_usd: 1, period: year}]", "'year'"),
        ("budgets: [{amount_usd: 1, workspace: a, model: b}]", "one of them"),
        ("budgets: [{amount_usd: 1, workspace: }]", "id or a name"),
        ("budgets: [{amount_usd: 1, warn_at: 80}]", "list of whole percentages"),
        ("budgets: [{amount_usd: 1, forecast: maybe}]", "true or false"),
        ("budgets: [{amount_usd: 1, colour: red}]", "'colour'"),
        ("jump: 3", "jump must be"),
        ("jump: {factor: 0.5}", "at least 1"),
        ("cache_drop: lots", "'lots'"),
    ],
)
def test_bad_files_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InvalidQuery, match=says):
        Budgets.parse(text)
