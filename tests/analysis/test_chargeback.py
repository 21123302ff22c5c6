"""The parts of a bill add up to it, whoever is asked and however it is split."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from anthropic_usage import InvalidQuery, UsageClient
from anthropic_usage.analysis.chargeback import BY, Owner, OwnerMap, chargeback, split_cents
from anthropic_usage.directory import Directory
from anthropic_usage.simulator import Server, Simulator
from clock import NOW
from hypothesis import given
from hypothesis import strategies as st

CENT = Decimal("0.01")


def test_a_hundred_organisations_are_split_to_the_cent() -> None:
    for seed in range(100):
        simulator = Simulator(seed=seed, size=0.2 + seed % 5 / 10, days=120, now=NOW)
        with (
            simulator.serve() as server,
            UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client,
        ):
            start = dt.datetime(2026, 11, 1 + seed % 10, tzinfo=dt.UTC)
            end = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
            cents = simulator.ledger.cost(start, end)[()]
            for by in BY:
                result = chargeback(client, start, end, by=by)
                assert result.exact_usd == cents / 100
                assert result.billed_usd == (cents / 100).quantize(CENT, ROUND_HALF_EVEN)
                assert sum(line.amount_usd for line in result.lines) == result.billed_usd
                assert sum(line.exact_usd for line in result.lines) == result.exact_usd
                assert all(abs(line.amount_usd - line.exact_usd) < CENT for line in result.lines)


@given(
    st.lists(st.decimals("-1000", "100000", places=11), min_size=1, max_size=60),
)
def test_rounded_parts_add_up(parts: list[Decimal]) -> None:
    whole = sum(parts, Decimal(0)).quantize(CENT, ROUND_HALF_EVEN)
    cents = split_cents(parts, whole)
    assert sum(cents) == whole
    assert all(abs(cent - part) <= CENT for cent, part in zip(cents, parts, strict=True))
    assert cents == split_cents(parts, whole)


def test_workspaces_and_models_are_as_billed(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    start, end = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (1, 20))
    ledger = served[0].ledger
    by_workspace = chargeback(client, start, end, directory=Directory.read(client))
    assert all(line.direct for line in by_workspace.lines)
    truth = {
        key: cents / 100 for (key,), cents in ledger.cost(start, end, by=("workspace_id",)).items()
    }
    assert {line.id: line.exact_usd for line in by_workspace.lines} == truth
    names = [line.name for line in by_workspace.lines]
    assert not any(name.startswith("wrkspc_") for name in names)


def test_keys_are_charged_what_they_used(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    result = chargeback(client, "2026-11-01", "2026-11-20", by="api_key")
    keys = [line for line in result.lines if line.id is not None]
    assert keys
    assert not any(line.direct for line in keys)
    used = {
        row.api_key_id for row in client.usage("2026-11-01", "2026-11-20", group_by="api_key_id")
    }
    assert {line.id for line in keys} <= used
    direct = [line for line in result.lines if line.direct]
    assert {line.name for line in direct} <= {
        "code execution (no key known)",
        "session usage (no key known)",
    }


def test_owners_pay_and_what_nobody_owns_is_a_line(client: UsageClient) -> None:
    directory = Directory.read(client)
    first = next(iter(directory.workspaces.values()))
    owners = OwnerMap.parse(f'"{first}": {{team: One, cost_center: 4711}}')
    result = chargeback(client, "2026-11-01", "2026-11-20", owners=owners, directory=directory)
    assert {line.name for line in result.lines} == {"One", "unmapped"}
    assert sum(line.amount_usd for line in result.lines) == result.billed_usd
    (one,) = (line for line in result.lines if line.name == "One")
    assert one.owner == Owner(team="One", cost_center="4711")
    assert result.unused == ()
    more = owners.plus(OwnerMap.parse("'nothing-like-it-*': nobody"))
    again = chargeback(client, "2026-11-01", "2026-11-20", owners=more, directory=directory)
    assert again.unused == ("nothing-like-it-*",)


def test_exact_names_go_before_patterns() -> None:
    owners = OwnerMap.parse("'*': all\n'apikey_1': one\n'batch-?': batch")
    assert [
        owners.owner(id_, name) for id_, name in (("apikey_1", "x"), ("apikey_2", "batch-3"))
    ] == [
        Owner(team="one"),
        Owner(team="all"),
    ]
    assert OwnerMap().owner("x") is None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"a*": {"team": "A", "cost_center": 12}, "b": "B"}', "json"),
        ("a*: {team: A, cost_center: 12}\nb: B", "yaml"),
        ("pattern,team,cost_center\na*,A,12\nb,B,\n", "csv"),
    ],
)
def test_maps_in_three_forms(text: str, form: str) -> None:
    owners = OwnerMap.parse(text, form)
    assert owners.owner("abc") == Owner(team="A", cost_center="12")
    assert owners.owner("b") == Owner(team="B")


@pytest.mark.parametrize(
    ("text", "form", "says"),
    [
        ("[1]", "json", "object"),
        ("{", "json", "no JSON"),
        ("a: [", "yaml", "no YAML"),
        ("a: [3]", "yaml", "entry of 'a'"),
        ("a: {team: x, boss: y}", "yaml", "entry of 'a'"),
        ("id,team\na,b", "csv", "columns pattern and team"),
    ],
)
def test_bad_maps_say_what_is_wrong(text: str, form: str, says: str) -> None:
    with pytest.raises(InvalidQuery, match=says):
        OwnerMap.parse(text, form)


def test_an_unknown_split_is_refused(client: UsageClient) -> None:
    with pytest.raises(InvalidQuery, match="workspace, api_key, model"):
        chargeback(client, "2026-11-01", by="colour")


def test_refused_lookups_cost_the_names_only(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    served[0].faults = ["403@workspaces"]
    directory = Directory.read(client)
    assert directory.workspaces == {}
    assert len(directory.missing) == 1
    assert "no names for workspaces" in directory.missing[0]
    assert directory.workspace(None) == "default workspace"
    assert directory.workspace("wrkspc_1") == "wrkspc_1"
    assert directory.api_keys
