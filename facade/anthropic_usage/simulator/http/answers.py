"""Answers as plain data, and the error envelope."""

from __future__ import annotations

import attrs
import msgspec

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@attrs.frozen
class Answer:
    """A status, a body (compressed when `gzipped`) and the headers that this answer adds."""

    status: int
    body: bytes
    gzipped: bool = False
    content_type: str = "application/json"
    headers: dict[str, str] = attrs.field(factory=dict)


@attrs.define
class ApiError(Exception):
    """A refusal, as the API words it."""

    status: int
    message: str
    headers: dict[str, str] = attrs.field(factory=dict)

    def answer(self, request_id: str) -> Answer:
        """Return the error envelope."""
        body = {
            "type": "error",
            "error": {"type": ERROR_TYPES[self.status], "message": self.message},
            "request_id": request_id,
        }
        return Answer(self.status, msgspec.json.encode(body), headers=self.headers)


def invalid(message: str, *, retry: bool | None = None) -> ApiError:
    """Return a 400; with `retry`, one that says whether to try again."""
    headers = {} if retry is None else {"x-should-retry": str(retry).lower()}
    return ApiError(400, message, headers)
