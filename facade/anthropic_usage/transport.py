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
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import attrs
import httpx

from .credentials import Credentials
from .errors import AnthropicUsageError, InvalidQuery
from .flow import Failure, Flow, Part, Reply, Send, Step, Wait
from .governor import Backlog, Governor, Slot

__all__ = ["AsyncTransport", "Listener", "Settings", "Transport"]

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"
PLAIN_HTTP: Final = "ANTHROPIC_USAGE_ALLOW_HTTP"
"""Set to 1, it allows a base URL without TLS beyond this machine."""

T = TypeVar("T")
Listener = Callable[[Wait | Part], None]
"""Told of every wait and every page; for progress bars."""

_GZIP_OR_ZLIB: Final = 47
"""zlib's window bits for "either, by its header"."""

_PATIENCE: Final = 1.0
"""Seconds to wait for a thread whose request was broken off; a daemon, it ends by itself later."""

_SLOWEST: Final = 10
"""How many times the time-out an answer may take from its first byte to its last."""

_LARGEST: Final = 4
"""How many times the budget of answers in flight a single answer may be."""

_STRANGE_RATIO: Final = 250
"""JSON of reports shrinks to a tenth or a fiftieth."""

_MOST_DEFLATED: Final = 1032
"""No deflate stream shrinks by more than this (zlib's technical notes)."""


def _base_url(given: object) -> str:
    source = "the base URL"
    url = given
    if given is None:
        url = os.environ.get("ANTHROPIC_BASE_URL", "").strip()
        source = "ANTHROPIC_BASE_URL" if url else source
        url = url or DEFAULT_BASE_URL
    problem = f"{source} is none; give one like {DEFAULT_BASE_URL}"
    if not isinstance(url, str):
        raise InvalidQuery(problem)
    url = url.rstrip("/")
    parts = _parts(url)
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or not url.isprintable()
        or " " in url
    ):
        raise InvalidQuery(problem)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidQuery("the base URL takes a host and a path, no credentials and no query")
    encrypted = parts.scheme == "https" or _is_loopback(parts.hostname)
    if not encrypted and os.environ.get(PLAIN_HTTP, "").strip() != "1":
        raise InvalidQuery(
            f"the key would travel unencrypted to {parts.hostname}: use https, "
            f"or set {PLAIN_HTTP}=1 if that is meant"
        )
    return url.removesuffix("/v1")


def _parts(url: str) -> SplitResult | None:
    """Return a URL's parts, or None where httpx would not send to it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        # Empty or endless labels, and letters that IDNA lacks.
        httpx.URL(url).raw_host.decode("ascii").encode("idna")
    except (ValueError, httpx.InvalidURL):
        return None
    return parts


def _number(least: float, most: float, kind: type = float) -> Callable[[Any, Any, Any], None]:
    """Return what refuses anything but a number within these bounds."""

    def check(settings: object, attribute: Any, value: object) -> None:
        kinds = (int,) if kind is int else (int, float)
        whole = "a whole number" if kind is int else "a number"
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise InvalidQuery(f"{attribute.name} is {whole} from {least:g} to {most:g}")

    return check


@attrs.frozen(kw_only=True)
class Settings:
    """Where and how to ask."""

    credentials: Credentials
    base_url: str = attrs.field(default=None, converter=_base_url)
    timeout: float = attrs.field(default=60.0, validator=_number(1e-3, 86_400))
    concurrency: int = attrs.field(default=4, validator=_number(1, 256, int))
    max_in_flight_mb: float = attrs.field(default=64.0, validator=_number(1e-3, 2**20))
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

    def open(self, client: Callable[..., T]) -> T:
        """Make an httpx client; raises InvalidQuery naming the variable that it cannot use."""
        try:
            return client(**self.httpx_options())
        except (OSError, ssl.SSLError) as error:
            names = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
            problem = f"{' or '.join(names) or 'a certificate'} cannot be used: {_reason(error)}"
        except (ImportError, ValueError, TypeError, httpx.InvalidURL) as error:
            problem = _proxy_problem(error)
        raise InvalidQuery(problem)

    @property
    def most_bytes(self) -> int:
        """The largest answer that is read, packed or not."""
        return int(max(1.0, _LARGEST * self.max_in_flight_mb) * 2**20)

    def backlog(self) -> Backlog:
        """Return the bookkeeping of one report's windows."""
        return Backlog(int(self.max_in_flight_mb * 2**20))

    def tell(self, event: object) -> None:
        """Tell the listener of a wait or a page, if there is one."""
        if self.listener is not None and isinstance(event, Wait | Part):
            self.listener(event)


class _Lane:
    """One connection, which another thread can break off in the midst of a request."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
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
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        settings = self.settings
        self._pid = os.getpid()

        def clients(**options: Any) -> list[_Lane]:
            return [_Lane(httpx.Client(**options)) for _ in range(settings.concurrency)]

        self._lanes = settings.open(clients)
        self._governor = Governor(settings.concurrency)
        self._unpacker = _unpacking_thread()
        self._turn = threading.Condition()

    def run(self, flow: Flow) -> Generator[Any]:
        """Yield what the flow emits."""
        self._check()
        with contextlib.closing(flow):
            yield from self._drive(flow, self.settings.backlog().open(), threading.Event())

    def run_all(self, flows: Iterable[Flow]) -> Generator[Any]:
        """Yield what the flows emit, in their order, while several of them are under way.

        Closing the iterator early stops the rest: nothing more is sent, and requests under way are
        broken off.
        """
        self._check()
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
        self._closed = True
        for lane in self._lanes:
            lane.client.close()
        self._unpacker.shutdown(wait=False, cancel_futures=True)

    def _check(self) -> None:
        """Refuse to go on with what is closed; a child process gets connections of its own."""
        if self._closed:
            raise _closed()
        if self._pid != os.getpid():
            # Of threads, locks and sockets of the parent nothing can be used here.
            self._connect()

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
            except AnthropicUsageError as error:
                raise self.settings.credentials.scrubbed(error) from None
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
        settings, late = self.settings, threading.Event()

        def give_up() -> None:
            late.set()
            lane.abort()

        # httpx's own limit is for each piece; one that comes in drops would never reach it.
        watch = threading.Timer(_SLOWEST * settings.timeout, give_up)
        watch.daemon = True
        watch.start()
        try:
            with lane.stream(step.request) as response:
                chunks, size = [], 0
                for chunk in response.iter_raw():
                    size += len(chunk)
                    if size > settings.most_bytes:
                        return _too_large(settings)
                    chunks.append(chunk)
                return _Packed(response, chunks, settings)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            if late.is_set():
                return _endless(settings)
            return _failure(error, settings)
        except RuntimeError:
            if self._closed:
                raise _closed() from None
            raise
        finally:
            watch.cancel()

    def _unpack(self, packed: _Packed | Failure) -> Reply | Failure:
        if isinstance(packed, Failure):
            return packed
        try:
            return self._unpacker.submit(packed.unpack).result()
        except zlib.error as error:
            return _failure(error, self.settings)
        except RuntimeError:
            if self._closed:
                raise _closed() from None
            raise


class _Signal:
    """Wakes whoever waits for a change; `notify` never waits, so `finally` may call it."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Let everybody look again."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def until(self, delay: Callable[[], float | None]) -> None:
        """Wait until `delay` is 0; else it is seconds, or None: until something changes."""
        while (seconds := delay()) != 0:
            changed = asyncio.get_running_loop().create_future()
            self._waiting.add(changed)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await changed
            finally:
                self._waiting.discard(changed)


class AsyncTransport:
    """Drives flows with asyncio, a task for each window under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client: httpx.AsyncClient = settings.open(httpx.AsyncClient)
        self._governor = Governor(settings.concurrency)
        self._unpacker = _unpacking_thread()
        self._signal = _Signal()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closed = False

    async def run(self, flow: Flow) -> AsyncGenerator[Any]:
        """Yield what the flow emits."""
        self._check()
        with contextlib.closing(flow):
            async for item in self._drive(flow, self.settings.backlog().open()):
                yield item

    async def run_all(self, flows: Iterable[Flow]) -> AsyncGenerator[Any]:
        """Yield what the flows emit, in their order, while several of them are under way.

        Closing the iterator early cancels the rest.
        """
        self._check()
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
                await self._signal.until(_when(slot.ready))
                if not slot.items:
                    backlog.slots.popleft()
                    self._signal.notify()
                    if slot.error is not None:
                        raise slot.error
                    continue
                item, size = slot.items.popleft()
                self.settings.tell(item)
                yield item
                del item
                backlog.taken(size)
                self._signal.notify()
        finally:
            for task in tasks:
                task.cancel()
            self._signal.notify()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._client.aclose()
        self._unpacker.shutdown(wait=False, cancel_futures=True)

    def _check(self) -> None:
        """Refuse to go on with what is closed, or belongs to another loop or process."""
        if self._closed:
            raise _closed()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise AnthropicUsageError(
                "AsyncUsageClient needs asyncio: run it there, or use UsageClient in a thread"
            ) from None
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop or self._pid != os.getpid():
            raise AnthropicUsageError(
                "this client belongs to another event loop or process: make one for each"
            )

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
            async with contextlib.aclosing(self._drive(flow, slot)) as items:
                async for item in items:
                    slot.put(item, item.size)
                    self._signal.notify()
                    del item
        except Exception as caught:
            error = caught
        finally:
            flow.close()
            slot.finish(error)
            self._signal.notify()

    async def _drive(self, flow: Flow, slot: Slot) -> AsyncGenerator[Any]:
        reply: Reply | Failure | None = None
        begun = 0
        while True:
            try:
                step: Step = flow.send(reply)
            except StopIteration:
                return
            except AnthropicUsageError as error:
                raise self.settings.credentials.scrubbed(error) from None
            reply = None
            if isinstance(step, Send):
                await self._signal.until(
                    lambda: self._governor.delay() if slot.may_send() else None
                )
                begun = self._governor.begin()
                slot.sent()
                packed: _Packed | Failure | None = None
                try:
                    packed = await self._send(step)
                finally:
                    self._governor.end(_accepted(packed))
                    slot.arrived(packed.size if isinstance(packed, _Packed) else 0)
                    self._signal.notify()
                if _accepted(packed):
                    await self._signal.until(_when(slot.may_unpack))
                reply = await self._unpack(packed)
                del packed
            elif isinstance(step, Wait):
                self.settings.tell(step)
                if step.throttled:
                    self._governor.throttle(begun, step.seconds)
                await asyncio.sleep(step.seconds)
            else:
                yield step.value

    async def _send(self, step: Send) -> _Packed | Failure:
        settings = self.settings
        try:
            async with (
                asyncio.timeout(_SLOWEST * settings.timeout),
                self._client.stream(**step.request) as response,
            ):
                chunks, size = [], 0
                async for chunk in response.aiter_raw():
                    size += len(chunk)
                    if size > settings.most_bytes:
                        return _too_large(settings)
                    chunks.append(chunk)
                return _Packed(response, chunks, settings)
        except TimeoutError:
            return _endless(settings)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            return _failure(error, settings)
        except RuntimeError:
            if self._closed:
                raise _closed() from None
            raise

    async def _unpack(self, packed: _Packed | Failure) -> Reply | Failure:
        if isinstance(packed, Failure):
            return packed
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._unpacker, packed.unpack)
        except zlib.error as error:
            return _failure(error, self.settings)
        except RuntimeError:
            if self._closed:
                raise _closed() from None
            raise


def _when(ready: Callable[[], bool]) -> Callable[[], float | None]:
    return lambda: 0.0 if ready() else None


def _closed() -> AnthropicUsageError:
    return AnthropicUsageError(
        "the client is closed: read its reports inside the `with` block, or collect() them there"
    )


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

    def __init__(self, response: httpx.Response, chunks: list[bytes], settings: Settings) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        # Joined here and not where it is inflated: there it would leave holes in that thread's part
        # of the heap, into which the next page, if it is but a little larger, would not fit.
        self.packed = b"".join(chunks)
        self.size = len(self.packed)
        self._redact = settings.credentials.redact
        self._most = settings.most_bytes

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
        if encoding not in ("gzip", "deflate"):
            return self.packed
        return _inflate(self.packed, self._most)


def _endless(settings: Settings) -> Failure:
    host = urlsplit(settings.base_url).netloc
    return Failure(
        f"no answer from {host} that ends within {_SLOWEST * settings.timeout:g} s",
        timed_out=True,
    )


def _too_large(settings: Settings) -> Failure:
    return Failure(
        f"an answer larger than {settings.most_bytes / 2**20:,.0f} MB; ask for fewer dimensions or "
        "a shorter range, or raise max_in_flight_mb",
        attempts=1,
    )


def _accepted(packed: _Packed | Failure | None) -> bool:
    return isinstance(packed, _Packed) and packed.status == 200


def _inflate(packed: bytes, most: int) -> bytes:
    """Inflate an answer, of several gzip members if it must be, up to `most` bytes.

    In one go, into a buffer of the right size, since a gzip stream ends with it: in pieces it would
    have to win the interpreter back from the consumer after each of them. What begins more like a
    bomb than like JSON is inflated in pieces all the same, and both end at `most`.
    """
    length = int.from_bytes(packed[-4:], "little")
    natural = 0 < length <= min(most, _MOST_DEFLATED * len(packed))
    if natural and _ratio(packed) < _STRANGE_RATIO:
        whole = zlib.decompress(packed, _GZIP_OR_ZLIB, length)
        # Another member begins with these bytes; by chance they stand elsewhere, too.
        alone = packed.find(b"\x1f\x8b\x08", 1) < 0
        if len(whole) == length and (alone or zlib.crc32(whole) == _checksum(packed)):
            return whole
    members, left = [], most
    while packed:
        member = zlib.decompressobj(_GZIP_OR_ZLIB)
        members.append(member.decompress(packed, left + 1))
        left -= len(members[-1])
        if left < 0:
            raise zlib.error(f"it unpacks to more than {most / 2**20:,.0f} MB")
        if not member.eof:
            raise zlib.error("it is cut off")
        packed = member.unused_data.lstrip(b"\0")
    return b"".join(members)


def _checksum(packed: bytes) -> int:
    """Return the checksum that a gzip stream ends with: of its last member."""
    return int.from_bytes(packed[-8:-4], "little")


def _ratio(packed: bytes) -> float:
    """Return how much larger the beginning of an answer becomes."""
    sample = packed[:4096]
    return len(zlib.decompressobj(_GZIP_OR_ZLIB).decompress(sample, 2**22)) / len(sample)


def _unpacking_thread() -> ThreadPoolExecutor:
    """Return the one thread that inflates: beside the others, and in one part of the heap."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="anthropic-usage-unpack")


def _failure(error: Exception, settings: Settings) -> Failure:
    """Say in plain words why there was no answer, and how often it makes sense to try."""
    host = urlsplit(settings.base_url).netloc
    causes = list(_causes(error))
    if isinstance(error, zlib.error):
        return Failure(f"a damaged answer from {host} ({error})")
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure(
                f"the certificate of {host} is not trusted ({cause.verify_message}): set "
                "SSL_CERT_FILE to the certificates of whoever signed it",
                attempts=1,
            )
        if isinstance(cause, socket.gaierror):
            return Failure(
                f"the name {urlsplit(settings.base_url).hostname} does not resolve: check "
                "ANTHROPIC_BASE_URL, the network, or a proxy (HTTPS_PROXY)",
                attempts=2,
            )
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure(f"no connection to {host} in time")
    if isinstance(error, httpx.TimeoutException):
        return Failure(f"no answer from {host} within {settings.timeout:g} s", timed_out=True)
    if isinstance(error, httpx.ProxyError):
        names = " or ".join(_proxies()) or "HTTPS_PROXY"
        return Failure(f"the proxy refused ({_reason(error)}): check {names}", attempts=2)
    if isinstance(error, httpx.ConnectError):
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
        here = _is_loopback(urlsplit(settings.base_url).hostname or "")
        return Failure(
            f"no connection to {host} ({_reason(error)})", attempts=1 if refused and here else None
        )
    if isinstance(
        error,
        httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError | UnicodeError,
    ):
        return Failure(f"no request to {host} can be made ({_reason(error)})", attempts=1)
    return Failure(f"the connection to {host} broke ({_reason(error)})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        yield from getattr(error, "exceptions", ())
        error = error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    """Return an error's words as one short line; without any, its kind."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _proxies() -> list[str]:
    """Return the variables that name a proxy."""
    names = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
    return [
        name
        for upper in names
        for name in (upper, upper.lower())
        if os.environ.get(name, "").strip()
    ]


def _proxy_problem(error: Exception) -> str:
    """Name the variable whose proxy httpx cannot use; its value may hold a password."""
    for name in _proxies():
        try:
            if not name.lower().startswith("no_"):
                httpx.HTTPTransport(proxy=os.environ[name].strip()).close()
        except ImportError:
            return f"{name} names a SOCKS proxy: pip install 'httpx[socks]', or set NO_PROXY"
        except (ValueError, httpx.InvalidURL):
            return f"{name} is no proxy that can be used: give one like http://host:port"
    culprits = " or ".join(_proxies())
    if culprits:
        return f"{culprits} cannot be used: give a proxy like http://host:port"
    return f"no connection can be made ({_reason(error)})"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
