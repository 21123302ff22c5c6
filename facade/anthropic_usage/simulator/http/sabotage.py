"""Faults that happen before there is an answer, or to the connection that carries it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from .answers import Answer, ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..faults import Fault

RATE_LIMITED = "This request would exceed your organization's rate limit."
RESET = "anthropic-ratelimit-requests-reset"

_HTML = (
    b"<html><head><title>502 Bad Gateway</title></head><body>upstream unavailable</body></html>\n"
)
_MESSAGES = {
    "400": "The request was refused on demand.",
    "401": "invalid x-api-key",
    "402": "The organization has an unpaid bill.",
    "403": "This credential may not read the organization.",
    "404": "The requested resource could not be found.",
    "408": "The request took too long to arrive.",
    "409": "The resource is being changed by another request.",
    "413": "Request exceeds the maximum size",
    "500": "Internal server error",
    "504": "Request timed out",
    "529": "Overloaded",
}


def rfc3339(moment: datetime) -> str:
    """Return a moment as the rate-limit headers print it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def replacement(fault: Fault, now: datetime, host: str, target: str) -> Answer | None:
    """Return the answer that a fault puts in place of the right one, or raise it as an error.

    None is returned for a fault that leaves the answer to be made.
    """
    match fault.kind:
        case "429":
            raise ApiError(429, RATE_LIMITED, {"Retry-After": f"{fault.seconds:g}"})
        case "429-bare":
            raise ApiError(429, RATE_LIMITED)
        case "429-reset":
            reset = now + timedelta(seconds=fault.seconds)
            raise ApiError(429, RATE_LIMITED, {RESET: rfc3339(reset)})
        case "html":
            return Answer(502, _HTML, content_type="text/html")
        case "not-json":
            return Answer(200, _HTML, content_type="text/html")
        case "empty-body":
            return Answer(200, b"")
        case "bad-gzip":
            return Answer(200, b"this was never compressed", gzipped=True)
        case "redirect":
            # The other name leads back to this server, where a test can see what was sent along.
            name, _, port = host.partition(":")
            other = "127.0.0.1" if name == "localhost" else "localhost"
            return Answer(302, b"", headers={"Location": f"http://{other}:{port}{target}"})
        case kind if kind in _MESSAGES:
            raise ApiError(int(kind), _MESSAGES[kind])
    return None


async def _drop(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Close the connection with nothing said."""
    _hang_up(request)
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
    _hang_up(request)
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


CUTS: dict[str, Callable[[web.Request, Answer, dict[str, str]], Awaitable[web.StreamResponse]]] = {
    "drop": _drop,
    "truncate": _truncate,
    "truncate-chunked": _truncate_chunked,
}
"""How each fault of the connection sends, or does not send, an answer."""
