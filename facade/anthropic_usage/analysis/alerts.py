"""Alerts, and the memory of what was told: a thing once, again when it is worse, and its end."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import attrs

from ..errors import InvalidQuery
from ..moments import DAY
from ..money import parse_amount, plain, quantize
from ..sinks.sink import Staged

__all__ = ["Alert", "Memory"]

_VERSION = 1
_KEPT = 400 * DAY
"""For so long it is remembered what was told of a thing that is over."""


@attrs.frozen(kw_only=True)
class Alert:
    """Something that somebody should look at, or that is over."""

    kind: str
    """`budget`, `forecast`, `jump`, `new` or `cache`."""
    subject: str
    message: str
    id: str = ""
    """The same for the same thing, however often it is checked."""
    day: dt.date | None = None
    """The billed day on which it showed."""
    threshold: Decimal | None = None
    """What was passed, in `unit`."""
    amount: Decimal | None = None
    """How much there is, in `unit`."""
    unit: str = "USD"
    """`USD`, or `percentage points` of a cache rate."""
    severity: str = "warning"
    """`critical`, `warning`, or `info`, which is also what the end of a thing is."""
    causes: tuple[str, ...] = ()
    """Which parts of the subject show the same."""
    again_at: Decimal | None = None
    """The amount from which the same thing is worth telling again; None if it never is."""


@attrs.frozen
class _Told:
    """What was told of a thing last."""

    day: dt.date
    again_at: Decimal | None
    over: bool = False


@attrs.define
class Memory:
    """What was told, and which days are judged, kept in a small JSON file.

    >>> memory = Memory.read(Path("check.json"))                       # doctest: +SKIP
    >>> found = check(client, budgets, unjudged_from=memory.judged_before, ...)  # doctest: +SKIP
    >>> news, over = memory.news(found.alerts, found.over)                # doctest: +SKIP
    >>> memory.keep(found.billed_until)                                # doctest: +SKIP
    """

    path: Path
    begun: dt.date | None = None
    """The first day that was judged."""
    judged_before: dt.date | None = None
    """The first day that was not; None if none was."""
    told: dict[str, _Told] = attrs.field(factory=dict)

    @classmethod
    def read(cls, path: Path) -> Memory:
        """Read a file, which need not be there; raises InvalidQuery if it is no such memory."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(path)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidQuery(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
        try:
            document = json.loads(text)
            if document["version"] != _VERSION:
                raise ValueError(f"its version is {document['version']!r}")
            told = {name: _told(entry) for name, entry in document["told"].items()}
            days = (_day(document["begun"]), _day(document["judged_before"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidQuery(
                f"{path} does not hold what check has told ({type(error).__name__}: {error}): give "
                "another file, or remove it to begin anew"
            ) from None
        return cls(path, *days, told)

    def news(
        self, alerts: Iterable[Alert], over: Iterable[Alert]
    ) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
        """Return which alerts are new or worse, and which ends are those of what was told."""
        fresh: dict[str, Alert] = {}
        for alert in alerts:
            name = self._known(alert)
            known = self.told.get(name)
            # A rate that recovered may fall again; what else is over comes back under another id.
            back = known is not None and known.over and alert.kind == "cache"
            if known is not None and not back and not _worse(alert, known):
                continue
            fresh[name] = alert
            day = alert.day or dt.date.min
            again = alert.again_at
            if again is not None:
                again = quantize(again, 2, ROUND_CEILING)
            self.told[name] = _Told(day, again, over=alert.kind == "new")
        ends = []
        for alert in over:
            name = self._known(alert)
            known = self.told.get(name)
            if known is not None and not known.over:
                self.told[name] = attrs.evolve(known, day=alert.day or known.day, over=True)
                if alert.message and name not in fresh:
                    ends.append(alert)
        return tuple(fresh.values()), tuple(ends)

    def _known(self, alert: Alert) -> str:
        """Return the id under which it was told: a bill that grows may move a jump's first day."""
        if alert.kind == "jump" and alert.id not in self.told:
            thing = alert.id.rpartition(":")[0]
            for name, known in self.told.items():
                if name.rpartition(":")[0] == thing and not known.over:
                    return name
        return alert.id

    def keep(self, billed_until: dt.date) -> None:
        """Write down what was told, and that the days before `billed_until` are judged.

        Raises OSError if the file cannot be written.
        """
        self.judged_before = max(billed_until, self.judged_before or billed_until)
        self.begun = self.begun or billed_until - DAY
        oldest = self.judged_before - _KEPT
        document = {
            "version": _VERSION,
            "begun": self.begun.isoformat(),
            "judged_before": self.judged_before.isoformat(),
            "told": {
                name: {
                    "day": known.day.isoformat(),
                    "again_at": None if known.again_at is None else plain(known.again_at),
                    "over": known.over,
                }
                for name, known in self.told.items()
                if known.day >= oldest
            },
        }
        with Staged(self.path) as staged:
            staged.file.write(f"{json.dumps(document, indent=1)}\n".encode())


def _worse(alert: Alert, known: _Told) -> bool:
    return (
        known.again_at is not None and alert.amount is not None and alert.amount >= known.again_at
    )


def _told(entry: Mapping[str, Any]) -> _Told:
    again = entry["again_at"]
    if not isinstance(entry["over"], bool):
        raise TypeError("over is no truth value")
    return _Told(
        dt.date.fromisoformat(entry["day"]),
        None if again is None else parse_amount(again),
        entry["over"],
    )


def _day(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(text)
