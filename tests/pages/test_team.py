"""What every form of a report says of Claude Code: people, who pays, weeks, teams, and no names."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage.analysis.chargeback import OwnerMap
from anthropic_usage.analysis.spend import Spend, spend
from anthropic_usage.pages import html, markdown
from cassettes import run_command
from hostile import HOSTILE
from played import Organisation, billed, record, used
from support import KEY

SPAN = ("--since", "2026-11-01", "--until", "2026-11-20")
DAYS = [f"2026-11-{day:02}" for day in range(1, 20)]
MEMBERS = [
    {"id": f"user_{place}", "type": "user", "name": name, "email": f"{name.lower()}@example.com"}
    for place, name in enumerate(("Ann", "Bob", "Cyd", "Dan", "Eve"))
]
PEOPLE = [
    record("2026-11-03", "ann@example.com", 20733),
    record("2026-11-10", "bob@example.com", 20733),
    record("2026-11-10", "build-ann", 1000, key=True),
    record("2026-11-16", "cyd@example.com", 85249, customer_type="subscription"),
    record("2026-11-16", "dan@example.com", 0, customer_type="subscription"),
]
NAMES = ("ann", "bob", "cyd", "dan", "eve")


def organisation(**facts: Any) -> Organisation:
    """Return an organisation that used one model, and Claude Code."""
    users = {"data": MEMBERS, "has_more": False, "first_id": None, "last_id": None}
    return Organisation(
        now=dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC),
        usage=[used(day, output_tokens=1000) for day in DAYS],
        cost=[billed(day, 50000) for day in DAYS],
        **{"claude_code": PEOPLE, "refused": {"users": (200, users)}, **facts},
    )


def spent(of: Organisation, owners: OwnerMap | None = None) -> Spend:
    """Return the report."""
    with of.client() as client:
        return spend(client, SPAN[1], SPAN[3], owners=owners, compare=False)


@pytest.fixture
def forms(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Give the report of an organisation in every form, by the command."""

    def printed(of: Organisation, *options: str) -> dict[str, str]:
        page = tmp_path / "page.html"
        made = {}
        with of.served() as url:
            where = {"ANTHROPIC_ADMIN_API_KEY": KEY, "ANTHROPIC_BASE_URL": url}
            for form in ("table", "json", "md", "html"):
                form_option = ("--html", str(page)) if form == "html" else ("--format", form)
                args = ("report", *SPAN, "--no-compare", *options, *form_option)
                code, stdout, stderr = run_command(args, where)
                assert code == 0, stderr
                made[form] = page.read_text() if form == "html" else stdout
        return made

    return printed


def words(form: str) -> str:
    """Return what a form says, without its marks."""
    text = re.sub("<style>.*</style>|<script>.*</script>", "", form, flags=re.DOTALL)
    return re.sub(r"[\\\u200b]|<[^>]*>", "", text.replace("</td><td", "</td> <td"))


def test_figures_divide_and_say_who_pays(forms: Callable[..., dict[str, str]]) -> None:
    for form, text in forms(organisation()).items():
        if form == "json":
            continue
        said = words(text)
        assert "4 of 5 seats" in said, form
        assert "estimated on the API, part of the bill" in said, form
        assert "$852.49 estimated on a subscription, no part of the bill" in said, form
        if form == "html":
            for line in (
                "people on the API, part of the bill 2 $414.66 $207.33",
                "people on a subscription, no part of the bill 2 $852.49 $426.24",
                "API key on the API, part of the bill 1 $10.00 $10.00",
            ):
                assert line in said
            continue
        assert (
            "$424.66 estimated on the API, part of the bill: 2 people with $414.66 ($207.33 each) "
            "and 1 API key with $10.00"
        ) in said, form
        assert (
            "$852.49 estimated on a subscription, no part of the bill: 2 people with $852.49"
        ) in said, form
    document = json.loads(forms(organisation())["json"])
    who = document["coding"]["who"]
    assert Decimal(document["coding"]["estimated_api"]) == Decimal("424.66")
    assert [(p["who"], p["customer_type"], p["number"], p["each_usd"]) for p in who["payers"]] == [
        ("people", "api", 2, "207.33"),
        ("people", "subscription", 2, "426.245"),
        ("others", "api", 1, "10"),
    ]
    assert Decimal(who["by_people"]["estimated_cost_usd"]) / 4 == Decimal(
        who["cost_per_person_usd"]
    )


def test_a_part_of_a_week_is_marked(forms: Callable[..., dict[str, str]]) -> None:
    made = {form: words(text) for form, text in forms(organisation()).items()}
    assert "2026-10-26 (1 of 7 days) to 2026-11-16 (4 of 7 days)" in made["table"]
    assert "| 2026-11-16 (4 of 7 days) | 2 | $852.49 |" in made["md"]
    assert "| 2026-11-09 | 1 | $207.33 |" in made["md"]
    assert "4 of 7" in made["html"]
    assert "a week of fewer days is a part of one" in made["html"]
    weeks = json.loads(made["json"])["coding"]["who"]["weeks"]
    assert [(week["days"], week["days_in_period"], week["active"]) for week in weeks] == [
        (1, 7, 0),
        (7, 7, 1),
        (7, 7, 1),
        (4, 7, 2),
    ]


@pytest.mark.parametrize("named", [True, False])
def test_nobody_is_named_if_that_is_not_wanted(
    named: bool, forms: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    owners = tmp_path / "teams.yml"
    owners.write_text('"*@example.com": Search\nbuild-*: Tools\n"eve@*": Nobody\n"gil@*": Gone\n')
    options = ("--map", str(owners), *(() if named else ("--no-people",)))
    for form, text in forms(organisation(), *options).items():
        said = words(text)
        if form != "table":
            assert ("ann@example.com" in said) == (named and form != "md"), form
        for name in NAMES:
            assert named or f"{name}@" not in said.lower(), form
            assert named or f"build-{name}" not in said.lower(), form
        assert named or "gil@" not in said, form
        assert "Search" in said, form
        if form != "json":
            assert "$1,267.15" in said, form
    document = json.loads(forms(organisation(), *options)["json"])
    assert [team["team"] for team in document["coding"]["who"]["teams"]] == [
        "Search",
        "Tools",
    ]
    assert bool(document["coding"]["who"]["people"]) == named


def test_people_stand_in_the_chat_where_there_are_no_teams(
    forms: Callable[..., dict[str, str]],
) -> None:
    assert "| cyd@example.com | 1 | $852.49 |" in words(forms(organisation())["md"])
    assert "@example.com" not in words(forms(organisation(), "--no-people")["md"])


@pytest.mark.parametrize("status", [403, 404, 500])
def test_what_cannot_be_read_is_not_known_and_no_zero(
    status: int, forms: Callable[..., dict[str, str]]
) -> None:
    error = {"type": "error", "error": {"type": "x_error", "message": "Not for you"}}
    for form, text in forms(organisation(refused={"claude_code": (status, error)})).items():
        said = words(text)
        if form == "json":
            assert json.loads(text)["coding"] is None
            continue
        assert "ot known: what Claude Code did could not be read" in said, form
        assert "estimated on" not in said, form
        assert "0 people" not in said, form


def test_seats_that_cannot_be_looked_up_are_not_known(
    forms: Callable[..., dict[str, str]],
) -> None:
    error = {"type": "error", "error": {"type": "x_error", "message": "Not for you"}}
    made = forms(organisation(refused={"users": (403, error)}))
    who = json.loads(made.pop("json"))["coding"]["who"]
    assert (who["active"], who["seats"], who["idle"]) == (4, None, [])
    for form, text in made.items():
        assert "seats" not in words(text), form
        assert "4 people" in words(text), form
    assert "Who has a seat is not known: 403 x_error: Not for you" in words(made["html"])


def test_nobody_at_all_is_a_real_zero(forms: Callable[..., dict[str, str]]) -> None:
    for form, text in forms(organisation(claude_code=[])).items():
        if form != "json":
            assert "0 people, 0 of 5 seats" in words(text), form


def test_names_of_people_and_teams_are_text() -> None:
    hostile = HOSTILE.lower()
    people = [
        record("2026-11-03", hostile, 100),
        record("2026-11-03", HOSTILE, 100, key=True),
        record("2026-11-03", "ann@example.com", 1, customer_type=HOSTILE),
    ]
    owners = OwnerMap.parse(
        json.dumps({"*@*": HOSTILE, "*": {"team": "T", "cost_center": HOSTILE}})
    )
    for mapped in (None, owners):
        result = spent(organisation(claude_code=people), mapped)
        page, chat = html.render(result), markdown.render(result)
        assert page.count("<script>") == 1
        assert "\x1b" not in page
        assert "<script>" not in chat
        assert "\x1b" not in chat
        assert "[x](" not in chat
        for line in chat.splitlines():
            if line.startswith("|"):
                assert line.replace(r"\|", "").count("|") in (3, 4)
