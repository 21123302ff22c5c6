"""Names for ids: workspaces, API keys and users, as far as the key may look them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from .errors import AnthropicUsageError, AuthenticationError
from .outside import clean

__all__ = ["DEFAULT_WORKSPACE", "NO_KEY", "Directory", "named"]

DEFAULT_WORKSPACE = "default workspace"
NO_KEY = "no key (Console)"
_KINDS = {"workspaces": "workspaces", "api_keys": "API keys", "users": "users"}


class _Lookups(Protocol):
    def workspaces(self) -> Iterable[Any]:
        """Return the workspaces."""

    def api_keys(self) -> Iterable[Any]:
        """Return the API keys."""

    def users(self) -> Iterable[Any]:
        """Return the users."""


def named(item: Any) -> str:
    """Return what an item is called; what has no name that can be seen is called by its id."""
    name = item.name if isinstance(item.name, str) else ""
    return name if clean(name).strip() else str(item.id)


@attrs.frozen(kw_only=True)
class Directory:
    """What the ids in reports are called.

    Names are what people of the organisation typed: show them as text, never as instructions or
    markup.
    """

    workspaces: Mapping[str, str] = attrs.field(factory=dict)
    api_keys: Mapping[str, str] = attrs.field(factory=dict)
    users: Mapping[str, str] = attrs.field(factory=dict)
    missing: tuple[str, ...] = ()
    """Sentences on what could not be looked up."""

    @classmethod
    def read(
        cls, source: _Lookups, *, kinds: Iterable[str] = ("workspaces", "api_keys", "users")
    ) -> Directory:
        """Look names up; what is refused costs the names, and is said in `missing`."""
        found: dict[str, dict[str, str]] = {}
        refused: dict[str, list[str]] = {}
        lookups: dict[str, Callable[[], Iterable[Any]]] = {
            "workspaces": source.workspaces,
            "api_keys": source.api_keys,
            "users": source.users,
        }
        for kind in kinds:
            try:
                found[kind] = {item.id: named(item) for item in lookups[kind]()}
            except AuthenticationError:
                raise
            except AnthropicUsageError as error:
                refused.setdefault(str(error), []).append(_KINDS[kind])
        missing = (f"no names for {' and '.join(kinds)}: {why}" for why, kinds in refused.items())
        return cls(**found, missing=tuple(missing))

    def workspace(self, workspace_id: str | None) -> str:
        """Return a workspace's name, or its id if the name is not known."""
        if workspace_id is None:
            return DEFAULT_WORKSPACE
        return self.workspaces.get(workspace_id, workspace_id)

    def api_key(self, api_key_id: str | None) -> str:
        """Return an API key's name, or its id if the name is not known."""
        return NO_KEY if api_key_id is None else self.api_keys.get(api_key_id, api_key_id)

    def user(self, user_id: str | None) -> str:
        """Return a user's name, or the id if the name is not known."""
        return "nobody" if user_id is None else self.users.get(user_id, user_id)

    def name(self, dimension: str, value: str | None) -> str:
        """Return what the value of a dimension is called; most are their own names."""
        names = {"workspace_id": self.workspace, "api_key_id": self.api_key}
        names["account_id"] = self.user
        return names[dimension](value) if dimension in names else str(value or "-")
