"""Who pays: a map of patterns of ids and names that people write."""

from __future__ import annotations

import csv
import fnmatch
import io
import json
from collections.abc import Mapping
from typing import Any

import attrs

from ..errors import InvalidQuery

__all__ = ["Owner", "OwnerMap"]


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
        columns `pattern`, `team` and, if wanted, `cost_center`. Raises InvalidQuery.
        """
        if form == "csv":
            return cls(_from_csv(text))
        try:
            if form == "json":
                entries = json.loads(text)
            else:
                import yaml

                entries = yaml.safe_load(text)
        except Exception as error:
            if form != "json" and type(error).__module__.split(".")[0] != "yaml":
                raise
            sentence = " ".join(str(error).split())
            raise InvalidQuery(f"the map is no {form.upper()}: {sentence}") from None
        if not isinstance(entries, dict):
            raise InvalidQuery("the map must be an object of patterns: {pattern: team}")
        return cls({str(pattern): _owner(pattern, terms) for pattern, terms in entries.items()})

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
            if any(fnmatch.fnmatchcase(text, pattern) for text in known):
                return pattern
        return None

    def __bool__(self) -> bool:
        return bool(self.entries)


def _owner(pattern: Any, terms: Any) -> Owner:
    if isinstance(terms, str) and terms:
        return Owner(team=terms)
    if isinstance(terms, dict) and isinstance(terms.get("team"), str):
        unknown = set(terms) - {"team", "cost_center"}
        if not unknown:
            center = terms.get("cost_center")
            return Owner(team=terms["team"], cost_center=None if center is None else str(center))
    raise InvalidQuery(
        f"the map's entry for {pattern!r} must be a team, or {{team: ..., cost_center: ...}}"
    )


def _from_csv(text: str) -> dict[str, Owner]:
    reader = csv.DictReader(io.StringIO(text))
    if not {"pattern", "team"} <= set(reader.fieldnames or ()):
        raise InvalidQuery("the map's CSV needs the columns pattern and team")
    return {
        row["pattern"]: Owner(team=row["team"] or "", cost_center=row.get("cost_center") or None)
        for row in reader
        if row["pattern"]
    }
