"""When a request is tried again, after how long, and when it is given up."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import Any

import attrs
import pytest
from anthropic_usage import ApiError, ConnectionFailed, RateLimited, Retry
from anthropic_usage.engine.flow import Failure, Reply, Send, Wait, exchange
from hypothesis import example, given
from hypothesis import strategies as st

NOW = dt.datetime(2026, 2, 10, 12, tzinfo=dt.UTC)
RETRIED = {408, 409, 429, *range(500, 600)}


@attrs.define
class Clockwork:
    """Time that passes only while a flow waits, and how often it asked."""

    retry: Retry
    passed: float = 0.0
    sent: int = 0
    waits: list[float] = attrs.field(factory=list)

    def run(self, *replies: Any) -> Reply | Failure:
        """Answer with each reply in turn, with the last one for ever."""
        retry = attrs.evolve(self.retry, monotonic=lambda: self.passed)
        flow = exchange({}, retry, lambda: NOW)
        step = next(flow)
        while True:
            answer = None
            if isinstance(step, Wait):
                self.waits.append(step.seconds)
                self.passed += step.seconds
            elif isinstance(step, Send):
                answer = replies[min(self.sent, len(replies) - 1)]
                self.sent += 1
            try:
                step = flow.send(answer)
            except StopIteration as stop:
                result: Reply | Failure = stop.value
                return result


OK = Reply(200, {}, b"{}")


@given(st.integers(201, 599))
def test_only_what_may_pass_is_tried_again(status: int) -> None:
    clockwork = Clockwork(Retry(random=lambda: 0.0))
    if status in RETRIED:
        assert clockwork.run(Reply(status, {}, b"{}"), OK) is OK
        assert clockwork.sent == 2
    else:
        with pytest.raises(ApiError) as caught:
            clockwork.run(Reply(status, {}, b"{}"), OK)
        assert caught.value.status == status
        assert clockwork.sent == 1


@given(st.integers(201, 599), st.sampled_from(["true", "false", "True", "FALSE", "", "maybe"]))
def test_the_api_may_overrule_either_way(status: int, word: str) -> None:
    clockwork = Clockwork(Retry(random=lambda: 0.0))
    expected = {"true": True, "false": False}.get(word.lower(), status in RETRIED)
    if expected:
        assert clockwork.run(Reply(status, {"x-should-retry": word}, b"{}"), OK) is OK
    else:
        with pytest.raises(ApiError):
            clockwork.run(Reply(status, {"x-should-retry": word}, b"{}"), OK)


@given(st.integers(1, 12), st.floats(0.001, 5), st.floats(0.001, 60), st.floats(0, 0.999999))
def test_backoff_is_jittered_between_nothing_and_its_ceiling(
    attempts: int, base: float, cap: float, chance: float
) -> None:
    clockwork = Clockwork(
        Retry(attempts=attempts + 1, seconds=1e9, base=base, cap=cap, random=lambda: chance)
    )
    clockwork.run(*[Failure("it broke")] * attempts, OK)
    for number, wait in enumerate(clockwork.waits):
        assert 0 <= wait <= min(cap, base * 2**number)
    assert clockwork.waits[0] == pytest.approx(min(cap, base) * chance)
    assert len(clockwork.waits) == attempts


def test_full_jitter_spreads_over_the_whole_interval() -> None:
    retry = Retry(base=1.0, cap=8.0)
    delays = [retry.delay(3, Failure("it broke"), NOW) for _ in range(400)]
    assert min(delays) < 0.5
    assert 3.5 < max(delays) <= 4


@given(st.integers(1, 20))
def test_the_budget_in_attempts_is_kept(attempts: int) -> None:
    clockwork = Clockwork(Retry(attempts=attempts, seconds=1e9, random=lambda: 0.0))
    with pytest.raises(ConnectionFailed):
        clockwork.run(Failure("it broke"))
    assert clockwork.sent == attempts


@given(st.floats(0, 100), st.floats(0.01, 30))
def test_the_budget_in_seconds_is_never_overdrawn(seconds: float, asked: float) -> None:
    clockwork = Clockwork(Retry(attempts=10**6, seconds=seconds))
    with pytest.raises(RateLimited):
        clockwork.run(Reply(429, {"retry-after": f"{asked:f}"}, b"{}"))
    assert clockwork.passed <= seconds
    assert clockwork.passed + float(f"{asked:f}") > seconds


def asks(status: int = 429, **headers: str) -> float | None:
    """Return the wait before the second attempt; None for backoff of its own."""
    clockwork = Clockwork(Retry(attempts=2, seconds=1e12, random=lambda: 2**-40))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    clockwork.run(Reply(status, named, b"{}"), OK)
    (wait,) = clockwork.waits
    return None if wait == 0.5 * 2**-40 else wait


@given(st.integers(0, 10**6), st.sampled_from([408, 429, 500, 503, 529]))
def test_the_answer_s_own_wait_is_kept_to_the_millisecond(ms: int, status: int) -> None:
    assert asks(status, retry_after_ms=str(ms), retry_after="77") == ms / 1000
    assert asks(status, retry_after=str(ms)) == ms


@given(st.integers(-(10**6), 10**6))
def test_a_date_to_wait_for_is_read_by_the_api_s_clock(ahead: int) -> None:
    api = NOW + dt.timedelta(days=3)
    at = email.utils.format_datetime(api + dt.timedelta(seconds=ahead), usegmt=True)
    date = email.utils.format_datetime(api, usegmt=True)
    assert asks(503, retry_after=at, date=date) == max(0, ahead)


@pytest.mark.parametrize(
    ("status", "resets", "wait"),
    [
        (429, ["2026-02-10T12:00:03Z"], 3.0),
        (429, ["2026-02-10T12:00:03Z", "2026-02-10T12:00:09+00:00"], 9.0),
        (429, ["2026-02-10T11:59:03Z", "2026-02-10T12:00:05Z"], 5.0),
        (429, ["2026-02-10T11:59:03Z"], None),
        (429, ["2026-02-10T12:00:00Z"], None),
        (429, ["soon"], None),
        (529, ["2026-02-10T12:00:03Z"], None),
    ],
)
def test_a_rate_limit_s_reset_counts_only_when_it_lies_ahead(
    status: int, resets: list[str], wait: float | None
) -> None:
    names = ["anthropic_ratelimit_requests_reset", "anthropic_ratelimit_tokens_reset"]
    assert asks(status, **dict(zip(names, resets, strict=False))) == wait


@given(st.text(max_size=12))
@example("1e100")
def test_a_wait_that_makes_no_sense_is_backed_off_instead(text: str) -> None:
    wait = asks(429, retry_after=text, retry_after_ms=text)
    assert wait is None or wait >= 0


def test_no_reply_to_a_send_is_a_fault_of_the_driver() -> None:
    flow = exchange({}, Retry())
    next(flow)
    with pytest.raises(AssertionError, match="must be sent a Reply or a Failure"):
        flow.send(None)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"seconds": -1}, {"base": 0}, {"cap": 0}])
def test_a_budget_that_is_none_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Retry(**options)


def test_only_an_overloaded_api_slows_everybody_down() -> None:
    for status, throttled in ((429, True), (529, True), (500, False), (409, False)):
        flow = exchange({}, Retry())
        next(flow)
        step = flow.send(Reply(status, {}, b'{"error": {"type": "some_error"}}'))
        assert isinstance(step, Wait)
        assert (step.throttled, step.why) == (throttled, f"{status} some_error")
