"""What several tests name, and two ways to stand in for the API without the simulator.

`drive` answers a walk by hand; `Loopback` is a scripted HTTP server on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import attrs
from anthropic_usage import AsyncUsageClient, Report, Retry, UsageClient
from anthropic_usage.engine.flow import Emit, Flow, Reply, Send, walk
from anthropic_usage.engine.plan import windows
from anthropic_usage.reports import Part, Query, Window
from clock import NOW
from hypothesis import settings

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")  # A busy machine is no failure.

DAY = dt.timedelta(days=1)
KEY = "sk-ant-admin01-MARKER-that-nobody-may-see"
MARKER = "MARKER-that"
QUICK = Retry(attempts=3, base=0.001)


def utc(*parts: int) -> dt.datetime:
    """Return a moment in UTC."""
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]


def usage_result(**changes: Any) -> dict[str, Any]:
    """Return one result of the usage report, every measure another number."""
    return {
        "uncached_input_tokens": 1,
        "cache_creation": {"ephemeral_1h_input_tokens": 20, "ephemeral_5m_input_tokens": 300},
        "cache_read_input_tokens": 4000,
        "output_tokens": 50_000,
        "server_tool_use": {"web_search_requests": 6},
        **changes,
    }


def bucket(
    start: dt.datetime, results: Sequence[Any] = (), width: dt.timedelta = DAY
) -> dict[str, Any]:
    """Return one bucket as the API writes it."""
    return {
        "starting_at": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "ending_at": f"{start + width:%Y-%m-%dT%H:%M:%SZ}",
        "results": list(results),
    }


def page(data: Sequence[Any], more: str | None = None) -> bytes:
    """Return a page; one with a cursor says that there is more."""
    body = {"data": list(data), "has_more": more is not None, "next_page": more}
    return json.dumps(body).encode()


def pages(data: Sequence[Any], cuts: Iterable[int] = ()) -> list[Reply]:
    """Return the answers of a walk over all of `data`, cut into pages at `cuts`."""
    edges = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
    parts = [data[first:last] for first, last in itertools.pairwise(edges)] or [data]
    return [
        Reply(200, {}, page(part, None if number == len(parts) else f"page_{number}"))
        for number, part in enumerate(parts, 1)
    ]


def drive(flow: Flow, replies: Iterable[Any]) -> Generator[Any]:
    """Answer a flow's requests with `replies`, one after the other, and yield what it emits."""
    answers = iter(replies)
    step = next(flow)
    while True:
        if isinstance(step, Emit):
            yield step.value
        try:
            step = flow.send(next(answers) if isinstance(step, Send) else None)
        except StopIteration:
            return


def report_of(
    query: Query, data: Sequence[Any], cuts: Iterable[int] = (), now: dt.datetime = NOW
) -> Report[Any]:
    """Return the report of a query, answered with `data`; `cuts` are for one window."""
    several = tuple(windows(query, now))

    def source() -> Generator[Part]:
        for window in several:
            part = data if len(several) == 1 else _within(data, window)
            yield from drive(walk(query, window, QUICK, lambda: now), pages(part, cuts))

    return Report(query, source)


def _within(buckets: Sequence[Any], window: Window) -> list[Any]:
    start, end = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (window.starting_at, window.ending_at))
    return [one for one in buckets if start <= one["starting_at"] < end]


@attrs.frozen
class Asked:
    """A request as it arrived; header names are lower-case."""

    path: str
    query: str
    headers: dict[str, str]

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters; of those that repeat, the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@attrs.frozen
class Answer:
    """What a `Loopback` says: the body after `seconds`, or only `cut` bytes of it and goodbye."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = attrs.field(factory=dict)
    seconds: float = 0.0
    cut: int | None = None
    drop: float = 0.0
    """Seconds to wait after each byte of the body."""


class Loopback:
    """A real HTTP server whose every answer a test decides."""

    def __init__(self, script: Callable[[Asked], Answer] | Iterable[Answer]) -> None:
        self.asked: list[Asked] = []
        self.busiest = 0
        """The most requests that were under way at once."""
        self._busy = 0
        self._lock = threading.Lock()
        prepared = None if callable(script) else iter(script)
        loopback = self

        def answer(asked: Asked) -> Answer:
            return next(prepared) if prepared is not None else script(asked)  # type: ignore[operator]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(url.path, url.query, headers)
                with loopback._lock:
                    loopback.asked.append(asked)
                    loopback._busy += 1
                    loopback.busiest = max(loopback.busiest, loopback._busy)
                    said = answer(asked)
                time.sleep(said.seconds)
                with loopback._lock:
                    loopback._busy -= 1
                if said.cut is not None:
                    self.close_connection = True
                    if said.cut == 0:
                        return
                # `send_response` would add this machine's date.
                begin = self.send_response_only if "date" in said.headers else self.send_response
                begin(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said.body)))
                self.end_headers()
                body = said.body[: said.cut]
                for byte in body if said.drop else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(said.drop)
                if not said.drop:
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


WIDTHS = {"1d": DAY, "1h": DAY / 24, "1m": DAY / 1440}


def every_bucket(asked: Asked) -> Answer:
    """Answer a usage or cost query truthfully: one result a bucket, `limit` buckets a page."""
    params = asked.params
    start, end = (dt.datetime.fromisoformat(params[n]) for n in ("starting_at", "ending_at"))
    width = WIDTHS[params["bucket_width"]]
    first = int(params.get("page", "page_0").removeprefix("page_"))
    last = first + int(params["limit"])
    cost = asked.path.endswith("cost_report")
    asked_by = [value for name, value in parse_qsl(asked.query) if name == "group_by[]"]
    names = {name: params.get(f"{name}s[]", "one") for name in asked_by}
    result = {"currency": "USD", "amount": "94.662"} if cost else usage_result()
    result |= names
    data = [
        bucket(start + number * width, [result], width)
        for number in range(first, min(last, (end - start) // width))
    ]
    more = last < (end - start) // width
    return Answer(body=page(data, f"page_{last}" if more else None))


def quiet(server: Any) -> None:
    """Wait until requests that a reader broke off have arrived, so that no later fault is theirs."""
    seen = -1
    while seen != len(server.requests):
        seen = len(server.requests)
        time.sleep(0.02)


def read(asynchronous: bool, call: Callable[[Any], Any], **options: Any) -> Any:
    """Return what `call` gets from a client of either kind, which is closed behind it."""
    options = {"api_key": KEY, "retry": QUICK, **options}
    if not asynchronous:
        with UsageClient(**options) as client:
            return call(client)

    async def ask() -> Any:
        async with AsyncUsageClient(**options) as client:
            return await call(client)

    return asyncio.run(ask())
