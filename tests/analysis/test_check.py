"""What `check` tells, and when: at a period's end, of jumps, of keys, once and not again."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import InvalidQuery, UsageClient
from anthropic_usage.analysis.alerts import Alert, Memory
from anthropic_usage.analysis.budgets import Budget, Budgets, Checked, check
from played import Organisation, billed, used
from support import DAY

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
TODAY = NOW.date()
OFF: dict[str, Any] = {"jump_factor": None, "cache_drop": None}


def days(first: str, count: int) -> list[dt.date]:
    start = dt.date.fromisoformat(first)
    return [start + step * DAY for step in range(count)]


def bills(first: str, dollars: Sequence[float], **facts: Any) -> list[dict[str, Any]]:
    """Return a line a day, from a day on."""
    return [
        billed(str(day), round(amount * 100), **facts)
        for day, amount in zip(days(first, len(dollars)), dollars, strict=True)
        if amount
    ]


def organisation(*cost: list[dict[str, Any]], **facts: Any) -> Organisation:
    return Organisation(now=NOW, cost=[line for lines in cost for line in lines], **facts)


def told(found: Checked) -> list[tuple[str, str]]:
    return [(alert.kind, alert.subject) for alert in found.alerts]


def budget(amount: float, **facts: Any) -> Budgets:
    options = {"name": "all", "on_forecast": False, **facts}
    return Budgets(budgets=(Budget(amount=Decimal(str(amount)), **options),), **OFF)


def once(client: UsageClient, budgets: Budgets, today: str) -> Checked:
    return check(client, budgets, today=dt.date.fromisoformat(today))


def replay(
    client: UsageClient, budgets: Budgets, memory: Memory, runs: Sequence[dt.date]
) -> Iterator[tuple[dt.date, Alert, bool]]:
    """Check on each day of `runs`; gives each alert that is told, and whether it is an end."""
    for today in runs:
        memory = Memory.read(memory.path)
        found = check(
            client,
            budgets,
            today=today,
            unjudged_from=memory.judged_before,
            begun=memory.begun,
        )
        news, over = memory.news(found.alerts, found.over)
        memory.keep(found.billed_until)
        yield from ((today, alert, False) for alert in news)
        yield from ((today, alert, True) for alert in over)


# The end of a period


@pytest.mark.parametrize(
    ("period", "last", "next_day"),
    [
        ("month", "2026-10-31", "2026-11-01"),
        ("month", "2026-09-30", "2026-10-01"),
        ("week", "2026-11-01", "2026-11-02"),
        ("week", "2026-11-15", "2026-11-16"),
        ("day", "2026-11-17", "2026-11-18"),
    ],
)
def test_the_bill_of_a_last_day_alerts_the_next_morning(
    period: str, last: str, next_day: str
) -> None:
    lines = bills("2026-07-01", [1] * 140) + bills(last, [5000])
    with organisation(lines).client() as client:
        assert once(client, budget(4000, period=period), last).alerts == ()
        (alert,) = once(client, budget(4000, period=period), next_day).alerts
    assert (alert.kind, alert.severity) == ("budget", "critical")
    assert alert.day == dt.date.fromisoformat(last)
    assert alert.amount is not None
    assert alert.threshold == 4000 <= alert.amount


@pytest.mark.parametrize("late", [1, 2])
def test_a_last_day_whose_bill_is_late_alerts_when_it_comes(late: int, tmp_path: Path) -> None:
    first = dt.date(2026, 10, 1)
    lines = bills("2026-07-01", [10] * 122)
    memory = Memory(tmp_path / "state.json")
    seen = []
    for step in range(30, 36):
        today = first + step * DAY
        now = dt.datetime.combine(today, dt.time(6), dt.UTC)
        there = [line for line in lines if line["day"] < str(today)]
        if today >= dt.date(2026, 11, 1 + late):
            there += bills("2026-10-31", [5000]) + bills("2026-11-01", [10] * (today.day - 1))
        else:
            there = [line for line in there if line["day"] < "2026-10-31"]
        with Organisation(now=now, cost=there).client() as client:
            seen += list(replay(client, budget(4000), memory, [today]))
    assert [(today, alert.id) for today, alert, over in seen if not over] == [
        (dt.date(2026, 11, 1 + late), "budget:month:2026-10-01:all:4000")
    ]


def test_missed_runs_are_made_up_for(tmp_path: Path) -> None:
    amounts = [20.0] * 100
    amounts[91] = 900  # 2026-10-01 + 9: the tenth of November
    lines = bills("2026-08-11", amounts)
    budgets = Budgets(
        budgets=(Budget(name="a day", amount=Decimal(500), period="day"),), cache_drop=None
    )
    state = Memory(tmp_path / "state.json")
    with organisation(lines).client() as client:
        runs = [dt.date(2026, 11, 8), dt.date(2026, 11, 15)]
        seen = [(a.kind, a.day) for _, a, over in replay(client, budgets, state, runs) if not over]
        assert once(client, budgets, "2026-11-15").alerts == ()
    day = dt.date(2026, 11, 10)
    assert sorted(seen) == [("budget", day), ("jump", day)]


# Once, again when it is worse, and its end


def test_a_budget_is_told_once_at_each_step_and_at_its_end(tmp_path: Path) -> None:
    lines = bills("2026-07-01", [10.0] * 147)
    limits = budget(100, warn_at=(80, 100))
    runs = days("2026-10-01", 34)
    with organisation(lines).client() as client:
        seen = list(replay(client, limits, Memory(tmp_path / "s.json"), runs))
    october = [(day, a.threshold, over) for day, a, over in seen if "2026-10-01" in a.id]
    assert october == [
        (dt.date(2026, 10, 9), 80, False),
        (dt.date(2026, 10, 11), 100, False),
        (dt.date(2026, 10, 16), 100, False),  # 150 of 100 dollars
        (dt.date(2026, 10, 21), 100, False),
        (dt.date(2026, 10, 26), 100, False),
        (dt.date(2026, 10, 31), 100, False),
        (dt.date(2026, 11, 1), 100, True),
    ]
    (_, end, _) = seen[-1] if "2026-10-01" in seen[-1][1].id else seen[-2]
    assert "is over" in end.message


def test_a_projection_is_told_once_and_ends_once(tmp_path: Path) -> None:
    amounts = [10.0] * 130 + [10.0] * 3 + [40.0] * 3 + [2.0] * 14
    lines = bills("2026-06-24", amounts)  # November begins at the 131st
    limits = budget(305, on_forecast=True)
    with organisation(lines).client() as client:
        runs = days("2026-11-02", 18)
        seen = list(replay(client, limits, Memory(tmp_path / "s.json"), runs))
    kinds = [(alert.kind, over) for _, alert, over in seen]
    assert kinds.count(("forecast", True)) == 1
    assert kinds.index(("forecast", False)) < kinds.index(("forecast", True))
    amounts_told = [alert.amount for _, alert, over in seen if not over]
    for one, other in itertools.pairwise(amounts_told):
        assert one is not None
        assert other is not None
        assert other >= one * Decimal("1.25")


def test_a_step_is_told_once_and_ends_once(tmp_path: Path) -> None:
    amounts = [50.0] * 60 + [180.0] * 40
    lines = bills("2026-08-01", amounts)
    budgets = Budgets(cache_drop=None)
    with organisation(lines).client() as client:
        runs = days("2026-09-20", 50)
        seen = list(replay(client, budgets, Memory(tmp_path / "s.json"), runs))
    jump, end = seen
    assert (jump[0], jump[1].kind, jump[1].subject) == (
        dt.date(2026, 10, 1),
        "jump",
        "everything",
    )
    assert set(jump[1].causes) == {"workspace wrkspc_1", "model claude-opus-4-8"}
    assert (end[0], end[2]) == (dt.date(2026, 10, 15), True)
    assert "usual now" in end[1].message


def test_a_lone_day_is_a_jump_and_over_the_next(tmp_path: Path) -> None:
    amounts = [50.0] * 60 + [200.0] + [50.0] * 30
    lines = bills("2026-08-01", amounts)
    with organisation(lines).client() as client:
        runs = days("2026-09-25", 20)
        seen = list(replay(client, Budgets(cache_drop=None), Memory(tmp_path / "s.json"), runs))
    assert [(day.day, alert.kind, over) for day, alert, over in seen] == [
        (1, "jump", False),
        (2, "jump", True),
    ]
    (alert, _) = (alert for _, alert, _ in seen)
    assert (alert.day, alert.amount, alert.unit) == (dt.date(2026, 9, 30), 200, "USD")
    assert alert.threshold is not None
    assert alert.threshold <= 200


def test_a_state_that_is_none_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for text in ("", "[]", "{}", '{"version": 2}', '{"version": 1, "told": 3}', "\udcff"):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(InvalidQuery, match=r"state\.json"):
            Memory.read(path)
    assert Memory.read(tmp_path / "none.json").judged_before is None


# Jumps


def test_what_is_new_is_told_once_with_its_size() -> None:
    old = bills("2026-07-01", [100.0] * 147)
    added = bills("2026-11-02", [9.0] * 20, workspace_id="wrkspc_2", model="claude-sonnet-5")
    seen = []
    with organisation(old, added).client() as client:
        for today in days("2026-10-28", 28):
            seen += [(today, a) for a in check(client, Budgets(), today=today).alerts]
    ((day, alert),) = seen
    # The floor of 25 dollars is reached on the third day.
    assert (day, alert.kind, alert.amount) == (dt.date(2026, 11, 5), "new", 27)
    assert alert.subject == "workspace wrkspc_2"
    assert "model claude-sonnet-5" in alert.causes


@pytest.mark.parametrize("age", range(1, 40, 3))
def test_a_young_organisation_is_new_and_nothing_else(age: int) -> None:
    start = TODAY - age * DAY
    lines = bills(str(start), [60.0] * age)
    seen = []
    with organisation(lines).client() as client:
        for step in range(age + 1):
            today = start + step * DAY
            seen += check(client, Budgets(cache_drop=None), today=today).alerts
    assert [alert.kind for alert in seen] == ["new"]


def test_days_before_what_is_known_are_no_zeros() -> None:
    lines = bills("2026-07-01", [100.0] * 147)
    with organisation(lines).client() as client:
        for known in range(1, 40):
            since = dt.date(2026, 10, 12)
            found = check(client, Budgets(), today=since + known * DAY, since=since)
            assert found.alerts == ()
            assert found.unjudged == ()


def test_a_second_cause_is_told_beside_the_first() -> None:
    calm = bills("2026-07-01", [100.0] * 147)
    first = bills("2026-07-01", [100.0] * 120 + [400.0] * 27, workspace_id="wrkspc_2")
    second = bills("2026-07-01", [100.0] * 123 + [500.0] * 24, workspace_id="wrkspc_3")
    for line in second:
        line["model"] = "claude-sonnet-5"
    seen = []
    with organisation(calm, first, second).client() as client:
        for today in days("2026-10-25", 30):
            seen += [(a.day, a) for a in check(client, Budgets(), today=today).alerts]
    assert [day for day, _ in seen] == [dt.date(2026, 10, 29), dt.date(2026, 11, 1)]
    assert "workspace wrkspc_2" in (seen[0][1].subject, *seen[0][1].causes)
    assert "workspace wrkspc_3" in (seen[1][1].subject, *seen[1][1].causes)


# Keys and models


def keys_of(day: str, **tokens: int) -> list[dict[str, Any]]:
    return [used(day, api_key_id=key, output_tokens=count) for key, count in tokens.items()]


def test_a_key_is_judged_by_what_the_bill_charges() -> None:
    span = [str(day) for day in days("2026-11-01", 24)]
    usage = [use for day in span for use in keys_of(day, a=1_000_000, b=3_000_000)]
    # 100.00 a day at the list; 70.00 are charged.
    lines = bills("2026-11-01", [70.0] * 24)
    limits = budget(500, subject="api_key", value="a")
    with organisation(lines, usage=usage).client() as client:
        found = check(client, limits, today=TODAY)
        tight = check(client, budget(400, subject="api_key", value="a"), today=TODAY)
    (state,) = found.states
    assert (state.spent, state.spent_low, state.spent_high) == (420, 420, 420)
    assert found.alerts == ()
    assert told(tight) == [("budget", "all")]


def test_a_model_without_a_price_is_no_silence() -> None:
    span = [str(day) for day in days("2026-11-01", 24)]
    usage = []
    lines = bills("2026-11-01", [10.0] * 24)
    for day in span:
        usage += keys_of(day, a=400_000)
        usage.append(used(day, "claude-unheard-of-9", api_key_id="a", output_tokens=1_000))
        usage.append(used(day, "claude-unheard-of-9", api_key_id="b", output_tokens=3_000))
    lines += bills("2026-11-01", [40.0] * 24, model="claude-unheard-of-9")
    with organisation(lines, usage=usage).client() as client:
        found = check(client, budget(400, subject="api_key", value="a"), today=TODAY)
    (state,) = found.states
    assert state.spent == 24 * (10 + 10)
    assert told(found) == [("budget", "all")]
    (note,) = (note for note in found.notes if "no list price" in note)
    assert "24,000 tokens" in note
    assert "claude-unheard-of-9" in note


def test_a_band_of_prices_is_an_interval() -> None:
    """One line for use below and above 100k tokens, whose prices differ: the keys share it."""
    usage, lines = [], bills("2026-11-01", [12.0] * 24, model="claude-haiku-5-5")
    for line in lines:
        line["context_window"] = None
    for day in days("2026-11-01", 24):
        for key, kind in (("a", "output_tokens"), ("b", "uncached_input_tokens")):
            usage.append(used(str(day), "claude-haiku-5-5", api_key_id=key, **{kind: 1_000_000}))
    for line in lines:
        line["token_type"] = None
    with organisation(lines, usage=usage).client() as client:
        found = check(client, budget(10**6, subject="api_key", value="a"), today=TODAY)
    (state,) = found.states
    assert state.spent_low < state.spent < state.spent_high < 24 * 12


def test_a_model_goes_by_each_of_its_names() -> None:
    lines = bills("2026-11-01", [10.0] * 24, model="claude-haiku-4-5-20251001")
    with organisation(lines).client() as client:
        for name in ("claude-haiku-4-5", "claude-haiku-4-5-20251001"):
            (state,) = check(client, budget(300, subject="model", value=name), today=TODAY).states
            assert state.spent == 240
        with pytest.raises(InvalidQuery, match="claude-haiku-4-5"):
            check(client, budget(300, subject="model", value="claude-haiku-45"), today=TODAY)


def test_a_refused_usage_costs_its_own_budgets_only() -> None:
    lines = bills("2026-11-01", [10.0] * 24)
    refused = {"usage": (403, {"type": "error", "error": {"type": "x", "message": "no"}})}
    both = Budgets(
        budgets=(
            Budget(name="all", amount=Decimal(100)),
            Budget(name="key", amount=Decimal(100), subject="api_key", value="a"),
        )
    )
    with organisation(lines, refused=refused).client() as client:
        found = check(client, both, today=TODAY)
    assert ("budget", "all") in told(found)
    assert [state.budget.name for state in found.states] == ["all"]
    assert any("'key' was not judged" in sentence for sentence in found.unjudged)
    assert any("cache rate was not judged" in sentence for sentence in found.unjudged)


def test_the_callers_decimal_context_changes_nothing() -> None:
    lines = bills("2026-09-01", [1234.567] * 85)
    limits = Budgets(budgets=(Budget(name="all", amount=Decimal(28_000)),))
    with organisation(lines).client() as client:
        expected = check(client, limits, today=TODAY)
        with decimal.localcontext() as context:
            context.prec = 3
            assert check(client, limits, today=TODAY) == expected


# The command


FILE = "budgets: [{name: all, amount_usd: 205, forecast: false}]\njump: off\ncache_drop: off\n"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Any]:
    """Run `check` on 10 dollars a day; 205 are passed by the bill of the 21st."""
    from cassettes import run_command

    (tmp_path / "budgets.yml").write_text(FILE)
    lines = bills("2026-07-01", [10.0] * 147)
    with organisation(lines).served() as url:

        def run(*args: str) -> tuple[int, str, str]:
            environment = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin01-x"}
            asked = ("check", "--budget", str(tmp_path / "budgets.yml"), *args)
            return run_command(asked, environment)

        yield run


def test_the_command_tells_once_and_is_silent_then(shell: Any, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state.json"))
    for form in (("--slack",), ("--quiet",), ("--quiet", "--json")):
        (tmp_path / "state.json").unlink(missing_ok=True)
        assert shell("--today", "2026-11-21", *state, *form)[:2] == (0, "")
        code, out, _ = shell("--today", "2026-11-22", *state, *form)
        assert code == 3
        assert "210.00" in out or '"210"' in out
        assert shell("--today", "2026-11-22", *state, *form)[:2] == (0, "")
        assert shell("--today", "2026-11-23", *state, *form)[:2] == (0, "")
    assert shell("--today", "2026-11-23", *state)[0] == 0
    assert shell("--today", "2026-11-23", "--no-state")[0] == 3
    assert shell("--today", "2026-11-23")[0] == 3


def test_an_alert_is_numbers_for_programs(shell: Any) -> None:
    code, out, _ = shell("--today", "2026-11-22", "--json")
    document = json.loads(out)
    (alert,) = document["alerts"]
    assert code == 3
    assert alert["message"]
    facts = {name: value for name, value in alert.items() if name != "message"}
    assert facts == {
        "kind": "budget",
        "subject": "all",
        "id": "budget:month:2026-11-01:all:205",
        "day": "2026-11-21",
        "threshold": "205",
        "amount": "210",
        "unit": "USD",
        "severity": "critical",
        "causes": [],
    }
    # Exclusive under `_before`, inclusive in words.
    assert document["billed_before"] == document["billed_until"] == "2026-11-22"
    assert "billed up to and with 2026-11-21" in document["notes"]


def test_a_broken_state_is_a_wrong_question(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    code, out, err = shell("--state", str(tmp_path / "state.json"))
    assert (code, out) == (2, "")
    assert "state.json" in err
    assert shell("--state", str(tmp_path / "no" / "state.json"))[0] == 2
    assert shell("--state", str(tmp_path / "s.json"), "--no-state")[0] == 2


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    """Run `check` on a lake of eleven days, which begins within a month."""
    from anthropic_usage.cli.track import main as tracker
    from cassettes import run_command

    root = tmp_path / "there" / "lake"
    root.parent.mkdir()
    key = {"ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin01-x"}
    lines = bills("2026-07-01", [100.0] * 147)
    with organisation(lines).served() as url:
        span = ("--since", "2026-11-03", "--until", "2026-11-14", "--datalake-root", str(root))
        code, _, err = run_command(span, {"ANTHROPIC_BASE_URL": url, **key}, tracker)
        assert code == 0, err

    def run(limit: int, *args: str) -> tuple[int, str, str]:
        path = tmp_path / "budgets.yml"
        path.write_text(f"budgets: [{{name: all, amount_usd: {limit}, forecast: false}}]\n")
        return run_command(
            ("check", "--budget", str(path), "--from-lake", str(root), *args, "--json"), {}
        )

    return run


def test_a_lake_has_its_state_beside_it(lake: Any, tmp_path: Path) -> None:
    assert lake(900, "--today", "2026-11-12", "--no-state")[0] == 3
    folder = tmp_path / "there"
    assert [path.name for path in folder.iterdir()] == ["lake"]
    assert lake(900, "--today", "2026-11-12")[0] == 3
    assert sorted(path.name for path in folder.iterdir()) == ["lake", "lake.check.json"]
    # What is not known of the month cannot be judged again and again in silence.
    code, out, err = lake(900, "--today", "2026-11-13")
    assert (code, json.loads(out)["alerts"]) == (1, [])
    assert "from 2026-11-01 on is not known" in err


def test_days_before_a_lake_are_no_zeros(lake: Any) -> None:
    code, out, _ = lake(10_000, "--today", "2026-11-14", "--no-state")
    document = json.loads(out)
    assert (code, document["alerts"]) == (1, [])
    assert document["unjudged"]
