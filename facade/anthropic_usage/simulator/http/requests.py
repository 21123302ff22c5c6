"""The record of what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREDENTIALS = ("x-api-key", "authorization")


@attrs.define
class Request:
    """One request that has arrived, as a test wants to see it."""

    method: str
    path: str
    query: str
    host: str
    headers: dict[str, str]
    """By lower-case name; credentials read `[redacted]`."""
    status: int = 0
    """0 until there is an answer, and for ever when a fault drops the connection instead."""


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by lower-case name, without the credentials that they carry."""
    lower = {name.lower(): value for name, value in headers.items()}
    return lower | {name: "[redacted]" for name in _CREDENTIALS if name in lower}
