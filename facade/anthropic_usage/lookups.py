"""The lookups that give names to ids: organization, workspaces, keys, users, service accounts.

Lists are read to their end. The models are the generated ones; what the API adds stays in their
`additional_properties`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any, TypeVar, get_args

from anthropic_admin_client.api.organization import (
    get_organization,
    list_api_keys,
    list_service_accounts,
    list_users,
    list_workspaces,
)
from anthropic_admin_client.models.api_key_status import ApiKeyStatus
from anthropic_admin_client.types import UNSET

from .engine.flow import Emit, Failure, Flow, Reply, Retry, Step, Trail, exchange, one_line
from .errors import IncompleteReport, InvalidQuery
from .moments import Clock

__all__ = ["api_keys", "organization", "service_accounts", "users", "workspaces"]

PAGE_SIZE = 1000
"""The most that the list endpoints hand out at once."""

T = TypeVar("T")


def organization(version: str, retry: Retry, clock: Clock) -> Flow:
    """Emit the organization that the key belongs to."""
    request = get_organization.request(anthropic_version=version)
    yield Emit([(yield from _read("organization", request, get_organization.parse, retry, clock))])


def workspaces(
    version: str,
    retry: Retry,
    clock: Clock,
    *,
    include_archived: bool,
    include_default: bool,
    limit: int | None,
) -> Flow:
    """Emit lists of workspaces."""
    return _walk(
        "workspaces",
        lambda cursor: list_workspaces.request(
            limit=_page_size(limit),
            after_id=UNSET if cursor is None else cursor,
            include_archived=include_archived,
            include_default=include_default or UNSET,
            anthropic_version=version,
        ),
        list_workspaces.parse,
        retry,
        clock,
    )


def api_keys(
    version: str,
    retry: Retry,
    clock: Clock,
    *,
    status: str | None,
    workspace_id: str | None,
    created_by_user_id: str | None,
    limit: int | None,
) -> Flow:
    """Emit lists of API keys; they hold a hint of each key, never the key."""
    if status is not None and status not in get_args(ApiKeyStatus):
        raise InvalidQuery(
            f"status={status!r} is no state of a key; it is {', '.join(get_args(ApiKeyStatus))}"
        )
    return _walk(
        "api_keys",
        lambda cursor: list_api_keys.request(
            limit=_page_size(limit),
            after_id=UNSET if cursor is None else cursor,
            status=_or_unset(status),
            workspace_id=_or_unset(workspace_id),
            created_by_user_id=_or_unset(created_by_user_id),
            anthropic_version=version,
        ),
        list_api_keys.parse,
        retry,
        clock,
    )


def users(
    version: str, retry: Retry, clock: Clock, *, email: str | None, limit: int | None
) -> Flow:
    """Emit lists of the organization's members."""
    return _walk(
        "users",
        lambda cursor: list_users.request(
            limit=_page_size(limit),
            after_id=UNSET if cursor is None else cursor,
            email=_or_unset(email),
            anthropic_version=version,
        ),
        list_users.parse,
        retry,
        clock,
    )


def service_accounts(version: str, retry: Retry, clock: Clock, *, limit: int | None) -> Flow:
    """Emit lists of service accounts; the API refuses Admin keys here and wants an OAuth token."""
    return _walk(
        "service_accounts",
        lambda cursor: list_service_accounts.request(
            limit=_page_size(limit),
            page=UNSET if cursor is None else cursor,
            anthropic_version=version,
        ),
        list_service_accounts.parse,
        retry,
        clock,
    )


def _walk(
    what: str,
    request: Callable[[str | None], dict[str, Any]],
    parse: Callable[[Any], Any],
    retry: Retry,
    clock: Clock,
) -> Flow:
    """Emit a list page by page until it ends; a cursor that cannot go on is IncompleteReport."""
    cursor: str | None = None
    trail = Trail()
    while True:
        page = yield from _read(what, request(cursor), parse, retry, clock)
        if hasattr(page, "has_more"):
            more, cursor = page.has_more, page.last_id
        else:
            more, cursor = page.next_page is not None, page.next_page
        if not isinstance(page.data, list) or not isinstance(more, bool):
            raise IncompleteReport(f"the answer to {what} is not of the documented shape")
        if more and (wrong := trail.wrong(cursor, bool(page.data))):
            raise IncompleteReport(
                f"the list of {what} is not whole, it says not how to go on: {wrong}"
            )
        yield Emit(page.data)
        if not more:
            return


def _read(
    what: str, request: dict[str, Any], parse: Callable[[Any], T], retry: Retry, clock: Clock
) -> Generator[Step, Reply | Failure | None, T]:
    reply = yield from exchange(request, retry, clock)
    assert isinstance(reply, Reply)  # noqa: S101
    try:
        return parse(json.loads(reply.body))
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise IncompleteReport(
            f"the answer to {what} is not of the documented shape: {type(error).__name__} "
            f"{one_line(str(error))}"
        ) from None


def _page_size(limit: int | None) -> int:
    if limit is None:
        return PAGE_SIZE
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= PAGE_SIZE:
        raise InvalidQuery(
            f"limit={limit!r} is out of range: a page of names takes 1 to {PAGE_SIZE}"
        )
    return limit


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
