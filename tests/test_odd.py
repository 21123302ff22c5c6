"""Odd inputs, odd answers and odd clocks: each ends in the truth or in one typed error."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from anthropic_usage import (
    AnthropicUsageError,
    ApiError,
    AsyncUsageClient,
    AuthenticationError,
    ConnectionFailed,
    IncompleteReport,
    InvalidQuery,
    MissingExtra,
    Retry,
    UsageClient,
)
from anthropic_usage.credentials import Credentials
from anthropic_usage.engine.flow import Reply, Send, exchange, walk
from anthropic_usage.engine.plan import windows
from anthropic_usage.moments import DAY
from anthropic_usage.reports import CLAUDE_CODE, COST, USAGE
from clock import NOW
from support import (
    KEY,
    MARKER,
    QUICK,
    Answer,
    Asked,
    Loopback,
    bucket,
    drive,
    every_bucket,
    page,
    read,
    report_of,
    usage_result,
    utc,
)

FEB = ("2026-02-01", "2026-02-03")
SAMPLE = Path(__file__).parent / "samples" / "claude_code_docs.json"


def locals_of(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_weeks_cut_at_month_ends_do_not_overlap() -> None:
    query = USAGE.ask("2026-03-20", "2026-04-20")
    data = [bucket(query.starting_at + n * DAY, [usage_result()]) for n in range(31)]
    groups = report_of(query, data).by("week", "month")
    for a, b in itertools.pairwise(groups):
        assert a.ending_at == b.starting_at


@pytest.mark.parametrize("amount", ["1_000", " 12 ", "١", "+5", ".5", "5."])
def test_an_estimate_that_is_no_decimal_string_is_refused(amount: str) -> None:
    query = CLAUDE_CODE.ask("2025-08-08", "2025-08-09")
    body = json.loads(SAMPLE.read_text())
    body["data"][0]["model_breakdown"][0]["estimated_cost"]["amount"] = amount
    with pytest.raises(IncompleteReport):
        query.check(query.decode(json.dumps(body).encode()))


@pytest.mark.parametrize("header", ["date", "retry-after"])
@pytest.mark.parametrize(
    "value", ["Tue, 10 Feb 99999999999999999999 12:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -1400"]
)
def test_an_impossible_date_header_is_ignored(header: str, value: str) -> None:
    query = USAGE.ask(*FEB)
    (window,) = windows(query, NOW)
    data = [bucket(utc(2026, 2, n), []) for n in (1, 2)]
    replies = [Reply(429, {header: value}, b""), Reply(200, {header: value}, page(data))]
    assert len(list(drive(walk(query, window, QUICK, lambda: NOW), replies))) == 1


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"])
@pytest.mark.parametrize("report", ["usage", "claude_code"])
def test_a_moment_that_utc_cannot_hold_is_an_incomplete_report(start: str, report: str) -> None:
    if report == "usage":
        query = USAGE.ask(*FEB)
        data = [{"starting_at": start, "ending_at": start, "results": []}]
    else:
        query = CLAUDE_CODE.ask("2026-02-01", "2026-02-02")
        data = json.loads(SAMPLE.read_text())["data"]
        data[0]["date"] = start
    (window,) = windows(query, NOW)
    with pytest.raises(IncompleteReport):
        list(drive(walk(query, window, QUICK, lambda: NOW), [Reply(200, {}, page(data))]))


@pytest.mark.parametrize("span", [(pd.NaT, "2026-02-03"), ("2026-02-01", pd.NaT)])
def test_not_a_time_is_refused(span: Any) -> None:
    with pytest.raises(InvalidQuery):
        USAGE.ask(*span)


@pytest.mark.parametrize("width", [["1d"], {"1d": 1}, set()])
def test_a_width_of_another_type_is_refused(width: Any) -> None:
    with pytest.raises(InvalidQuery):
        USAGE.ask(*FEB, bucket_width=width)


def test_a_range_at_the_end_of_time_is_one_window_or_refused() -> None:
    query = COST.ask("9999-12-15", "9999-12-20")
    assert len(list(windows(query, NOW))) == 1


@pytest.mark.parametrize("url", ["https://[::1", "https://x:abc"])
def test_a_broken_base_url_is_an_invalid_query(url: str) -> None:
    with pytest.raises(InvalidQuery):
        UsageClient(KEY, base_url=url)


@pytest.mark.parametrize("url", [KEY, "ftp://user:MARKER-that-is-a-password@x.example"])
def test_a_secret_in_the_place_of_the_base_url_is_not_shown(url: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        UsageClient(KEY, base_url=url)
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("version", ["2023\n", "é", "", None, 5])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_wrong_version_is_refused_before_anything_is_sent(
    version: Any, asynchronous: bool
) -> None:
    with Loopback(every_bucket) as server, pytest.raises(InvalidQuery):
        read(
            asynchronous,
            lambda c: c.usage(*FEB).totals(),
            base_url=server.url,
            anthropic_version=version,
        )


@pytest.mark.parametrize(
    "filters", [{"api_key_ids": [f"apikey_01{n:030d}" for n in range(3000)]}, {"models": "\ud800"}]
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_filters_that_no_url_can_hold_are_an_invalid_query(
    filters: Any, asynchronous: bool
) -> None:
    with Loopback(every_bucket) as server, pytest.raises(AnthropicUsageError):
        read(asynchronous, lambda c: c.usage(*FEB, **filters).totals(), base_url=server.url)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"concurrency": 0}, {"max_in_flight_mb": -1}])
def test_wrong_client_options_are_an_invalid_query(options: Any) -> None:
    with pytest.raises(InvalidQuery):
        UsageClient(KEY, **options)


def test_the_repr_of_a_client_that_was_never_made_does_not_fail() -> None:
    assert repr(UsageClient.__new__(UsageClient))


@pytest.mark.parametrize(
    "make", [lambda: UsageClient(), lambda: Credentials.find(), lambda: AsyncUsageClient()]
)
def test_a_bad_key_from_the_environment_is_in_no_frame(make: Any, monkeypatch: Any) -> None:
    for kind in (UsageClient, AsyncUsageClient, Credentials):
        monkeypatch.setattr(kind, "__repr__", object.__repr__)
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", KEY + " x")
    with pytest.raises(AuthenticationError) as caught:
        make()
    assert MARKER not in locals_of(caught.value)


@pytest.mark.parametrize("options", [{"base_url": "ftp://x"}, {"timeout": -1}])
def test_a_key_given_as_an_argument_is_in_no_frame_of_ours(options: Any, monkeypatch: Any) -> None:
    for kind in (UsageClient, AsyncUsageClient, Credentials):
        monkeypatch.setattr(kind, "__repr__", object.__repr__)
    key = KEY
    try:
        UsageClient(key, **options)
    except ValueError as error:
        shown = error
    key = ""
    assert MARKER not in locals_of(shown)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_key_that_the_answer_echoes_is_not_shown(asynchronous: bool) -> None:
    def echo(asked: Asked) -> Answer:
        message = f"invalid x-api-key: {asked.headers['x-api-key']}"
        return Answer(
            401,
            json.dumps({"error": {"type": "authentication_error", "message": message}}).encode(),
        )

    with Loopback(echo) as server, pytest.raises(AuthenticationError) as caught:
        read(asynchronous, lambda c: c.usage(*FEB).totals(), base_url=server.url)
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_drop_says_why(asynchronous: bool) -> None:
    with Loopback(lambda asked: Answer(cut=0)) as server, pytest.raises(ConnectionFailed) as caught:
        read(asynchronous, lambda c: c.usage(*FEB).totals(), base_url=server.url)
    assert "()" not in str(caught.value), str(caught.value)


def test_an_empty_reason_still_says_what_happened() -> None:
    from anthropic_usage.engine.transport import Settings, _failure

    said = _failure(httpx.ReadError(""), Settings(credentials=Credentials(KEY)))
    assert "ReadError" in said.reason


@pytest.mark.parametrize("module", ["pandas", "polars"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_missing_frame_library_is_named_before_anything_is_asked(
    module: str, asynchronous: bool, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with Loopback(every_bucket) as server:
        with pytest.raises(MissingExtra, match=module):
            read(
                asynchronous,
                lambda c: getattr(c.usage(*FEB), f"to_{module}")(),
                base_url=server.url,
            )
        assert server.asked == []


def test_records_that_differ_in_what_is_unknown_are_two() -> None:
    query = CLAUDE_CODE.ask("2025-08-08", "2025-08-09")
    (record,) = json.loads(SAMPLE.read_text())["data"]
    record["date"] = "2025-08-08T00:00:00Z"
    data = [{**record, "ide": "vim"}, {**record, "ide": "emacs"}]
    assert len(list(report_of(query, data))) == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_slow_reader_does_not_use_up_the_budget_for_retries(asynchronous: bool) -> None:
    refused = []

    def script(asked: Asked) -> Answer:
        if asked.params["starting_at"].startswith("2026-02-04") and not refused:
            refused.append(asked)
            return Answer(529, b"{}", {"retry-after": "0"})
        return every_bucket(asked)

    options: dict[str, Any] = {
        "retry": Retry(attempts=5, seconds=0.3, base=0.001),
        "concurrency": 2,
    }

    def call(client: Any) -> Any:
        report = client.usage("2026-02-01", "2026-02-05", bucket_width="1m")
        if not asynchronous:
            count = 0
            for _ in report.parts():
                count += 1
                time.sleep(0.5)
            return count

        async def go() -> int:
            count = 0
            async for _ in report.parts():
                count += 1
                await asyncio.sleep(0.5)
            return count

        return go()

    with Loopback(script) as server:
        assert read(asynchronous, call, base_url=server.url, **options) == 4
    assert refused


@pytest.mark.parametrize("asynchronous", [False, True])
def test_loopback_is_never_asked_through_a_proxy(asynchronous: bool, monkeypatch: Any) -> None:
    with Loopback(every_bucket) as server, Loopback(lambda asked: Answer(502)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert read(asynchronous, lambda c: c.usage(*FEB).totals(), base_url=server.url)
        assert proxy.asked == []


def test_time_outs_are_counted_not_attempts() -> None:
    """A first 504 after a 429 is no reason to halve: it gets its second chance."""
    query = USAGE.ask("2026-02-01", "2026-02-05")
    (window,) = windows(query, NOW)
    flow = walk(query, window, QUICK, lambda: NOW)
    assert isinstance(next(flow), Send)
    flow.send(Reply(429, {"retry-after": "0"}, b""))
    flow.send(None)
    step = flow.send(Reply(504, {}, b""))
    assert not isinstance(step, Send), "asked for less at the first 504"


def test_rows_are_hashable_alike() -> None:
    query = CLAUDE_CODE.ask("2025-08-08", "2025-08-09")
    (record,) = json.loads(SAMPLE.read_text())["data"]
    record["date"] = "2025-08-08T00:00:00Z"
    assert len(set(report_of(query, [record]))) == 1


def test_a_collected_report_is_readable() -> None:
    query = USAGE.ask("2026-02-01", "2026-02-02")
    broken = usage_result()
    del broken["output_tokens"]
    with pytest.raises(IncompleteReport):
        report_of(query, [bucket(utc(2026, 2, 1), [broken])]).collect()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_empty_refusal_labelled_gzip_is_still_a_401(asynchronous: bool) -> None:
    with (
        Loopback(lambda asked: Answer(401, b"", {"content-encoding": "gzip"})) as server,
        pytest.raises(AuthenticationError),
    ):
        read(asynchronous, lambda c: c.usage(*FEB).totals(), base_url=server.url)


def test_an_error_keeps_the_message_whatever_its_type_is() -> None:
    flow = exchange({}, Retry(attempts=1))
    next(flow)
    with pytest.raises(ApiError, match="No money left"):
        flow.send(
            Reply(402, {}, b'{"error": {"type": 5, "message": "No money left"}, "request_id": 7}')
        )


async def test_a_cancelled_request_shows_no_key() -> None:
    with Loopback(lambda asked: Answer(seconds=0.5)) as server:
        async with AsyncUsageClient(KEY, base_url=server.url) as client:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.1):
                    await client.usage(*FEB).totals()
            shown = locals_of(caught.value)
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.1):
                    await client.organization()
            shown += locals_of(caught.value)
    lines = [line for line in shown.splitlines() if MARKER in line]
    assert not lines, lines


def test_api_key_status_is_checked_before_sending() -> None:
    with Loopback(
        lambda asked: Answer(
            body=b'{"data": [], "has_more": false, "first_id": null, "last_id": null}'
        )
    ) as server:
        with pytest.raises(InvalidQuery):
            read(False, lambda c: c.api_keys(status="bogus"), base_url=server.url)
        assert server.asked == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_key_warning_points_at_the_caller(asynchronous: bool) -> None:
    with pytest.warns(UserWarning, match="does not start with") as caught:
        (AsyncUsageClient if asynchronous else UsageClient)("sk-ant-api03-x")
    assert caught[0].filename == __file__


def test_no_grouping_may_be_said_as_none() -> None:
    assert USAGE.ask(*FEB, group_by=None).group_by == ()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_clock_months_slow_does_not_shorten_a_report(
    asynchronous: bool, concurrency: int
) -> None:
    """This machine's clock leaves out windows; the API's own says that they exist."""

    def existing(asked: Asked) -> Answer:
        answer = every_bucket(asked)
        data = json.loads(answer.body)["data"]
        data = [one for one in data if one["ending_at"] <= "2026-04-15T00:00:00Z"]
        return Answer(body=page(data), headers={"date": "Wed, 15 Apr 2026 12:00:00 GMT"})

    with Loopback(existing) as server:
        days = read(
            asynchronous,
            lambda c: c.usage("2026-01-01", "2026-05-01").by("day"),
            base_url=server.url,
            clock=lambda: utc(2026, 1, 5),
            concurrency=concurrency,
        )
    assert len(days) == 31 + 28 + 31 + 14
    assert len(server.asked) == 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_that_comes_in_drops_is_a_time_out(asynchronous: bool) -> None:
    """Each drop comes in time, the whole never would."""
    with (
        Loopback(lambda asked: Answer(body=b" " * 1000, drop=0.05)) as server,
        pytest.raises(ConnectionFailed, match="no answer"),
    ):
        read(
            asynchronous,
            lambda c: c.usage(*FEB).totals(),
            base_url=server.url,
            timeout=0.1,
            retry=Retry(attempts=1),
        )
