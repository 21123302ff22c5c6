"""Numbers and names as people read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from .money import divide, quantize, subtract, times
from .outside import clean

__all__ = [
    "bar",
    "change",
    "clean",
    "count",
    "dollars",
    "moment",
    "percent",
    "several",
    "sparkline",
]

_UNITS = ("k", "M", "B", "T", "P")
_LEVELS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def count(number: int) -> str:
    """Write 12,345 as it is and 12,345,678 as 12.3M: three digits, exact below 100,000."""
    if abs(number) < 100_000:
        return f"{number:,}"
    scaled, power = divide(abs(number), 1000), 0
    # 999.6M is 1.00B, not 1,000M.
    while scaled >= Decimal("999.5") and power < len(_UNITS) - 1:
        scaled, power = divide(scaled, 1000), power + 1
    digits = 2 if scaled < Decimal("9.995") else 1 if scaled < Decimal("99.95") else 0
    return f"{'-' if number < 0 else ''}{_places(scaled, digits)}{_UNITS[power]}"


def dollars(amount: Decimal) -> str:
    """Write dollars to the cent; an amount that would round to nothing says so."""
    rounded = quantize(amount, 2)
    if amount and not rounded:
        return "<$0.01" if amount > 0 else "-<$0.01"
    return f"{'-' if rounded < 0 else ''}${rounded.copy_abs():,f}"


def percent(part: Decimal | int, whole: Decimal | int, digits: int = 0) -> str:
    """Write a share; of nothing there is none."""
    if not whole:
        return "-"
    return f"{_places(divide(times(Decimal(part), 100), whole), digits)}%"


def change(now: Decimal | int | None, before: Decimal | int | None) -> str:
    """Write how much more or less it is than before; across or below zero no share is true."""
    if now is None or before is None:
        return ""
    if not before:
        return "new" if now > 0 else "-"
    if before < 0 or now < 0:
        return "-"
    said = percent(subtract(Decimal(now), Decimal(before)), before, 1)
    return said if said.startswith("-") or said == "0.0%" else f"+{said}"


def several(number: int, what: str) -> str:
    """Write a number of things: 1 page, 2 pages."""
    plural = what if number == 1 else f"{what[:-1]}ies" if what.endswith("ry") else f"{what}s"
    return f"{number:,} {plural}"


def bar(part: Decimal | int, most: Decimal | int, width: int) -> str:
    """Draw a share of `most` with block characters, to an eighth of one; at most `width` wide."""
    if most <= 0 or part <= 0:
        return ""
    eighths = int(quantize(divide(times(Decimal(min(part, most)), 8 * width), most), 0))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _places(number: Decimal, digits: int) -> str:
    rounded = quantize(number, digits)
    return f"{rounded if rounded else rounded.copy_abs():,f}"


def moment(value: dt.datetime, width: dt.timedelta) -> str:
    """Write the start of a bucket, as short as its width allows."""
    return f"{value:%Y-%m-%d}" if width >= dt.timedelta(days=1) else f"{value:%Y-%m-%d %H:%M}"


def sparkline(amounts: Sequence[Decimal]) -> str:
    """Draw amounts as a row of bars, the largest at full height; nothing for no amount at all."""
    most = max(amounts, default=Decimal(0))
    if most <= 0:
        return ""
    return "".join(_LEVELS[_level(amount, most)] for amount in amounts)


def _level(amount: Decimal, most: Decimal) -> int:
    return max(0, min(7, int(divide(times(amount, 8), most))))
