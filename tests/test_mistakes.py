"""Mistakes that tools like this one have shipped; each must be impossible here."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from anthropic_usage import AnthropicUsageError, ApiError, IncompleteReport, InvalidQuery
from anthropic_usage.reports import COST, USAGE
from support import (
    DAY,
    Answer,
    Asked,
    Loopback,
    bucket,
    every_bucket,
    page,
    read,
    report_of,
    usage_result,
    utc,
)

FEBRUARY = ("2026-02-01", "2026-03-01")
BOTH = pytest.mark.parametrize("asynchronous", [False, True])


def bill(*amounts: str) -> Any:
    query = COST.ask("2026-02-01", "2026-02-02")
    lines = [{"currency": "USD", "amount": amount} for amount in amounts]
    return report_of(query, [bucket(utc(2026, 2, 1), lines)])


def test_cents_are_not_read_as_dollars() -> None:
    assert bill("123.45").totals().amount_usd == Decimal("1.2345")


def test_money_is_not_rounded_row_by_row() -> None:
    amounts = [f"0.000{n:04d}" for n in range(1, 5000)]
    assert Fraction(bill(*amounts).totals().amount_cents) == sum(map(Fraction, amounts))


def test_a_line_below_a_cent_is_not_erased() -> None:
    assert bill("0.4").totals().amount_usd == Decimal("0.004")
    assert [row.amount_usd for row in bill("0.4", "0.0001")] == [
        Decimal("0.004"),
        Decimal("0.000001"),
    ]


def test_money_is_not_a_float_anywhere() -> None:
    row = bill("0.1", "0.2").totals()
    assert row.amount_cents == Decimal("0.3")
    assert {type(row.amount_cents), type(row.amount_usd)} == {Decimal}


def test_nested_cache_tokens_are_not_read_as_zero() -> None:
    query = USAGE.ask("2026-02-01", "2026-02-02")
    cache = {"ephemeral_5m_input_tokens": 5_366_278, "ephemeral_1h_input_tokens": 7}
    row = report_of(query, [bucket(utc(2026, 2, 1), [usage_result(cache_creation=cache)])]).totals()
    assert row.cache_creation_5m_input_tokens == 5_366_278
    assert row.cache_creation_1h_input_tokens == 7
    flat = {**usage_result(), "cache_creation_input_tokens": 9}
    del flat["cache_creation"]
    with pytest.raises(IncompleteReport, match="cache_creation"):
        report_of(query, [bucket(utc(2026, 2, 1), [flat])]).totals()


def test_grouping_is_not_lost_for_want_of_brackets() -> None:
    with Loopback(every_bucket) as server:
        read(
            False,
            lambda c: c.usage(*FEBRUARY, group_by=["model", "speed"]).totals(),
            base_url=server.url,
        )
    assert "group_by%5B%5D=model&group_by%5B%5D=speed" in server.asked[0].query
    assert "group_by=" not in server.asked[0].query


def test_six_dimensions_are_refused_here_not_by_the_api() -> None:
    names = ["model", "speed", "api_key_id", "workspace_id", "account_id", "service_tier"]
    with Loopback(every_bucket) as server:
        with pytest.raises(InvalidQuery, match="at most 5"):
            read(False, lambda c: c.usage(*FEBRUARY, group_by=names), base_url=server.url)
        assert server.asked == []


@BOTH
def test_the_first_page_is_not_taken_for_the_report(asynchronous: bool) -> None:
    with Loopback(every_bucket) as server:
        row = read(
            asynchronous, lambda c: c.usage(*FEBRUARY, limit=7).totals(), base_url=server.url
        )
    assert row.uncached_input_tokens == 28
    assert len(server.asked) == 4


@BOTH
def test_no_number_of_pages_is_too_many(asynchronous: bool) -> None:
    with Loopback(every_bucket) as server:
        row = read(
            asynchronous, lambda c: c.usage(*FEBRUARY, limit=2).totals(), base_url=server.url
        )
    assert row.uncached_input_tokens == 28
    assert len(server.asked) == 14


@BOTH
@pytest.mark.parametrize(
    "headers",
    [{}, {"anthropic-ratelimit-requests-reset": "2020-01-01T00:00:00Z"}, {"retry-after": "0"}],
)
def test_one_429_does_not_end_the_run(asynchronous: bool, headers: dict[str, str]) -> None:
    answers = iter([Answer(429, b"", headers)])
    with Loopback(lambda asked: next(answers, None) or every_bucket(asked)) as server:
        row = read(asynchronous, lambda c: c.usage(*FEBRUARY).totals(), base_url=server.url)
    assert row.uncached_input_tokens == 28
    assert len(server.asked) == 2


WHOLE = [bucket(utc(2026, 2, 1) + n * DAY, [usage_result()]) for n in range(28)]
PARTIAL: dict[str, bytes] = {
    "more, but no cursor": json.dumps(
        {"data": WHOLE, "has_more": True, "next_page": None}
    ).encode(),
    "the same cursor for ever": page(WHOLE[:1], "page_1"),
    "another shape": json.dumps({"results": WHOLE}).encode(),
    "no JSON": b"<html>Sign in</html>",
    "nothing": b"",
    "null": b"null",
    "an error with a 200": b'{"type": "error", "error": {"type": "t", "message": "No."}}',
    "days missing": page(WHOLE[:-1]),
    "no days": page([]),
}


@BOTH
@pytest.mark.parametrize("body", PARTIAL)
def test_a_partial_answer_is_not_shown_as_a_total(body: str, asynchronous: bool) -> None:
    with (
        Loopback(lambda asked: Answer(body=PARTIAL[body])) as server,
        pytest.raises(IncompleteReport),
    ):
        read(asynchronous, lambda c: c.usage(*FEBRUARY).totals(), base_url=server.url)


@pytest.mark.parametrize("end", ["2026-02-28T23:59:59Z", "2026-02-28T23:59:59.999999Z"])
def test_the_last_second_of_a_day_does_not_lose_the_day(end: str) -> None:
    for report in ("usage", "cost"):
        with Loopback(every_bucket) as server:
            rows = read(
                False,
                lambda c, report=report: list(getattr(c, report)("2026-02-01", end)),
                base_url=server.url,
            )
        assert rows[-1].starting_at == utc(2026, 2, 28)
        assert server.asked[0].params["ending_at"] == "2026-03-01T00:00:00Z"


@BOTH
def test_a_day_that_is_not_over_is_explained_not_billed_as_zero(asynchronous: bool) -> None:
    message = "Invalid date range: ending date must be after starting date"
    body = {"error": {"type": "invalid_request_error", "message": message}}
    refused = Answer(400, json.dumps(body).encode(), {"x-should-retry": "false"})
    today = dt.datetime.now(dt.UTC).date()
    with (
        Loopback(lambda asked: refused) as server,
        pytest.raises(InvalidQuery, match="has closed yet.*completed UTC days only"),
    ):
        read(asynchronous, lambda c: c.cost(today).totals(), base_url=server.url)
    assert len(server.asked) == 1


@BOTH
def test_a_cursor_lives_and_dies_with_its_query(asynchronous: bool) -> None:
    seen: dict[str, str] = {}

    def bound(asked: Asked) -> Answer:
        """Give out cursors that are worth something to their own query only."""
        params = asked.params
        cursor = params.pop("page", "page_0")
        query = json.dumps(params, sort_keys=True)
        if seen.setdefault(params["starting_at"], query) != query:
            return Answer(400)
        assert cursor == "page_0" or params["starting_at"] in seen
        return every_bucket(asked)

    with Loopback(bound) as server:
        row = read(
            asynchronous,
            lambda c: c.usage("2026-02-01", "2026-04-20", limit=10).totals(),
            base_url=server.url,
        )
    assert row.uncached_input_tokens == 78
    assert len(seen) == 3


def test_a_year_does_not_take_a_request_a_day() -> None:
    with Loopback(every_bucket) as server:
        row = read(
            False, lambda c: c.usage("2025-01-01", "2025-11-22").totals(), base_url=server.url
        )
    assert row.uncached_input_tokens == 325
    assert len(server.asked) == 11


@BOTH
def test_names_are_not_lost_after_the_first_page(asynchronous: bool) -> None:
    def workspaces(asked: Asked) -> Answer:
        first = int(asked.params.get("after_id", "w_0").removeprefix("w_")) + 1
        data = [
            {
                "id": f"w_{n}",
                "type": "workspace",
                "name": f"W{n}",
                "created_at": "2026-01-01T00:00:00Z",
                "archived_at": "2026-02-01T00:00:00Z" if n % 2 else None,
                "display_color": "#000000",
            }
            for n in range(first, first + 100)
        ]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
        return Answer(body=json.dumps({"data": data, "has_more": first < 201, **ends}).encode())

    with Loopback(workspaces) as server:
        found = read(asynchronous, lambda c: c.workspaces(), base_url=server.url)
    assert len(found) == 300
    assert {asked.params["include_archived"] for asked in server.asked} == {"true"}


@BOTH
def test_claude_code_is_asked_for_days_not_for_timestamps(asynchronous: bool) -> None:
    def strict(asked: Asked) -> Answer:
        return Answer(body=page([])) if len(asked.params["starting_at"]) == 10 else Answer(400)

    with Loopback(strict) as server:
        row = read(
            asynchronous,
            lambda c: c.claude_code("2026-02-01T12:00:00Z", utc(2026, 2, 4, 1)).totals(),
            base_url=server.url,
        )
    assert row.num_sessions == 0
    days = sorted(asked.params["starting_at"] for asked in server.asked)
    assert days == ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"]


@BOTH
@pytest.mark.parametrize("report", ["usage", "cost", "claude_code"])
def test_a_refusal_is_not_an_empty_report(report: str, asynchronous: bool) -> None:
    with Loopback(lambda asked: Answer(400)) as server, pytest.raises(AnthropicUsageError):
        read(
            asynchronous,
            lambda c: getattr(c, report)("2026-02-01", "2026-02-03").totals(),
            base_url=server.url,
        )


def test_null_is_the_default_workspace_only_where_it_was_asked_for() -> None:
    span = ("2026-02-01", "2026-02-02")
    data = [bucket(utc(2026, 2, 1), [usage_result(workspace_id=None)])]
    (row,) = report_of(USAGE.ask(*span, group_by="workspace_id"), data).by("workspace_id")
    assert row.workspace_id is None
    assert row.total_tokens > 0
    asked = USAGE.ask(*span, group_by="workspace_id")
    assert "workspace_id" in asked.columns()
    assert "workspace_id" not in USAGE.ask(*span).columns()
    with pytest.raises(InvalidQuery, match="add 'workspace_id' to group_by"):
        report_of(USAGE.ask(*span), data).by("workspace_id")


@BOTH
def test_the_words_of_an_error_are_not_dropped(asynchronous: bool) -> None:
    message = "Cannot specify more than 5 group_by[] dimensions."
    body = {"error": {"type": "invalid_request_error", "message": message}, "request_id": "req_9"}
    with (
        Loopback(lambda asked: Answer(400, json.dumps(body).encode())) as server,
        pytest.raises(ApiError) as caught,
    ):
        read(asynchronous, lambda c: c.usage(*FEBRUARY).totals(), base_url=server.url)
    for part in ("400", "invalid_request_error", message, "req_9"):
        assert part in str(caught.value)


def test_a_slow_clock_here_does_not_excuse_a_missing_day() -> None:
    """To that clock the 7th is not over yet; the API's own `Date` says that it is."""
    with (
        Loopback(lambda asked: Answer(body=page(WHOLE[:6]))) as server,
        pytest.raises(IncompleteReport, match="no bucket from 2026-02-07"),
    ):
        read(
            False,
            lambda c: c.usage("2026-02-01", "2026-02-08").totals(),
            base_url=server.url,
            clock=lambda: utc(2026, 2, 7),
        )
