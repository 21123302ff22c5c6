"""Everything that can go wrong, as types: catch `AnthropicUsageError` to catch them all.

Messages are one sentence or two that say what to do. None of them, nor anything they hold, contains
the key.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import types
import warnings
from collections.abc import Callable, Iterator

__all__ = [
    "AnthropicUsageError",
    "ApiError",
    "AuthenticationError",
    "ConnectionFailed",
    "IncompleteReport",
    "IncompleteReportWarning",
    "InvalidQuery",
    "MissingExtra",
    "NothingMatchedWarning",
    "PermissionDenied",
    "RateLimited",
]


class AnthropicUsageError(Exception):
    """Base of every error this package raises on purpose."""

    def say_without(self, redact: Callable[[str], str]) -> None:
        """Take secrets out of every text that the error holds."""
        self.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in self.args)
        for name, value in vars(self).items():
            if isinstance(value, str):
                setattr(self, name, redact(value))


class InvalidQuery(AnthropicUsageError, ValueError):
    """An argument the API would refuse or misread; raised before any request is sent."""


class ApiError(AnthropicUsageError):
    """The API answered with an error, and retrying did not or could not help.

    Attributes:
        status: HTTP status, or None where no request was sent (a key that is missing).
        type: the API's own error type, such as `invalid_request_error`; None if the body had none.
        message: the API's own message.
        request_id: what Anthropic's support asks for; None if the answer carried none.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        request_id: str | None = None,
        advice: str = "",
    ) -> None:
        self.status = status
        self.type = type
        self.message = message
        self.request_id = request_id
        facts = [str(fact) for fact in (status, type) if fact is not None]
        text = f"{' '.join(facts)}: {message}" if facts else message
        if request_id:
            text += f" (request {request_id})"
        if advice:
            text += f"; {advice}"
        super().__init__(text)


class AuthenticationError(ApiError):
    """No key, or one the API does not know (401)."""


class PermissionDenied(ApiError):
    """The key is known but may not read this (403)."""


class RateLimited(ApiError):
    """Still refused for asking too often after waiting as long as the retry budget allows (429)."""


class IncompleteReport(AnthropicUsageError):
    """The answer cannot be proven whole: a hole, an overlap, a broken cursor, an unknown shape.

    Nothing partial is returned: a total is complete or it is this error.
    """


class ConnectionFailed(AnthropicUsageError):
    """The API could not be reached, kept breaking off until the retry budget was spent, or sent
    more than may be held."""


class MissingExtra(AnthropicUsageError, ImportError):
    """An optional library is not installed; the message names the extra to install."""


class IncompleteReportWarning(UserWarning):
    """A hole in a report that was asked for with `strict=False`."""


class NothingMatchedWarning(UserWarning):
    """A report that was filtered by models or ids is empty: a name may be wrong, and 0 no truth."""


_Held = list[tuple[str, type[Warning]]]
_HELD: contextvars.ContextVar[_Held | None] = contextvars.ContextVar("held", default=None)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, pointing at the line outside this package that led here."""
    held = _HELD.get()
    if held is not None:
        held.append((message, category))
        return
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)


@contextlib.contextmanager
def held_warnings() -> Iterator[_Held]:
    """Keep what is warned of in here, tasks begun in here included, for whoever asked to say it:
    where a task or another thread does the work, no frame of theirs is in sight."""
    held: _Held = []
    token = _HELD.set(held)
    try:
        yield held
    finally:
        _HELD.reset(token)


def say_held(held: _Held) -> None:
    """Warn of what was kept, once each."""
    while held:
        warn(*held.pop(0))


def _is_ours(frame: types.FrameType) -> bool:
    """Tell whether a frame runs this package's code, or an initialiser that attrs wrote for it."""
    name = frame.f_globals.get("__name__", "")
    written = frame.f_code.co_filename.startswith("<attrs generated")
    return written or name.partition(".")[0] == __package__
