"""Who did what with Claude Code: figures that divide, people apart from keys, teams, seats."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import UsageClient
from anthropic_usage.analysis.chargeback import OwnerMap
from anthropic_usage.analysis.people import People, people
from hypothesis import given, settings
from hypothesis import strategies as st
from support import KEY, QUICK, Answer, Asked, Loopback, every_bucket, page

FIRST = dt.date(2026, 2, 5)  # a Thursday
DAYS = 14
LATER = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)

MEMBERS = [
    {"id": "user_1", "name": "Ann Archer", "email": "Ann@Corp.example", "role": "developer"},
    {"id": "user_2", "name": "Bob Baker", "email": "bob@corp.example", "role": "user"},
    {"id": "user_3", "name": "Cyn Carver", "email": "cyn@corp.example", "role": "billing"},
    {
        "id": "user_4",
        "name": "Dan Late",
        "email": "dan@corp.example",
        "role": "user",
        "added_at": "2026-02-19T00:00:00Z",
    },
]


def record(
    kind: str, who: str, cents: Any = 0, customer: str | None = "api", **counts: int
) -> dict[str, Any]:
    """Return a record as the API writes it, without its day."""
    field = {"user_actor": "email_address", "api_actor": "api_key_name"}.get(kind, "id")
    return {
        "actor": {"type": kind, field: who},
        "organization_id": "0c2f0c3e-0000-4000-8000-000000000000",
        "customer_type": customer,
        "terminal_type": "tmux",
        "core_metrics": {
            "num_sessions": counts.get("sessions", 0),
            "lines_of_code": {"added": counts.get("lines", 0), "removed": 0},
            "commits_by_claude_code": counts.get("commits", 0),
            "pull_requests_by_claude_code": counts.get("pulls", 0),
        },
        "tool_actions": {
            "edit_tool": {"accepted": counts.get("yes", 0), "rejected": counts.get("no", 0)}
        },
        "model_breakdown": [
            {
                "model": "opus",
                "tokens": {"input": 1, "output": 0, "cache_read": 0, "cache_creation": 0},
                "estimated_cost": {"currency": "USD", "amount": str(cents)},
            }
        ]
        if cents
        else [],
    }


@contextmanager
def serving(records: dict[int, list[dict[str, Any]]], members: int = 200) -> Iterator[Loopback]:
    """Serve records by the number of their day, and the members or a status instead of them."""

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/users"):
            body = {"data": MEMBERS, "has_more": False, "first_id": None, "last_id": None}
            return Answer(members, json.dumps(body).encode())
        if not asked.path.endswith("claude_code"):
            return every_bucket(asked)
        day = asked.params["starting_at"]
        number = (dt.date.fromisoformat(day) - FIRST).days
        found = [{"date": f"{day}T00:00:00Z", **entry} for entry in records.get(number, [])]
        return Answer(body=page(found))

    with Loopback(answer) as server:
        yield server


def ask(server: Loopback, owners: OwnerMap | None = None) -> People:
    with UsageClient(KEY, base_url=server.url, retry=QUICK, clock=lambda: LATER) as client:
        return people(client, FIRST, FIRST + dt.timedelta(DAYS), owners=owners)


WORK = {
    0: [
        record("user_actor", "ann@corp.example", 1000, sessions=4, pulls=2, yes=3, no=1, lines=9),
        record("api_actor", "ann@corp.example", 5000, sessions=1),
    ],
    5: [
        record("user_actor", "ANN@corp.example", 500, sessions=1, commits=7),
        record("user_actor", "eve@corp.example", 300, "subscription", sessions=2),
        record("robot_actor", "r2", 7, None, sessions=1),
        record("user_actor", "cyn@corp.example"),
    ],
    13: [record("user_actor", "bob@corp.example", 0, "subscription", sessions=3, no=2)],
}
OWNERS = OwnerMap.parse(
    '{"Ann@Corp.example": Search, "EVE*": Labs, "eve@": Nobody, r2: Search, "*ver": Ops, '
    '"bob*": {team: Ads, cost_center: "4711"}}'
)


def test_people_are_counted_once_and_keys_are_none_of_them() -> None:
    with serving(WORK) as server:
        result = ask(server)
    assert [person.actor for person in result.people] == [
        "ann@corp.example",
        "eve@corp.example",
        "bob@corp.example",
    ]
    assert (result.active, result.seats, result.active_seats) == (3, 3, 2)
    assert [seat.email for seat in result.idle] == ["cyn@corp.example"]
    assert [other.actor_type for other in result.others] == ["api_actor", "robot_actor"]
    ann, eve, bob = result.people
    assert (ann.name, ann.role, ann.seat, ann.active_days) == ("Ann Archer", "developer", True, 2)
    assert (ann.first_day, ann.last_day) == (FIRST, FIRST + dt.timedelta(5))
    assert ann.work.cost_per_session_usd == 3
    assert ann.work.cost_per_pull_request_usd == Decimal("7.5")
    assert ann.work.acceptance == 0.75
    assert (eve.seat, eve.name) == (False, None)
    assert eve.work.acceptance is None
    assert eve.work.cost_per_pull_request_usd is None
    assert (bob.work.acceptance, bob.work.estimated_cost_usd) == (0, 0)
    assert result.cost_per_person_usd == 6
    assert result.by_people.estimated_cost_usd == 18
    assert result.by_others.estimated_cost_usd == Decimal("50.07")
    assert result.total.estimated_cost_usd == Decimal("68.07")
    assert result.total.api_cost_usd == 65
    assert result.total.subscription_cost_usd == 3
    said = " ".join(result.notes)
    for words in ("1 API key and 1 of another kind", "$3.00", "$0.07", "1 active person holds"):
        assert words in said


def test_weeks_say_how_many_days_they_hold() -> None:
    with serving(WORK) as server:
        weeks = ask(server).weeks
    assert [(week.days, week.days_in_period, week.active) for week in weeks] == [
        (4, 7, 1),
        (7, 7, 2),
        (3, 7, 1),
    ]
    assert [week.work.sessions for week in weeks] == [4, 3, 3]


def test_teams_have_seats_and_their_keys_beside_them() -> None:
    with serving(WORK) as server:
        result = ask(server, OWNERS)
    teams = {team.team: team for team in result.teams}
    assert set(teams) == {"Search", "Ads", "Ops", "Labs", "unmapped"}
    assert teams["Search"].by_people.estimated_cost_usd == 15
    assert teams["Search"].cost_per_person_usd == 15
    assert teams["Search"].by_others.estimated_cost_usd == Decimal("0.07")
    assert (teams["Ads"].cost_center, teams["Ads"].active, teams["Ads"].seats) == ("4711", 1, 1)
    assert (teams["Ops"].active, teams["Ops"].seats) == (0, 1)
    assert teams["Ops"].cost_per_person_usd is None
    assert teams["Labs"].active == 1
    assert teams["unmapped"].by_others.sessions == 1
    assert result.unused == ("eve@",)
    assert [seat.team for seat in result.idle] == ["Ops"]


def test_who_has_a_seat_may_not_be_known() -> None:
    with serving(WORK, members=403) as server:
        result = ask(server, OWNERS)
    assert (result.active, result.seats, result.active_seats, result.idle) == (3, None, None, ())
    assert {person.seat for person in result.people} == {None}
    assert {team.seats for team in result.teams} == {None}
    assert "Who has a seat is not known" in result.notes[0]


def test_nobody_is_a_real_zero() -> None:
    with serving({}) as server:
        result = ask(server)
    assert (result.active, result.active_seats, len(result.idle)) == (0, 0, 3)
    assert result.cost_per_person_usd is None
    assert result.total.cost_per_session_usd is None
    assert [week.active for week in result.weeks] == [0, 0, 0]


ENTRIES = st.lists(
    st.tuples(
        st.integers(0, DAYS - 1),
        st.sampled_from(["user_actor", "api_actor", "robot_actor"]),
        st.sampled_from(["ann@corp.example", "ANN@corp.example", "bob@corp.example", "zoe"]),
        st.decimals(0, 10**9, places=5),
        st.sampled_from(["api", "subscription", None, "barter"]),
        st.integers(0, 9),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(ENTRIES)
def test_every_figure_divides_and_adds_up(entries: list[Any]) -> None:
    records: dict[int, list[dict[str, Any]]] = {}
    sums: dict[tuple[str, str], list[Any]] = {}
    for place, (day, kind, who, cents, customer, sessions) in enumerate(entries):
        entry = record(kind, who, cents, customer, sessions=sessions, lines=place + 1)
        records.setdefault(day, []).append(entry)
        name = who.lower() if kind == "user_actor" else who
        mine = sums.setdefault((kind, name), [Fraction(), Fraction(), 0])
        mine[0] += Fraction(cents) / 100
        mine[1] += Fraction(cents) / 100 if customer == "api" else 0
        mine[2] += sessions
    with serving(records) as server:
        result = ask(server, OwnerMap.parse('{"ann*": A, "*": B}'))
    found = {
        (actor.actor_type, actor.actor): [
            Fraction(actor.work.estimated_cost_usd),
            Fraction(actor.work.api_cost_usd),
            actor.work.sessions,
        ]
        for actor in (*result.people, *result.others)
    }
    assert found == sums
    cost = sum((mine[0] for (kind, _), mine in sums.items() if kind == "user_actor"), Fraction())
    assert result.by_people.estimated_cost_usd == cost
    assert result.total.estimated_cost_usd == sum((mine[0] for mine in sums.values()), Fraction())
    assert sum(payer.estimated_cost_usd for payer in result.payers) == (
        result.total.estimated_cost_usd
    )
    for customer, amount in (
        ("api", result.total.api_cost_usd),
        ("subscription", result.total.subscription_cost_usd),
    ):
        mine = [payer for payer in result.payers if payer.customer_type == customer]
        assert sum(payer.estimated_cost_usd for payer in mine) == amount
    for payer in result.payers:
        off = Fraction(payer.each_usd) * payer.number - Fraction(payer.estimated_cost_usd)
        assert abs(off) <= Fraction(payer.number, 10**6)
    if result.active:
        each = result.cost_per_person_usd
        assert each is not None
        assert abs(Fraction(each) * result.active - cost) <= Fraction(result.active, 10**6)
    else:
        assert result.cost_per_person_usd is None
    for parts in (result.teams, result.weeks):
        works = [getattr(part, "by_people", None) or getattr(part, "work", None) for part in parts]
        assert sum(work.sessions for work in works if work) == result.by_people.sessions
    assert sum(team.active for team in result.teams) == result.active


def run(server: Loopback, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
        "ANTHROPIC_ADMIN_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": server.url,
    }
    until = FIRST + dt.timedelta(DAYS)
    span = ("--since", str(FIRST), "--until", str(until))
    return subprocess.run(
        [sys.executable, "-m", "anthropic_usage", "claude-code", *span, *args],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_person_is_no_key_of_that_name_in_the_shell() -> None:
    with serving(WORK) as server:
        rows = json.loads(run(server, "--by", "actor", "--json").stdout)["rows"]
        table = run(server).stdout
    found = {(row["actor"], row["actor_type"]): row["estimated_cost_usd"] for row in rows}
    assert found["ann@corp.example", "user_actor"] == "15"
    assert found["ann@corp.example", "api_actor"] == "50"
    assert len(found) == len(rows) == 6
    assert table.count("ann@corp.example") == 2


def test_the_command_answers_for_a_team(tmp_path: Path) -> None:
    owners = tmp_path / "teams.yml"
    owners.write_text('"ann@corp.example": Search\nBob Baker: Ads\n', encoding="utf-8")
    with serving(WORK) as server:
        table = run(server, "--map", str(owners))
        document = json.loads(run(server, "--map", str(owners), "--json").stdout)
        lines = list(csv.DictReader(io.StringIO(run(server, "--people", "--csv").stdout)))
        refused = run(server, "--people", "--by", "week")
    assert table.returncode == 0, table.stderr
    assert "3 people, 2 of 3 with a seat" in table.stdout
    assert "$18.00 estimated, $6.00 for each of them" in table.stdout
    assert "Not active: cyn@corp.example" in table.stdout
    assert "4 of 7" in table.stdout
    assert "no part of the API's bill" in table.stderr
    assert [team["team"] for team in document["teams"]] == ["Search", "unmapped", "Ads"]
    assert document["by_people"]["estimated_cost_usd"] == "18"
    assert document["people"][1]["work"]["cost_per_pull_request_usd"] is None
    assert [line["actor_type"] for line in lines].count("user_actor") == 4
    assert lines[-1]["active_days"] == "0"
    assert refused.returncode == 2
    assert "leave out --by" in refused.stderr


@pytest.mark.parametrize("names", [True, False])
def test_a_report_without_names_has_the_same_sums(names: bool) -> None:
    with serving(WORK) as server:
        result = ask(server)
    shown = result if names else result.without_names()
    assert bool(shown.people) is bool(shown.others) is bool(shown.idle) is names
    assert shown.by_people == result.by_people
