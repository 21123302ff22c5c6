"""The file in which people write their budgets and what else is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from ..errors import InvalidQuery
from ..money import check_amount

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
        import yaml

        try:
            # The base loader leaves numbers as they were written, so that money stays exact.
            document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes strings only
        except yaml.YAMLError as error:
            raise InvalidQuery(f"it is no YAML: {' '.join(str(error).split())}") from None
        if not isinstance(document, dict):
            raise InvalidQuery("it must be an object with a list of budgets")
        _known("it", document, ("budgets", "jump", "cache_drop"))
        entries = document.get("budgets", [])
        if not isinstance(entries, list):
            raise InvalidQuery("budgets must be a list")
        jump = document.get("jump", {})
        options: dict[str, Any] = {}
        if jump == "off":
            options["jump_factor"] = None
        elif isinstance(jump, dict):
            _known("jump", jump, ("factor", "usd"))
            if "factor" in jump:
                options["jump_factor"] = _number("jump.factor", jump["factor"], at_least=1)
            if "usd" in jump:
                options["jump_usd"] = _number("jump.usd", jump["usd"])
        else:
            raise InvalidQuery("jump must be off, or {factor: 2, usd: 25}")
        drop = document.get("cache_drop")
        if drop is not None:
            options["cache_drop"] = None if drop == "off" else _number("cache_drop", drop)
        return cls(budgets=tuple(_budget(n, e) for n, e in enumerate(entries, 1)), **options)


def _budget(number: int, entry: Any) -> Budget:
    where = f"budget {number}"
    if not isinstance(entry, dict):
        raise InvalidQuery(f"{where} must be an object such as {{name: all, amount_usd: 1000}}")
    known = ("name", "amount_usd", "period", "warn_at", "forecast", *SUBJECTS)
    _known(where, entry, known)
    if "amount_usd" not in entry:
        raise InvalidQuery(f"{where} lacks amount_usd")
    subjects = [name for name in SUBJECTS if name in entry]
    if len(subjects) > 1:
        raise InvalidQuery(f"{where} is of {' and '.join(subjects)}: give one of them")
    subject = subjects[0] if subjects else None
    value = None if subject is None else entry[subject]
    if subject is not None and (not isinstance(value, str) or not value):
        raise InvalidQuery(f"{where}: {subject} must be an id or a name")
    period = entry.get("period", "month")
    if period not in PERIODS:
        raise InvalidQuery(f"{where}: period {period!r} is none of {', '.join(PERIODS)}")
    amount = _number(f"{where}: amount_usd", entry["amount_usd"])
    if not amount:
        raise InvalidQuery(f"{where}: amount_usd must be above 0")
    warn_at = entry.get("warn_at", ["100"])
    if not isinstance(warn_at, list) or not all(str(item).isdecimal() for item in warn_at):
        raise InvalidQuery(f"{where}: warn_at must be a list of whole percentages, like [80, 100]")
    forecast = entry.get("forecast", "true")
    if forecast not in ("true", "false"):
        raise InvalidQuery(f"{where}: forecast must be true or false")
    return Budget(
        name=str(entry.get("name") or value or "everything"),
        amount=amount,
        period=period,
        subject=subject,
        value=value,
        warn_at=tuple(int(item) for item in warn_at),
        on_forecast=forecast == "true",
    )


def _known(where: str, entry: Mapping[str, Any], names: Iterable[str]) -> None:
    unknown = sorted(set(entry) - set(names))
    if unknown:
        raise InvalidQuery(f"{where} has {unknown[0]!r}; known are {', '.join(names)}")


def _number(where: str, value: Any, at_least: int = 0) -> Decimal:
    try:
        number = check_amount(Decimal(str(value).replace("_", "").replace(",", "")))
    except (ArithmeticError, ValueError):
        raise InvalidQuery(f"{where} is {value!r}, which is no number") from None
    if number < at_least:
        raise InvalidQuery(f"{where} must be at least {at_least}")
    return number
