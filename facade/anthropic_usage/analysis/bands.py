"""What the bill says of what the usage report leaves open: how many tokens had the higher price.

Where each of Q tokens costs one of two prices, a line that was billed at a ratio r to the list is
r x (low x (Q - n) + high x n) for a whole number n, and seldom for more than one.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import attrs

from ..money import ZERO, absolute, add, negative, subtract, times
from .matches import Match
from .prices import KINDS, tokens_above
from .ratios import ONE, ratios_of

__all__ = [
    "PRIORITY",
    "Reading",
    "contradictions",
    "found_ratio",
    "ratios_beside",
    "read",
    "shares_of",
]

_FACTORS = (ZERO, ONE, Decimal("0.5"))
"""At what share of the standard prices use of a doubtful tier may be billed."""
PRIORITY = "priority"
"""The tier of which the documents say that the cost report leaves it out."""
Shares = Mapping[str, Sequence[Decimal]]
NO_SHARES: Shares = MappingProxyType({})
_GRID = sorted(
    (times(Decimal("0.005"), step) for step in range(1, 400) if step != 200),
    key=lambda ratio: absolute(subtract(ratio, ONE)),
)
"""Whole half percents, the nearest to the list first."""
_ENOUGH = 3
_SOME = 60
_MOSTLY = Decimal("0.9")


@attrs.frozen(kw_only=True)
class Reading:
    """One way to read a charge: what its use costs at list, of which the bill is a ratio."""

    ratio: Decimal
    low: Decimal
    high: Decimal
    above: int | None = None
    """How many tokens had the higher price, where the bill says it."""
    tokens: int = 0
    """Of how many."""
    factors: tuple[tuple[str, Decimal], ...] = ()
    """At what share of the standard prices other tiers are in it."""


def read(match: Match, ratio: Decimal, shares: Shares = NO_SHARES) -> Reading | None:
    """Return the first reading at which a charge is what was billed; None if there is none.

    `shares` are those of the list at which the use of other tiers may be in it.
    """
    names = sorted(match.beside)
    for some in itertools.product(*(shares.get(name, (ZERO,)) for name in names)):
        factors = dict(zip(names, some, strict=True))
        reading = _solved(match.with_beside(factors) if any(some) else match, ratio)
        if reading is not None:
            used = tuple((tier, share) for tier, share in factors.items() if share)
            return attrs.evolve(reading, factors=used)
    return None


def shares_of(matches: Sequence[Match], ratios: Sequence[Decimal]) -> Shares:
    """Return at which shares of the list each tier beside is billed, the most frequent first.

    Charges that leave nothing else open say it, or else the others. Priority Tier is not billed but
    for clear words of the bill.
    """
    beside = [match for match in matches if match.beside]
    clear = [match for match in beside if not match.open]
    clear = [m for m in clear if not any(part.open for part in m.beside.values())]
    shares: dict[str, tuple[Decimal, ...]] = {}
    for tier in dict.fromkeys(tier for match in beside for tier in match.beside):
        telling = [match for match in clear if tier in match.beside]
        if not telling and tier != PRIORITY:
            telling = [match for match in beside if tier in match.beside]
        shares[tier] = _needed(tier, telling, ratios)
    return shares


def _needed(tier: str, matches: Sequence[Match], ratios: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Return the fewest shares of a tier that explain all that any does."""
    fits: dict[Decimal, set[int]] = {}
    for share in _FACTORS:
        fits[share] = set()
        for match in matches:
            every = {**dict.fromkeys(match.beside, _FACTORS), tier: (share,)}
            if _any(match, ratios, every) is not None:
                fits[share].add(id(match))
    needed: list[Decimal] = []
    while any(fits.values()):
        best = max(fits, key=lambda share: len(fits[share]))
        explained = fits.pop(best)
        needed.append(best)
        fits = {share: left - explained for share, left in fits.items()}
    return tuple(needed) or (ZERO,)


def _any(match: Match, ratios: Sequence[Decimal], shares: Shares) -> Reading | None:
    return next(filter(None, (read(match, ratio, shares) for ratio in ratios)), None)


def _solved(match: Match, ratio: Decimal) -> Reading | None:
    low, high, slack = match.low, match.high, match.rounding
    if low == high or not ratio:
        off = absolute(subtract(match.billed, times(low, ratio)))
        return Reading(ratio=ratio, low=low, high=high) if off <= slack else None
    if len(match.open) != 1 or match.spread[0] != match.spread[1]:
        least, most = times(low, ratio), times(high, ratio)
        within = subtract(least, slack) <= match.billed <= add(most, slack)
        return Reading(ratio=ratio, low=low, high=high) if within else None
    ((lower, higher), tokens) = next(iter(match.open.items()))
    step = subtract(higher, lower)
    over = subtract(match.billed, times(low, ratio))
    counts = tokens_above(over, times(step, ratio), tokens, slack)
    if counts is None:
        return None
    first, last = counts
    if first < last:
        between = [add(low, times(step, count)) for count in (first, last)]
        return Reading(ratio=ratio, low=between[0], high=between[1])
    cost = add(low, times(step, first))
    return Reading(ratio=ratio, low=cost, high=cost, above=first, tokens=tokens)


def ratios_beside(matches: Iterable[Match]) -> list[Decimal]:
    """Return ratios at which charges are that have use of other tiers in them, or beside them."""
    left = [match for match in matches if match.beside and not match.open]
    tiers = sorted({tier for match in left for tier in match.beside})
    best: tuple[int, list[Decimal]] = 0, []
    for some in itertools.product(_FACTORS, repeat=len(tiers)):
        factors = dict(zip(tiers, some, strict=True))
        whole = [match.with_beside(factors) for match in left]
        ratios = ratios_of(whole)
        count = sum(any(_solved(match, ratio) for ratio in ratios) for match in whole)
        # Few ratios that explain much are found, many that explain each a little are not.
        if count - len(ratios) > best[0]:
            best = count - len(ratios), ratios
    return best[1]


def contradictions(read_as: Iterable[tuple[Match, Reading, int]]) -> list[Match]:
    """Return the charges whose reading the other kinds of the same use contradict.

    A request at the higher price has input and output at it, and at least `threshold` tokens of
    input, which stands beside each reading.
    """
    groups: dict[object, list[tuple[Match, Reading, int]]] = defaultdict(list)
    for match, reading, threshold in read_as:
        workspace, model, _, *rest = match.values
        groups[match.day, workspace, model, *rest].append((match, reading, threshold))
    wrong: list[Match] = []
    for group in groups.values():
        output = [entry for entry in group if entry[0].values[2] == KINDS[4]]
        inputs = [entry for entry in group if entry[0].values[2] in KINDS[:4]]
        if not output or not inputs:
            continue
        sent, received = (
            sum(reading.above or 0 for _, reading, _ in part) for part in (inputs, output)
        )
        threshold = max(least for _, _, least in group)
        if (sent or received) and not (sent > threshold and received):
            wrong += [match for match, reading, _ in group if reading.above]
    return wrong


def found_ratio(matches: Sequence[Match]) -> Decimal | None:
    """Return the one ratio of whole half percents at which the bill of open uses can be solved."""
    enough = max(Decimal(_ENOUGH), times(_MOSTLY, len(matches)))
    if len(matches) < enough:
        return None
    matches = sorted(matches, key=lambda match: negative(match.high))[:_SOME]
    enough = min(enough, times(_MOSTLY, len(matches)))
    counts = {ratio: sum(read(match, ratio) is not None for match in matches) for ratio in _GRID}
    most = max(counts.values())
    best, *others = (ratio for ratio, count in counts.items() if count == most)
    # All at the lower price at one ratio is all at the higher price at a smaller one.
    rates = {rates for match in matches for rates in match.open}
    same = all(times(high, other) == times(low, best) for other in others for low, high in rates)
    return best if most >= enough and same else None
