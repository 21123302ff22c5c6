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
import socket
import ssl
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx

from .credentials import Credentials
from .errors import InvalidQuery, warn
from .flow import Failure, Flow, Part, Reply, Send, Step, Wait
from .governor import Backlog, Governor, Slot

__all__ = ["AsyncTransport", "Listener", "Settings", "Transport"]

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"

Listener = Callable[[Wait | Part], None]
"""Told of every wait and every page; for progress bars."""

_GZIP_OR_ZLIB: Final = 47
"""zlib's window bits for "either, by its header"."""

_PATIENCE: Final = 1.0
"""Seconds to wait for a thread whose request was broken off; a daemon, it ends by itself later."""

_SLOWEST: Final = 10
"""How many times the time-out an answer may take from its first byte to its last."""

_MOST_DEFLATED: Final = 1032
"""No deflate stream shrinks by more than this (zlib's technical notes)."""


def _base_url(given: str | None) -> str:
    url = given or os.environ.get("ANTHROPIC_BASE_URL", "").strip() or DEFAULT_BASE_URL
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidQuery(f"the base URL is none; give one like {DEFAULT_BASE_URL}") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not url.isprintable()
        or " " in url
    ):
        raise InvalidQuery(f"the base URL is none; give one like {DEFAULT_BASE_URL}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidQuery("the base URL takes a host and a path, no credentials and no query")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        warn(f"the key will travel unencrypted to {parts.hostname}: use https")
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
            # Made once for all connections: it takes longer than everything else about a client.
            # Without TLS it stays empty, so nothing that came to need it would be trusted.
            "verify": httpx.create_ssl_context()
            if self.base_url.startswith("https:")
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # A proxy named in the environment is for the world outside, not for this machine.
            "trust_env": not _is_loopback(urlsplit(self.base_url).hostname or ""),
        }

    def backlog(self) -> Backlog:
        """Return the bookkeeping of one report's windows."""
        return Backlog(int(self.max_in_flight_mb * 2**20))

    def tell(self, event: object) -> None:
        """Tell the listener of a wait or a page, if there is one."""
        if self.listener is not None and isinstance(event, Wait | Part):
            self.listener(event)


class _Lane:
    """One connection, which another thread can break off in the midst of a request."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.client = httpx.Client(**options)
        self.user: threading.Event | None = None
        """Set when whoever uses the lane has left; None while nobody does."""
        self._socket: socket.socket | None = None

    def stream(self, request: dict[str, Any]) -> contextlib.AbstractContextManager[httpx.Response]:
        """Send a request."""
        return self.client.stream(**request, extensions={"trace": self._trace})

    def abort(self) -> None:
        """Wake a thread that waits for an answer."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Learn the socket of a new connection (httpcore's `trace` extension)."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")


class Transport:
    """Drives flows with blocking sockets, a thread for each window under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        options = settings.httpx_options()
        self._lanes = [_Lane(options) for _ in range(settings.concurrency)]
        self._governor = Governor(settings.concurrency)
        self._unpacker = _unpacking_thread()
        self._turn = threading.Condition()

    def run(self, flow: Flow) -> Generator[Any]:
        """Yield what the flow emits."""
        with contextlib.closing(flow):
            yield from self._drive(flow, self.settings.backlog().open(), threading.Event())

    def run_all(self, flows: Iterable[Flow]) -> Generator[Any]:
        """Yield what the flows emit, in their order, while several of them are under way.

        Closing the iterator early stops the rest: nothing more is sent, and requests under way are
        broken off.
        """
        if self.settings.concurrency == 1:
            for flow in flows:
                for item in self.run(flow):
                    self.settings.tell(item)
                    yield item
                    del item
            return
        backlog, left = self.settings.backlog(), threading.Event()
        waiting = iter(flows)
        threads: list[threading.Thread] = []
        try:
            while True:
                self._start(waiting, backlog, left, threads)
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
                    backlog.taken(size)
                    self._turn.notify_all()
        finally:
            left.set()
            with self._turn:
                for lane in self._lanes:
                    if lane.user is left:
                        lane.abort()
                self._turn.notify_all()
            for thread in threads:
                thread.join(_PATIENCE)

    def close(self) -> None:
        """Close all connections."""
        for lane in self._lanes:
            lane.client.close()
        self._unpacker.shutdown(wait=False, cancel_futures=True)

    def _start(
        self,
        waiting: Iterator[Flow],
        backlog: Backlog,
        left: threading.Event,
        threads: list[threading.Thread],
    ) -> None:
        """Have two windows more under way than requests, so that a request always finds one."""
        failed = any(slot.error is not None for slot in backlog.slots)
        while not failed and len(backlog.slots) < self.settings.concurrency + 2:
            flow = next(waiting, None)
            if flow is None:
                return
            with self._turn:
                slot = backlog.open()
            thread = threading.Thread(
                target=self._fill, args=(flow, slot, left), name="anthropic-usage", daemon=True
            )
            threads[:] = [known for known in threads if known.is_alive()]
            threads.append(thread)
            thread.start()

    def _fill(self, flow: Flow, slot: Slot, left: threading.Event) -> None:
        """Drive one window, keeping what it emits until it is taken."""
        error: BaseException | None = None
        try:
            for item in self._drive(flow, slot, left):
                with self._turn:
                    slot.put(item, item.size)
                    self._turn.notify_all()
                del item
        except BaseException as caught:
            error = caught
        finally:
            flow.close()
            with self._turn:
                slot.finish(error)
                self._turn.notify_all()

    def _drive(self, flow: Flow, slot: Slot, left: threading.Event) -> Iterator[Any]:
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
                    if not self._wait(
                        left, lambda: self._governor.delay() if slot.may_send() else None
                    ):
                        return
                    begun = self._governor.begin()
                    slot.sent()
                    lane = next(lane for lane in self._lanes if lane.user is None)
                    lane.user = left
                packed: _Packed | Failure | None = None
                try:
                    packed = self._send(lane, step)
                finally:
                    with self._turn:
                        lane.user = None
                        self._governor.end(_accepted(packed))
                        slot.arrived(packed.size if isinstance(packed, _Packed) else 0)
                        self._turn.notify_all()
                if _accepted(packed):
                    with self._turn:
                        if not self._wait(left, lambda: 0.0 if slot.may_unpack() else None):
                            return
                reply = self._unpack(packed)
                del packed
            elif isinstance(step, Wait):
                self.settings.tell(step)
                if step.throttled:
                    with self._turn:
                        self._governor.throttle(begun, step.seconds)
                left.wait(step.seconds)
            else:
                yield step.value

    def _wait(self, left: threading.Event, delay: Callable[[], float | None]) -> bool:
        """Wait, holding the lock, until `delay` is 0; None means until something happens.

        Returns False if nobody wants to go on.
        """
        while not left.is_set():
            seconds = delay()
            if seconds == 0:
                return True
            self._turn.wait(seconds)
        return False

    def _send(self, lane: _Lane, step: Send) -> _Packed | Failure:
        try:
            with lane.stream(step.request) as response:
                late = _lateness(self.settings)
                chunks = [chunk for chunk in response.iter_raw() if not late()]
                return _Packed(response, chunks, self.settings.credentials.redact)
        except httpx.RequestError as error:
            return _failure(error, self.settings)

    def _unpack(self, packed: _Packed | Failure) -> Reply | Failure:
        if isinstance(packed, Failure):
            return packed
        try:
            return self._unpacker.submit(packed.unpack).result()
        except zlib.error as error:
            return _failure(error, self.settings)


class AsyncTransport:
    """Drives flows with asyncio, a task for each window under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = httpx.AsyncClient(**settings.httpx_options())
        self._governor = Governor(settings.concurrency)
        self._unpacker = _unpacking_thread()
        self._turn = asyncio.Condition()

    async def run(self, flow: Flow) -> AsyncGenerator[Any]:
        """Yield what the flow emits."""
        with contextlib.closing(flow):
            async for item in self._drive(flow, self.settings.backlog().open()):
                yield item

    async def run_all(self, flows: Iterable[Flow]) -> AsyncGenerator[Any]:
        """Yield what the flows emit, in their order, while several of them are under way.

        Closing the iterator early cancels the rest.
        """
        if self.settings.concurrency == 1:
            for flow in flows:
                async with contextlib.aclosing(self.run(flow)) as items:
                    async for item in items:
                        self.settings.tell(item)
                        yield item
            return
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
                    backlog.taken(size)
                    self._turn.notify_all()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        self._unpacker.shutdown(wait=False, cancel_futures=True)

    def _start(
        self, waiting: Iterator[Flow], backlog: Backlog, tasks: set[asyncio.Task[None]]
    ) -> None:
        failed = any(slot.error is not None for slot in backlog.slots)
        while not failed and len(backlog.slots) < self.settings.concurrency + 2:
            flow = next(waiting, None)
            if flow is None:
                return
            task = asyncio.create_task(self._fill(flow, backlog.open()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _fill(self, flow: Flow, slot: Slot) -> None:
        """Drive one window, keeping what it emits until it is taken."""
        error: BaseException | None = None
        try:
            async for item in self._drive(flow, slot):
                async with self._turn:
                    slot.put(item, item.size)
                    self._turn.notify_all()
                del item
        except Exception as caught:
            error = caught
        finally:
            flow.close()
        async with self._turn:
            slot.finish(error)
            self._turn.notify_all()

    async def _drive(self, flow: Flow, slot: Slot) -> AsyncGenerator[Any]:
        reply: Reply | Failure | None = None
        begun = 0
        while True:
            try:
                step: Step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, Send):
                await self._wait(lambda: self._governor.delay() if slot.may_send() else None)
                begun = self._governor.begin()
                slot.sent()
                packed: _Packed | Failure | None = None
                try:
                    packed = await self._send(step)
                finally:
                    self._governor.end(_accepted(packed))
                slot.arrived(packed.size if isinstance(packed, _Packed) else 0)
                async with self._turn:
                    self._turn.notify_all()
                if _accepted(packed):
                    await self._wait(lambda: 0.0 if slot.may_unpack() else None)
                reply = await self._unpack(packed)
                del packed
            elif isinstance(step, Wait):
                self.settings.tell(step)
                if step.throttled:
                    self._governor.throttle(begun, step.seconds)
                await asyncio.sleep(step.seconds)
            else:
                yield step.value

    async def _wait(self, delay: Callable[[], float | None]) -> None:
        """Wait until `delay` is 0; None means until something happens."""
        while (seconds := delay()) != 0:
            async with self._turn:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._turn.wait()

    async def _send(self, step: Send) -> _Packed | Failure:
        try:
            async with self._client.stream(**step.request) as response:
                late = _lateness(self.settings)
                chunks = [chunk async for chunk in response.aiter_raw() if not late()]
                return _Packed(response, chunks, self.settings.credentials.redact)
        except httpx.RequestError as error:
            return _failure(error, self.settings)

    async def _unpack(self, packed: _Packed | Failure) -> Reply | Failure:
        if isinstance(packed, Failure):
            return packed
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._unpacker, packed.unpack)
        except zlib.error as error:
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


class _Packed:
    """An answer as it came over the wire."""

    def __init__(
        self, response: httpx.Response, chunks: list[bytes], redact: Callable[[bytes], bytes]
    ) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        # Joined here and not where it is inflated: there it would leave holes in that thread's part
        # of the heap, into which the next page, if it is but a little larger, would not fit.
        self.packed = b"".join(chunks)
        self.size = len(self.packed)
        self._redact = redact

    def unpack(self) -> Reply:
        """Inflate the body; raises zlib.error if it is damaged.

        What an error says is shown to people, so no key that it may echo is left in it.
        """
        if self.status == 200:
            return Reply(self.status, self.headers, self._body())
        try:
            body = self._body()
        except zlib.error:
            body = b""  # the status says enough
        headers = {
            name: self._redact(value.encode()).decode() for name, value in self.headers.items()
        }
        return Reply(self.status, headers, self._redact(body))

    def _body(self) -> bytes:
        encoding = self.headers.get("content-encoding", "identity").lower()
        return _inflate(self.packed) if encoding in ("gzip", "deflate") else self.packed


def _lateness(settings: Settings) -> Callable[[], bool]:
    """Return what raises httpx.ReadTimeout once a body has been coming for too long.

    httpx's own limit is for each piece, and an answer that comes in drops would never reach it.
    """
    until = time.monotonic() + _SLOWEST * settings.timeout

    def late() -> bool:
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer does not end")
        return False

    return late


def _accepted(packed: _Packed | Failure | None) -> bool:
    return isinstance(packed, _Packed) and packed.status == 200


def _inflate(packed: bytes) -> bytes:
    """Inflate an answer in one go, into a buffer of the right size: a gzip stream ends with it.

    In pieces it would have to win the interpreter back from the consumer after each of them.
    """
    length = int.from_bytes(packed[-4:], "little")
    if not 0 < length <= _MOST_DEFLATED * len(packed):
        length = zlib.DEF_BUF_SIZE
    return zlib.decompress(packed, _GZIP_OR_ZLIB, length)


def _unpacking_thread() -> ThreadPoolExecutor:
    """Return the one thread that inflates: beside the others, and in one part of the heap."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="anthropic-usage-unpack")


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
    return Failure(f"the connection to {host} broke ({str(error) or type(error).__name__})")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
