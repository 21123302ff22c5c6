"""Query strings, read strictly: what is not asked for by name is refused by name."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from .answers import invalid

if TYPE_CHECKING:
    from collections.abc import Collection

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Parameters:
    """The parameters of one request; each is taken once, and `finish` refuses the rest."""

    def __init__(self, path: str, query_string: str) -> None:
        self._pairs = parse_qsl(query_string, keep_blank_values=True)
        self._known: set[str] = set()
        bound = sorted(pair for pair in self._pairs if pair[0] != "page")
        self.fingerprint = hashlib.blake2b(repr((path, bound)).encode(), digest_size=9).digest()
        """Stands for the endpoint and all parameters but `page`."""

    def finish(self) -> None:
        """Refuse any parameter that nothing has asked for."""
        for name, _ in self._pairs:
            if name not in self._known:
                hint = f" Did you mean {name}[]?" if f"{name}[]" in self._known else ""
                raise invalid(f"{name}: Extra inputs are not permitted.{hint}")

    def many(self, name: str) -> list[str]:
        """Return all values of a repeated parameter."""
        self._known.add(name)
        values = [value for key, value in self._pairs if key == name]
        if "" in values:
            raise invalid(f"{name}: Values must not be empty.")
        return values

    def choices(self, name: str, allowed: Collection[str]) -> list[str]:
        """Return all values of a repeated parameter that takes only certain ones."""
        values = self.many(name)
        for value in values:
            if value not in allowed:
                raise invalid(
                    f"{name}: Input should be one of {', '.join(allowed)}; got '{value}'."
                )
        return values

    def text(self, name: str) -> str | None:
        """Return the value of a parameter given at most once."""
        self._known.add(name)
        values = [value for key, value in self._pairs if key == name]
        if len(values) > 1:
            raise invalid(f"{name}: Given {len(values)} times; it takes one value.")
        return values[0] if values else None

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        """Return the value of a parameter that takes only certain ones."""
        value = self.text(name)
        if value is not None and value not in allowed:
            raise invalid(f"{name}: Input should be one of {', '.join(allowed)}; got '{value}'.")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean parameter; False when it is not given."""
        return self.choice(name, ("true", "false")) == "true"

    def limit(self, default: int, maximum: int) -> int:
        """Return `limit`, within its bounds."""
        value = self.text("limit")
        if value is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            raise invalid(f"limit: Input should be a valid integer; got '{value}'.")
        number = int(value)
        if number < 1:
            raise invalid("limit: Input should be greater than or equal to 1.")
        if number > maximum:
            raise invalid(f"limit: Input should be less than or equal to {maximum}.")
        return number

    def moment(self, name: str) -> datetime | None:
        """Return an RFC 3339 timestamp in UTC."""
        value = self.text(name)
        if value is None:
            return None
        if _RFC3339.fullmatch(value):
            try:
                return datetime.fromisoformat(value.upper()).astimezone(UTC)
            except (ValueError, OverflowError):
                pass
        raise invalid(f"{name}: Input should be a valid RFC 3339 timestamp; got '{value}'.")

    def required_moment(self, name: str) -> datetime:
        """Return an RFC 3339 timestamp that must be given."""
        moment = self.moment(name)
        if moment is None:
            raise invalid(f"{name}: Field required.")
        return moment

    def required_day(self, name: str) -> date:
        """Return a `YYYY-MM-DD` day that must be given; a timestamp is refused."""
        value = self.text(name)
        if value is None:
            raise invalid(f"{name}: Field required.")
        if _DAY.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        raise invalid(f"{name}: Input should be a date in the form YYYY-MM-DD; got '{value}'.")
