"""Drives flows over HTTP, sync and async; the only module that knows httpx.

It adds the key to each request and takes care that nothing else ever holds it: what httpx raises
is turned into a `Failure` at once, so no traceback leads to a request's headers.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import ipaddress
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx

from .credentials import Credentials
from .errors import InvalidQuery
from .flow import Emit, Failure, Flow, Part, Reply, Send, Wait

__all__ = ["AsyncTransport", "Listener", "Settings", "Transport"]

DEFAULT_BASE_URL = "https://api.anthropic.com"

Listener = Callable[[Wait | Part], None]
"""Told of every wait and every page; for progress bars."""


def _base_url(given: str | None) -> str:
    url = (given or os.environ.get("ANTHROPIC_BASE_URL", "").strip() or DEFAULT_BASE_URL).rstrip(
        "/"
    )
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
    listener: Listener | None = attrs.field(default=None, repr=False)

    def httpx_options(self) -> dict[str, Any]:
        """Return what both httpx clients are made with."""
        return {
            "base_url": self.base_url,
            "auth": _Auth(self.credentials),
            "timeout": httpx.Timeout(self.timeout, connect=min(10.0, self.timeout)),
            "headers": {"user-agent": user_agent(), "accept": "application/json"},
            "follow_redirects": False,
        }

    def tell(self, event: Wait | Part) -> None:
        """Tell the listener, if there is one."""
        if self.listener is not None:
            self.listener(event)


class Transport:
    """Drives flows with blocking sockets."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self._sleep = sleep
        self._client = httpx.Client(**settings.httpx_options())

    def run(self, flow: Flow) -> Iterator[Any]:
        """Yield what the flow emits."""
        reply: Reply | Failure | None = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, Send):
                reply = self._send(step)
            elif isinstance(step, Wait):
                self.settings.tell(step)
                self._sleep(step.seconds)
            else:
                yield self._emitted(step)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _send(self, step: Send) -> Reply | Failure:
        try:
            response = self._client.request(**step.request)
        except httpx.RequestError as error:
            return _failure(error, self.settings)
        return _reply(response)

    def _emitted(self, step: Emit) -> Any:
        if isinstance(step.value, Part):
            self.settings.tell(step.value)
        return step.value


class AsyncTransport:
    """Drives flows with asyncio."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = httpx.AsyncClient(**settings.httpx_options())

    async def run(self, flow: Flow) -> AsyncIterator[Any]:
        """Yield what the flow emits."""
        reply: Reply | Failure | None = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(step, Send):
                reply = await self._send(step)
            elif isinstance(step, Wait):
                self.settings.tell(step)
                await asyncio.sleep(step.seconds)
            else:
                if isinstance(step.value, Part):
                    self.settings.tell(step.value)
                yield step.value

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _send(self, step: Send) -> Reply | Failure:
        try:
            response = await self._client.request(**step.request)
        except httpx.RequestError as error:
            return _failure(error, self.settings)
        return _reply(response)


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


def _reply(response: httpx.Response) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content)


def _failure(error: httpx.RequestError, settings: Settings) -> Failure:
    """Say in plain words why there was no answer."""
    host = urlsplit(settings.base_url).netloc
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure(f"no connection to {host} in time")
    if isinstance(error, httpx.TimeoutException):
        return Failure(f"no answer from {host} within {settings.timeout:g} s")
    if isinstance(error, httpx.ConnectError):
        return Failure(f"no connection to {host} ({error})")
    if isinstance(error, httpx.DecodingError):
        return Failure(f"a damaged answer from {host} ({error})")
    return Failure(f"the connection to {host} broke ({error or type(error).__name__})")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
