"""The lookups: names of the organisation, its workspaces, keys, people and service accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import paging
from .answers import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..organisation import ApiKey, Organisation, Person, ServiceAccount, Workspace
    from .parameters import Parameters

Json = dict[str, object]

SCOPED_KEYS_VERSION = "2026-10-21"
"""From this `anthropic-version` on, API keys carry `scope` in place of `workspace_id`."""

_KEY_STATUSES = ("active", "inactive", "archived", "expired")


class Lookups:
    """Answers the lookup endpoints."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation

    def me(self, parameters: Parameters) -> Json:
        """Answer `me`."""
        parameters.finish()
        return {
            "id": self._organisation.id,
            "name": self._organisation.name,
            "type": "organization",
        }

    def workspaces(self, parameters: Parameters) -> Json:
        """Answer `workspaces`; the default one and archived ones only when asked for."""
        include_archived = parameters.flag("include_archived")
        include_default = parameters.flag("include_default")
        ids = parameters.many("ids[]")
        if len(ids) > 100:
            raise invalid("ids[]: Cannot specify more than 100 ids.")
        chosen = [
            _workspace(workspace)
            for workspace in self._organisation.workspaces
            if (include_default or not workspace.is_default)
            and (include_archived or workspace.archived_at is None)
            and (not ids or workspace.id in ids)
        ]
        return _walk(chosen, parameters)

    def api_keys(self, parameters: Parameters, version: str) -> Json:
        """Answer `api_keys`."""
        status = parameters.choice("status", _KEY_STATUSES)
        workspace_id = parameters.text("workspace_id")
        creator = parameters.text("created_by_user_id")
        chosen = [
            _api_key(key, scoped=version >= SCOPED_KEYS_VERSION)
            for key in self._organisation.api_keys
            if status in (None, key.status)
            and workspace_id in (None, key.workspace.id)
            and creator in (None, key.created_by.id)
        ]
        return _walk(chosen, parameters)

    def users(self, parameters: Parameters) -> Json:
        """Answer `users`; those who have left are not listed, though their use remains."""
        email = parameters.text("email")
        chosen = [
            _user(person)
            for person in self._organisation.people
            if person.left_day is None and email in (None, person.email)
        ]
        return _walk(chosen, parameters)

    def service_accounts(self, parameters: Parameters, *, admin_key: bool) -> Json:
        """Answer `service_accounts`, which refuses Admin keys and pages by token."""
        if admin_key:
            raise ApiError(
                403,
                "Admin API keys cannot list service accounts; use an OAuth token with org:admin.",
            )
        limit = parameters.limit(20, 1000)
        page = parameters.text("page")
        parameters.finish()
        start = 0 if page is None else paging.read(page, parameters.fingerprint)[0]
        accounts = self._organisation.service_accounts
        stop = start + limit
        return {
            "data": [_service_account(account) for account in accounts[start:stop]],
            "next_page": (
                paging.mint(stop, 0, parameters.fingerprint) if stop < len(accounts) else None
            ),
        }


def _walk(items: Sequence[Json], parameters: Parameters) -> Json:
    """Return the part of a list that `limit` and `after_id` or `before_id` select."""
    limit = parameters.limit(20, 1000)
    after, before = parameters.text("after_id"), parameters.text("before_id")
    parameters.finish()
    if after is not None and before is not None:
        raise invalid("after_id: Cannot be combined with before_id.")
    ids = [item["id"] for item in items]
    for name, wanted in (("after_id", after), ("before_id", before)):
        if wanted is not None and wanted not in ids:
            raise invalid(f"{name}: No item has the id '{wanted}'.")
    if before is not None:
        stop = ids.index(before)
        start = max(stop - limit, 0)
        has_more = start > 0
    else:
        start = 0 if after is None else ids.index(after) + 1
        stop = min(start + limit, len(items))
        has_more = stop < len(items)
    return {
        "data": items[start:stop],
        "first_id": ids[start] if start < stop else None,
        "has_more": has_more,
        "last_id": ids[stop - 1] if start < stop else None,
    }


def _workspace(workspace: Workspace) -> Json:
    return {
        "id": workspace.id,
        "archived_at": workspace.archived_at,
        "compartment_id": None,
        "created_at": workspace.created_at,
        "data_residency": {
            "allowed_inference_geos": ["us"] if workspace.geo == "us" else "unrestricted",
            "default_inference_geo": workspace.geo,
            "workspace_geo": "us",
        },
        "display_color": workspace.colour,
        "external_key_id": None,
        "name": workspace.name,
        "tags": {"team": workspace.team},
        "type": "workspace",
    }


def _api_key(key: ApiKey, *, scoped: bool) -> Json:
    account = key.service_account
    principal = (
        {"id": account.id, "type": "service_account"}
        if account
        else {"id": key.created_by.id, "type": "user"}
    )
    workspace_id = key.workspace.reported_id
    scope: Json = (
        {"scope": {"type": "workspace", "workspace_id": key.workspace.id}}
        if scoped
        else {"workspace_id": workspace_id}
    )
    return {
        "id": key.id,
        "created_at": key.created_at,
        "created_by": {"id": key.created_by.id, "type": "user"},
        "expires_at": key.expires_at,
        "name": key.name,
        "partial_key_hint": key.hint,
        "principal": principal,
        "status": key.status,
        "type": "api_key",
        **scope,
    }


def _user(person: Person) -> Json:
    return {
        "id": person.id,
        "added_at": person.added_at,
        "email": person.email,
        "name": person.name,
        "role": person.role,
        "type": "user",
    }


def _service_account(account: ServiceAccount) -> Json:
    return {
        "id": account.id,
        "archived_at": account.archived_at,
        "archived_by_actor_id": account.created_by if account.archived_at else None,
        "created_at": account.created_at,
        "created_by_actor_id": account.created_by,
        "description": account.description,
        "name": account.name,
        "organization_role": "user",
        "type": "service_account",
        "updated_at": account.archived_at or account.created_at,
        "updated_by_actor_id": account.created_by,
    }
