"""The walk, without I/O: retries, pages and completeness, written once for sync and async.

A flow is a generator that yields `Send` (and is sent a `Reply` or a `Failure`), `Wait` and `Emit`,
in the manner of `httpx.Auth.auth_flow`. Whoever drives it owns sockets and sleeping.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import random
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

import attrs
import msgspec

from ..errors import (
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    InvalidQuery,
    PermissionDenied,
    RateLimited,
)
from ..moments import Clock, parse_moment, rfc3339, utc_now
from ..reports import Part, Proof, Query, Window
from .plan import halves, windows

__all__ = [
    "Emit",
    "Failure",
    "Flow",
    "Reply",
    "Retry",
    "Send",
    "Step",
    "Wait",
    "exchange",
    "walk",
]

_LONGEST_CURSOR: Final = 8192
_ENDLESS: Final = 1e9
"""Seconds, some thirty years: nobody means more of a wait or of an age."""
STALE: Final = dt.timedelta(hours=12)
"""An answer dated so long before this machine's time proves nothing of what is not there yet."""

_MOST_PAGES: Final = 100_000


@attrs.frozen
class Send:
    """Send this request: keyword arguments of `httpx.Client.build_request`."""

    request: dict[str, Any]


@attrs.frozen
class Wait:
    """Sleep before going on; `throttled` if the API is asked too much, by everybody."""

    seconds: float
    why: str
    throttled: bool = False


@attrs.frozen
class Emit:
    """Hand this over to whoever asked: a `Part` of a report, or a list of what a lookup holds."""

    value: Any


@attrs.frozen
class Reply:
    """An HTTP answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Failure:
    """No answer, or a broken one."""

    reason: str
    timed_out: bool = False
    attempts: int | None = None
    """How often trying makes sense, if it cannot get better."""


Step = Send | Wait | Emit
Flow = Generator[Step, Reply | Failure | None, None]


@attrs.frozen(kw_only=True)
class Retry:
    """How long to keep trying one request: at most `attempts` times, for about `seconds` seconds.

    Waits follow the API's own word (`retry-after-ms`, `Retry-After`, a rate limit's reset that lies
    ahead), else exponential backoff with full jitter between 0 and `base * 2**n`, at most `cap`.
    """

    attempts: int = 8
    seconds: float = 300.0
    base: float = 0.5
    cap: float = 30.0
    random: Callable[[], float] = attrs.field(default=random.random, repr=False)
    monotonic: Callable[[], float] = attrs.field(default=time.monotonic, repr=False)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidQuery for what cannot be used."""
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int):
            raise InvalidQuery("Retry's attempts is no whole number")
        for name, least in (("attempts", 1), ("seconds", 0), ("base", 1e-9), ("cap", 1e-9)):
            check_number(f"Retry's {name}", getattr(self, name), least, math.inf)
        if not callable(self.random) or not callable(self.monotonic):
            raise InvalidQuery("Retry's random and monotonic are functions without arguments")

    def delay(self, attempt: int, reply: Reply | Failure, now: dt.datetime) -> float:
        """Return how many seconds to wait before attempt number `attempt + 1`."""
        if isinstance(reply, Reply):
            asked = _asked_delay(reply, now)
            if asked is not None:
                return asked
        ceiling: float = min(self.cap, self.base * 2 ** (attempt - 1))
        return ceiling * self.random()


def check_number(name: str, value: object, least: float, most: float = 1e9) -> None:
    """Raise InvalidQuery unless `value` is a number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidQuery(f"{name} is no number")
    if not least <= value <= most:
        raise InvalidQuery(f"{name} is {value:g}; it takes {least:g} to {most:g}")


def exchange(
    request: dict[str, Any],
    retry: Retry,
    clock: Clock = utc_now,
    tolerate: Callable[[Reply | Failure, int], bool] = lambda reply, slow: False,
) -> Generator[Step, Reply | Failure | None, Reply | Failure]:
    """Send `request` until it is answered with 200 or trying again makes no sense.

    Returns the answer, or what `tolerate` accepts of others after that many time-outs; raises
    ApiError or one of its kinds for any other answer, and ConnectionFailed if there was none.
    """
    deadline: float | None = None
    attempt = slow = 0
    while True:
        attempt += 1
        reply = yield Send(request)
        if reply is None:
            raise AssertionError("a flow must be sent a Reply or a Failure after each Send")
        slow += _timed_out(reply)
        if (isinstance(reply, Reply) and reply.status == 200) or tolerate(reply, slow):
            return reply
        if not _worth_retrying(reply):
            raise failed(reply, attempt)
        if deadline is None:
            # From the first failure on: before it, time passes in queues, not in trying.
            deadline = retry.monotonic() + retry.seconds
        delay = retry.delay(attempt, reply, clock())
        useful = reply.attempts if isinstance(reply, Failure) and reply.attempts else retry.attempts
        if attempt >= min(retry.attempts, useful) or retry.monotonic() + delay > deadline:
            raise failed(reply, attempt, delay)
        throttled = isinstance(reply, Reply) and reply.status in (429, 529)
        yield Wait(delay, _cause(reply), throttled)


def walk(
    query: Query,
    window: Window,
    retry: Retry,
    clock: Clock = utc_now,
) -> Flow:
    """Fetch one window of a report page by page, emit each page as a `Part`, and prove it whole.

    A window that proves too much for the API (413, or 504 and timeouts twice) is halved. A cost
    window without a completed day emits nothing. Raises IncompleteReport for a hole, an overlap,
    anything outside the window, a cursor that repeats or is missing, or an unknown shape; ApiError
    and ConnectionFailed as `exchange` does.
    """
    pending = [window]
    while pending:
        window = pending.pop()
        reached, now = yield from _pages(query, window, retry, clock)
        if reached < window.ending_at:
            rest = attrs.evolve(window, starting_at=reached)
            pending.extend(reversed(halves(rest, query.width)))
        elif window.last and window.ending_at < min(query.ending_at, now):
            # The range was cut by a clock that is slow.
            later = attrs.evolve(query, starting_at=window.ending_at)
            pending.extend(reversed(list(windows(later, now))))


def _pages(
    query: Query, window: Window, retry: Retry, clock: Clock
) -> Generator[Step, Reply | Failure | None, tuple[dt.datetime, dt.datetime]]:
    """Walk a window; returns how far it came before it was too much, and the API's time."""
    proof = query.kind.proof(query, window)
    cursor: str | None = None

    def tolerate(reply: Reply | Failure, slow: int) -> bool:
        return _excused(proof, reply, clock) or (
            window.ending_at - proof.last > query.width and _too_much(reply, slow)
        )

    trail = Trail()

    while True:
        request = query.request(window.starting_at, window.ending_at, cursor)
        reply = yield from exchange(request, retry, clock, tolerate)
        now = server_time(reply, clock) if isinstance(reply, Reply) else clock()
        if not isinstance(reply, Reply) or reply.status != 200:
            return window.ending_at if _excused(proof, reply, clock) else proof.last, now
        page = query.decode(reply.body)
        begins = proof.last
        proof.take(page, reply.body)
        if not page.has_more:
            proof.finish(now, _stale(now, clock))
        yield Emit(Part(page, reply.body, begins, proof.last, now))
        if not page.has_more:
            return window.ending_at, now
        cursor = page.next_page
        if wrong := trail.wrong(cursor, bool(page.data)):
            raise proof.broken(f"after {rfc3339(proof.last)} {wrong}")


def _too_much(reply: Reply | Failure, slow: int) -> bool:
    """Tell whether a smaller window would help; a time-out gets a second chance first."""
    return slow > 1 or (isinstance(reply, Reply) and reply.status == 413)


def _timed_out(reply: Reply | Failure) -> bool:
    return reply.timed_out if isinstance(reply, Failure) else reply.status == 504


class Trail:
    """The cursors of one walk, of a report or of names: each new, short, and behind some data."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def wrong(self, cursor: object, data: bool) -> str:
        """Take the next cursor; returns what is wrong with it, or nothing."""
        if not cursor:
            return "it says there is more but gives no next_page to ask for it"
        if not data:
            return "it sent a page without data that says there is more"
        if not isinstance(cursor, str) or len(cursor) > _LONGEST_CURSOR or not _plain(cursor):
            return "it gives a next_page that no request can hold"
        if cursor in self._seen:
            return "it repeats the cursor of a page already read, so it would never end"
        if len(self._seen) >= _MOST_PAGES:
            return f"it goes on after {_MOST_PAGES:,} pages"
        self._seen.add(cursor)
        return ""


def _plain(cursor: str) -> bool:
    return cursor.isprintable() and not any("\ud800" <= sign <= "\udfff" for sign in cursor)


class ErrorDetail(msgspec.Struct):
    """What went wrong, in the API's words."""

    type: Any = None
    message: Any = None


class ErrorBody(msgspec.Struct):
    """The API's error envelope; what is no text in it is None."""

    error: ErrorDetail
    request_id: Any = None


def decode_error(body: bytes) -> ErrorBody:
    """Return the error an answer holds; an empty one if it is none (a proxy's page, say)."""
    try:
        answer = msgspec.json.decode(body, type=ErrorBody)
    except (ValueError, RecursionError):
        return ErrorBody(ErrorDetail())
    detail = ErrorDetail(_text(answer.error.type), _text(answer.error.message))
    return ErrorBody(detail, _text(answer.request_id))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def failed(reply: Reply | Failure, attempts: int, delay: float | None = None) -> Exception:
    """Return the typed error for an answer that cannot be used."""
    if isinstance(reply, Failure):
        tries = f" (tried {attempts} times)" if attempts > 1 else ""
        return ConnectionFailed(f"the API could not be reached: {reply.reason}{tries}")
    body = decode_error(reply.body)
    detail = body.error
    error: type[ApiError] = ApiError
    advice = f"tried {attempts} times" if attempts > 1 else ""
    if reply.status == 401:
        error, advice = AuthenticationError, "check the Admin API key, or the token"
    elif reply.status == 403:
        error = PermissionDenied
        advice = (
            "this needs an Admin API key or an org:admin token; an individual account has none: "
            "make an organization in the Console"
        )
    elif reply.status == 429:
        error = RateLimited
        if delay is not None and delay > 1:
            advice = f"tried {attempts} times; the next try makes sense in {delay:.0f} s"
    elif 300 <= reply.status < 400:
        advice = "redirects are not followed; check ANTHROPIC_BASE_URL"
    elif reply.status == 404:
        advice = "this endpoint is not there: check ANTHROPIC_BASE_URL, or whether your plan has it"
    return error(
        one_line(detail.message) or f"an answer without an explanation (HTTP {reply.status})",
        status=reply.status,
        type=one_line(detail.type) or None,
        request_id=one_line(body.request_id or reply.headers.get("request-id")) or None,
        advice=advice,
    )


def server_time(reply: Reply, clock: Clock = utc_now) -> dt.datetime:
    """Return the API's own time from its `Date` header, else this machine's.

    It decides which buckets can exist, so a wrong clock here must not decide it.
    """
    date = _http_date(reply.headers.get("date"))
    if date is None:
        return clock()
    age = min(_number(reply.headers.get("age")) or 0.0, _ENDLESS)  # since a cache got the answer
    try:
        return date + dt.timedelta(seconds=age)
    except OverflowError:
        return date


def _stale(now: dt.datetime, clock: Clock) -> dt.datetime | None:
    """Return this machine's time if an answer's lies so far behind that it proves nothing."""
    here = clock()
    return here if here - now > STALE else None


def _worth_retrying(reply: Reply | Failure) -> bool:
    if isinstance(reply, Failure):
        return True
    asked = reply.headers.get("x-should-retry", "").lower()
    if asked in ("true", "false"):
        return asked == "true"
    return reply.status in (408, 409, 429) or reply.status >= 500


def _asked_delay(reply: Reply, now: dt.datetime) -> float | None:
    """Return the wait that the answer asks for, in seconds, if it asks for a sensible one."""
    headers = reply.headers
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None and milliseconds / 1000 <= _ENDLESS:
        return milliseconds / 1000
    after = headers.get("retry-after")
    seconds = _number(after)
    if seconds is not None and seconds <= _ENDLESS:
        return seconds
    at = _http_date(after)
    if at is not None:
        return max(0.0, (at - server_time(reply, lambda: now)).total_seconds())
    if reply.status == 429:
        ahead = [
            (reset - server_time(reply, lambda: now)).total_seconds()
            for name, value in headers.items()
            if name.startswith("anthropic-ratelimit-") and name.endswith("-reset")
            for reset in [_reset(value)]
            if reset is not None
        ]
        return max((seconds for seconds in ahead if seconds > 0), default=None)
    return None


def _excused(proof: Proof, reply: Reply | Failure, clock: Clock) -> bool:
    """Tell whether a refusal only means that nothing of the window can be there yet.

    A stale answer cannot say so.
    """
    if not isinstance(reply, Reply) or reply.status == 200:
        return False
    now = server_time(reply, clock)
    message = decode_error(reply.body).error.message or ""
    return proof.excuses(reply.status, message, _stale(now, clock) or now)


def _cause(reply: Reply | Failure) -> str:
    if isinstance(reply, Failure):
        return reply.reason
    detail = decode_error(reply.body).error
    return f"{reply.status} {one_line(detail.type)}".strip()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _http_date(text: str | None) -> dt.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _reset(text: str) -> dt.datetime | None:
    try:
        return parse_moment(text, "reset")
    except ValueError:
        return None


def one_line(text: str | None) -> str:
    """Make a text from outside fit for a message: one line, no control characters, not endless."""
    kept = "".join(c if c.isprintable() else " " for c in text or "")
    return " ".join(kept.split())[:500]
