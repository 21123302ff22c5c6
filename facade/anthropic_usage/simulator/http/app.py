"""The aiohttp application: headers, credentials, routes, faults and bodies."""

from __future__ import annotations

import asyncio
import gzip
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import attrs
import msgspec
from aiohttp import web

from ..faults import DATA_FAULTS, Fault
from ..lru import Lru
from ..mix import Dice
from .answers import Answer, ApiError, invalid
from .corruption import corrupt
from .lookups import Lookups
from .parameters import Parameters
from .reports import ReportPage, Reports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..simulator import Simulator

VERSIONS = ("2023-06-01", "2026-10-21")

_PREFIX = "/v1/organizations/"
_ROUTES = {
    "usage_report/messages": "usage",
    "cost_report": "cost",
    "usage_report/claude_code": "claude_code",
    "me": "me",
    "workspaces": "workspaces",
    "api_keys": "api_keys",
    "users": "users",
    "service_accounts": "service_accounts",
}
_HTML = (
    b"<html><head><title>502 Bad Gateway</title></head><body>upstream unavailable</body></html>\n"
)
_CACHED_BYTES = 256 * 1024 * 1024
_GZIP_LEVEL = 1
_LEAST_TO_COMPRESS = 512


@attrs.frozen
class Request:
    """One request that the stand-in has answered, as a test wants to see it."""

    method: str
    path: str
    query: str
    status: int
    """0 until there is an answer, and when a fault drops the connection instead."""
    host: str
    headers: dict[str, str]
    """By lower-case name; credentials read `[redacted]`."""


class Application:
    """Answers the requests of one server."""

    def __init__(self, simulator: Simulator, requests: list[Request]) -> None:
        self._simulator = simulator
        self._requests = requests
        self._reports = Reports(
            simulator.organisation, simulator.books, simulator.ledger, simulator.claude_code
        )
        self._lookups = Lookups(simulator.organisation)
        self._bodies: Lru[tuple[object, ...], bytes] = Lru(_CACHED_BYTES, len)
        # One thread makes pages, so that the loop keeps answering meanwhile.
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="simulator-pages")
        self._ids = Dice(f"requests:{simulator.seed}")
        self._window = (-1, 0)

    def build(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        self._maker.shutdown(wait=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_id = self._ids.identifier("req")
        number = len(self._requests)
        # Noted on arrival, since a fault may leave no later chance.
        self._note(request)
        wait = self._simulator.wait_seconds(number)
        if wait:
            await asyncio.sleep(wait)
        endpoint = _ROUTES.get(request.path.removeprefix(_PREFIX))
        fault = None
        try:
            if endpoint is None or not request.path.startswith(_PREFIX):
                raise ApiError(404, "The requested resource could not be found.")
            if request.method != "GET":
                raise ApiError(405, "Method not allowed.", {"Allow": "GET"})
            fault = self._simulator.next_fault(endpoint)
            if fault is not None:
                await self._refuse(fault, request)
            self._count_request()
            answer = await self._answer(endpoint, request, fault)
        except ApiError as error:
            answer = error.answer(request_id)
        except _Replaced as replaced:
            answer = replaced.answer
        status = 0 if fault is not None and fault.kind == "drop" else answer.status
        self._requests[number] = attrs.evolve(self._requests[number], status=status)
        return await self._send(request, answer, request_id, fault)

    def _note(self, request: web.Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        for name in ("x-api-key", "authorization"):
            if name in headers:
                headers[name] = "[redacted]"
        self._requests.append(
            Request(
                request.method,
                request.path,
                request.rel_url.raw_query_string,
                0,
                request.host,
                headers,
            )
        )

    async def _refuse(self, fault: Fault, request: web.Request) -> None:
        """Do what a fault does before there is an answer: wait, or put another in its place."""
        match fault.kind:
            case "slow":
                await asyncio.sleep(fault.seconds)
            case "429":
                seconds = f"{fault.seconds:g}"
                raise ApiError(429, _RATE_LIMITED, {"Retry-After": seconds})
            case "429-bare":
                raise ApiError(429, _RATE_LIMITED)
            case "429-reset":
                reset = self._simulator.now + timedelta(seconds=fault.seconds)
                raise ApiError(429, _RATE_LIMITED, {_RESET: _rfc3339(reset)})
            case "html":
                raise _Replaced(Answer(502, _HTML, content_type="text/html"))
            case "not-json":
                raise _Replaced(Answer(200, _HTML, content_type="text/html"))
            case "empty-body":
                raise _Replaced(Answer(200, b""))
            case "bad-gzip":
                raise _Replaced(Answer(200, b"this was never compressed", gzipped=True))
            case "redirect":
                name, _, port = request.host.partition(":")
                other = "127.0.0.1" if name == "localhost" else "localhost"
                target = f"http://{other}:{port}{request.rel_url}"
                raise _Replaced(Answer(302, b"", headers={"Location": target}))
            case kind if kind.isdigit():
                raise ApiError(int(kind), _MESSAGES[kind])

    async def _answer(self, endpoint: str, request: web.Request, fault: Fault | None) -> Answer:
        admin_key = _credential(request)
        version = request.headers.get("anthropic-version")
        if version is None:
            raise invalid("anthropic-version: header is required")
        if version not in VERSIONS:
            raise invalid(f'anthropic-version: "{version}" is not a valid version')
        parameters = Parameters(request.path, request.rel_url.raw_query_string)
        match endpoint:
            case "usage" | "cost" | "claude_code":
                betas = frozenset(
                    beta.strip()
                    for value in request.headers.getall("anthropic-beta", [])
                    for beta in value.split(",")
                )
                page = getattr(self._reports, endpoint)(parameters, betas)
                body = await asyncio.get_running_loop().run_in_executor(
                    self._maker, self._page, page, fault
                )
                return self._fit(request, body)
            case "me":
                found = self._lookups.me(parameters)
            case "workspaces":
                found = self._lookups.workspaces(parameters)
            case "api_keys":
                found = self._lookups.api_keys(parameters, version)
            case "users":
                found = self._lookups.users(parameters)
            case _:
                found = self._lookups.service_accounts(parameters, admin_key=admin_key)
        return self._fit(request, _compress(msgspec.json.encode(found)))

    def _page(self, page: ReportPage, fault: Fault | None) -> bytes:
        """Return the compressed body of a page, from the cache if it can no longer change."""

        def make(_: object) -> bytes:
            return _compress(page.make())

        if page.settled:
            body = self._bodies.get((self._simulator.restatements, *page.key), make)
        else:
            body = make(None)
        if fault is not None and fault.kind in DATA_FAULTS:
            return _compress(corrupt(fault.kind, gzip.decompress(body), page.cursor))
        return body

    def _fit(self, request: web.Request, body: bytes) -> Answer:
        """Return the body compressed if that was asked for and is worth it."""
        wanted = "gzip" in request.headers.get("Accept-Encoding", "")
        # The last four bytes of a gzip member are the length of what it holds.
        if wanted and int.from_bytes(body[-4:], "little") >= _LEAST_TO_COMPRESS:
            return Answer(200, body, gzipped=True)
        return Answer(200, gzip.decompress(body))

    def _count_request(self) -> None:
        """Count the request against this minute's allowance."""
        minute = int(time.monotonic() // 60)
        window, count = self._window
        self._window = (minute, count + 1 if window == minute else 1)
        if self._window[1] > self._simulator.requests_per_minute:
            seconds = 60 - int(time.monotonic() % 60)
            raise ApiError(429, _RATE_LIMITED, {"Retry-After": str(seconds)})

    def _rate_headers(self) -> dict[str, str]:
        limit = self._simulator.requests_per_minute
        reset = self._simulator.now + timedelta(seconds=60 - time.monotonic() % 60)
        return {
            "anthropic-ratelimit-requests-limit": str(limit),
            "anthropic-ratelimit-requests-remaining": str(max(limit - self._window[1], 0)),
            _RESET: _rfc3339(reset),
        }

    async def _send(
        self, request: web.Request, answer: Answer, request_id: str, fault: Fault | None
    ) -> web.StreamResponse:
        headers = {
            "Content-Type": answer.content_type,
            "Date": format_datetime(self._simulator.now.astimezone(UTC), usegmt=True),
            "request-id": request_id,
            "anthropic-organization-id": self._simulator.organisation.id,
        }
        bare = fault is not None and fault.kind.startswith("429")
        headers |= ({} if bare else self._rate_headers()) | answer.headers
        if answer.gzipped:
            headers["Content-Encoding"] = "gzip"
        cut = _CUTS.get(fault.kind) if fault is not None else None
        if cut is not None:
            return await cut(request, answer, headers)
        return web.Response(status=answer.status, body=answer.body, headers=headers)


@attrs.define
class _Replaced(Exception):
    """Carries the answer that a fault puts in place of the right one."""

    answer: Answer


def _credential(request: web.Request) -> bool:
    """Check who asks, and say whether it is an Admin key (else it is an OAuth token)."""
    key = request.headers.get("x-api-key")
    authorization = request.headers.get("Authorization", "")
    if key is None and not authorization:
        raise ApiError(401, "x-api-key header is required")
    secret = authorization.removeprefix("Bearer ") if key is None else key
    if "revoked" in secret:
        raise ApiError(401, "invalid x-api-key" if key is not None else "Invalid bearer token")
    if key is None:
        if not authorization.startswith("Bearer ") or not secret.startswith("sk-ant-oat"):
            raise ApiError(401, "Invalid bearer token")
    elif not secret.startswith("sk-ant-admin"):
        raise ApiError(401, "invalid x-api-key")
    if "nopermission" in secret:
        raise ApiError(403, "This credential lacks the permission to read the organization.")
    return key is not None


async def _drop(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Close the connection with nothing said."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=answer.status)


async def _truncate(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Announce the whole body and send the first half of it."""
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    return await _half(request, response, answer.body)


async def _truncate_chunked(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Send half of the body in chunks, and never the last chunk."""
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.enable_chunked_encoding()
    return await _half(request, response, answer.body)


async def _half(
    request: web.Request, response: web.StreamResponse, body: bytes
) -> web.StreamResponse:
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


_CUTS: dict[str, Callable[[web.Request, Answer, dict[str, str]], Awaitable[web.StreamResponse]]] = {
    "drop": _drop,
    "truncate": _truncate,
    "truncate-chunked": _truncate_chunked,
}

_RESET = "anthropic-ratelimit-requests-reset"
_RATE_LIMITED = "This request would exceed your organization's rate limit."
_MESSAGES = {
    "400": "The request was refused on demand.",
    "401": "invalid x-api-key",
    "403": "This credential lacks the permission to read the organization.",
    "408": "The request took too long to arrive.",
    "409": "The resource is being changed by another request.",
    "413": "Request exceeds the maximum size",
    "500": "Internal server error",
    "504": "Request timed out",
    "529": "Overloaded",
}


def _compress(body: bytes) -> bytes:
    # Without a time stamp in its header the same page is the same bytes.
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
