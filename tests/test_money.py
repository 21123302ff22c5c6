"""Money: exact, and the same whatever decimal context the caller works in."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from anthropic_usage import money
from hypothesis import given
from hypothesis import strategies as st

AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**29), max_value=10**29)
CONTEXTS = st.builds(
    decimal.Context,
    prec=st.integers(1, 12),
    rounding=st.sampled_from([decimal.ROUND_UP, decimal.ROUND_FLOOR]),
    traps=st.sampled_from([[], [decimal.Inexact, decimal.Rounded, decimal.InvalidOperation]]),
)


@given(AMOUNTS, AMOUNTS, CONTEXTS)
def test_no_helper_knows_the_callers_decimal_context(
    left: Decimal, right: Decimal, context: decimal.Context
) -> None:
    def figures() -> list[object]:
        quotient = money.divide(left, right) if right else None
        rounded = money.quantize(left, 2), money.quantize(right, 0)
        sums = money.total([left.quantize(0, context=WIDE), right.quantize(0, context=WIDE)])
        return [money.negative(left), money.absolute(left), quotient, *rounded, sums]

    with decimal.localcontext(WIDE):
        expected = figures()
    with decimal.localcontext(context):
        assert list(map(str, figures())) == list(map(str, expected))


WIDE = decimal.Context(prec=200)


def test_negating_loses_no_digit_and_zero_has_no_sign() -> None:
    with decimal.localcontext(decimal.Context(prec=3)):
        assert money.negative(Decimal("1539.1554444125")) == Decimal("-1539.1554444125")
        assert str(money.negative(Decimal(0))) == str(money.negative(Decimal("-0"))) == "0"


def test_an_amount_of_any_size_is_rounded() -> None:
    assert money.quantize(Decimal("1e30"), 2) == Decimal("1e30")
    assert str(money.quantize(Decimal("9" * 30 + ".995"), 2)) == "1" + "0" * 30 + ".00"
    assert str(money.quantize(Decimal("1e400"), 2)) == "1" + "0" * 400 + ".00"
    assert str(money.quantize(Decimal("2.5"), 0)) == "2"


def test_nothing_is_divided_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        money.divide(Decimal(1), 0)
    assert str(money.divide(1, 4)) == "0.25"
