"""Real sockets on 127.0.0.1: both clients, and what they do when the other side misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import pickle
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic_usage import (
    AnthropicUsageError,
    ApiError,
    AsyncUsageClient,
    AuthenticationError,
    ConnectionFailed,
    IncompleteReport,
    RateLimited,
    Retry,
)
from anthropic_usage.credentials import Credentials
from anthropic_usage.engine.flow import Wait
from anthropic_usage.reports import Part
from support import (
    KEY,
    MARKER,
    Answer,
    Asked,
    Loopback,
    every_bucket,
    page,
    read,
    utc,
)

SPAN = ("2026-02-01", "2026-02-04")
BOTH = pytest.mark.parametrize("asynchronous", [False, True])


def problem(status: int, kind: str = "some_error", **headers: str) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": "No."}, "request_id": "req_1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(body).encode(), named)


def totals(client: Any) -> Any:
    return client.usage(*SPAN).totals()


@BOTH
@pytest.mark.parametrize(
    "first",
    [
        problem(429, retry_after="0"),
        problem(429, retry_after_ms="1"),
        problem(529),
        problem(500),
        problem(409),
        problem(418, x_should_retry="true"),
        Answer(502, b"<html>Bad gateway</html>"),
        Answer(cut=0),
        Answer(body=b'{"data": [', cut=5),
        Answer(body=b"not gzip at all", headers={"content-encoding": "gzip"}),
    ],
)
def test_what_passes_is_tried_again_over_real_sockets(first: Answer, asynchronous: bool) -> None:
    answers = iter([first, first])
    with Loopback(lambda asked: next(answers, None) or every_bucket(asked)) as server:
        row = read(asynchronous, totals, base_url=server.url)
    assert row.web_search_requests == 18
    assert len({asked.query for asked in server.asked}) == 1
    assert len(server.asked) == 3


@BOTH
@pytest.mark.parametrize(
    ("answer", "kind", "asked"),
    [
        (problem(400), ApiError, 1),
        (problem(401), AuthenticationError, 1),
        (problem(403), "PermissionDenied", 1),
        (problem(404), ApiError, 1),
        (problem(429, retry_after="9999"), RateLimited, 1),
        (problem(529), ApiError, 3),
        (problem(529, x_should_retry="false"), ApiError, 1),
        (Answer(204, b""), ApiError, 1),
        (Answer(302, b"", {"location": "https://elsewhere.example/"}), ApiError, 1),
        (Answer(cut=0), ConnectionFailed, 3),
        (Answer(body=b"<html>hello</html>"), IncompleteReport, 1),
        (Answer(body=b""), IncompleteReport, 1),
    ],
)
def test_each_failure_has_its_type_and_its_number_of_tries(
    answer: Answer, kind: Any, asked: int, asynchronous: bool
) -> None:
    with Loopback(lambda _: answer) as server, pytest.raises(AnthropicUsageError) as caught:
        read(asynchronous, totals, base_url=server.url)
    name = kind if isinstance(kind, str) else kind.__name__
    assert type(caught.value).__name__ == name
    assert len(server.asked) == asked
    if isinstance(caught.value, ApiError) and answer.body.startswith(b'{"type": "error"'):
        assert (caught.value.status, caught.value.type) == (answer.status, "some_error")
        assert (caught.value.message, caught.value.request_id) == ("No.", "req_1")


@BOTH
def test_a_redirect_does_not_take_the_key_elsewhere(asynchronous: bool) -> None:
    with Loopback(every_bucket) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            moved = Answer(status, b"", {"location": elsewhere.url + "/v1/organizations/me"})
            with (
                Loopback(lambda asked, moved=moved: moved) as server,
                pytest.raises(ApiError, match="redirects are not followed"),
            ):
                read(asynchronous, totals, base_url=server.url)
        assert elsewhere.asked == []


@BOTH
def test_a_silent_server_is_given_up_in_time(asynchronous: bool) -> None:
    began = time.monotonic()
    with Loopback(lambda asked: Answer(seconds=2.0)) as server:
        with pytest.raises(ConnectionFailed, match=r"no answer from .* within 0.1 s"):
            read(
                asynchronous,
                lambda c: c.usage("2026-02-01", "2026-02-02").totals(),
                base_url=server.url,
                timeout=0.1,
                retry=Retry(attempts=2, base=0.001),
            )
        assert time.monotonic() - began < 1.5


@BOTH
def test_nobody_listening_is_a_connection_that_failed(asynchronous: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        ConnectionFailed, match=rf"no connection to 127.0.0.1:{port}: nobody listens"
    ):
        read(asynchronous, totals, base_url=f"http://127.0.0.1:{port}")


@BOTH
def test_answers_may_come_gzipped(asynchronous: bool) -> None:
    def zipped(asked: Asked) -> Answer:
        assert asked.headers["accept-encoding"] == "gzip"
        return Answer(
            body=gzip.compress(every_bucket(asked).body), headers={"Content-Encoding": "gzip"}
        )

    with Loopback(zipped) as server:
        assert read(asynchronous, totals, base_url=server.url).web_search_requests == 18


@BOTH
@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_under_way_than_allowed(asynchronous: bool, concurrency: int) -> None:
    def slowly(asked: Asked) -> Answer:
        said = every_bucket(asked)
        return Answer(body=said.body, seconds=0.02)

    with Loopback(slowly) as server:
        row = read(
            asynchronous,
            lambda c: c.usage("2025-01-01", "2025-12-31").totals(),
            base_url=server.url,
            concurrency=concurrency,
        )
    assert row.web_search_requests == 6 * 364
    assert len(server.asked) == 12
    assert server.busiest == concurrency


@BOTH
def test_windows_come_in_time_order_whoever_answers_first(asynchronous: bool) -> None:
    def backwards(asked: Asked) -> Answer:
        month = int(asked.params["starting_at"][5:7])
        return Answer(body=every_bucket(asked).body, seconds=max(0, 5 - month) * 0.03)

    async def starts(client: Any) -> list[Any]:
        return [row.starting_at async for row in client.usage("2025-01-01", "2025-06-01")]

    def listed(client: Any) -> Any:
        if asynchronous:
            return starts(client)
        return [row.starting_at for row in client.usage("2025-01-01", "2025-06-01")]

    with Loopback(backwards) as server:
        found = read(asynchronous, listed, base_url=server.url)
    assert found == sorted(found)
    assert len(set(found)) == 151


@BOTH
def test_the_first_error_ends_the_report(asynchronous: bool) -> None:
    def refuse_march(asked: Asked) -> Answer:
        march = asked.params["starting_at"].startswith("2025-03")
        return problem(403) if march else every_bucket(asked)

    with Loopback(refuse_march) as server, pytest.raises(ApiError, match="403"):
        read(
            asynchronous,
            lambda c: c.usage("2025-01-01", "2027-01-01").totals(),
            base_url=server.url,
            concurrency=2,
        )
    assert len(server.asked) < 12


@BOTH
def test_nothing_is_sent_before_a_report_is_read(asynchronous: bool) -> None:
    with Loopback(every_bucket) as server:

        async def ask_async(client: Any) -> None:
            report = client.usage(*SPAN)
            assert repr(report).startswith("<AsyncReport report='usage'")
            assert server.asked == []
            for count in (1, 2):
                await report.totals()
                assert len(server.asked) == count
            kept = await report.collect()
            assert await kept.by("day") == await kept.by("day")
            assert len(server.asked) == 3

        def ask(client: Any) -> Any:
            if asynchronous:
                return ask_async(client)
            report = client.usage(*SPAN)
            assert repr(report).startswith("<Report report='usage'")
            assert server.asked == []
            for count in (1, 2):
                report.totals()
                assert len(server.asked) == count
            kept = report.collect()
            assert kept.by("day") == kept.by("day")
            assert len(server.asked) == 3
            return None

        read(asynchronous, ask, base_url=server.url)


@BOTH
def test_the_listener_hears_of_waits_and_pages(asynchronous: bool) -> None:
    heard: list[Any] = []
    answers = iter([problem(529)])
    with Loopback(lambda asked: next(answers, None) or every_bucket(asked)) as server:
        read(asynchronous, totals, base_url=server.url, listener=heard.append)
    wait, part = heard
    assert isinstance(wait, Wait)
    assert (wait.why, wait.throttled) == ("529 some_error", True)
    assert isinstance(part, Part)
    assert (part.begins, part.ends) == (utc(2026, 2, 1), utc(2026, 2, 4))


@BOTH
def test_lookups_walk_to_their_end_and_refuse_a_broken_cursor(asynchronous: bool) -> None:
    item = {"type": "user", "name": "N", "role": "user", "added_at": "2026-01-01T00:00:00Z"}

    def people(asked: Asked) -> Answer:
        first = int(asked.params.get("after_id", "user_0").removeprefix("user_")) + 1
        people = [
            {**item, "id": f"user_{n}", "email": f"{n}@x.example"}
            for n in range(first, first + 100)
        ]
        body = {"data": people, "has_more": first < 201, "first_id": people[0]["id"]}
        return Answer(body=json.dumps({**body, "last_id": people[-1]["id"]}).encode())

    with Loopback(people) as server:
        users = read(asynchronous, lambda c: c.users(), base_url=server.url)
    assert [user.id for user in users] == [f"user_{n}" for n in range(1, 301)]
    assert [asked.params["limit"] for asked in server.asked] == ["1000"] * 3

    for last in (None, "", "user_1"):
        body = {"data": [], "has_more": True, "first_id": None, "last_id": last}
        answer = Answer(body=json.dumps(body).encode())
        with (
            Loopback(lambda asked, answer=answer: answer) as server,
            pytest.raises(IncompleteReport, match="not how to go on"),
        ):
            read(asynchronous, lambda c: c.users(), base_url=server.url)


@BOTH
@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"<html>", b'{"data": 5}', b'"x"'])
def test_a_lookup_of_another_shape_is_refused(asynchronous: bool, body: bytes) -> None:
    with Loopback(lambda asked: Answer(body=body)) as server:
        for name in ("workspaces", "organization", "service_accounts"):
            with pytest.raises(IncompleteReport, match="not of the documented shape"):
                read(asynchronous, lambda c, n=name: getattr(c, n)(), base_url=server.url)


async def test_many_reports_share_one_client() -> None:
    with Loopback(every_bucket) as server:
        async with AsyncUsageClient(KEY, base_url=server.url, concurrency=2) as client:
            rows = await asyncio.gather(
                *(client.usage("2025-01-01", "2025-04-01").totals() for _ in range(5))
            )
    assert {row.web_search_requests for row in rows} == {540}
    assert server.busiest <= 2


async def test_a_report_that_is_cancelled_stops_asking() -> None:
    def slowly(asked: Asked) -> Answer:
        return Answer(body=every_bucket(asked).body, seconds=0.05)

    with Loopback(slowly) as server:
        async with AsyncUsageClient(KEY, base_url=server.url) as client:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.12):
                    await client.usage("2020-01-01", "2026-01-01").totals()
            asked = len(server.asked)
            await asyncio.sleep(0.15)
            assert len(server.asked) == asked < 72
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert MARKER not in "".join(shown.format())


ENVIRONMENTS: list[tuple[dict[str, str], tuple[str, str]]] = [
    ({"ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin-1"}, ("x-api-key", "sk-ant-admin-1")),
    ({"ANTHROPIC_ADMIN_KEY": " sk-ant-admin-2\n"}, ("x-api-key", "sk-ant-admin-2")),
    ({"ANTHROPIC_OAUTH_TOKEN": "tok"}, ("authorization", "Bearer tok")),
    (
        {"ANTHROPIC_ADMIN_KEY": "sk-ant-admin-2", "ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin-1"},
        ("x-api-key", "sk-ant-admin-1"),
    ),
    (
        {"ANTHROPIC_OAUTH_TOKEN": "tok", "ANTHROPIC_ADMIN_KEY": "sk-ant-admin-2"},
        ("x-api-key", "sk-ant-admin-2"),
    ),
    (
        {"ANTHROPIC_ADMIN_API_KEY": " ", "ANTHROPIC_OAUTH_TOKEN": "tok"},
        ("authorization", "Bearer tok"),
    ),
]


@pytest.mark.parametrize(("environ", "header"), ENVIRONMENTS)
def test_the_environment_is_read_in_order(
    environ: dict[str, str], header: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers: dict[str, str] = {}
    Credentials.find(environ=environ).apply(headers)
    assert headers == dict([header])
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with Loopback(every_bucket) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url + "/v1/")
        read(False, totals, api_key=None)
    sent = server.asked[0].headers
    assert {n: v for n, v in sent.items() if n in ("x-api-key", "authorization")} == headers
    assert server.asked[0].path == "/v1/organizations/usage_report/messages"


def test_an_argument_outranks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", "sk-ant-admin-environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    with Loopback(every_bucket) as server:
        read(False, totals, api_key="sk-ant-admin-argument", base_url=server.url)
    assert server.asked[0].headers["x-api-key"] == "sk-ant-admin-argument"


@pytest.fixture
def every_log() -> Iterator[list[str]]:
    """Collect what any logger says at any level."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{self.format(record)} {record.args} {vars(record)}")

    handler, before = Collector(), logging.root.level
    logging.root.addHandler(handler)
    logging.root.setLevel(1)
    names = ("httpx", "httpcore", "asyncio", "anthropic_usage", "httpcore.http11")
    for name in names:
        logging.getLogger(name).setLevel(1)
    yield said
    logging.root.removeHandler(handler)
    logging.root.setLevel(before)
    for name in names:
        logging.getLogger(name).setLevel(logging.NOTSET)


FAILURES: dict[str, Answer] = {
    "refused": problem(401),
    "forbidden": problem(403),
    "too often": problem(429, retry_after="0"),
    "broken": problem(500),
    "dropped": Answer(cut=0),
    "cut": Answer(body=b'{"data": []', cut=4),
    "silent": Answer(seconds=0.2),
    "html": Answer(body=b"<html></html>"),
    "damaged": Answer(body=b"x", headers={"content-encoding": "gzip"}),
    "moved": Answer(302, b"", {"location": "https://x.example"}),
    "a hole": Answer(body=page([])),
}


@BOTH
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("variable", ["ANTHROPIC_ADMIN_API_KEY", "ANTHROPIC_OAUTH_TOKEN"])
def test_no_failure_and_no_log_shows_the_key(
    failure: str,
    variable: str,
    asynchronous: bool,
    every_log: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, KEY)
    shown: list[str] = []
    options: dict[str, Any] = {"api_key": None, "timeout": 0.06}
    for call in (totals, lambda client: client.workspaces()):

        def watched(client: Any, call: Any = call, shown: list[str] = shown) -> Any:
            shown.extend([repr(client), repr(vars(client)), repr(client.settings)])
            return call(client)

        with (
            Loopback(lambda asked: FAILURES[failure]) as server,
            pytest.raises(AnthropicUsageError) as caught,
        ):
            read(asynchronous, watched, base_url=server.url, **options)
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown += [*told.format(), repr(caught.value), str(vars(caught.value))]
        shown.append(str(pickle.dumps(caught.value)))
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (type(caught.value), str(caught.value))
        assert all(KEY in str(asked.headers) for asked in server.asked), "the key was sent"
        assert server.asked
    assert every_log, "something was logged"
    assert MARKER not in "".join([*shown, *every_log])
