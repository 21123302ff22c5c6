"""Who pays: a map of patterns of ids and names that people write."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from typing import Any

import attrs

from ..documents import Entries, from_csv, from_json, from_yaml, shown, text_of
from ..errors import InvalidQuery

__all__ = ["AGENT_MAP", "Owner", "OwnerMap"]

AGENT_MAP = "ANTHROPIC_AGENT_MAP_JSON"
"""The variable that holds a map of those who use API keys."""


@attrs.frozen(kw_only=True)
class Owner:
    """Who pays."""

    team: str
    cost_center: str | None = None


class OwnerMap:
    """Patterns of ids or names -> who pays; the first that matches, exact ones before others."""

    def __init__(self, entries: Mapping[str, Owner] | None = None) -> None:
        self.entries = dict(entries or {})

    @classmethod
    def parse(cls, text: str, form: str = "yaml") -> OwnerMap:
        """Read a map from YAML, JSON or CSV.

        YAML and JSON are `pattern: team` or `pattern: {team: ..., cost_center: ...}`; CSV has the
        columns `pattern`, `team` and, if wanted, `cost_center`. Patterns, teams and cost centers
        are texts as written. Raises InvalidQuery that names the line.
        """
        if form == "csv":
            return cls(_from_csv(text))
        document = from_json(text) if form == "json" else from_yaml(text)
        if not isinstance(document, Entries):
            raise InvalidQuery("the map must be an object of patterns: {pattern: team}")
        return cls({key: _owner(key, value, document) for key, value in document.items()})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> OwnerMap:
        """Read the map in ANTHROPIC_AGENT_MAP_JSON, the owners' map as JSON; empty if not set.

        Its short form `{"API key id": "label"}` says who uses each key. Raises InvalidQuery.
        """
        text = (os.environ if environ is None else environ).get(AGENT_MAP, "")
        try:
            return cls.parse(text_of(text, "it"), "json") if text.strip() else cls()
        except InvalidQuery as error:
            raise InvalidQuery(f"{AGENT_MAP}: {error}") from None

    def plus(self, other: OwnerMap) -> OwnerMap:
        """Return a map in which this one's entries go first."""
        return OwnerMap({**self.entries, **{**other.entries, **self.entries}})

    def owner(self, *texts: str | None) -> Owner | None:
        """Return who pays for something with this id and name."""
        pattern = self.match(*texts)
        return None if pattern is None else self.entries[pattern]

    def match(self, *texts: str | None) -> str | None:
        """Return the entry that something with this id and name falls under."""
        known = [text for text in texts if text is not None]
        for text in known:
            if text in self.entries:
                return text
        for pattern in self.entries:
            if any(fnmatch.fnmatchcase(text, _only_stars(pattern)) for text in known):
                return pattern
        return None

    def __bool__(self) -> bool:
        return bool(self.entries)


def _only_stars(pattern: str) -> str:
    """Return a pattern of fnmatch in which a bracket is a bracket."""
    return pattern.replace("[", "[[]")


def _owner(pattern: str, terms: Any, entries: Entries) -> Owner:
    line = entries.lines[pattern]
    if not pattern.strip():
        raise InvalidQuery(f"line {line}: the pattern is empty")
    if terms is None or isinstance(terms, str):
        terms = {"team": terms}
    if not isinstance(terms, dict) or set(terms) - {"team", "cost_center"}:
        raise InvalidQuery(_FORM.format(line=line, pattern=shown(pattern)))
    team, center = terms.get("team"), terms.get("cost_center")
    if not all(text is None or isinstance(text, str) for text in (team, center)):
        raise InvalidQuery(_FORM.format(line=line, pattern=shown(pattern)))
    if not team or not team.strip():
        raise InvalidQuery(f"line {line}: the team of {shown(pattern)} is empty")
    return Owner(team=team, cost_center=center or None)


_FORM = (
    "line {line}: the entry of {pattern} must be a team, or {{team: ..., cost_center: ...}}, "
    "each a text"
)


def _from_csv(text: str) -> dict[str, Owner]:
    owners: dict[str, Owner] = {}
    lines: dict[str, int] = {}
    spellings = {"cost_centre": "cost_center"}
    for row in from_csv(text, ("pattern", "team"), ("cost_center",), spellings):
        pattern, team, center = (row.cells[name] for name in ("pattern", "team", "cost_center"))
        if not pattern:
            raise InvalidQuery(f"line {row.line}: the pattern is empty")
        if not team:
            raise InvalidQuery(f"line {row.line}: the team of {shown(pattern)} is empty")
        if pattern in owners:
            raise InvalidQuery(
                f"line {row.line}: {shown(pattern)} is there twice, first in line {lines[pattern]}"
            )
        owners[pattern] = Owner(team=team, cost_center=center or None)
        lines[pattern] = row.line
    return owners
