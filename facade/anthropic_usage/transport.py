"""Drives flows over HTTP, sync and async; the only module that knows httpx.

It adds the key to each request and takes care that nothing else ever holds it: what httpx raises
is turned into a `Failure` at once, so no traceback leads to a request's headers. Windows are
fetched side by side under one governor a client, and what they emit is handed on in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import ipaddress
import os
import threading
import warnings
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx

from .credentials import Credentials
from .errors import InvalidQuery
from .flow import Failure, Flow, Part, Reply, Send, Step, Wait
from .governor import Backlog, Governor, Slot

__all__ = ["AsyncTransport", "Listener", "Settings", "Transport"]

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"

Listener = Callable[[Wait | Part], None]
"""Told of every wait and every page; for progress bars."""

_GZIP_OR_ZLIB: Final = 47
"""zlib's window bits for "either, by its header"."""


def _base_url(given: str | None) -> str:
    url = given or os.environ.get("ANTHROPIC_BASE_URL", "").strip() or DEFAULT_BASE_URL
    url = url.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidQuery(f"the base URL {url!r} is none; give one like {DEFAULT_BASE_URL}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidQuery("the base URL takes a host and a path, no credentials and no query")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        warnings.warn(
            f"the key will travel unencrypted to {parts.hostname}: use https", stacklevel=4
        )
    return url.removesuffix("/v1")


@attrs.frozen(kw_only=True)
class Settings:
    """Where and how to ask."""

    credentials: Credentials
    base_url: str = attrs.field(default=None, converter=_base_url)
    timeout: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    concurrency: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    max_in_flight_mb: float = attrs.field(default=64.0, validator=attrs.validators.gt(0))
    listener: Listener | None = attrs.field(default=None, repr=False)

    def httpx_options(self) -> dict[str, Any]:
        """Return what both httpx clients are made with."""
        return {
            "base_url": self.base_url,
            "auth": _Auth(self.credentials),
            "timeout": httpx.Timeout(self.timeout, connect=min(10.0, self.timeout)),
            "headers": {
                "user-agent": user_agent(),
                "accept": "application/json",
                "accept-encoding": "gzip",
            },
            "limits": httpx.Limits(
                max_connections=None, max_keepalive_connections=self.concurrency
            ),
            "follow_redirects": False,
        }

    def backlog(self) -> Backlog:
        """Return the bookkeeping of one report's windows."""
        return Backlog(int(self.max_in_flight_mb * 2**20))

    def tell(self, event: object) -> None:
        """Tell the listener of a wait or a page, if there is one."""
        if self.listener is not None and isinstance(event, Wait | Part):
            self.listener(event)


class Transport:
    """Drives flows with blocking sockets, a thread for each window under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = httpx.Client(**settings.httpx_options())
        self._governor = Governor(settings.concurrency)
        self._turn = threading.Condition()

    def run(self, flow: Flow) -> Generator[Any]:
        """Yield what the flow emits."""
        with contextlib.closing(flow):
            yield from self._drive(flow, threading.Event(), lambda: True, lambda: None)

    def run_all(self, flows: Iterable[Flow]) -> Generator[Any]:
        """Yield what the flows emit, in their order, while several of them are under way.

        Closing the iterator early stops the rest: nothing more is sent, and requests under way are
        dropped as soon as their answer begins.
        """
        backlog, left = self.settings.backlog(), threading.Event()
        waiting = iter(flows)
        try:
            while True:
                self._start(waiting, backlog, left)
                if not backlog.slots:
                    return
                slot = backlog.slots[0]
                with self._turn:
                    self._turn.wait_for(slot.ready)
                    if not slot.items:
                        backlog.slots.popleft()
                        self._turn.notify_all()
                        if slot.error is not None:
                            raise slot.error
                        continue
                    item, size = slot.items.popleft()
                self.settings.tell(item)
                yield item
                del item
                with self._turn:
                    backlog.bytes -= size
                    self._turn.notify_all()
        finally:
            left.set()
            with self._turn:
                self._turn.notify_all()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _start(self, waiting: Iterator[Flow], backlog: Backlog, left: threading.Event) -> None:
        """Have twice as many windows under way as requests, so that a request always finds one."""
        failed = any(slot.error is not None for slot in backlog.slots)
        while not failed and len(backlog.slots) < 2 * self.settings.concurrency:
            flow = next(waiting, None)
            if flow is None:
                return
            threading.Thread(
                target=self._fill,
                args=(flow, backlog, backlog.open(), left),
                name="anthropic-usage",
                daemon=True,
            ).start()

    def _fill(self, flow: Flow, backlog: Backlog, slot: Slot, left: threading.Event) -> None:
        """Drive one window, keeping what it emits until it is taken."""
        error: BaseException | None = None
        try:
            emitted = self._drive(
                flow, left, lambda: backlog.may_send(slot), lambda: backlog.reserve(slot)
            )
            for item in emitted:
                with self._turn:
                    backlog.put(slot, item, item.size)
                    self._turn.notify_all()
                del item
        except BaseException as caught:
            error = caught
        finally:
            flow.close()
            with self._turn:
                backlog.finish(slot, error)
                self._turn.notify_all()

    def _drive(
        self,
        flow: Flow,
        left: threading.Event,
        may_send: Callable[[], bool],
        reserve: Callable[[], None],
    ) -> Iterator[Any]:
        reply: Reply | Failure | None = None
        begun = 0
        while not left.is_set():
            try:
                step: Step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, Send):
                with self._turn:
                    if not self._await_turn(left, may_send):
                        return
                    begun = self._governor.begin()
                    reserve()
                reply = self._send(step, left)
                with self._turn:
                    self._governor.end(_accepted(reply))
                    self._turn.notify_all()
            elif isinstance(step, Wait):
                self.settings.tell(step)
                if step.throttled:
                    with self._turn:
                        self._governor.throttle(begun, step.seconds)
                left.wait(step.seconds)
            else:
                yield step.value

    def _await_turn(self, left: threading.Event, may_send: Callable[[], bool]) -> bool:
        """Wait, holding the lock, until a request may start; False if nobody wants it any more."""
        while not left.is_set():
            delay = self._governor.delay() if may_send() else None
            if delay == 0:
                return True
            self._turn.wait(delay)
        return False

    def _send(self, step: Send, left: threading.Event) -> Reply | Failure:
        try:
            with self._client.stream(**step.request) as response:
                chunks = []
                for chunk in response.iter_raw():
                    if left.is_set():
                        return Failure("nobody waits for the answer any more")
                    chunks.append(chunk)
            return _reply(response, chunks)
        except (httpx.RequestError, zlib.error) as error:
            return _failure(error, self.settings)


class AsyncTransport:
    """Drives flows with asyncio, a task for each window under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = httpx.AsyncClient(**settings.httpx_options())
        self._governor = Governor(settings.concurrency)
        self._turn = asyncio.Condition()

    async def run(self, flow: Flow) -> AsyncGenerator[Any]:
        """Yield what the flow emits."""
        with contextlib.closing(flow):
            async for item in self._drive(flow, lambda: True, lambda: None):
                yield item

    async def run_all(self, flows: Iterable[Flow]) -> AsyncGenerator[Any]:
        """Yield what the flows emit, in their order, while several of them are under way.

        Closing the iterator early cancels the rest.
        """
        backlog = self.settings.backlog()
        waiting = iter(flows)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._start(waiting, backlog, tasks)
                if not backlog.slots:
                    return
                slot = backlog.slots[0]
                async with self._turn:
                    await self._turn.wait_for(slot.ready)
                    if not slot.items:
                        backlog.slots.popleft()
                        self._turn.notify_all()
                        if slot.error is not None:
                            raise slot.error
                        continue
                    item, size = slot.items.popleft()
                self.settings.tell(item)
                yield item
                del item
                async with self._turn:
                    backlog.bytes -= size
                    self._turn.notify_all()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _start(
        self, waiting: Iterator[Flow], backlog: Backlog, tasks: set[asyncio.Task[None]]
    ) -> None:
        failed = any(slot.error is not None for slot in backlog.slots)
        while not failed and len(backlog.slots) < 2 * self.settings.concurrency:
            flow = next(waiting, None)
            if flow is None:
                return
            task = asyncio.create_task(self._fill(flow, backlog, backlog.open()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _fill(self, flow: Flow, backlog: Backlog, slot: Slot) -> None:
        """Drive one window, keeping what it emits until it is taken."""
        error: BaseException | None = None
        try:
            emitted = self._drive(
                flow, lambda: backlog.may_send(slot), lambda: backlog.reserve(slot)
            )
            async for item in emitted:
                async with self._turn:
                    backlog.put(slot, item, item.size)
                    self._turn.notify_all()
                del item
        except Exception as caught:
            error = caught
        finally:
            flow.close()
        async with self._turn:
            backlog.finish(slot, error)
            self._turn.notify_all()

    async def _drive(
        self, flow: Flow, may_send: Callable[[], bool], reserve: Callable[[], None]
    ) -> AsyncGenerator[Any]:
        reply: Reply | Failure | None = None
        begun = 0
        while True:
            try:
                step: Step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, Send):
                async with self._turn:
                    await self._await_turn(may_send)
                    begun = self._governor.begin()
                    reserve()
                try:
                    reply = await self._send(step)
                finally:
                    self._governor.end(_accepted(reply))
                async with self._turn:
                    self._turn.notify_all()
            elif isinstance(step, Wait):
                self.settings.tell(step)
                if step.throttled:
                    self._governor.throttle(begun, step.seconds)
                await asyncio.sleep(step.seconds)
            else:
                yield step.value

    async def _await_turn(self, may_send: Callable[[], bool]) -> None:
        """Wait, holding the lock, until a request may start."""
        while (delay := self._governor.delay() if may_send() else None) != 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._turn.wait()

    async def _send(self, step: Send) -> Reply | Failure:
        try:
            async with self._client.stream(**step.request) as response:
                chunks = [chunk async for chunk in response.aiter_raw()]
            return _reply(response, chunks)
        except (httpx.RequestError, zlib.error) as error:
            return _failure(error, self.settings)


class _Auth(httpx.Auth):
    """Adds the key to a request just before it leaves."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def auth_flow(self, request: httpx.Request) -> Any:
        self._credentials.apply(request.headers)
        yield request


def user_agent() -> str:
    """Return the User-Agent of this version."""
    return f"anthropic-usage/{importlib.metadata.version('anthropic-usage')}"


def _accepted(reply: Reply | Failure | None) -> bool:
    return isinstance(reply, Reply) and reply.status == 200


def _reply(response: httpx.Response, chunks: list[bytes]) -> Reply:
    """Read an answer; its body is inflated in one piece, which is faster than chunk by chunk."""
    body = b"".join(chunks)
    chunks.clear()
    if response.headers.get("content-encoding", "identity").lower() in ("gzip", "deflate"):
        body = zlib.decompress(body, _GZIP_OR_ZLIB)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, body)


def _failure(error: httpx.RequestError | zlib.error, settings: Settings) -> Failure:
    """Say in plain words why there was no answer."""
    host = urlsplit(settings.base_url).netloc
    if isinstance(error, zlib.error):
        return Failure(f"a damaged answer from {host} ({error})")
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure(f"no connection to {host} in time")
    if isinstance(error, httpx.TimeoutException):
        return Failure(f"no answer from {host} within {settings.timeout:g} s", timed_out=True)
    if isinstance(error, httpx.ConnectError):
        return Failure(f"no connection to {host} ({error})")
    return Failure(f"the connection to {host} broke ({error or type(error).__name__})")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
