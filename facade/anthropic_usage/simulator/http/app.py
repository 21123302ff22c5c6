"""The aiohttp application: routes, headers, bodies and their cache."""

from __future__ import annotations

import asyncio
import gzip
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from ..faults import DATA_FAULTS, FAST_MODE, REPORTS, Fault
from ..lru import Lru
from ..mix import Dice
from .answers import Answer, ApiError
from .corruption import corrupt
from .credentials import admitted, api_version
from .lookups import Lookups
from .parameters import Parameters
from .reports import ReportPage, Reports
from .requests import Request, redacted
from .sabotage import CUTS, RATE_LIMITED, RESET, replacement, rfc3339

if TYPE_CHECKING:
    from ..simulator import Simulator

_ROUTES = {
    f"/v1/organizations/{path}": endpoint
    for path, endpoint in (
        ("usage_report/messages", "usage"),
        ("cost_report", "cost"),
        ("usage_report/claude_code", "claude_code"),
        ("me", "me"),
        ("workspaces", "workspaces"),
        ("api_keys", "api_keys"),
        ("users", "users"),
        ("service_accounts", "service_accounts"),
    )
}
_CACHED_BYTES = 2**30
_GZIP_LEVEL = 1
_LEAST_TO_COMPRESS = 512


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
        self._arrived = 0
        self._window = (-1, 0)

    def build(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        self._maker.shutdown()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_id = self._ids.identifier("req")
        self._arrived += 1
        # Noted on arrival, since a fault may leave no later chance.
        record = Request(
            method=request.method,
            path=request.path,
            query=request.rel_url.raw_query_string,
            host=request.host,
            headers=redacted(request.headers),
        )
        self._requests.append(record)
        await asyncio.sleep(self._simulator.wait_seconds(self._arrived))
        fault = None
        try:
            endpoint = _endpoint(request)
            fault = self._simulator.next_fault(_part(endpoint, request))
            answer = await self._answer(endpoint, request, fault)
        except ApiError as error:
            answer = error.answer(request_id)
        headers = self._headers(answer, request_id, fault)
        kind = None if fault is None else fault.kind
        if kind != "drop":
            record.status = answer.status
        if kind in CUTS:
            return await CUTS[kind](request, answer, headers)
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _answer(self, endpoint: str, request: web.Request, fault: Fault | None) -> Answer:
        if fault is not None:
            if fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            target = str(request.rel_url)
            replaced = replacement(fault, self._simulator.now, request.host, target)
            if replaced is not None:
                return replaced
        self._count_request()
        admin_key = admitted(request.headers)
        version = api_version(request.headers)
        parameters = Parameters(request.path, request.rel_url.raw_query_string)
        if endpoint in REPORTS:
            betas = ",".join(request.headers.getall("anthropic-beta", []))
            page = self._lay_out(endpoint, parameters, {beta.strip() for beta in betas.split(",")})
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._maker, self._body, page, fault)
        else:
            body = _compress(
                msgspec.json.encode(
                    self._look_up(endpoint, parameters, version=version, admin_key=admin_key)
                )
            )
        return _fit(body, gzipped="gzip" in request.headers.get("Accept-Encoding", ""))

    def _lay_out(self, endpoint: str, parameters: Parameters, betas: set[str]) -> ReportPage:
        match endpoint:
            case "usage":
                return self._reports.usage(parameters, betas)
            case "cost":
                return self._reports.cost(parameters)
            case _:
                return self._reports.claude_code(parameters)

    def _look_up(
        self, endpoint: str, parameters: Parameters, *, version: str, admin_key: bool
    ) -> dict[str, object]:
        match endpoint:
            case "me":
                return self._lookups.me(parameters)
            case "workspaces":
                return self._lookups.workspaces(parameters)
            case "api_keys":
                return self._lookups.api_keys(parameters, version)
            case "users":
                return self._lookups.users(parameters)
            case _:
                return self._lookups.service_accounts(parameters, admin_key=admin_key)

    def _body(self, page: ReportPage, fault: Fault | None) -> bytes:
        """Return the compressed body of a page, from the cache if it can no longer change."""
        if page.settled:
            key = (self._simulator.restatements, *page.key)
            body = self._bodies.get(key, lambda _: _compress(page.make()))
        else:
            body = _compress(page.make())
        if fault is not None and fault.kind in DATA_FAULTS:
            return _compress(corrupt(fault.kind, gzip.decompress(body), page.cursor))
        return body

    def _count_request(self) -> None:
        """Count the request against this minute's allowance."""
        minute, second = divmod(time.monotonic(), 60)
        window, count = self._window
        self._window = (int(minute), count + 1 if window == int(minute) else 1)
        if self._window[1] > self._simulator.requests_per_minute:
            raise ApiError(429, RATE_LIMITED, {"Retry-After": str(60 - int(second))})

    def _headers(self, answer: Answer, request_id: str, fault: Fault | None) -> dict[str, str]:
        now = self._simulator.now
        headers = {
            "Content-Type": answer.content_type,
            "Date": format_datetime(now.astimezone(UTC), usegmt=True),
            "request-id": request_id,
            "anthropic-organization-id": self._simulator.organisation.id,
        }
        if answer.gzipped:
            headers["Content-Encoding"] = "gzip"
        # A 429 on demand says when to come back in the way that its kind names, and in no other.
        if fault is None or not fault.kind.startswith("429"):
            limit = self._simulator.requests_per_minute
            headers |= {
                "anthropic-ratelimit-requests-limit": str(limit),
                "anthropic-ratelimit-requests-remaining": str(max(limit - self._window[1], 0)),
                RESET: rfc3339(now + timedelta(seconds=60 - time.monotonic() % 60)),
            }
        return headers | answer.headers


def _endpoint(request: web.Request) -> str:
    endpoint = _ROUTES.get(request.path)
    if endpoint is None:
        raise ApiError(404, "The requested resource could not be found.")
    if request.method != "GET":
        raise ApiError(405, "Method not allowed.", {"Allow": "GET"})
    return endpoint


def _part(endpoint: str, request: web.Request) -> str:
    """Return what a fault may concern: an endpoint, or its questions after the fast mode."""
    asked = {"speeds[]", "group_by[]"} if endpoint == "usage" else set()
    fast = any(
        name in asked and (name == "speeds[]" or value == "speed")
        for name, value in request.query.items()
    )
    return FAST_MODE if fast else endpoint


def _compress(body: bytes) -> bytes:
    # Without a time stamp in its header the same page is the same bytes.
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def _fit(body: bytes, *, gzipped: bool) -> Answer:
    """Return a body compressed if that was asked for and is worth it."""
    # The last four bytes of a gzip member are the length of what it holds.
    if gzipped and int.from_bytes(body[-4:], "little") >= _LEAST_TO_COMPRESS:
        return Answer(200, body, gzipped=True)
    return Answer(200, gzip.decompress(body))
