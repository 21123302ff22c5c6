"""Numbers and names as people read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

__all__ = ["clean", "count", "dollars", "moment", "percent", "sparkline"]

_UNITS = ("k", "M", "B", "T", "P")
_CENT = Decimal("0.01")
_LEVELS = "▁▂▃▄▅▆▇█"


def count(number: int) -> str:
    """Write 12,345 as it is and 12,345,678 as 12.3M: three digits, exact below 100,000."""
    if abs(number) < 100_000:
        return f"{number:,}"
    scaled, power = abs(number) / 1000, 0
    # 999.6M is 1.00B, not 1,000M.
    while scaled >= 999.5 and power < len(_UNITS) - 1:
        scaled, power = scaled / 1000, power + 1
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{'-' if number < 0 else ''}{scaled:,.{digits}f}{_UNITS[power]}"


def dollars(amount: Decimal) -> str:
    """Write dollars to the cent; an amount that would round to nothing says so."""
    rounded = amount.quantize(_CENT, ROUND_HALF_EVEN)
    if amount and not rounded:
        return "<$0.01" if amount > 0 else "-<$0.01"
    return f"-${-rounded:,}" if rounded < 0 else f"${abs(rounded):,}"


def percent(part: int, whole: int) -> str:
    """Write a share; of nothing there is none."""
    return f"{100 * part / whole:.0f}%" if whole else "-"


def moment(value: dt.datetime, width: dt.timedelta) -> str:
    """Write the start of a bucket, as short as its width allows."""
    return f"{value:%Y-%m-%d}" if width >= dt.timedelta(days=1) else f"{value:%Y-%m-%d %H:%M}"


def clean(text: Any) -> str:
    """Make a text from outside safe for a terminal: no escapes, no controls, no line breaks."""
    return "".join(c if c.isprintable() else "�" for c in str(text))


def sparkline(amounts: Sequence[Decimal]) -> str:
    """Draw amounts as a row of bars, the largest at full height; nothing for no amount at all."""
    most = max(amounts, default=Decimal(0))
    if most <= 0:
        return ""
    return "".join(_LEVELS[max(0, min(7, int(8 * amount / most)))] for amount in amounts)
