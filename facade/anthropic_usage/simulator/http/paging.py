"""Page tokens: opaque, and good for no query but their own."""

from __future__ import annotations

import base64
import binascii

import msgspec

from .answers import invalid


class _Token(msgspec.Struct, array_like=True):
    position: int
    end: int
    fingerprint: bytes


def mint(position: int, end: int, fingerprint: bytes) -> str:
    """Return the token of the page that begins at a position of a query that stops at `end`."""
    token = msgspec.json.encode(_Token(position, end, fingerprint))
    return "page_" + base64.urlsafe_b64encode(token).decode()


def read(token: str, fingerprint: bytes) -> tuple[int, int]:
    """Return `(position, end)`, or refuse a token that is not this query's."""
    try:
        text = base64.b64decode(token.removeprefix("page_"), altchars=b"-_", validate=True)
        known = msgspec.json.decode(text, type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise invalid("page: Invalid page token.") from error
    if not token.startswith("page_") or known.fingerprint != fingerprint:
        raise invalid("page: The page token belongs to a query with other parameters.")
    return known.position, known.end
