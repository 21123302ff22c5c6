"""Exact money: decimal strings in, `Decimal` out, and no float on the way.

The API writes amounts as decimal strings in cents ("123.45" is $1.2345) and does not round them
(platform.claude.com, api/admin/cost_report). Arithmetic here is exact or raises, but for `divide`
and `quantize`, which say how they round. Nothing here depends on the caller's decimal context,
as the operators of `Decimal` (`-x`, `abs(x)`, `x / y`, `sum`, `x.quantize`) do.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterable
from decimal import Decimal

ZERO = Decimal(0)

_EXACT = decimal.Context(
    prec=120,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.Subnormal],
)
_ROUNDED = decimal.Context(
    prec=120,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_LARGEST_EXPONENT = 30


def parse_amount(text: str) -> Decimal:
    """Return the amount a decimal string denotes, in the unit it was written in.

    Raises ValueError for what is no decimal number, plain or with an exponent, or is absurdly large
    or fine.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:12]!r} is not a decimal amount")
    return check_amount(Decimal(text))


def check_amount(amount: Decimal) -> Decimal:
    """Return `amount` unless sums with it could not stay exact, which raises ValueError."""
    if amount.is_finite() and not amount:
        return amount  # zero, however it is written
    exponent = amount.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or exponent < -_LARGEST_EXPONENT
        or amount.adjusted() > _LARGEST_EXPONENT
    ):
        raise ValueError(f"{str(amount)[:40]} is not an amount of money")
    return amount


def add(left: Decimal, right: Decimal) -> Decimal:
    """Return the exact sum."""
    return _EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """Return the exact difference."""
    return _EXACT.subtract(left, right)


def negative(amount: Decimal) -> Decimal:
    """Return the amount with its sign turned round, exactly."""
    return amount.copy_negate() if amount else amount.copy_abs()


def absolute(amount: Decimal) -> Decimal:
    """Return the amount without its sign, exactly."""
    return amount.copy_abs()


def divide(amount: Decimal | int, by: Decimal | int) -> Decimal:
    """Return the quotient to 120 digits, half even; raises ZeroDivisionError."""
    return _ROUNDED.divide(Decimal(amount), Decimal(by))


def quantize(amount: Decimal, places: int, rounding: str = decimal.ROUND_HALF_EVEN) -> Decimal:
    """Return the amount rounded to `places` digits behind the point; any amount fits."""
    digits = max(amount.adjusted(), 0) + abs(places) + 2 if amount.is_finite() else 1
    context = _ROUNDED if digits <= _ROUNDED.prec else decimal.Context(prec=digits, traps=[])
    return amount.quantize(Decimal((0, (1,), -places)), rounding=rounding, context=context)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum of all amounts."""
    result = ZERO
    for amount in amounts:
        result = _EXACT.add(result, amount)
    return result


def times(amount: Decimal, factor: Decimal | int) -> Decimal:
    """Return the exact product."""
    return _EXACT.multiply(amount, Decimal(factor))


def dollars(cents: Decimal) -> Decimal:
    """Return cents as dollars, exactly."""
    return _EXACT.scaleb(cents, -2)


def fixed(amount: Decimal, places: int) -> Decimal:
    """Return the amount written with `places` digits behind the point; raises ValueError if it has
    more."""
    try:
        return amount.quantize(Decimal((0, (1,), -places)), context=_EXACT)
    except decimal.Inexact:
        raise ValueError(f"{plain(amount)[:40]} has more than {places} decimal places") from None


def plain(amount: Decimal) -> str:
    """Write an amount in plain digits, without an exponent or trailing zeros: "94.662"."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
