"""Deterministic chance: the same numbers on every machine, Python version and process.

`hash()` is salted per process and `random` promises little across versions, so the organisation is
drawn with a mixer of our own (the finaliser of SplitMix64), which is also several times faster than
seeding a `random.Random` for each of millions of cells.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def mix(*parts: int) -> int:
    """Return 64 well-mixed bits that depend on every part and on their order."""
    state = 0
    for part in parts:
        state = (state + part + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def seed_of(text: str) -> int:
    """Return the 64-bit seed that a label stands for."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


class Dice:
    """A stream of choices drawn from one label."""

    def __init__(self, label: str) -> None:
        self._seed = seed_of(label)
        self._drawn = 0

    def bits(self) -> int:
        """Return the next 64 bits."""
        self._drawn += 1
        return mix(self._seed, self._drawn)

    def below(self, limit: int) -> int:
        """Return a whole number from 0 up to, but not including, `limit`."""
        return self.bits() % limit

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def percent(self, chance: int) -> bool:
        """Return True in `chance` of 100 draws."""
        return self.below(100) < chance

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options, each as likely as the next."""
        return options[self.below(len(options))]

    def weighted(self, options: Sequence[tuple[T, int]]) -> T:
        """Return one of the options in proportion to its weight."""
        left = self.below(sum(weight for _, weight in options))
        for option, weight in options:
            if left < weight:
                return option
            left -= weight
        raise AssertionError("the weights cover every draw")

    def identifier(self, prefix: str) -> str:
        """Return an id in the published form: a prefix, `01` and 22 base-58 characters."""
        number = self.bits() << 64 | self.bits()
        letters = []
        for _ in range(22):
            number, digit = divmod(number, 58)
            letters.append(_BASE58[digit])
        return f"{prefix}_01{''.join(letters)}"

    def uuid(self) -> str:
        """Return an identifier in the form of a UUID."""
        digits = f"{self.bits():016x}{self.bits():016x}"
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return "-".join(parts)
