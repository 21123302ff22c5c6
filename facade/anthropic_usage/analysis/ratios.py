"""At what share of the list a bill is, and for what: discounts and surcharges, found in its lines.

Each charge says between which two ratios to the list it lies, for amounts are rounded. A ratio that
several charges share is one finding; what it holds for is said in as few terms as tell those
charges from all others: a model, a workspace, a kind of token, days.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import attrs

from ..money import ZERO, add, divide, quantize, subtract, times, total
from .matches import DIMENSIONS, Match

__all__ = ["ONE", "Scope", "plain_word", "ratios_of", "scopes", "scopes_of"]

ONE = Decimal(1)
_TELLING = Decimal("0.001")
"""A charge that leaves its ratio more open than this tells none."""
_LEAST = Decimal("0.999")
_MOST_GROUPS = 12
_DIGITS = 40
_FROM, _UNTIL = 1 << len(DIMENSIONS), 1 << len(DIMENSIONS) + 1
_NAMED = 3
_WORDS = {"service_tier": "tier", "inference_geo": "geo", "context_window": "window"}


@attrs.frozen
class Scope:
    """Charges that have something in common: the values they bear, and the days they are of."""

    values: Mapping[str, frozenset[str | None]] = attrs.field(factory=dict)
    """By dimension, or nothing for any."""
    first: dt.date | None = None
    last: dt.date | None = None
    only: frozenset[int] | None = None
    """Ids of the charges, where nothing else tells them apart."""

    def __contains__(self, match: Match) -> bool:
        if self.only is not None:
            return id(match) in self.only
        return (
            (self.first is None or match.day >= self.first)
            and (self.last is None or match.day <= self.last)
            and all(
                value in self.values.get(name, (value,))
                for name, value in zip(DIMENSIONS, match.values, strict=True)
            )
        )

    def text(self, names: Callable[[str, str | None], str] | None = None) -> str:
        """Say what it is; `names` turns a dimension and a value of it into words."""
        if self.only is not None:
            return f"for {len(self.only):,} charges that have nothing else in common"
        parts = [_said(name, values, names or plain_word) for name, values in self.values.items()]
        parts = [f"for {', '.join(parts)}"] if parts else []
        if self.first is not None and self.first == self.last:
            parts.append(f"on {self.first}")
        else:
            parts += [f"from {self.first} on"] if self.first is not None else []
            parts += [f"up to {self.last}"] if self.last is not None else []
        return " ".join(parts) or "for every line"


def plain_word(name: str, value: str | None) -> str:
    """Say a value of a dimension in words, by its id."""
    if name == "workspace_id":
        return f"workspace {value or 'default'}"
    if name == "model" and value is None:
        return "what has no model"
    return f"{_WORDS[name]} {value or '-'}" if name in _WORDS else value or "-"


def _said(name: str, values: frozenset[str | None], names: Callable[[str, str | None], str]) -> str:
    words = sorted(names(name, value) for value in values)
    more = len(words) - _NAMED
    most = words if more <= 1 else [*words[:_NAMED], f"{more} more"]
    return most[0] if len(most) == 1 else f"{', '.join(most[:-1])} and {most[-1]}"


@attrs.frozen(eq=False)
class _Sample:
    match: Match
    low: Decimal
    high: Decimal
    weight: Decimal

    def __contains__(self, ratio: Decimal) -> bool:
        return self.low <= ratio <= self.high


def ratios_of(matches: Iterable[Match]) -> list[Decimal]:
    """Return the ratios to the list, other than 1, at which several charges are.

    Only charges of which the list cost is known tell anything.
    """
    samples = [_sample(match) for match in matches if match.exact and match.fixed > 0]
    telling = [sample for sample in samples if subtract(sample.high, sample.low) < _TELLING]
    found: list[Decimal] = []
    for left in _overlapping([sample for sample in telling or samples if ONE not in sample]):
        while len(left) > 1 or (left and len(samples) == 1):
            ratio = _most_common(left)
            members = [sample for sample in left if ratio in sample]
            left = [sample for sample in left if ratio not in sample]
            if len(members) > 1 or len(samples) == 1:
                found.append(ratio)
    return found


def scopes_of(fits: Iterable[tuple[Match, Sequence[Decimal]]]) -> list[tuple[Decimal, list[Scope]]]:
    """Return what each ratio other than 1 holds for, by those charges that only one ratio fits."""
    certain: dict[Decimal, list[Match]] = defaultdict(list)
    for match, ratios in fits:
        if len(ratios) == 1:
            certain[ratios[0]].append(match)
    return [
        (ratio, scopes(members, [m for other in certain if other != ratio for m in certain[other]]))
        for ratio, members in certain.items()
        if ratio != ONE
    ]


def _sample(match: Match) -> _Sample:
    least = divide(subtract(match.billed, match.rounding), match.fixed)
    most = divide(add(match.billed, match.rounding), match.fixed)
    low, high = quantize(least, _DIGITS, ROUND_FLOOR), quantize(most, _DIGITS, ROUND_CEILING)
    return _Sample(match, low, high, match.fixed)


def _overlapping(samples: Iterable[_Sample]) -> Iterable[list[_Sample]]:
    """Yield samples in groups that have no ratio in common."""
    group: list[_Sample] = []
    reach = ZERO
    for sample in sorted(samples, key=lambda sample: sample.low):
        if group and sample.low > reach:
            yield group
            group = []
        reach = max(reach, sample.high) if group else sample.high
        group.append(sample)
    if group:
        yield group


def _most_common(samples: Sequence[_Sample]) -> Decimal:
    """Return the ratio, in the fewest digits, at which the most of the list cost is."""
    edges = sorted(
        [
            *((sample.low, 0, sample.weight) for sample in samples),
            *((sample.high, 1, sample.weight) for sample in samples),
        ]
    )
    weight = most = ZERO
    best = 0
    for place, (_, ends, amount) in enumerate(edges):
        weight = subtract(weight, amount) if ends else add(weight, amount)
        if weight > most:
            most, best = weight, place
    low = edges[best][0]
    high = next(at for at, ends, _ in edges[best:] if ends)
    middle = divide(add(low, high), 2)
    enough = times(most, _LEAST)
    around = [sample for sample in samples if sample.low <= high and sample.high >= low]
    for digits in range(15):
        ratio = quantize(middle, digits)
        if ratio >= 0 and total(each.weight for each in around if ratio in each) >= enough:
            return ratio
    return quantize(middle, 40)


def scopes(members: Sequence[Match], others: Sequence[Match]) -> list[Scope]:
    """Return what tells `members` from `others`, in as few terms as possible."""
    whole = _scope(members, others)
    if whole is not None:
        return [whole]
    best: tuple[int, int] | None = None
    parts = [Scope(only=frozenset(map(id, members)))]
    for groups in _groupings(members, others):
        if not 1 < len(groups) <= _MOST_GROUPS:
            continue
        found = [(group, _scope(group, others)) for group in groups]
        lone = [match for group, scope in found if scope is None for match in group]
        rank = len(lone), len(groups)
        if len(lone) < len(members) and (best is None or rank < best):
            best = rank
            parts = [scope for _, scope in found if scope is not None]
            parts += [Scope(only=frozenset(map(id, lone)))] if lone else []
    return parts


def _groupings(members: Sequence[Match], others: Sequence[Match]) -> Iterable[list[list[Match]]]:
    for at in range(len(DIMENSIONS)):
        by_value: dict[str | None, list[Match]] = defaultdict(list)
        for match in members:
            by_value[match.values[at]].append(match)
        yield list(by_value.values())
    # Runs of days between which there are others.
    mine = {match.day for match in members}
    values = [{match.values[at] for match in members} for at in range(len(DIMENSIONS))]
    theirs = {
        match.day
        for match in others
        if all(value in known for value, known in zip(match.values, values, strict=True))
    }
    runs: list[list[Match]] = []
    for is_mine, days in itertools.groupby(sorted(mine | theirs), key=lambda day: day in mine):
        if is_mine:
            run = set(days)
            runs.append([match for match in members if match.day in run])
    yield runs


def _scope(members: Sequence[Match], others: Sequence[Match]) -> Scope | None:
    """Return the shortest scope that has all members and none of the others; None if none has."""
    values = [frozenset(match.values[at] for match in members) for at in range(len(DIMENSIONS))]
    first, last = (end(match.day for match in members) for end in (min, max))
    masks = set()
    for match in others:
        mask = sum(1 << at for at, value in enumerate(match.values) if value not in values[at])
        mask |= _FROM * (match.day < first) | _UNTIL * (match.day > last)
        if not mask:
            return None
        masks.add(mask)
    prices = [1 + 0.1 * (len(known) - 1) for known in values]
    order = [1, 0, 2, 3, 4, 5]
    bits = [(1 << at, prices[at] + 0.001 * place) for place, at in enumerate(order)]
    bits += [(_FROM, 1.01), (_UNTIL, 1.01)]
    best: tuple[float, int] | None = None
    for size in range(len(bits) + 1):
        for chosen in itertools.combinations(bits, size):
            terms = sum(bit for bit, _ in chosen)
            cost = sum(price for _, price in chosen)
            if (best is None or cost < best[0]) and all(mask & terms for mask in masks):
                best = cost, terms
        if best is not None and size >= best[0]:
            break
    assert best is not None  # noqa: S101
    terms = best[1]
    return Scope(
        values={name: values[at] for at, name in enumerate(DIMENSIONS) if terms & (1 << at)},
        first=first if terms & _FROM else None,
        last=last if terms & _UNTIL else None,
    )
