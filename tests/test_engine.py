"""What one report does never costs another; what is closed, endless or hostile ends in a sentence."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import multiprocessing
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from anthropic_usage import (
    AnthropicUsageError,
    ApiError,
    AsyncUsageClient,
    ConnectionFailed,
    IncompleteReport,
    IncompleteReportWarning,
    InvalidQuery,
    Retry,
    UsageClient,
)
from support import KEY, MARKER, QUICK, Answer, Asked, Loopback, every_bucket

RANGE = ("2026-02-01", "2026-02-03")


def slow(asked: Asked) -> Answer:
    """Answer every bucket, a little late."""
    threading.Event().wait(0.05)
    return every_bucket(asked)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
async def test_reports_that_leave_cost_the_others_nothing(concurrency: int) -> None:
    """Reports are cancelled, left and whole, at random points; all that stay end whole."""
    chance = random.Random(concurrency)
    with Loopback(slow) as server:
        async with AsyncUsageClient(KEY, base_url=server.url, concurrency=concurrency) as client:

            async def whole() -> int:
                return (await client.usage(*RANGE).totals()).output_tokens

            async def left() -> int:
                async for _ in client.usage("2026-01-01", "2026-06-01", bucket_width="1h"):
                    break
                return 0

            expected = await whole()
            for _ in range(6):
                stay = [asyncio.create_task(whole()) for _ in range(3)]
                go = [asyncio.create_task(chance.choice([whole, left])()) for _ in range(4)]
                await asyncio.sleep(chance.random() * 0.1)
                for task in go:
                    task.cancel()
                found = await asyncio.wait_for(asyncio.gather(*stay), 60)
                assert found == [expected] * 3
                await asyncio.gather(*go, return_exceptions=True)


def test_a_closed_client_says_so() -> None:
    with Loopback(every_bucket) as server:
        with UsageClient(KEY, base_url=server.url) as client:
            report = client.usage(*RANGE)
        for read in (report.totals, client.workspaces, lambda: list(report), report.collect):
            with pytest.raises(AnthropicUsageError, match="the client is closed"):
                read()


async def test_a_closed_async_client_says_so() -> None:
    with Loopback(every_bucket) as server:
        async with AsyncUsageClient(KEY, base_url=server.url) as client:
            report = client.usage(*RANGE)
        with pytest.raises(AnthropicUsageError, match="the client is closed"):
            await report.totals()
        with pytest.raises(AnthropicUsageError, match="the client is closed"):
            await client.users()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_async_client_works_in_one_loop_after_the_other() -> None:
    with Loopback(every_bucket) as server:
        client = AsyncUsageClient(KEY, base_url=server.url)

        async def ask() -> int:
            return (await client.usage(*RANGE).totals()).output_tokens

        async def last() -> int:
            try:
                return await ask()
            finally:
                await client.aclose()

        assert asyncio.run(ask()) == asyncio.run(ask()) == asyncio.run(last()) > 0


async def test_an_async_client_belongs_to_one_loop_at_a_time() -> None:
    with Loopback(every_bucket) as server:
        async with AsyncUsageClient(KEY, base_url=server.url) as client:

            async def ask() -> int:
                return (await client.usage(*RANGE).totals()).output_tokens

            assert await ask() > 0
            with pytest.raises(AnthropicUsageError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, ask())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_can_go_on_with_a_client_that_was_used() -> None:
    with Loopback(every_bucket) as server, UsageClient(KEY, base_url=server.url) as client:
        expected = client.usage(*RANGE).totals().output_tokens
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()

        def child() -> None:
            answers.put(client.usage(*RANGE).totals().output_tokens)

        process = context.Process(target=child)
        process.start()
        process.join(60)
        alive = process.is_alive()
        process.kill()
        assert not alive
        assert answers.get() == expected


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": float("inf")},
        {"timeout": 1e10},
        {"timeout": "60"},
        {"timeout": None},
        {"timeout": float("nan")},
        {"timeout": True},
        {"concurrency": "4"},
        {"concurrency": 1.5},
        {"concurrency": 0},
        {"max_in_flight_mb": float("inf")},
        {"max_in_flight_mb": []},
        {"base_url": 5},
        {"base_url": b"https://api.example.com"},
        {"base_url": "http://a..b"},
        {"base_url": "https://\u2024\u2024"},
        {"base_url": f"https://{'a' * 300}.example.com"},
        {"base_url": "https://a b.example.com"},
        {"base_url": "http://10.0.0.1"},
        {"anthropic_version": 2023},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [UsageClient, AsyncUsageClient])
def test_arguments_that_cannot_be_used_are_refused_at_once(
    kind: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidQuery) as caught:
        kind(KEY, **options)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in shown.stack if "anthropic_usage" in frame.filename]
    assert not [frame for frame in ours if MARKER in str(frame.locals)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:7897/"),
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ("HTTPS_PROXY", "ht!tp://%%%"),
        ("https_proxy", "foo://user:secret@host"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
@pytest.mark.parametrize("kind", [UsageClient, AsyncUsageClient])
def test_what_the_environment_says_of_the_way_is_named(
    kind: Callable[..., Any], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidQuery, match=name) as caught:
        kind(KEY, base_url="https://api.example.invalid")
    assert "secret" not in str(caught.value)


def test_a_certificate_that_nobody_trusts_is_not_tried_again() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    tries = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                tries.append(connection)
                with connection, contextlib.suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with (
            UsageClient(KEY, base_url=url, retry=QUICK) as client,
            pytest.raises(ConnectionFailed, match="SSL_CERT_FILE"),
        ):
            client.usage(*RANGE).totals()
        listener.shutdown(socket.SHUT_RDWR)
    assert len(tries) == 1


def test_a_name_that_does_not_resolve_is_final_after_two() -> None:
    waits: list[Any] = []
    with (
        UsageClient(
            KEY,
            base_url="https://nobody.invalid",
            retry=Retry(attempts=8, base=0.001),
            listener=waits.append,
        ) as client,
        pytest.raises(ConnectionFailed, match="does not resolve.*tried 2 times"),
    ):
        client.workspaces()
    assert len(waits) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_headers_in_drops_are_a_time_out(asynchronous: bool) -> None:
    """Each byte of a header comes in time; the whole never would."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not stop.wait(0.02):
                    connection.sendall(b"a")

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                drips.append(threading.Thread(target=drip, args=(connection,), daemon=True))
                drips[-1].start()

        drips: list[threading.Thread] = []
        threading.Thread(target=serve, daemon=True).start()
        options: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "timeout": 0.1,
            "retry": Retry(attempts=1),
        }

        async def ask() -> None:
            async with AsyncUsageClient(KEY, **options) as client:
                await client.workspaces()

        def blocking() -> None:
            with UsageClient(KEY, **options) as client:
                client.workspaces()

        run = (lambda: asyncio.run(asyncio.wait_for(ask(), 60))) if asynchronous else blocking
        with pytest.raises(ConnectionFailed, match="no answer"):
            run()
        stop.set()
        for thread in drips:
            thread.join()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_has_a_largest_size(packed: bool) -> None:
    body = b" " * (3 * 2**20)
    answer = Answer(body=body)
    if packed:
        answer = Answer(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    with (
        Loopback(lambda asked: answer) as server,
        UsageClient(
            KEY, base_url=server.url, max_in_flight_mb=0.5, retry=Retry(attempts=1)
        ) as client,
        pytest.raises(ConnectionFailed, match="MB"),
    ):
        client.usage(*RANGE).totals()


@pytest.mark.parametrize("claim", [2_000, 3 * 2**20, 2**31, 0])
def test_no_answer_takes_more_memory_than_it_may(claim: int) -> None:
    """A gzip stream that begins like any other, and lies of its length at its end."""
    beginning = random.Random(1).randbytes(2**13)
    packed = gzip.compress(beginning + b" " * 2**27)[:-4] + claim.to_bytes(4, "little")
    answer = Answer(body=packed, headers={"Content-Encoding": "gzip"})
    with (
        Loopback(lambda asked: answer) as server,
        UsageClient(
            KEY, base_url=server.url, max_in_flight_mb=1, retry=Retry(attempts=1)
        ) as client,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionFailed, match="larger than 4 MB"):
                client.usage(*RANGE).totals()
            assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
        finally:
            tracemalloc.stop()


def test_gzip_may_come_in_several_members() -> None:
    def members(asked: Asked) -> Answer:
        body = every_bucket(asked).body
        cut = len(body) // 2
        packed = gzip.compress(body[:cut]) + gzip.compress(body[cut:])
        return Answer(body=packed, headers={"Content-Encoding": "gzip"})

    with Loopback(every_bucket) as server, UsageClient(KEY, base_url=server.url) as client:
        expected = client.usage(*RANGE).totals()
    with Loopback(members) as server, UsageClient(KEY, base_url=server.url) as client:
        assert client.usage(*RANGE).totals() == expected


SPELLINGS = {
    "plain": KEY,
    "its secret half": KEY[15:],
    "capitals": KEY.upper(),
    "apart": " ".join(KEY),
    "apart, unseen": "\u200b".join(KEY),
    "two lines": f"{KEY[:20]}\n{KEY[20:]}".encode("unicode_escape").decode(),
    "full width": "".join(chr(ord(sign) + 0xFEE0) for sign in KEY),
    "other hyphens": KEY.replace("-", "\u2011"),
    "hexadecimal": KEY.encode().hex(),
    "escapes of C": "".join(f"\\\\x{ord(sign):02x}" for sign in KEY),
    "HTML": "".join(f"&#{ord(sign)};" for sign in KEY),
    "HTML's names": KEY.replace("-", "&hyphen;"),
    "mail": KEY.replace("-", "=2D"),
    "base32": base64.b32encode(KEY.encode()).decode(),
    "backwards": KEY[::-1],
    "json": KEY.replace("-", "\\u002d"),
    "twice": KEY.replace("-", "\\\\u002d"),
    "percent": KEY.replace("-", "%2d"),
    "basic": base64.b64encode(f"{KEY}:".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_no_spelling_of_the_key_comes_back(spelling: str, status: int) -> None:
    body = f'{{"error": {{"type": "x", "message": "bad {SPELLINGS[spelling]} here"}}}}'.encode()
    with (
        Loopback(lambda asked: Answer(status=status, body=body)) as server,
        UsageClient(KEY, base_url=server.url, retry=Retry(attempts=1)) as client,
        pytest.raises(ApiError) as caught,
    ):
        client.usage(*RANGE).totals()
    assert re.search(r"bad \S{0,8}\[key\]\S{0,4} here|HTTP", str(caught.value))
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize("name", [KEY, KEY.replace("-", "\\u002d"), KEY.replace("M", "\\u004D")])
@pytest.mark.parametrize("lookup", ["usage", "workspaces"])
def test_an_answer_that_holds_the_key_is_not_read(name: str, lookup: str) -> None:
    """What people are shown of names and models must not be the key that an echo put there."""

    def echo(asked: Asked) -> Answer:
        body = every_bucket(asked).body if lookup == "usage" else b'{"data": ["claude"]}'
        return Answer(body=body.replace(b"claude", name.encode()).replace(b'"one"', b'"%s"' % name.encode()))  # fmt: skip

    with Loopback(echo) as server, UsageClient(KEY, base_url=server.url) as client:
        with pytest.raises(IncompleteReport, match="holds the key itself") as caught:
            client.usage(*RANGE, group_by="model").by(
                "model"
            ) if lookup == "usage" else client.workspaces()
        assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 204, 401, 500])
def test_no_frame_of_an_error_shows_an_answer(status: int) -> None:
    """What an error tracker keeps of a refusal, with the locals of our frames."""
    answer = Answer(status=status, body=b'{"data": "%s"}' % KEY.encode(), headers={"location": KEY})
    with (
        Loopback(lambda asked: answer) as server,
        UsageClient(KEY, base_url=server.url, retry=Retry(attempts=1)) as client,
        pytest.raises(AnthropicUsageError) as caught,
    ):
        client.usage(*RANGE).totals()
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [str(frame.locals) for frame in shown.stack if "/anthropic_usage/" in frame.filename]
    assert ours
    assert "MARKER" not in "".join(ours)


@pytest.mark.parametrize("base", [f"https://x.invalid/{KEY}", f"https://x.invalid/{KEY[15:]}"])
def test_a_base_url_that_holds_the_key_is_refused(base: str) -> None:
    with pytest.raises(InvalidQuery, match="holds the key") as caught:
        UsageClient(KEY, base_url=base)
    assert "MARKER" not in str(caught.value)


def test_what_the_environment_says_is_named_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"/nowhere/{KEY}")
    with pytest.raises(InvalidQuery, match="SSL_CERT_FILE") as caught:
        UsageClient(KEY, base_url="https://x.invalid")
    assert "MARKER" not in str(caught.value)


def test_an_answer_that_is_the_key_does_not_show_it() -> None:
    def echo(asked: Asked) -> Answer:
        line = {"currency": "USD", "amount": asked.headers["x-api-key"]}
        day = {
            "starting_at": "2026-02-01T00:00:00Z",
            "ending_at": "2026-02-02T00:00:00Z",
            "results": [line],
        }
        return Answer(
            body=json.dumps({"data": [day], "has_more": False, "next_page": None}).encode()
        )

    with (
        Loopback(echo) as server,
        UsageClient(KEY, base_url=server.url) as client,
        pytest.raises(IncompleteReport, match="holds the key itself") as caught,
    ):
        client.cost("2026-02-01", "2026-02-02").totals()
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize("last", ["next", "a" * 100_000, "a\nb", 7])
def test_a_lookup_that_cannot_go_on_is_one_error(last: Any) -> None:
    count = iter(range(10**9))

    def endless(asked: Asked) -> Answer:
        cursor = f"{last}{next(count)}" if last == "next" else last
        page = {"data": [], "has_more": True, "first_id": None, "last_id": cursor}
        return Answer(body=json.dumps(page).encode())

    with (
        Loopback(endless) as server,
        UsageClient(KEY, base_url=server.url) as client,
        pytest.raises(IncompleteReport),
    ):
        client.workspaces()


def test_a_count_below_zero_is_no_count() -> None:
    def negative(asked: Asked) -> Answer:
        return Answer(
            body=every_bucket(asked).body.replace(b'"output_tokens": ', b'"output_tokens": -')
        )

    with (
        Loopback(negative) as server,
        UsageClient(KEY, base_url=server.url) as client,
        pytest.raises(IncompleteReport, match="output_tokens"),
    ):
        client.usage(*RANGE).totals()


def test_what_no_asyncio_drives_says_so() -> None:
    """As under trio, whose loop is another one."""
    report = AsyncUsageClient(KEY, base_url="http://127.0.0.1:9").usage(*RANGE)
    with pytest.raises(AnthropicUsageError, match="needs asyncio"):
        report.totals().send(None)


def test_a_listener_cannot_ask_its_own_client() -> None:
    said: list[str] = []

    def ask(event: Any) -> None:
        try:
            client.workspaces()
        except AnthropicUsageError as error:
            said.append(str(error))

    with (
        Loopback(every_bucket) as server,
        UsageClient(KEY, base_url=server.url, listener=ask) as client,
    ):
        client.usage(*RANGE).totals()
    assert said == ["a listener cannot ask the client that it listens to"]


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_blocking_reports_that_leave_cost_the_others_nothing(concurrency: int) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(400) if asked.params.get("limit") == "1" else slow(asked)

    with (
        Loopback(script) as server,
        UsageClient(KEY, base_url=server.url, concurrency=concurrency) as client,
    ):
        found: list[int] = []

        def whole() -> None:
            found.append(client.usage("2026-01-01", "2026-04-01").totals().web_search_requests)

        threads = [threading.Thread(target=whole) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            next(iter(client.usage("2026-01-01", "2026-06-01", bucket_width="1h")))
            with pytest.raises(ApiError):
                client.usage(*RANGE, limit=1).totals()
        for thread in threads:
            thread.join(60)
        assert found == [6 * 90] * 3


def test_a_warning_points_at_whoever_asked() -> None:
    def holed(asked: Asked) -> Answer:
        page = json.loads(every_bucket(asked).body)
        del page["data"][0]
        return Answer(body=json.dumps(page).encode())

    with Loopback(holed) as server, UsageClient(KEY, base_url=server.url) as client:
        for read in ("totals", "collect"):
            with pytest.warns(IncompleteReportWarning, match="has a hole") as caught:
                getattr(client.usage(*RANGE, strict=False), read)()
            assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("asked_for", "row"),
    [
        ({"group_by": "model"}, {"model": None}),
        ({"group_by": ["api_key_id", "service_tier"]}, {"api_key_id": "a", "service_tier": None}),
        ({"group_by": "model", "models": "mine"}, {"model": "other"}),
        ({"models": "mine"}, {"model": "other"}),
        ({"group_by": "workspace_id", "workspace_ids": "w1"}, {"workspace_id": None}),
        ({"context_window": "0-200k"}, {"context_window": "200k-1M"}),
        ({"speeds": "standard"}, {"speed": "fast"}),
        ({"group_by": "speed", "speeds": "fast"}, {"speed": "standard"}),
    ],
)
def test_rows_that_contradict_the_question_are_refused(
    asked_for: dict[str, Any], row: dict[str, Any]
) -> None:
    def other(asked: Asked) -> Answer:
        page = json.loads(every_bucket(asked).body)
        for bucket in page["data"]:
            bucket["results"] = [{**result, **row} for result in bucket["results"]]
        return Answer(body=json.dumps(page).encode())

    with Loopback(other) as server, UsageClient(KEY, base_url=server.url) as client:
        for read in ("totals", "collect", "to_arrow"):
            with pytest.raises(IncompleteReport, match="no answer to the question"):
                getattr(client.usage(*RANGE, **asked_for), read)()


def test_a_report_of_unreasonably_many_requests_is_refused_with_their_number() -> None:
    with Loopback(every_bucket) as server:
        with UsageClient(KEY, base_url=server.url) as client:
            for report in (client.claude_code, client.usage):
                with pytest.raises(InvalidQuery, match="it would take [0-9,]+ requests"):
                    report("0206-02-01", "2026-02-05")
        with (
            UsageClient(KEY, base_url=server.url, max_requests=3) as client,
            pytest.raises(InvalidQuery, match="31 requests, more than 3"),
        ):
            client.claude_code("2026-01-01", "2026-02-01")
        assert server.asked == []


def test_queries_hash() -> None:
    from anthropic_usage.reports import USAGE

    made = [USAGE.ask(*RANGE, models=["a"]) for _ in range(2)]
    assert len({*made, USAGE.ask(*RANGE, models="b")}) == 2


def test_a_client_that_nobody_closed_does_not_keep_the_program() -> None:
    program = (
        "import sys; from anthropic_usage import UsageClient\n"
        "client = UsageClient('sk-ant-admin01-x', base_url=sys.argv[1])\n"
        "rows = iter(client.usage('2026-01-01', '2026-06-01', bucket_width='1h')); next(rows)\n"
        "print('whole')"
    )
    with Loopback(every_bucket) as server:
        done = subprocess.run(
            [sys.executable, "-c", program, server.url], capture_output=True, timeout=60, check=True
        )
    assert done.stdout.split() == [b"whole"]


@pytest.mark.parametrize("args", [("usage", "--since", "2026-02-01"), ("doctor",)])
def test_a_key_that_goes_elsewhere_is_said_once(args: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "anthropic_usage", *args],
        env={
            **os.environ,
            "ANTHROPIC_BASE_URL": "https://nobody.invalid",
            "ANTHROPIC_ADMIN_API_KEY": KEY,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.count("the key goes to nobody.invalid") == 1
    assert MARKER not in done.stdout + done.stderr


def test_the_doctor_says_once_that_a_key_is_refused() -> None:
    body = b'{"error": {"type": "authentication_error", "message": "invalid x-api-key"}}'
    with Loopback(lambda asked: Answer(401, body)) as server:
        done = subprocess.run(
            [sys.executable, "-m", "anthropic_usage", "doctor", "--json"],
            env={
                **os.environ,
                "ANTHROPIC_BASE_URL": server.url,
                "ANTHROPIC_ADMIN_API_KEY": "sk-ant-api03-" + "x" * 20,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["key"]["ok"] is False
    assert done.stdout.count("invalid x-api-key") == 1
    assert checks["usage report"]["says"] == "the key is refused"
    assert done.returncode == 1
