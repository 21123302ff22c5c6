"""The Claude Code report: one UTC day of records."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from anthropic_usage.simulator import Simulator

from .conftest import Api

CLAUDE_CODE = "/usage_report/claude_code"
DAY = ("starting_at", "2026-11-18")


def actor(record: dict[str, Any]) -> str:
    who = record["actor"]
    return str(who["email_address"] if who["type"] == "user_actor" else who["api_key_name"])


def test_pages_add_up_to_the_ledger(api: Api, simulator: Simulator) -> None:
    found: dict[tuple[str, str], Counter[str]] = {}
    for record in api.data(CLAUDE_CODE, DAY, ("limit", "3")):
        core = record["core_metrics"]
        sums = found.setdefault((actor(record), record["terminal_type"]), Counter())
        sums["num_sessions"] += core["num_sessions"]
        sums["lines_added"] += core["lines_of_code"]["added"]
        sums["lines_removed"] += core["lines_of_code"]["removed"]
        for name in ("commits_by_claude_code", "pull_requests_by_claude_code"):
            sums[name] += core[name]
        for tool, counts in record["tool_actions"].items():
            for verdict, count in counts.items():
                sums[f"{tool}_{verdict}"] += count
        for use in record["model_breakdown"]:
            sums["estimated_cost_cents"] += use["estimated_cost"]["amount"]
            for name, count in use["tokens"].items():
                sums[f"{name}_tokens"] += count
    truth = simulator.ledger.claude_code(
        date(2026, 11, 18), date(2026, 11, 19), by=("actor", "terminal_type")
    )
    assert found == truth


def test_a_record_has_the_published_shape(api: Api, pytestconfig: pytest.Config) -> None:
    sample = msgspec.json.decode(
        (pytestconfig.rootpath / "tests/samples/claude_code_docs.json").read_bytes()
    )["data"][0]
    records = api.data(CLAUDE_CODE, DAY)
    for record in records:
        assert set(record) == set(sample)
        assert set(record["core_metrics"]) == set(sample["core_metrics"])
        assert set(record["tool_actions"]) == set(sample["tool_actions"])
        for use in record["model_breakdown"]:
            assert set(use) == set(sample["model_breakdown"][0])
            assert isinstance(use["estimated_cost"]["amount"], int)
    assert {record["actor"]["type"] for record in records} == {"user_actor", "api_actor"}
    assert {record["customer_type"] for record in records} == {"api", "subscription"}


def test_a_record_is_one_way_of_working_of_one_actor(api: Api) -> None:
    keys = Counter(
        (
            actor(record),
            record["terminal_type"],
            record["customer_type"],
            record["subscription_type"],
            record["is_remote"],
        )
        for record in api.data(CLAUDE_CODE, DAY)
    )
    assert set(keys.values()) == {1}


def test_today_grows_and_tomorrow_is_empty(own: tuple[Simulator, Api]) -> None:
    simulator, api = own
    sessions = []
    for hour in (0, 9, 13, 17, 23):
        simulator.now = datetime(2026, 11, 20, hour, 30, tzinfo=UTC)
        records = api.data(CLAUDE_CODE, ("starting_at", "2026-11-20"))
        sessions.append(sum(record["core_metrics"]["num_sessions"] for record in records))
    assert sessions == sorted(sessions)
    assert sessions[0] == 0 < sessions[-1]
    assert api.data(CLAUDE_CODE, ("starting_at", "2026-11-21")) == []


def test_model_sums_are_the_whole(simulator: Simulator) -> None:
    span = date(2026, 11, 1), date(2026, 11, 20)
    whole = simulator.ledger.claude_code(*span)[()]
    parts: Counter[str] = Counter()
    for sums in simulator.ledger.claude_code(*span, by=["model"]).values():
        parts.update(sums)
    assert parts == {name: whole[name] for name in parts}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ([], "starting_at"),
        ([("starting_at", "2026-11-18T00:00:00Z")], "starting_at"),
        ([("starting_at", "2026-13-01")], "starting_at"),
        ([DAY, ("ending_at", "2026-11-19")], "ending_at"),
        ([DAY, ("limit", "1001")], "limit"),
        ([DAY, ("limit", "0")], "limit"),
        ([DAY, ("group_by[]", "actor")], "group_by[]"),
    ],
)
def test_refusals_name_the_parameter(api: Api, query: list[tuple[str, str]], named: str) -> None:
    assert api.message(CLAUDE_CODE, *query).startswith(f"{named}:")


def test_a_page_token_is_good_for_its_own_day_only(api: Api) -> None:
    page = ("page", api.get(CLAUDE_CODE, DAY, ("limit", "2")).json()["next_page"])
    assert api.get(CLAUDE_CODE, DAY, ("limit", "2"), page).status_code == 200
    other = ("starting_at", "2026-11-17")
    assert api.message(CLAUDE_CODE, other, ("limit", "2"), page).startswith("page:")
