"""The errors: one base, plain sentences, and whole on the other side of a process."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import anthropic_usage
import pytest
from anthropic_usage import (
    AnthropicUsageError,
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    IncompleteReport,
    InvalidQuery,
    MissingExtra,
    PermissionDenied,
    RateLimited,
    Retry,
)
from anthropic_usage.engine.flow import Failure, Reply, exchange
from hypothesis import given
from hypothesis import strategies as st

PINNED = {
    AnthropicUsageError: Exception,
    InvalidQuery: ValueError,
    ApiError: AnthropicUsageError,
    AuthenticationError: ApiError,
    PermissionDenied: ApiError,
    RateLimited: ApiError,
    IncompleteReport: AnthropicUsageError,
    ConnectionFailed: AnthropicUsageError,
    MissingExtra: ImportError,
}


@pytest.mark.parametrize(("kind", "base"), PINNED.items())
def test_every_error_has_its_place(kind: type[Exception], base: type[Exception]) -> None:
    assert issubclass(kind, base)
    assert issubclass(kind, AnthropicUsageError)
    assert getattr(anthropic_usage, kind.__name__) is kind


def test_everything_public_is_there_and_listed_in_order() -> None:
    listed = anthropic_usage.__all__
    assert sorted(set(listed)) == sorted(listed)
    assert all(getattr(anthropic_usage, name).__doc__ for name in listed)


ERRORS: list[AnthropicUsageError] = [
    ApiError("No.", status=400, type="invalid_request_error", request_id="req_1", advice="Do."),
    ApiError("No."),
    AuthenticationError("no key"),
    PermissionDenied("No.", status=403),
    RateLimited("No.", status=429, request_id="req_2"),
    InvalidQuery("wrong"),
    IncompleteReport("a hole"),
    ConnectionFailed("nobody there"),
    MissingExtra("pip install it"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    "again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy]
)
def test_an_error_survives_being_sent_elsewhere(error: AnthropicUsageError, again: Any) -> None:
    other = again(error)
    assert (type(other), str(other), other.args) == (type(error), str(error), error.args)
    assert vars(other) == vars(error)


def failed(reply: Any, attempts: int = 1) -> AnthropicUsageError:
    flow = exchange({}, Retry(attempts=attempts, random=lambda: 0.0))
    step: Any = next(flow)
    try:
        while True:
            step = flow.send(reply if type(step).__name__ == "Send" else None)
    except AnthropicUsageError as error:
        return error
    except StopIteration:
        pytest.fail("it did not fail")


def test_a_message_says_everything_in_one_line() -> None:
    body = b'{"error": {"type": "t", "message": "No."}, "request_id": "req_1"}'
    assert str(failed(Reply(400, {}, body))) == "400 t: No. (request req_1)"
    assert str(failed(Reply(500, {}, body), 3)) == "500 t: No. (request req_1); tried 3 times"
    assert "check the Admin API key" in str(failed(Reply(401, {}, body)))
    assert "org:admin" in str(failed(Reply(403, {}, body)))
    assert "check ANTHROPIC_BASE_URL" in str(failed(Reply(404, {}, body)))
    assert str(failed(Failure("it broke"))) == "the API could not be reached: it broke"


def test_the_header_names_the_request_where_the_body_does_not() -> None:
    error = failed(Reply(500, {"request-id": "req_h"}, b"<html>"))
    assert isinstance(error, ApiError)
    assert (error.request_id, error.type) == ("req_h", None)
    body = b'{"error": {"type": "t", "message": "No."}, "request_id": "req_b"}'
    error = failed(Reply(500, {"request-id": "req_h"}, body))
    assert isinstance(error, ApiError)
    assert error.request_id == "req_b"


@given(st.binary(max_size=60), st.integers(400, 599), st.text(max_size=10))
def test_any_error_body_at_all_is_an_api_error_of_one_line(
    body: bytes, status: int, request: str
) -> None:
    error = failed(Reply(status, {"request-id": request}, body))
    assert isinstance(error, ApiError)
    assert error.status == status
    assert str(error).isprintable()


@given(st.text(), st.text())
def test_no_control_character_reaches_a_terminal(kind: str, message: str) -> None:
    import json

    envelope = {"error": {"type": kind, "message": message}, "request_id": kind}
    error = failed(Reply(400, {}, json.dumps(envelope).encode()))
    assert str(error).isprintable()
    assert len(str(error)) < 2000
