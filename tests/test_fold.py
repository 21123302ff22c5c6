"""Sums, against sums made the slow way: by hand, over fractions, from the raw JSON."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage import InvalidQuery, Report
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE, Query, ToolUse
from hypothesis import given
from hypothesis import strategies as st
from support import DAY, bucket, report_of, usage_result, utc

SAMPLES = Path(__file__).parent / "samples"
FIRST = utc(2026, 1, 28)
SPAN = ("2026-01-28", "2026-02-25")

DAYS = st.integers(0, 27)
MODELS = st.sampled_from(["opus", "sonnet", None])
NAMED = st.sampled_from(["opus", "sonnet"])
WORKSPACES = st.sampled_from(["wrkspc_01", None])
USES = st.lists(
    st.tuples(DAYS, NAMED, WORKSPACES, st.integers(0, 10**15), st.integers(0, 10**6)), max_size=30
)
AMOUNTS = st.from_regex(r"-?[0-9]{1,12}(\.[0-9]{1,12})?([eE][+-]?[0-9])?", fullmatch=True).filter(
    str.isascii
)
LINES = st.lists(st.tuples(DAYS, MODELS, WORKSPACES, AMOUNTS), max_size=30)
CUTS = st.lists(st.integers(1, 27), max_size=4)


def month_of(day: int) -> Any:
    return (FIRST + day * DAY).strftime("%Y-%m")


def week_of(day: int) -> Any:
    year, week, _ = (FIRST + day * DAY).isocalendar()
    return dt.date.fromisocalendar(year, week, 1)


KEYS: dict[tuple[str, ...], Any] = {
    (): lambda use: (),
    ("model",): lambda use: (use[1],),
    ("workspace_id",): lambda use: (use[2],),
    ("workspace_id", "model"): lambda use: (use[2], use[1]),
    ("day",): lambda use: ((FIRST + use[0] * DAY).date(),),
    ("starting_at", "model"): lambda use: (FIRST + use[0] * DAY, use[1]),
    ("week",): lambda use: (week_of(use[0]),),
    ("month",): lambda use: (month_of(use[0]),),
    ("month", "model"): lambda use: (month_of(use[0]), use[1]),
    ("week", "model", "workspace_id"): lambda use: (week_of(use[0]), use[1], use[2]),
}


def buckets(results: list[tuple[int, dict[str, Any]]]) -> list[Any]:
    by_day = defaultdict(list)
    for day, result in results:
        by_day[day].append(result)
    return [bucket(FIRST + day * DAY, by_day[day]) for day in range(28)]


@given(USES, CUTS, st.sampled_from(sorted(KEYS)))
def test_usage_adds_up_however_it_is_grouped_and_cut(
    uses: list[Any], cuts: list[int], dimensions: tuple[str, ...]
) -> None:
    query = USAGE.ask(*SPAN, group_by=["model", "workspace_id"])
    results = [
        (
            day,
            usage_result(
                model=model,
                workspace_id=workspace,
                output_tokens=output,
                cache_creation={
                    "ephemeral_1h_input_tokens": cached,
                    "ephemeral_5m_input_tokens": 2 * cached,
                },
            ),
        )
        for day, model, workspace, output, cached in uses
    ]
    expected: dict[Any, list[int]] = {(): [0] * 4} if not dimensions else {}
    for use in uses:
        sums = expected.setdefault(KEYS[dimensions](use), [0] * 4)
        for place, number in enumerate((use[3], use[4], 2 * use[4], 1)):
            sums[place] += number
    rows = report_of(query, buckets(results), cuts).by(*dimensions)
    found = {
        tuple(getattr(row, name) for name in dimensions): [
            row.output_tokens,
            row.cache_creation_1h_input_tokens,
            row.cache_creation_5m_input_tokens,
            row.uncached_input_tokens,
        ]
        for row in rows
    }
    assert found == expected
    assert len(rows) == len(found)
    for row in rows:
        assert row.web_search_requests == 6 * row.uncached_input_tokens
        assert query.starting_at <= row.starting_at < row.ending_at <= query.ending_at


@given(LINES, CUTS, st.sampled_from(sorted(KEYS)))
def test_cost_adds_up_to_the_last_digit(
    lines: list[Any], cuts: list[int], dimensions: tuple[str, ...]
) -> None:
    query = COST.ask(*SPAN, group_by=["workspace_id", "description"])
    results = [
        (
            day,
            {
                "currency": "USD",
                "amount": amount,
                "model": model,
                "workspace_id": workspace,
                "description": "Tokens",
            },
        )
        for day, model, workspace, amount in lines
    ]
    expected: dict[Any, Fraction] = {(): Fraction()} if not dimensions else {}
    for line in lines:
        key = KEYS[dimensions](line)
        expected[key] = expected.get(key, Fraction()) + Fraction(line[3])
    rows = report_of(query, buckets(results), cuts).by(*dimensions)
    found = {tuple(getattr(row, name) for name in dimensions): row for row in rows}
    assert {key: Fraction(row.amount_cents) for key, row in found.items()} == expected
    assert {key: Fraction(row.amount_usd) * 100 for key, row in found.items()} == expected
    assert all(type(row.amount_cents) is type(row.amount_usd) is Decimal for row in rows)


@given(USES, CUTS)
def test_rows_are_the_same_however_pages_are_cut(uses: list[Any], cuts: list[int]) -> None:
    query = USAGE.ask(*SPAN, group_by="model")
    data = buckets([(use[0], usage_result(model=use[1], output_tokens=use[3])) for use in uses])
    whole, cut = report_of(query, data), report_of(query, data, cuts)
    assert list(whole) == list(cut)
    assert sum(row.total_tokens for row in whole) == cut.totals().total_tokens
    assert [row.starting_at for row in whole] == sorted(row.starting_at for row in whole)


@given(USES)
def test_groups_are_largest_first_and_periods_in_time_order(uses: list[Any]) -> None:
    query = USAGE.ask(*SPAN, group_by=["model", "workspace_id"])
    data = buckets(
        [
            (use[0], usage_result(model=use[1], workspace_id=use[2], output_tokens=use[3]))
            for use in uses
        ]
    )
    report = report_of(query, data)
    sizes = [row.total_tokens for row in report.by("model", "workspace_id")]
    assert sizes == sorted(sizes, reverse=True)
    for period in ("day", "week", "month", "starting_at"):
        order = [(row.starting_at, -row.total_tokens) for row in report.by(period, "model")]
        assert order == sorted(order)


def full(query: Query) -> Report[Any]:
    count = (query.ending_at - query.starting_at) // query.width
    starts = [query.starting_at + number * query.width for number in range(count)]
    return report_of(query, [bucket(s, [usage_result()], query.width) for s in starts])


@pytest.mark.parametrize(
    ("span", "weeks"),
    [
        (("2025-12-28", "2026-01-06"), [("2025-12-28", 1), ("2025-12-29", 7), ("2026-01-05", 1)]),
        (("2026-02-02", "2026-02-09"), [("2026-02-02", 7)]),
        (("2026-02-04", "2026-02-06"), [("2026-02-04", 2)]),
    ],
)
def test_weeks_are_iso_weeks_clipped_to_the_range(span: Any, weeks: list[Any]) -> None:
    rows = full(USAGE.ask(*span)).by("week")
    found = [
        (f"{row.starting_at:%Y-%m-%d}", (row.ending_at - row.starting_at).days) for row in rows
    ]
    assert found == weeks
    assert [row.uncached_input_tokens for row in rows] == [days for _, days in weeks]


@pytest.mark.parametrize(
    ("span", "months"),
    [
        (("2026-01-31", "2026-02-01"), [("2026-01", 1)]),
        (("2024-02-28", "2024-03-02"), [("2024-02", 2), ("2024-03", 1)]),
        (("2025-12-20", "2026-01-03"), [("2025-12", 12), ("2026-01", 2)]),
    ],
)
def test_months_end_where_the_calendar_says(span: Any, months: list[Any]) -> None:
    rows = full(USAGE.ask(*span)).by("month")
    found = [(row.month, (row.ending_at - row.starting_at).days) for row in rows]
    assert found == months
    assert [row.uncached_input_tokens for row in rows] == [days for _, days in months]


def test_hours_add_up_to_days_and_keep_their_own_starts() -> None:
    report = full(USAGE.ask("2026-02-01", "2026-02-04", bucket_width="1h"))
    days = report.by("day")
    assert [(row.day.day, row.uncached_input_tokens) for row in days] == [(1, 24), (2, 24), (3, 24)]
    assert all(row.ending_at - row.starting_at == DAY for row in days)
    hours = report.by("starting_at")
    assert [row.starting_at for row in hours] == [row.starting_at for row in report]
    assert all(row.ending_at - row.starting_at == DAY / 24 for row in hours)


def test_a_part_of_a_day_is_clipped_to_the_range() -> None:
    span = ("2026-02-01T10:00Z", "2026-02-02T03:00Z")
    first, last = full(USAGE.ask(*span, bucket_width="1h")).by("day")
    assert (first.starting_at, first.ending_at) == (utc(2026, 2, 1, 10), utc(2026, 2, 2))
    assert (last.starting_at, last.ending_at) == (utc(2026, 2, 2), utc(2026, 2, 2, 3))


@pytest.mark.parametrize("query", [USAGE.ask(*SPAN, group_by="model"), COST.ask(*SPAN)])
def test_totals_of_nothing_are_a_real_zero(query: Query) -> None:
    report = report_of(query, buckets([]))
    row = report.totals()
    assert (row.starting_at, row.ending_at) == (query.starting_at, query.ending_at)
    assert {getattr(row, name) for name in (*row.MEASURES, *row.DERIVED)} == {0}
    assert report.by() == [row]
    assert report.by("day") == []
    assert list(report) == []


def test_totals_of_a_day_without_claude_code_are_a_real_zero() -> None:
    row = report_of(CLAUDE_CODE.ask("2026-02-01", "2026-02-02"), []).totals()
    assert (row.num_sessions, row.estimated_cost_usd, row.models) == (0, Decimal(0), ())
    assert type(row.estimated_cost_usd) is Decimal


@pytest.mark.parametrize(
    ("query", "dimensions", "says"),
    [
        (USAGE.ask(*SPAN), ("model",), r"add 'model' to group_by \(nothing is grouped by"),
        (
            USAGE.ask(*SPAN, group_by="speed"),
            ("speed", "model"),
            r"add 'model' to group_by \(group_by=\['speed'\]\)",
        ),
        (COST.ask(*SPAN), ("workspace_id",), "add 'workspace_id' to group_by"),
        (COST.ask(*SPAN), ("token_type",), "add 'description' to group_by"),
        (COST.ask(*SPAN), ("api_key_id",), "does not know 'api_key_id'"),
        (USAGE.ask(*SPAN), ("Week",), "did you mean 'week'"),
        (USAGE.ask(*SPAN), ("output_tokens",), "it takes starting_at, api_key_id"),
        (CLAUDE_CODE.ask(*SPAN), ("actr",), "did you mean 'actor'"),
    ],
)
def test_a_dimension_that_was_not_asked_for_is_refused_with_what_to_add(
    query: Query, dimensions: tuple[str, ...], says: str
) -> None:
    with pytest.raises(InvalidQuery, match=says):
        Report(query, lambda: pytest.fail("nothing may be asked")).by(*dimensions)  # type: ignore[arg-type,return-value]


def record(actor: str, models: list[tuple[str, int, Any]], **changes: Any) -> dict[str, Any]:
    (entry,) = json.loads((SAMPLES / "claude_code_docs.json").read_text())["data"]
    entry |= {
        "date": "2026-02-01T00:00:00Z",
        "actor": {"type": "user_actor", "email_address": actor},
        "model_breakdown": [
            {
                "model": model,
                "tokens": {"input": n, "output": n, "cache_read": n, "cache_creation": n},
                "estimated_cost": {"currency": "USD", "amount": amount},
            }
            for model, n, amount in models
        ],
        **changes,
    }
    return dict(entry)


def test_claude_code_groups_keep_their_models_and_tools() -> None:
    tools = {"bash_tool": {"accepted": 3, "rejected": 1}}
    records = [
        record("a", [("opus", 1, 150), ("haiku", 2, "0.5")], tool_actions=tools),
        record("b", [("opus", 10, 5)], terminal_type="vim"),
        record("a", [("opus", 100, 0.25)], terminal_type="vim", tool_actions=tools),
    ]
    report = report_of(CLAUDE_CODE.ask("2026-02-01", "2026-02-02"), records, (2,))
    a, b = report.by("actor")
    assert (a.actor, b.actor) == ("a", "b")
    assert [(use.model, use.input_tokens) for use in a.models] == [("opus", 101), ("haiku", 2)]
    assert [use.estimated_cost_cents for use in a.models] == [Decimal("150.25"), Decimal("0.5")]
    assert a.estimated_cost_usd == Decimal("1.5075")
    assert a.other_tools == (ToolUse(tool="bash_tool", accepted=6, rejected=2),)
    assert a.edit_tool_accepted == 0
    assert a.num_sessions == 2 * b.num_sessions
    assert {row.terminal_type: row.input_tokens for row in report.by("terminal_type")} == {
        "vim": 110,
        records[0]["terminal_type"]: 3,
    }
    (day,) = report.by("date")
    assert (day.date, day.week, day.month) == (
        dt.date(2026, 2, 1),
        dt.date(2026, 1, 26),
        "2026-02",
    )
    assert report.totals().date is None
    assert report.totals().cache_creation_tokens == report.totals().output_tokens == 113


def test_a_person_is_no_key_of_the_same_spelling_and_one_person_in_any_spelling() -> None:
    key = {"type": "api_actor", "api_key_name": "ann@corp.example"}
    shouted = {"type": "api_actor", "api_key_name": "Ann@corp.example"}
    robot = {"type": "robot_actor", "id": "ann@corp.example"}
    spellings = ("Ann@corp.example", "ann@CORP.example ", "ann@corp.example")
    records = [record(name, [("opus", 1, 100)]) for name in spellings]
    records += [record("", [("opus", 1, 1)]) | {"actor": actor} for actor in (key, shouted, robot)]
    report = report_of(CLAUDE_CODE.ask("2026-02-01", "2026-02-02"), records)
    for dimensions in (("actor",), ("week", "actor"), ("actor", "terminal_type")):
        rows = {(row.actor, row.actor_type): row for row in report.by(*dimensions)}
        assert len(rows) == len(report.by(*dimensions)) == 4
        ann = rows["ann@corp.example", "user_actor"]
        assert ann.estimated_cost_usd == 3
        assert ann.num_sessions == 3 * rows["Ann@corp.example", "api_actor"].num_sessions


USED = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.lists(
            st.tuples(
                st.sampled_from(["opus", "sonnet", "haiku"]),
                st.integers(0, 10**12),
                st.decimals(0, 10**6, places=4),
            ),
            max_size=4,
        ),
    ),
    max_size=8,
)


@given(USED, st.sampled_from([(), ("actor",), ("week",)]))
def test_models_split_tokens_and_cost_and_leave_open_what_no_model_did(
    used: list[Any], more: tuple[str, ...]
) -> None:
    records = [
        record(actor, [(model, n, str(cents)) for model, n, cents in models], terminal_type=str(i))
        for i, (actor, models) in enumerate(used)
    ]
    report = report_of(CLAUDE_CODE.ask("2026-02-01", "2026-02-02"), records)
    expected: dict[Any, list[Any]] = {}
    for actor, models in used:
        for model, n, cents in models:
            where = (model, *({"actor": actor, "week": dt.date(2026, 1, 26)}[m] for m in more))
            sums = expected.setdefault(where, [0, Fraction()])
            sums[0] += n
            sums[1] += Fraction(cents) / 100
    rows = report.by("model", *more)
    found = {
        tuple(getattr(row, name) for name in ("model", *more)): [
            row.input_tokens,
            Fraction(row.estimated_cost_usd),
        ]
        for row in rows
    }
    assert found == expected
    assert len(rows) == len(found)
    totals = report.totals()
    assert sum(row.output_tokens for row in rows) == totals.output_tokens
    for row in rows:
        assert [use.model for use in row.models] == [row.model]
        assert {getattr(row, name) for name in row.MEASURES} == {None}
        assert row.accepted is None


def test_null_is_a_group_of_its_own_when_grouped_by_it() -> None:
    query = USAGE.ask("2026-02-01", "2026-02-02", group_by="workspace_id")
    results = [usage_result(workspace_id=None), usage_result(workspace_id="wrkspc_01")]
    rows = report_of(query, [bucket(utc(2026, 2, 1), results)]).by("workspace_id")
    assert {row.workspace_id for row in rows} == {None, "wrkspc_01"}


def test_days_tile_the_range() -> None:
    rows = full(USAGE.ask(*SPAN)).by("day")
    assert rows[0].starting_at == FIRST
    assert all(a.ending_at == b.starting_at for a, b in itertools.pairwise(rows))
