"""The file in which people write their budgets and what else is checked."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs

from ..documents import Entries, from_yaml, number, shown, whole_number
from ..errors import InvalidQuery

__all__ = ["Budget", "Budgets"]

PERIODS = ("month", "week", "day")
SUBJECTS = ("workspace", "api_key", "model")


@attrs.frozen(kw_only=True)
class Budget:
    """So many US dollars a period, for everything or for one workspace, API key or model."""

    name: str
    amount: Decimal
    period: str = "month"
    subject: str | None = None
    """One of `workspace`, `api_key`, `model`; None is the organisation."""
    value: str | None = None
    """The subject's id or name."""
    warn_at: tuple[int, ...] = (100,)
    """Percentages of the amount that alert when they are reached."""
    on_forecast: bool = True
    """Whether a projection above the amount alerts."""


@attrs.frozen(kw_only=True)
class Budgets:
    """What is checked."""

    budgets: tuple[Budget, ...] = ()
    jump_factor: Decimal | None = Decimal(2)
    """How many times the usual bill of its weekday makes a day a jump; None checks none."""
    jump_usd: Decimal = Decimal(25)
    """The least that a jump must be above the usual, in US dollars."""
    cache_drop: Decimal | None = Decimal(10)
    """By how many percentage points the cache rate may fall; None checks none."""

    @classmethod
    def parse(cls, text: str) -> Budgets:
        """Read a YAML (or JSON) document; raises InvalidQuery that names what is wrong.

        See `anthropic-usage check --help` for its form.
        """
        document = from_yaml(text)
        if not isinstance(document, Entries):
            raise InvalidQuery("it must be an object with a list of budgets")
        _known("it", document, ("budgets", "jump", "cache_drop"))
        entries = document.get("budgets", [])
        if not isinstance(entries, list):
            raise InvalidQuery(f"{_place(document, 'budgets')} must be a list")
        jump = document.get("jump", Entries({}, {}))
        options: dict[str, Any] = {}
        if jump == "off":
            options["jump_factor"] = None
        elif isinstance(jump, Entries):
            _known("jump", jump, ("factor", "usd"))
            if "factor" in jump:
                options["jump_factor"] = _amount(jump, "factor", "jump.factor", least=1)
            if "usd" in jump:
                options["jump_usd"] = _amount(jump, "usd", "jump.usd")
        else:
            raise InvalidQuery(
                f"jump must be off, or {{factor: 2, usd: 25}} (line {document.lines['jump']})"
            )
        drop = document.get("cache_drop")
        if drop is not None:
            options["cache_drop"] = None if drop == "off" else _amount(document, "cache_drop")
        return cls(budgets=tuple(_budget(n, e) for n, e in enumerate(entries, 1)), **options)


def _budget(place: int, entry: Any) -> Budget:
    where = f"budget {place}"
    if not isinstance(entry, Entries):
        raise InvalidQuery(f"{where} must be an object such as {{name: all, amount_usd: 1000}}")
    _known(where, entry, ("name", "amount_usd", "period", "warn_at", "forecast", *SUBJECTS))
    if "amount_usd" not in entry:
        raise InvalidQuery(f"{where} lacks amount_usd")
    for name in ("name", *SUBJECTS):
        if name in entry and not (isinstance(entry[name], str) and entry[name].strip()):
            raise InvalidQuery(f"{where}: {_place(entry, name)} must be an id or a name")
    subjects = [name for name in SUBJECTS if name in entry]
    if len(subjects) > 1:
        raise InvalidQuery(f"{where} is of {' and '.join(subjects)}: give one of them")
    subject = subjects[0] if subjects else None
    value = None if subject is None else entry[subject]
    period = entry.get("period", "month")
    if period not in PERIODS:
        raise InvalidQuery(
            f"{where}: {_place(entry, 'period')} is {shown(period)}, which is none of "
            f"{', '.join(PERIODS)}"
        )
    amount = _amount(entry, "amount_usd", f"{where}: amount_usd")
    if not amount:
        raise InvalidQuery(f"{where}: {_place(entry, 'amount_usd')} must be above 0")
    forecast = entry.get("forecast", "true")
    if forecast not in ("true", "false"):
        raise InvalidQuery(f"{where}: {_place(entry, 'forecast')} must be true or false")
    return Budget(
        name=entry.get("name") or value or "everything",
        amount=amount,
        period=period,
        subject=subject,
        value=value,
        warn_at=_percentages(where, entry),
        on_forecast=forecast == "true",
    )


def _percentages(where: str, entry: Entries) -> tuple[int, ...]:
    if "warn_at" not in entry:
        return (100,)
    try:
        return tuple(whole_number("it", item, least=0) for item in _listed(entry["warn_at"]))
    except InvalidQuery:
        raise InvalidQuery(
            f"{where}: {_place(entry, 'warn_at')} must be a list of whole percentages, like "
            "[80, 100]"
        ) from None


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidQuery("it is no list")
    return value


def _place(entry: Entries, name: str) -> str:
    return f"{name} (line {entry.lines[name]})"


def _known(where: str, entry: Entries, names: Iterable[str]) -> None:
    for name, line in entry.lines.items():
        if name not in names:
            raise InvalidQuery(
                f"{where} has {shown(name)} (line {line}); known are {', '.join(names)}"
            )


def _amount(entry: Entries, name: str, where: str | None = None, least: int = 0) -> Decimal:
    where = f"{where or name} (line {entry.lines[name]})"
    amount = number(where, entry[name])
    if amount < least:
        raise InvalidQuery(f"{where} must be at least {least}")
    return amount
