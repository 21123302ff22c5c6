"""The walk, driven by hand: retries, waits, errors, and the proof that nothing is missing."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
from anthropic_usage import (
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    IncompleteReport,
    IncompleteReportWarning,
    PermissionDenied,
    RateLimited,
    Retry,
)
from anthropic_usage.engine import flow
from anthropic_usage.engine.flow import Emit, Failure, Reply, Send, Wait, exchange, walk
from anthropic_usage.engine.plan import windows
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE, Query

NOW = dt.datetime(2026, 2, 10, 12, tzinfo=dt.UTC)
DATE = "Tue, 10 Feb 2026 12:00:00 GMT"
DAY = dt.timedelta(days=1)
MEASURES = {
    "uncached_input_tokens": 1,
    "cache_creation": {"ephemeral_1h_input_tokens": 2, "ephemeral_5m_input_tokens": 3},
    "cache_read_input_tokens": 4,
    "output_tokens": 5,
    "server_tool_use": {"web_search_requests": 6},
}


def retry(**options: Any) -> Retry:
    return Retry(**{"random": lambda: 1.0, "monotonic": lambda: 0.0, **options})


def reply(status: int = 200, body: Any = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    text = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return Reply(status, {"date": DATE, **named}, text)


def error(status: int, kind: str = "some_error", **headers: str) -> Reply:
    envelope = {"type": "error", "error": {"type": kind, "message": "No."}, "request_id": "req_1"}
    return reply(status, envelope, **headers)


def run(flow: Any, replies: Iterable[Any]) -> list[Any]:
    """Drive a flow with prepared replies; returns the steps that are not sends."""
    answers, steps = iter(replies), []
    step = next(flow)
    while True:
        answer = None
        if isinstance(step, Send):
            answer = next(answers)
        else:
            steps.append(step)
        try:
            step = flow.send(answer)
        except StopIteration as stop:
            return [*steps, stop.value] if stop.value is not None else steps


def waits(*replies: Any, **options: Any) -> list[float]:
    steps = run(exchange({}, retry(**options), lambda: NOW), [*replies, reply()])
    return [step.seconds for step in steps if isinstance(step, Wait)]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert waits(error(status), error(status)) == [0.5, 1.0]


@pytest.mark.parametrize("status", [300, 302, 400, 401, 402, 403, 404, 413, 422])
def test_what_will_not_pass_is_an_error_at_once(status: int) -> None:
    with pytest.raises(ApiError) as caught:
        waits(error(status))
    assert (caught.value.status, caught.value.type) == (status, "some_error")
    assert (caught.value.message, caught.value.request_id) == ("No.", "req_1")


def test_a_dropped_connection_is_tried_again() -> None:
    assert waits(Failure("it broke"), Failure("it broke")) == [0.5, 1.0]


def test_the_api_has_the_last_word_on_retrying() -> None:
    assert waits(error(400, x_should_retry="true")) == [0.5]
    with pytest.raises(ApiError):
        waits(error(529, x_should_retry="false"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.25"}, 0.25),
        ({"retry_after": "7", "retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "Tue, 10 Feb 2026 12:00:09 GMT"}, 9.0),
        ({"retry_after": "Tue, 10 Feb 2026 11:00:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, 0.5),
        ({"retry_after": "-1"}, 0.5),
        ({"retry_after": "nan"}, 0.5),
        ({"retry_after": "inf"}, 0.5),
        ({"anthropic_ratelimit_requests_reset": "2026-02-10T12:00:03Z"}, 3.0),
        ({"anthropic_ratelimit_requests_reset": "2026-02-10T11:59:00Z"}, 0.5),
        ({"anthropic_ratelimit_requests_reset": "whenever"}, 0.5),
        ({}, 0.5),
    ],
)
def test_a_wait_is_as_long_as_the_answer_asks(headers: dict[str, str], seconds: float) -> None:
    assert waits(error(429, **headers)) == [seconds]


def test_backoff_doubles_up_to_a_cap_and_is_jittered() -> None:
    failures = [Failure("it broke")] * 7
    assert waits(*failures) == [0.5, 1, 2, 4, 8, 16, 30]
    assert waits(*failures, random=lambda: 0.5) == [0.25, 0.5, 1, 2, 4, 8, 15]


def test_the_budget_ends_trying() -> None:
    with pytest.raises(ApiError, match="529 some_error: No.*tried 3 times"):
        waits(*[error(529)] * 9, attempts=3)
    with pytest.raises(RateLimited, match="the next try makes sense in 400 s"):
        waits(error(429, retry_after="400"), seconds=300)
    clock = iter([0.0, 1.0, 40.0, 90.0])
    with pytest.raises(ConnectionFailed, match="it broke.*tried 3 times"):
        waits(*[Failure("it broke")] * 9, seconds=60, monotonic=lambda: next(clock))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (403, PermissionDenied), (429, RateLimited)]
)
def test_errors_have_types_and_survive_pickling(status: int, kind: type[ApiError]) -> None:
    with pytest.raises(kind) as caught:
        waits(error(status), attempts=1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is kind
    assert (again.status, again.request_id, str(again)) == (status, "req_1", str(caught.value))


@pytest.mark.parametrize(
    "body", [b"<html>Bad\ngateway</html>", b"", b"[]", b'"no"', b"{}", b'{"error": "no"}', b"\xff"]
)
def test_an_error_page_of_any_kind_is_still_an_api_error(body: bytes) -> None:
    with pytest.raises(ApiError, match="502: an answer without an explanation") as caught:
        waits(Reply(502, {"request-id": "req_h"}, body), attempts=1)
    assert caught.value.request_id == "req_h"


def test_messages_from_outside_are_one_clean_line() -> None:
    envelope = {"error": {"type": "t", "message": "a\nb\x1b[31mred\x00" + "x" * 9999}}
    with pytest.raises(ApiError) as caught:
        waits(reply(400, envelope))
    assert str(caught.value).startswith("400 t: a b [31mred ")
    assert len(str(caught.value)) < 700
    assert str(caught.value).isprintable()


def bucket(day: int, results: Any = None, width: dt.timedelta = DAY) -> dict[str, Any]:
    start = dt.datetime(2026, 2, 1, tzinfo=dt.UTC) + (day - 1) * DAY
    return {
        "starting_at": start.isoformat(),
        "ending_at": (start + width).isoformat(),
        "results": [MEASURES] if results is None else results,
    }


def page(*days: int, more: str | None = None) -> Reply:
    data = [bucket(day) for day in days]
    return reply(200, {"data": data, "has_more": more is not None, "next_page": more})


def usage(start: str = "2026-02-01", end: str = "2026-02-06", **options: Any) -> Query:
    return USAGE.ask(start, end, **options)


def pages(query: Query, *replies: Any) -> list[Any]:
    (window,) = windows(query, NOW)
    steps = run(walk(query, window, retry(), lambda: NOW), replies)
    return [step.value for step in steps if isinstance(step, Emit)]


def test_pages_are_emitted_as_they_follow_on() -> None:
    first, second = pages(usage(), page(1, 2, 3, more="p2"), page(4, 5))
    assert (first.begins.day, first.ends.day) == (1, 4)
    assert (second.begins.day, second.ends.day) == (4, 6)
    assert bytes(first.body) == page(1, 2, 3, more="p2").body


BROKEN: dict[str, list[Reply]] = {
    "no bucket from 2026-02-01T00:00:00Z to 2026-02-02": [page(2, 3, 4, 5)],
    "no bucket from 2026-02-03T00:00:00Z to 2026-02-04": [page(1, 2, 4, 5)],
    "no bucket from 2026-02-05T00:00:00Z to 2026-02-06": [page(1, 2, 3, 4)],
    "no bucket from 2026-02-01T00:00:00Z to 2026-02-06": [page()],
    "no bucket from 2026-02-03T00:00:00Z to 2026-02-05": [page(1, 2, more="p2"), page(5)],
    "2026-02-02T00:00:00Z came twice": [page(1, 2, 2, 3, 4, 5)],
    "2026-02-01T00:00:00Z came twice or out of order": [page(1, 2, more="p2"), page(1, 2)],
    "no bucket from 2026-02-02T00:00:00Z to 2026-02-03": [page(1, 3, 2, 4, 5)],
    "lies outside the range": [page(1, 2, 3, 4, 5, 6)],
    "gives no next_page": [reply(200, {"data": [bucket(1)], "has_more": True, "next_page": None})],
    "gives no next_page ": [reply(200, {"data": [bucket(1)], "has_more": True, "next_page": ""})],
    "repeats the cursor": [page(1, more="p2"), page(2, more="p2")],
    "a page without data": [page(1, more="p2"), page(more="p3")],
    "is not 1 day": [
        reply(200, {"data": [bucket(1, width=DAY / 24)], "has_more": False, "next_page": None})
    ],
    "shape changed.*has_more": [reply(200, {"data": []})],
    "shape changed.*data": [reply(200, {"has_more": False, "next_page": None})],
    "not readable": [reply(200, b"<html>hello</html>")],
    "not readable ": [reply(200, b"")],
}


@pytest.mark.parametrize("says", BROKEN)
def test_a_report_that_is_not_whole_is_refused(says: str) -> None:
    with pytest.raises(IncompleteReport, match=says.strip()):
        pages(usage(), *BROKEN[says])


def test_a_hole_may_be_let_pass_with_a_warning() -> None:
    with pytest.warns(IncompleteReportWarning, match="no bucket from 2026-02-03"):
        (part,) = pages(usage(strict=False), page(1, 2, 4, 5))
    assert part.ends.day == 6
    with pytest.raises(IncompleteReport, match="came twice"):
        pages(usage(strict=False), page(1, 1, 2, 3, 4, 5))


@pytest.mark.parametrize("days", [(9, 10), (9,), ()])
def test_buckets_that_do_not_exist_yet_are_no_hole(days: tuple[int, ...]) -> None:
    # It is noon of the 10th by the API's clock; the 9th ended twelve hours ago.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        query = usage("2026-02-09", "2026-02-12")
        if 9 in days:
            (part,) = pages(query, page(*days))
            assert part.ends.day == 10 + (10 in days)
        else:
            with pytest.raises(IncompleteReport, match="no bucket from 2026-02-09"):
                pages(query, page(*days))


def test_the_api_s_clock_decides_not_this_machine_s() -> None:
    query = usage("2026-02-09", "2026-02-11")
    (window,) = windows(query, NOW)
    for wrong in (NOW + DAY / 3, NOW - 20 * DAY):
        (emitted,) = run(walk(query, window, retry(), lambda wrong=wrong: wrong), [page(9)])
        assert emitted.value.now == NOW


@pytest.mark.parametrize("headers", [{}, {"age": "60"}])
def test_an_answer_of_long_ago_proves_nothing_of_what_is_not_there(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache's answer, or a clock that is wrong: half a report must not pass for a whole one."""
    monkeypatch.setattr(flow, "STALE", dt.timedelta(hours=12))
    query = usage("2026-02-09", "2026-02-11")
    (window,) = windows(query, NOW)
    old = page(9)
    stale = Reply(200, {**old.headers, **headers}, old.body)
    for late in (DAY, 300 * DAY):
        walked = walk(query, window, retry(), lambda late=late: NOW + late)
        with pytest.raises(IncompleteReport, match="long before this machine's time"):
            run(walked, [stale])
    whole = walk(query, window, retry(), lambda: NOW + 300 * DAY)
    assert len(run(whole, [page(9, 10)])) == 1  # what is all there needs no clock


def test_the_age_of_an_answer_is_added_to_its_date() -> None:
    query = usage("2026-02-09", "2026-02-11")
    (window,) = windows(query, NOW)
    aged = Reply(200, {"date": DATE, "age": str(3 * 86_400)}, page(9).body)
    with pytest.raises(IncompleteReport, match="no bucket from 2026-02-10"):
        run(walk(query, window, retry(), lambda: NOW + 3 * DAY), [aged])


NOTHING_CLOSED = "Invalid date range: ending date must be after starting date"


def refusal() -> Reply:
    envelope = {"error": {"type": "invalid_request_error", "message": NOTHING_CLOSED}}
    return reply(400, envelope, x_should_retry="false")


def test_a_cost_window_without_a_closed_day_is_empty() -> None:
    assert pages(COST.ask("2026-02-10", "2026-02-11"), refusal()) == []


def test_the_same_refusal_of_a_past_window_is_an_error() -> None:
    with pytest.raises(ApiError, match="ending date must be after"):
        pages(COST.ask("2026-02-01", "2026-02-03"), refusal())


@pytest.mark.parametrize("status", [413, 504])
def test_a_window_that_is_too_much_is_halved(status: int) -> None:
    refused = [error(status)] * (1 if status == 413 else 2)
    query = usage("2026-02-01", "2026-02-05")
    (window,) = windows(query, NOW)
    flow = walk(query, window, retry(), lambda: NOW)
    parts = [s.value for s in run(flow, [*refused, page(1, 2), page(3, 4)]) if isinstance(s, Emit)]
    assert [(part.begins.day, part.ends.day) for part in parts] == [(1, 3), (3, 5)]


def test_what_is_left_of_a_window_is_halved() -> None:
    replies = [page(1, 2, more="p2"), error(413), page(3), page(4, 5)]
    parts = pages(usage(), *replies)
    assert [(part.begins.day, part.ends.day) for part in parts] == [(1, 3), (3, 4), (4, 6)]


def test_one_bucket_cannot_be_halved() -> None:
    with pytest.raises(ApiError, match="413"):
        pages(usage("2026-02-01", "2026-02-02"), error(413))


def record(day: str = "2026-02-01", email: str = "a@x.example") -> dict[str, Any]:
    return {
        "date": f"{day}T00:00:00Z",
        "actor": {"type": "user_actor", "email_address": email},
        "core_metrics": {
            "num_sessions": 1,
            "lines_of_code": {"added": 1, "removed": 0},
            "commits_by_claude_code": 0,
            "pull_requests_by_claude_code": 0,
        },
        "tool_actions": {},
        "model_breakdown": [],
        "organization_id": "o",
        "customer_type": "api",
        "terminal_type": "vscode",
    }


def records(*data: Any, more: str | None = None) -> Reply:
    return reply(200, {"data": list(data), "has_more": more is not None, "next_page": more})


def test_claude_code_days_are_proven_too() -> None:
    query = CLAUDE_CODE.ask("2026-02-01", "2026-02-02")
    assert len(pages(query, records())) == 1
    (first, second) = pages(
        query, records(record(), more="p2"), records(record(email="b@x.example"))
    )
    assert (first.ends.day, second.ends.day) == (1, 2)
    with pytest.raises(IncompleteReport, match="asked for 2026-02-01, got a record of 2026-02-02"):
        pages(query, records(record("2026-02-02")))
    turned = dict(reversed(record().items()))
    with pytest.raises(IncompleteReport, match="a page of 2026-02-01 came twice"):
        pages(query, records(record(), more="p2"), records(turned))
    with pytest.raises(IncompleteReport, match="repeats the cursor"):
        pages(query, records(record(), more="p"), records(record(email="b@x.example"), more="p"))
