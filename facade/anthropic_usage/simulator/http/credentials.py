"""Who may ask: an Admin key or an OAuth token, and a version of the API that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answers import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS = ("2023-06-01", "2026-10-21")


def admitted(headers: Mapping[str, str]) -> bool:
    """Check the credential, and say whether it is an Admin key (else it is an OAuth token).

    Any is good, but for those that contain `wrong` or `revoked` (401) or `nopermission` (403).
    """
    key = headers.get("x-api-key")
    authorization = headers.get("Authorization")
    if key is not None:
        secret, prefix, refusal = key, "sk-ant-admin", "invalid x-api-key"
    elif authorization is not None:
        secret, prefix, refusal = authorization, "Bearer sk-ant-oat", "Invalid bearer token"
    else:
        raise ApiError(401, "x-api-key header is required")
    if not secret.startswith(prefix) or "revoked" in secret or "wrong" in secret:
        raise ApiError(401, refusal)
    if "nopermission" in secret:
        raise ApiError(403, "This credential may not read the organization.")
    return key is not None


def api_version(headers: Mapping[str, str]) -> str:
    """Return the `anthropic-version` asked for."""
    version = headers.get("anthropic-version")
    if version is None:
        raise invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    return version
