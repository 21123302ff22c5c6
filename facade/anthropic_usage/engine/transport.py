"""The one engine: drives flows over HTTP, for asyncio; the only module that knows httpx.

A blocking client runs the same engine in a thread of its own (`Portal`), to which a question goes
whole. The engine adds the key to each request and takes care that nothing else ever holds it: what
httpx raises is turned into a `Failure` at once, so no traceback leads to a request's headers, and
every error leaves through `Engine.drive`, which takes the key out of its words. Windows are fetched
side by side under one governor a client, and what they emit is handed on in order.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib.metadata
import importlib.util
import io
import ipaddress
import logging
import os
import socket
import ssl
import sys
import threading
import urllib.request
import weakref
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import attrs
import httpx
from httpx import AsyncBaseTransport

from ..credentials import Credentials, redactor
from ..errors import (
    AnthropicUsageError,
    IncompleteReport,
    InvalidQuery,
    held_warnings,
    say_held,
)
from ..reports import Part
from .flow import Failure, Flow, Reply, Send, Step, Wait, check_number
from .governor import Backlog, Governor, Signal, Slot, Turn

__all__ = [
    "AsyncBaseTransport",
    "Engine",
    "Listener",
    "Portal",
    "Reading",
    "Settings",
    "user_agent",
]

API_HOST: Final = "api.anthropic.com"
DEFAULT_BASE_URL: Final = f"https://{API_HOST}"
BASE_URL_VARIABLE: Final = "ANTHROPIC_BASE_URL"
ALLOW_HTTP_VARIABLE: Final = "ANTHROPIC_USAGE_ALLOW_HTTP"

T = TypeVar("T")


class Listener(Protocol):
    """Told of every wait and every page, in the engine's thread; for progress bars."""

    def __call__(self, event: Wait | Part, /) -> None: ...


_GZIP_OR_ZLIB: Final = 47
"""zlib's window bits for "either, by its header"."""

_LOG: Final = logging.getLogger("anthropic_usage")
"""Requests (DEBUG) and waits (INFO)."""

_PATIENCE: Final = 0.5
"""Seconds for what was broken off to tidy up; it ends by itself later."""

_SLOWEST: Final = 10
"""How many times the time-out an answer may take from the request to its last byte."""

_PIECE: Final = 2**14
"""Bytes that are inflated at once."""

_LIKELY_RATIO: Final = 250
"""JSON of reports shrinks to a tenth or a fiftieth."""


@attrs.frozen
class _Address:
    """Where to ask, and who said so."""

    url: str
    source: str


def _address(given: object, allow_http: bool) -> _Address:
    """Return the base URL that was given, else set, else the API's; raises InvalidQuery."""
    url, source = given, "base_url"
    if given is None or given == "":
        url, source = os.environ.get(BASE_URL_VARIABLE, "").strip(), BASE_URL_VARIABLE
        if not url:
            return _Address(DEFAULT_BASE_URL, "default")
    wrong = InvalidQuery(f"the base URL ({source}) is none; give one like {DEFAULT_BASE_URL}")
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise wrong
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
        host = httpx.URL(url).raw_host.decode("ascii")
    except (ValueError, httpx.InvalidURL):
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not _is_host(host):
        raise wrong
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InvalidQuery(
            f"the base URL ({source}) takes a host and a path, no credentials and no query"
        )
    if parts.scheme == "http" and not _is_loopback(host) and not allow_http:
        raise InvalidQuery(
            f"the base URL ({source}) is http, and the key would travel unencrypted to {host}: "
            f"use https, or allow it with allow_http=True or {ALLOW_HTTP_VARIABLE}=1"
        )
    return _Address(url.removesuffix("/v1"), source)


def _http_allowed(given: object) -> bool:
    if given is not None:
        if not isinstance(given, bool):
            raise InvalidQuery("allow_http is neither True nor False")
        return given
    word = os.environ.get(ALLOW_HTTP_VARIABLE, "").strip().lower()
    if word not in ("", "0", "1", "false", "true"):
        raise InvalidQuery(f"{ALLOW_HTTP_VARIABLE} is neither 1 nor 0")
    return word in ("1", "true")


class Settings:
    """Where and how to ask; raises InvalidQuery for what cannot be used."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        base_url: str | None = None,
        timeout: float = 60.0,
        concurrency: int = 4,
        max_in_flight_mb: float = 64.0,
        listener: Listener | None = None,
        allow_http: bool | None = None,
        proxy: str | None = None,
        verify: Literal[True] | str | ssl.SSLContext = True,
        transport: AsyncBaseTransport | None = None,
    ) -> None:
        check_number("timeout", timeout, 1e-3, 86_400)
        check_number("concurrency", concurrency, 1, 1000)
        if not isinstance(concurrency, int):
            raise InvalidQuery("concurrency is no whole number")
        check_number("max_in_flight_mb", max_in_flight_mb, 1e-6, 2**20)
        if listener is not None and not callable(listener):
            raise InvalidQuery("listener is no function of one argument")
        if transport is not None and not isinstance(transport, AsyncBaseTransport):
            raise InvalidQuery("transport is no httpx.AsyncBaseTransport")
        if transport is not None and proxy is not None:
            raise InvalidQuery("a transport has its own way: give a proxy to it, not beside it")
        self.proxy = None if proxy is None else _proxy(proxy)
        self.verify = _trusted(verify)
        self.transport = transport
        address = _address(base_url, _http_allowed(allow_http))
        if credentials.without(address.url) != address.url:
            raise InvalidQuery(f"the base URL ({address.source}) holds the key: give it apart")
        self.credentials = credentials
        self.base_url: str = address.url
        self.base_url_source: str = address.source
        """Who named the base URL: `base_url`, `ANTHROPIC_BASE_URL`, or `default`."""
        self.timeout = timeout
        self.concurrency = concurrency
        self.max_in_flight_mb = max_in_flight_mb
        self.listener = listener
        self.host: str = urlsplit(self.base_url).hostname or ""
        self.is_loopback = _is_loopback(self.host)
        self.largest = int(max(1.0, 4 * max_in_flight_mb) * 2**20)
        """The most bytes of one answer, as they come and unpacked."""
        # Whoever stands between may echo a proxy's password, too.
        self._hide = redactor(*_passwords([proxy or ""]))

    def without_secrets(self, text: str) -> str:
        """Return a text as it may be shown: this is the one door for words from outside."""
        return self._hide(self.credentials.without(text))

    def is_echo(self, reply: Reply | Failure | None) -> bool:
        """Tell whether an answer holds the key where what the organisation used should stand."""
        good = isinstance(reply, Reply) and reply.status == 200
        return good and self.credentials.stands_in(reply.body)  # type: ignore[union-attr]

    def backlog(self) -> Backlog:
        """Return the bookkeeping of one report's windows."""
        return Backlog(int(self.max_in_flight_mb * 2**20))

    def tell(self, event: object) -> None:
        """Tell the listener of a wait or a page, if there is one."""
        if self.listener is not None and isinstance(event, Wait | Part):
            self.listener(event)

    def http_client(self) -> httpx.AsyncClient:
        """Return a client of httpx; raises InvalidQuery that names the variable in the way."""
        try:
            return self._http_client()
        except InvalidQuery as error:
            problem = InvalidQuery(self.without_secrets(str(error)))
        raise problem

    def _http_client(self) -> httpx.AsyncClient:
        # A proxy named in the environment is for the world outside, not for this machine.
        outside = not self.is_loopback and self.transport is None
        if outside and self.proxy is None:
            _check_proxies()
        problem = "the environment's settings for HTTP cannot be used: check SSL_CERT_FILE, "
        problem += "SSL_CERT_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY"
        with _typed(problem):
            return httpx.AsyncClient(
                base_url=self.base_url,
                auth=_Auth(self.credentials),
                timeout=httpx.Timeout(self.timeout, connect=min(10.0, self.timeout)),
                headers={
                    "user-agent": user_agent(),
                    "accept": "application/json",
                    "accept-encoding": "gzip",
                },
                limits=httpx.Limits(
                    max_connections=None, max_keepalive_connections=self.concurrency
                ),
                follow_redirects=False,
                verify=_trust(self.base_url) if self.verify is None else self.verify,
                trust_env=outside,
                proxy=self.proxy,
                transport=self.transport,
            )


@contextlib.contextmanager
def _typed(problem: str) -> Iterator[None]:
    """Turn whatever goes wrong in here into an InvalidQuery of these words and its own type."""
    try:
        yield
    except AnthropicUsageError:
        raise
    except Exception as error:
        kind = type(error).__name__
    else:
        return
    raise InvalidQuery(f"{problem} ({kind})")


def _trust(base_url: str) -> ssl.SSLContext:
    """Return whom to trust, made once for all connections, since that takes long."""
    if not base_url.startswith("https:"):
        # Without TLS it stays empty, so nothing that came to need it would be trusted.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file and not os.path.isfile(file):
        raise InvalidQuery(f"SSL_CERT_FILE names {file!r}, which is no file; unset it or mend it")
    if folder and not file and not os.path.isdir(folder):
        raise InvalidQuery(f"SSL_CERT_DIR names {folder!r}, no folder; unset it or mend it")
    log = os.environ.get("SSLKEYLOGFILE")
    if log:
        with _typed("SSLKEYLOGFILE names a file that cannot be written; unset it or mend it"):
            open(log, "ab").close()
    name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR" if folder else "the certificates of certifi"
    with _typed(f"{name} cannot be read as certificates; mend it"):
        return httpx.create_ssl_context()


_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def _proxies() -> Iterator[tuple[str, str]]:
    """Yield the variables that name a proxy, and what they say."""
    for name in _PROXIES:
        for spelt in (name.lower(), name):
            if os.environ.get(spelt, "").strip():
                yield spelt, os.environ[spelt].strip()
                break


def _proxy(url: object) -> httpx.Proxy:
    """Return a proxy that was given as an argument; raises InvalidQuery."""
    with _typed("proxy is none that can be used; give one like http://host:port"):
        proxy = httpx.Proxy(url if isinstance(url, str) else "")
        if not _is_host(proxy.url.raw_host.decode("ascii")):
            raise ValueError
        if proxy.url.scheme.startswith("socks") and not _has_socks():
            raise ValueError
    return proxy


def _trusted(verify: object) -> ssl.SSLContext | None:
    """Return whom to trust if that was said: a file or folder of certificates, or a context.

    None leaves it to the environment and certifi, as httpx does. A key is never sent to whoever
    answers, so what checks nothing is refused.
    """
    if verify is True:
        return None
    if isinstance(verify, ssl.SSLContext):
        if verify.verify_mode != ssl.CERT_REQUIRED or not verify.check_hostname:
            raise InvalidQuery("verify is an ssl.SSLContext that checks nothing: let it check")
        return verify
    if not isinstance(verify, str | os.PathLike) or not os.path.exists(verify):
        raise InvalidQuery(
            "verify is True, a file or folder of certificates, or an ssl.SSLContext that checks: "
            "the key is never sent to whoever answers"
        )
    with _typed("verify names no certificates that can be used"):
        if os.path.isdir(verify):
            context = ssl.create_default_context(capath=verify)
        else:
            context = ssl.create_default_context(cafile=verify)
    return context


def _passwords(given: Iterable[str] = ()) -> list[str]:
    secrets = []
    for url in (*given, *(url for _, url in _proxies())):
        with contextlib.suppress(ValueError):
            secrets.append(urlsplit(url if "://" in url else f"//{url}").password or "")
    return [secret for secret in secrets if len(secret) > 3]


def _check_proxies() -> None:
    """Refuse a proxy that httpx could not use; raises InvalidQuery that names its variable."""
    for name, url in _proxies():
        mend = "mend it, unset it, or name the host in NO_PROXY"
        full = url if "://" in url else f"http://{url}"
        with _typed(f"{name} is no proxy that can be used, such as http://host:port; {mend}"):
            proxy = httpx.Proxy(full)
            if not _is_host(proxy.url.raw_host.decode("ascii")):
                raise ValueError
            if proxy.url.scheme.startswith("socks") and not _has_socks():
                raise InvalidQuery(
                    f"{name} is a SOCKS proxy: pip install 'httpx[socks]', or {mend}"
                )
    for name in ("no_proxy", "NO_PROXY"):
        hosts = os.environ.get(name, "")
        if not all(sign.isprintable() and sign.isascii() for sign in hosts):
            raise InvalidQuery(f"{name} holds characters that no host has; mend it or unset it")
        with _typed(f"{name} is no list of hosts; mend it or unset it"):
            for host in filter(None, (part.strip() for part in hosts.split(","))):
                httpx.URL(f"all://{host}" if "://" not in host and ":" not in host else "all://x")


def _has_socks() -> bool:
    return importlib.util.find_spec("socksio") is not None


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


class Engine:
    """Drives the flows of one client in one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Make one; nothing is sent, and no loop is needed yet. Raises InvalidQuery."""
        self.settings = settings
        self.signal = Signal()
        self.governor = Governor(settings.concurrency, self.signal)
        self.closed = False
        self._client = settings.http_client()
        self._unpacker = _unpacking_thread()
        self._readings: weakref.WeakSet[Reading] = weakref.WeakSet()

    def read(self, flows: Iterable[Flow]) -> Reading:
        """Return what the flows emit, in their order; raises AnthropicUsageError if closed."""
        if self.closed:
            raise closed_error()
        reading = Reading(self, flows)
        self._readings.add(reading)
        return reading

    async def aclose(self) -> None:
        """Close all connections; whoever still reads gets an AnthropicUsageError."""
        self.closed = True
        for reading in list(self._readings):
            await reading.aclose()
        await self._client.aclose()
        self._unpacker.shutdown(wait=False, cancel_futures=True)

    async def drive(self, flow: Flow, slot: Slot) -> AsyncGenerator[Any]:
        """Yield what a flow emits, as the governor and the slot's budget of bytes allow."""
        # In a box, which is empty when the flow refuses what it holds: no frame shows an answer.
        box: list[Reply | Failure | None] = [None]
        turn = Turn(0)
        while True:
            step = self._next(flow, box)
            if step is None:
                return
            box.append(None)
            if isinstance(step, Send):
                async with self.governor.turn(slot.may_send) as turn:
                    slot.sent()
                    packed = await self._send(step)
                    self._note(step, packed)
                    turn.accepted = isinstance(packed, _Packed) and packed.status == 200
                    slot.arrived(packed.size if isinstance(packed, _Packed) else 0)
                if turn.accepted:
                    await self.signal.until(lambda: 0.0 if slot.may_unpack() else None)
                box[0] = await self._unpack(packed)
                del packed
                if self.settings.is_echo(box[0]):
                    box.clear()
                    raise IncompleteReport(
                        f"an answer from {self.settings.host} holds the key itself and is not "
                        f"read, for Anthropic sends no such thing: check {BASE_URL_VARIABLE} and "
                        "proxies, and change the key"
                    )
            elif isinstance(step, Wait):
                step = attrs.evolve(step, why=self.settings.without_secrets(step.why))
                self.settings.tell(step)
                _LOG.info("waiting %.1f s: %s", step.seconds, step.why)
                if step.throttled:
                    self.governor.throttle(turn, step.seconds)
                await asyncio.sleep(step.seconds)
            else:
                yield step.value
                del step  # or the page would be kept while the next one is fetched

    def _note(self, step: Send, answer: _Packed | Failure) -> None:
        """Log a request and what came of it; no header, so no key."""
        if _LOG.isEnabledFor(logging.DEBUG):
            came = answer.status if isinstance(answer, _Packed) else answer.reason
            said = f"{step.request['method'].upper()} {step.request['url']}: {came}"
            _LOG.debug("%s", self.settings.without_secrets(said))

    def _next(self, flow: Flow, box: list[Reply | Failure | None]) -> Step | None:
        """Return a flow's next step, given what is in the box; None at its end.

        Its errors come without secrets.
        """
        try:
            return flow.send(box.pop())
        except StopIteration:
            return None
        except AnthropicUsageError as error:
            error.say_without(self.settings.without_secrets)
            # Anew, so that no frame holds the answer that was refused.
            problem = error.with_traceback(None)
        raise problem

    async def _send(self, step: Send) -> _Packed | Failure:
        settings = self.settings
        problem: Exception
        try:
            # httpx's own limit is for each piece, and what comes in drops would never reach it.
            async with (
                asyncio.timeout(_SLOWEST * settings.timeout),
                self._client.stream(**step.request) as response,
            ):
                if response.is_stream_consumed:
                    return _Packed(response, [response.content], inflated=True)
                chunks, size = [], 0
                async for chunk in response.aiter_raw():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > settings.largest:
                        return _too_large(settings)
                return _Packed(response, chunks)
        except TimeoutError:
            within = f"within {_SLOWEST * settings.timeout:g} s"
            return Failure(f"no answer from {settings.host} that ends {within}", True, attempts=2)
        except Exception as error:
            problem = error
        return _failure(problem, settings)

    async def _unpack(self, packed: _Packed | Failure) -> Reply | Failure:
        if isinstance(packed, Failure):
            return packed
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._unpacker, packed.unpack, self.settings.largest)
        except zlib.error as error:
            return Failure(f"a damaged answer from {self.settings.host} ({error})")
        except OverflowError:
            return _too_large(self.settings)


def closed_error() -> AnthropicUsageError:
    """Return what a closed client says."""
    return AnthropicUsageError(
        "the client is closed: read its reports inside the `with` block, or make another client"
    )


class Reading:
    """Flows under way side by side; iterating gives what they emit, in their order.

    An object and not a generator, so that it can be closed while somebody waits for it.
    """

    def __init__(self, engine: Engine, flows: Iterable[Flow]) -> None:
        self._engine = engine
        self._flows = iter(flows)
        self._backlog = engine.settings.backlog()
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken = 0
        self._ended = False
        self._held: list[tuple[str, type[Warning]]] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        self._backlog.taken(self._taken)
        self._taken = 0
        while True:
            if self._engine.closed:
                raise closed_error()
            self._start()
            if self._ended or not self._backlog.slots:
                raise StopAsyncIteration
            slot = self._backlog.slots[0]
            self._engine.signal.notify()
            await self._ready(slot)
            say_held(self._held)
            if slot.items:
                item, self._taken = slot.items.popleft()
                self._engine.settings.tell(item)
                return item
            if self._ended:
                continue
            self._backlog.slots.popleft()
            if slot.error is not None:
                raise slot.error

    async def aclose(self) -> None:
        """Send nothing more, and break off what is under way."""
        self._ended = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._engine.signal.notify()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ready(self, slot: Slot) -> None:
        await self._engine.signal.until(lambda: 0.0 if slot.ready() or self._ended else None)

    def _start(self) -> None:
        """Have two windows more under way than requests, so that a request always finds one."""
        ahead, slots = self._engine.settings.concurrency + 2, self._backlog.slots
        while not self._ended and len(slots) < ahead and not any(slot.error for slot in slots):
            flow = next(self._flows, None)
            if flow is None:
                return
            task = asyncio.create_task(self._fill(flow, self._backlog.open()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fill(self, flow: Flow, slot: Slot) -> None:
        """Drive one window, and keep what it emits until it is taken."""
        # What is broken off from outside must never be taken for a window that is whole.
        error: BaseException | None = AnthropicUsageError("the reading was broken off")
        try:
            with held_warnings() as held:
                async for item in self._engine.drive(flow, slot):
                    slot.put(item, item.size if isinstance(item, Part) else 0)
                    self._held += held
                    held.clear()
                    self._engine.signal.notify()
                    del item
                self._held += held
            error = None
        except Exception as caught:
            error = caught
        finally:
            flow.close()
            slot.finish(error)
            self._engine.signal.notify()


class _Closing(Protocol):
    async def aclose(self) -> None: ...


class _Loop(asyncio.SelectorEventLoop):
    """Resolves names in threads that nobody waits for at the end: a resolver may take a minute."""

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        found: asyncio.Future[Any] = self.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if found.done():
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(result)

        def resolve() -> None:
            result, problem = None, None
            try:
                result = socket.getaddrinfo(*args, **options)
            except Exception as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop may have ended by now
                self.call_soon_threadsafe(settle, result, problem)

        threading.Thread(target=resolve, name="anthropic-usage-names", daemon=True).start()
        return await found


class Portal:
    """A thread with an event loop, for code that blocks; it works beside a running loop, too.

    A daemon, so a client that nobody closed does not keep the program from ending.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = _Loop()
        self._thread = threading.Thread(
            target=_serve, args=(self._loop,), name="anthropic-usage-engine", daemon=True
        )
        self._thread.start()
        self._stop = weakref.finalize(self, _stop, self._loop)
        self._stop.atexit = False

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Return what comes of it, and warn of what it warned of, in the caller's name.

        Interrupted, it is broken off, and has a moment to tidy up.
        """
        if threading.get_ident() == self._thread.ident:
            raise AnthropicUsageError("a listener cannot ask the client that it listens to")
        if os.getpid() != self.process:
            raise AnthropicUsageError("this report was begun in another process: ask anew")
        held: list[tuple[str, type[Warning]]] = []

        async def task() -> T:
            nonlocal held
            with held_warnings() as held:
                return await function()

        future = self._submit(task())
        try:
            result: T = future.result()
            return result
        except concurrent.futures.CancelledError:
            raise closed_error() from None
        except BaseException:
            if not future.done():
                future.cancel()
                self._pause()
            raise
        finally:
            say_held(held)

    def leave(self, reading: _Closing) -> None:
        """Break a reading off, without waiting long for its end."""
        if sys.is_finalizing() or os.getpid() != self.process:
            return
        with contextlib.suppress(AnthropicUsageError):
            future = self._submit(reading.aclose())
            if threading.get_ident() != self._thread.ident:
                concurrent.futures.wait([future], _PATIENCE)

    def close(self, engine: _Closing) -> None:
        """Close the engine, and stop the thread."""
        self.leave(engine)
        self._stop()
        if threading.get_ident() != self._thread.ident:
            self._thread.join(_PATIENCE)

    def _submit(self, coroutine: Any) -> concurrent.futures.Future[Any]:
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
        raise closed_error()

    def _pause(self) -> None:
        """Let the loop get rid of what was cancelled."""
        with contextlib.suppress(AnthropicUsageError):
            concurrent.futures.wait([self._submit(asyncio.sleep(0))], _PATIENCE)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended
        loop.call_soon_threadsafe(loop.stop)


class _Packed:
    """An answer as it came over the wire."""

    def __init__(
        self, response: httpx.Response, chunks: list[bytes], inflated: bool = False
    ) -> None:
        self._inflated = inflated
        """Whether it did not come over a wire: a transport that was given made it."""
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        # Joined here and not where it is inflated: there it would leave holes in that thread's part
        # of the heap, into which the next page, if it is but a little larger, would not fit.
        self.packed = b"".join(chunks)
        self.size = len(self.packed)

    def unpack(self, largest: int) -> Reply:
        """Inflate the body; raises zlib.error if it is damaged, OverflowError if it is too large.

        Of an answer that is no 200 the status says enough.
        """
        try:
            return Reply(self.status, self.headers, self._body(largest))
        except (zlib.error, OverflowError):
            if self.status == 200:
                raise
            return Reply(self.status, self.headers, b"")

    def _body(self, largest: int) -> bytes:
        if self._inflated:
            return self.packed
        encoding = self.headers.get("content-encoding", "identity").lower()
        return _inflate(self.packed, largest) if encoding in ("gzip", "deflate") else self.packed


def _inflate(packed: bytes, most: int) -> bytes:
    """Inflate an answer, of several gzip members if it must be, up to `most` bytes.

    Piece by piece, for what a stream says of its length at its end may be a lie. The pieces are
    small, so that they leave no holes in this thread's part of the heap, and go into a buffer that
    has the right size from the start if that was true.
    """
    whole = io.BytesIO()
    length = int.from_bytes(packed[-4:], "little")
    if 0 < length <= min(most, _LIKELY_RATIO * len(packed)):
        whole.seek(length - 1)
        whole.write(b"\0")
        whole.seek(0)
    view, member = memoryview(packed), None
    for at in range(0, len(packed), _PIECE):
        piece: bytes | memoryview = view[at : at + _PIECE]
        while piece:
            if member is None:
                piece = bytes(piece).lstrip(b"\0")
                if not piece:
                    break
                member = zlib.decompressobj(_GZIP_OR_ZLIB)
            whole.write(member.decompress(piece, most + 1 - whole.tell()))
            if whole.tell() > most:
                raise OverflowError
            piece = member.unused_data
            if member.eof:
                member = None
    if member is not None:
        raise zlib.error("it is cut off")
    whole.truncate()
    return whole.getvalue()


def _unpacking_thread() -> ThreadPoolExecutor:
    """Return the one thread that inflates: beside the others, and in one part of the heap."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="anthropic-usage-unpack")


def _too_large(settings: Settings) -> Failure:
    most = settings.largest / 2**20
    reason = f"an answer from {settings.host} is larger than {most:,.0f} MB: ask for less at once, "
    return Failure(reason + "or raise max_in_flight_mb (--max-in-flight-mb)", attempts=1)


def _failure(error: Exception, settings: Settings) -> Failure:
    """Say in plain words why there was no answer, and what mends it."""
    host = urlsplit(settings.base_url).netloc
    causes = list(_causes(error))
    proxy = _proxy_of(settings)
    way = f"{host} by the proxy that {proxy} names" if proxy else host
    mend = proxy or ("--base-url" if settings.base_url_source == "base_url" else BASE_URL_VARIABLE)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure(
                f"nobody vouches for the certificate of {host} ({cause.verify_message}): if it is "
                "your company's, name its authority's file in SSL_CERT_FILE (SSL_CERT_DIR)",
                attempts=1,
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            why = cause.reason or type(cause).__name__
            return Failure(f"{way} speaks no TLS ({why}); check {mend}", attempts=2)
        if isinstance(cause, socket.gaierror):
            why = f"the name does not resolve: {cause.strerror}"
            return Failure(
                f"no connection to {way} ({why}); check the network and {mend}", attempts=2
            )
        if isinstance(cause, UnicodeError):
            return Failure(f"no connection to {way}: no such name can be; check {mend}", attempts=1)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure(f"no connection to {way} in time{_check(proxy)}")
    if isinstance(error, httpx.TimeoutException):
        return Failure(f"no answer from {way} within {settings.timeout:g} s", timed_out=True)
    said = settings.without_secrets(" ".join(str(error).split())[:300]) or type(error).__name__
    if isinstance(error, httpx.ProxyError | httpx.UnsupportedProtocol):
        return Failure(f"no connection to {way} ({said}); check {mend}", attempts=1)
    if isinstance(error, httpx.ConnectError):
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
        if refused and settings.is_loopback:
            return Failure(
                f"no connection to {host}: nobody listens there; start it, or check {mend}",
                attempts=1,
            )
        return Failure(f"no connection to {way} ({said}){_check(proxy)}")
    if isinstance(error, httpx.RequestError):
        return Failure(f"the connection to {way} broke ({said})")
    return Failure(
        f"the request to {way} cannot be sent ({type(error).__name__}: {said})", attempts=1
    )


def _check(proxy: str | None) -> str:
    return f"; check {proxy}" if proxy else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it, the members of groups too."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        cause = pending.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        pending += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            pending += cause.exceptions


def _proxy_of(settings: Settings) -> str | None:
    """Return the variable whose proxy requests take, if they take one."""
    scheme = urlsplit(settings.base_url).scheme.upper()
    named = {name.upper(): name for name, _ in _proxies()}
    name = named.get(f"{scheme}_PROXY") or named.get("ALL_PROXY")
    if name is None or settings.is_loopback:
        return None
    try:
        return None if urllib.request.proxy_bypass(settings.host) else name
    except ValueError:
        return name


def _is_host(host: str) -> bool:
    """Tell whether the DNS could hold it, or it is an address."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(
        0 < len(label) <= 63 and label.isascii() and not set(label) & set(" \\<>^`{|}%'\"")
        for label in labels
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def engine_here(engine: Engine | None, home: object, settings: Settings) -> tuple[Engine, object]:
    """Return the engine of the running loop and this process, and what to know it by next time.

    Raises AnthropicUsageError where there is no asyncio, or another loop still uses the engine.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is None:
        raise AnthropicUsageError(
            "AsyncUsageClient needs asyncio: under trio, or without a loop, use UsageClient "
            "(in a thread)"
        )
    here = (os.getpid(), loop)
    if engine is not None and home in (None, here):
        return engine, here
    process, other = home if isinstance(home, tuple) else (None, None)
    if process == here[0] and other is not None and not other.is_closed():
        raise AnthropicUsageError(
            "the client belongs to another event loop that still runs: make a client for each"
        )
    return Engine(settings), here


def pages_of(portal: Portal, reading: Callable[[], Reading]) -> Generator[Part]:
    """Yield what a reading in the portal gives, a page at a time."""
    pages = None
    try:
        pages = reading()
        while (part := portal.run(lambda: anext(pages, None))) is not None:
            yield part
            del part
    finally:
        if pages is not None:
            portal.leave(pages)
