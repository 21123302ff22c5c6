"""Whatever happens to a whole answer on its way is noticed, or changes nothing."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import json
from typing import Any

import pytest
from anthropic_usage import (
    ApiError,
    IncompleteReport,
    IncompleteReportWarning,
    InvalidQuery,
    Report,
)
from anthropic_usage.engine.flow import Reply, walk
from anthropic_usage.engine.plan import windows
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE, Part, Query
from hypothesis import given
from hypothesis import strategies as st
from support import DAY, QUICK, WIDTHS, bucket, drive, page, pages, report_of, usage_result, utc

START = utc(2026, 2, 1)
LATER = utc(2026, 6, 1)


def query_of(buckets: int, width: str = "1d", **options: Any) -> Query:
    return USAGE.ask(START, START + buckets * WIDTHS[width], bucket_width=width, **options)


def data_of(query: Query) -> list[Any]:
    count = (query.ending_at - query.starting_at) // query.width
    return [
        bucket(
            query.starting_at + number * query.width,
            [usage_result(output_tokens=2**number)],
            query.width,
        )
        for number in range(count)
    ]


@given(st.sampled_from(["1d", "1h", "1m"]), st.integers(1, 31), st.lists(st.integers(1, 30)))
def test_a_whole_answer_is_taken_however_it_is_cut(width: str, n: int, cuts: list[int]) -> None:
    query = query_of(n, width)
    report = report_of(query, data_of(query), cuts, LATER)
    assert report.totals().output_tokens == 2**n - 1
    assert [row.starting_at for row in report] == [START + i * query.width for i in range(n)]
    assert report.settled_until == query.ending_at


@given(st.data())
def test_no_damage_to_the_order_of_buckets_goes_unnoticed(data: st.DataObject) -> None:
    """Any other sequence of the same buckets than the right one is refused."""
    query = query_of(data.draw(st.integers(1, 8)))
    whole = data_of(query)
    damaged = data.draw(st.lists(st.sampled_from(whole), max_size=10).filter(lambda d: d != whole))
    cuts = data.draw(st.lists(st.integers(1, 9), max_size=3))
    with pytest.raises(IncompleteReport):
        report_of(query, damaged, cuts, LATER).totals()


@given(st.integers(1, 20), st.data())
def test_a_moved_edge_of_any_bucket_is_noticed(n: int, data: st.DataObject) -> None:
    query = query_of(n)
    damaged = copy.deepcopy(data_of(query))
    entry = data.draw(st.sampled_from(damaged))
    edge = data.draw(st.sampled_from(["starting_at", "ending_at"]))
    shift = data.draw(st.integers(-48, 48).filter(bool)) * dt.timedelta(minutes=60)
    entry[edge] = (dt.datetime.fromisoformat(entry[edge]) + shift).isoformat()
    with pytest.raises(IncompleteReport):
        report_of(query, damaged, now=LATER).totals()


@pytest.mark.parametrize("missing", range(5))
def test_a_missing_bucket_is_named_wherever_it_is(missing: int) -> None:
    query = query_of(5)
    data = data_of(query)
    del data[missing]
    gone = START + missing * DAY
    says = f"no bucket from {gone:%Y-%m-%d}T00:00:00Z to {gone + DAY:%Y-%m-%d}T00:00:00Z"
    with pytest.raises(IncompleteReport, match=says):
        report_of(query, data, now=LATER).totals()
    with pytest.warns(IncompleteReportWarning, match=says) as caught:
        lenient = report_of(query_of(5, strict=False), data, now=LATER).totals()
    assert len(caught) == 1
    assert lenient.output_tokens == 31 - 2**missing


@pytest.mark.parametrize("damage", ["duplicate", "outside", "before", "width"])
def test_what_is_no_hole_is_refused_even_when_holes_may_pass(damage: str) -> None:
    query = query_of(3, strict=False)
    data = data_of(query)
    {
        "duplicate": lambda: data.insert(1, data[0]),
        "outside": lambda: data.append(bucket(query.ending_at)),
        "before": lambda: data.insert(0, bucket(START - DAY)),
        "width": lambda: data[1].update(ending_at="2026-02-02T12:00:00Z"),
    }[damage]()
    with pytest.raises(IncompleteReport):
        report_of(query, data, now=LATER).totals()


NOON = utc(2026, 2, 10, 12)


@pytest.mark.parametrize(
    ("ends", "last", "settled"),
    [
        (utc(2026, 2, 8), utc(2026, 2, 8), utc(2026, 2, 8)),
        (utc(2026, 2, 10), utc(2026, 2, 10), utc(2026, 2, 10)),
        (utc(2026, 2, 11), utc(2026, 2, 10), utc(2026, 2, 10)),
        (utc(2026, 2, 11), utc(2026, 2, 11), NOON - dt.timedelta(hours=1)),
        (utc(2026, 2, 25), utc(2026, 2, 10), utc(2026, 2, 10)),
    ],
)
def test_settled_until_is_how_far_nothing_can_change(
    ends: dt.datetime, last: dt.datetime, settled: dt.datetime
) -> None:
    query = USAGE.ask(START, ends)
    data = [bucket(START + n * DAY, [usage_result()]) for n in range((last - START).days)]
    report = report_of(query, data, now=NOON)
    assert report.settled_until is None
    report.totals()
    assert report.settled_until == settled
    assert report.collect().settled_until == settled


@pytest.mark.parametrize(("hour", "whole"), [(0, True), (1, False), (12, False)])
def test_a_day_may_be_missing_only_while_it_is_new(hour: int, whole: bool) -> None:
    """The 9th may be missing for an hour after its end; from then on it is a hole."""
    query = USAGE.ask(START, utc(2026, 2, 10))
    data = [bucket(START + n * DAY) for n in range(8)]
    report = report_of(query, data, now=utc(2026, 2, 10, hour))
    if whole:
        assert report.totals().total_tokens == 0
    else:
        with pytest.raises(IncompleteReport, match="no bucket from 2026-02-09"):
            report.totals()


def cost_report(answers: list[list[Reply]], query: Query, now: dt.datetime) -> Report[Any]:
    tiles = list(windows(query, now))
    assert len(tiles) == len(answers)

    def source() -> Any:
        for tile, replies in zip(tiles, answers, strict=True):
            yield from drive(walk(query, tile, QUICK, lambda: now), replies)

    return Report(query, source)


NOTHING_CLOSED = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "Invalid date range: ending date must be after starting date",
    },
}
REFUSED = Reply(400, {"x-should-retry": "false"}, json.dumps(NOTHING_CLOSED).encode())


def days(first: dt.datetime, count: int) -> list[Any]:
    line = {"currency": "USD", "amount": "100"}
    return [bucket(first + n * DAY, [line]) for n in range(count)]


def test_a_cost_range_that_begins_today_is_a_clear_sentence() -> None:
    now = utc(2026, 3, 1, 9)
    query = COST.ask("2026-03-01", now)
    with pytest.raises(InvalidQuery, match="no day from 2026-03-01 on has closed yet") as caught:
        cost_report([[REFUSED]], query, now).totals()
    assert "2026-03-02T00:00:00Z" in str(caught.value)


def test_a_later_cost_window_without_a_closed_day_is_simply_the_end() -> None:
    now = utc(2026, 2, 1, 9)
    query = COST.ask("2026-01-01", "2026-02-02")
    report = cost_report([pages(days(utc(2026, 1, 1), 31)), [REFUSED]], query, now)
    assert report.totals().amount_usd == 31
    assert report.settled_until == utc(2026, 2, 1)


def test_a_refusal_in_the_middle_of_a_cost_range_is_an_error() -> None:
    now = utc(2026, 4, 1, 9)
    query = COST.ask("2026-01-01", "2026-02-02")
    report = cost_report([[REFUSED], pages(days(utc(2026, 2, 1), 1))], query, now)
    with pytest.raises(ApiError, match="ending date must be after"):
        report.totals()


def test_windows_must_join_up() -> None:
    """A first window that ends early is fine by itself, but not when a later one has data."""
    now = utc(2026, 2, 1, 0, 30)
    query = COST.ask("2026-01-01", "2026-02-02")
    short = pages(days(utc(2026, 1, 1), 30))
    assert cost_report([short, pages([])], query, now).totals().amount_usd == 30
    report = cost_report([short, pages(days(utc(2026, 2, 1), 1))], query, now)
    with pytest.raises(IncompleteReport, match="no bucket from 2026-01-31"):
        report.totals()


def test_another_400_is_never_an_empty_report() -> None:
    body = json.dumps({"error": {"type": "invalid_request_error", "message": "Bad."}}).encode()
    now = utc(2026, 3, 1, 9)
    for query in (COST.ask("2026-03-01", now), USAGE.ask("2026-03-01", now)):
        with pytest.raises(ApiError, match="400 invalid_request_error: Bad"):
            cost_report([[Reply(400, {}, body)]], query, now).totals()
    with pytest.raises(ApiError, match="ending date"):
        cost_report([[REFUSED]], USAGE.ask("2026-03-01", now), now).totals()


def record(**changes: Any) -> dict[str, Any]:
    return {
        "date": "2026-02-01T00:00:00Z",
        "actor": {"type": "user_actor", "email_address": "a@x.example"},
        "core_metrics": {
            "num_sessions": 1,
            "lines_of_code": {"added": 1, "removed": 0},
            "commits_by_claude_code": 0,
            "pull_requests_by_claude_code": 0,
        },
        "tool_actions": {},
        "model_breakdown": [],
        "terminal_type": "vscode",
        **changes,
    }


def code(*records: Any, cuts: tuple[int, ...] = ()) -> Report[Any]:
    return report_of(CLAUDE_CODE.ask("2026-02-01", "2026-02-02"), records, cuts, LATER)


@pytest.mark.parametrize(
    "changes",
    [
        {"terminal_type": "tmux"},
        {"customer_type": "subscription"},
        {"subscription_type": "team"},
        {"is_remote": True},
        {"actor": {"type": "api_actor", "api_key_name": "a@x.example"}},
    ],
)
def test_an_actor_can_have_several_records_a_day(changes: dict[str, Any]) -> None:
    report = code(record(), record(**changes), cuts=(1,))
    assert report.totals().num_sessions == 2


def test_two_api_keys_of_one_name_may_have_equal_records() -> None:
    key = {"type": "api_actor", "api_key_name": "ci"}
    assert code(record(actor=key), record(actor=key)).totals().num_sessions == 2
    assert code(*[record(actor=key)] * 3, cuts=(2,)).totals().num_sessions == 3


@pytest.mark.parametrize("cuts", [(), (1,)])
def test_a_persons_record_that_comes_again_is_refused(cuts: tuple[int, ...]) -> None:
    """Whatever the order of its keys, in it and deeper down; an address is one person's."""
    first, between = record(), record(terminal_type="tmux")
    deeper = {**first, "core_metrics": dict(reversed(first["core_metrics"].items()))}
    for again in (first, dict(reversed(first.items())), deeper):
        with pytest.raises(IncompleteReport, match="a record of a person .* came twice"):
            code(first, between, again, cuts=cuts).totals()
    assert code(first, {**first, "new_field": 1}, cuts=cuts).totals().num_sessions == 2


def test_a_page_of_records_that_comes_again_is_refused() -> None:
    first, second = record(), record(terminal_type="tmux")
    turned = dict(reversed(first.items()))
    for again in ([first, second], [second, turned]):
        with pytest.raises(IncompleteReport, match="a page of 2026-02-01 came twice"):
            code(first, second, *again, cuts=(2,)).totals()


@pytest.mark.parametrize(
    "day", ["2026-01-31T23:59:59Z", "2026-02-02T00:00:00Z", "2026-02-01T23:30:00-01:00"]
)
def test_a_record_of_another_day_is_refused(day: str) -> None:
    with pytest.raises(IncompleteReport, match="asked for 2026-02-01, got a record of"):
        code(record(date=day)).totals()


@pytest.mark.parametrize("report", ["usage", "cost", "claude_code"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"has_more": True, "next_page": None}, "gives no next_page"),
        ({"has_more": True, "next_page": ""}, "gives no next_page"),
        ({"data": [], "has_more": True, "next_page": "p"}, "a page without data"),
        ({"has_more": None}, "shape changed"),
        ({"data": None}, "shape changed"),
        ({"next_page": 7}, "shape changed"),
    ],
)
def test_a_broken_cursor_is_refused_in_every_report(
    report: str, body: dict[str, Any], says: str
) -> None:
    query: Query = {
        "usage": USAGE.ask("2026-02-01", "2026-02-02"),
        "cost": COST.ask("2026-02-01", "2026-02-02"),
        "claude_code": CLAUDE_CODE.ask("2026-02-01", "2026-02-02"),
    }[report]
    data = [record()] if report == "claude_code" else [bucket(START)]
    whole = {"data": data, "has_more": False, "next_page": None, **body}
    (window,) = windows(query, LATER)
    flow = walk(query, window, QUICK, lambda: LATER)
    with pytest.raises(IncompleteReport, match=says):
        list(drive(flow, [Reply(200, {}, json.dumps(whole).encode())]))


def test_a_cursor_that_comes_back_later_is_refused() -> None:
    query = query_of(4)
    data = data_of(query)
    (window,) = windows(query, LATER)
    cursors = itertools.chain("aba", [None])
    replies = [
        Reply(200, {}, page([entry], cursor)) for entry, cursor in zip(data, cursors, strict=True)
    ]
    with pytest.raises(IncompleteReport, match="repeats the cursor"):
        list(drive(walk(query, window, QUICK, lambda: LATER), replies))


def test_the_part_behind_an_error_is_not_handed_out() -> None:
    """What was proven streams; what is broken never does."""
    query = query_of(4)
    data = data_of(query)
    parts: list[Part] = []
    broken = report_of(query, [data[0], data[1], data[3]], (1,), LATER)
    with pytest.raises(IncompleteReport):
        parts.extend(broken.parts())
    assert [part.ends for part in parts] == [START + DAY]
