"""Which use the lines of a bill are for.

A line names some of the dimensions of the use that it bills, and leaves others null: a null fits
any value. So a line fits one cell of the day's use or several, and a cell may be fitted by several
lines. Where all of them are billed at the list, each use is. Else what can only be one way is taken
so: the only cell that a line fits is that line's, and no other pays for it. What is left is paid
for as evenly, against the list, as the lines allow. Where use has one of two prices, how much of it
had the higher one is solved from what was billed; where that does not say it, none of it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import attrs

from ..money import ZERO, absolute, add, divide, quantize, subtract, times, total
from .prices import tokens_above

__all__ = ["Cell", "Claim", "Fit", "allocate", "shares"]

_FINE = 20
"""Digits behind the point of a share; the largest share takes the rest."""
_ROUNDING = Decimal("0.000001")
"""How far rounded amounts may be from the list, in dollars."""
_ENOUGH = Decimal("0.1")
"""Use of less, in dollars, does not tell the ratio at which it is billed."""
_LIST = Decimal("1.00000")
"""The ratio of a bill without a discount."""
_STEPS = (ZERO, Decimal("0.00001"), Decimal("-0.00001"))
_PLACE = Decimal("0.00000001")
"""The last digit of a rounded amount, in dollars."""


@attrs.define(eq=False)
class Cell:
    """Use that the bill can tell from other use, by who used it."""

    values: tuple[str | None, ...]
    """Of the dimensions that lines are joined on."""
    billed: bool = True
    """Whether it is of a tier that is known to be billed."""
    counts: dict[str | None, Decimal] = attrs.field(factory=dict)
    costs: dict[str | None, Decimal] = attrs.field(factory=dict)
    """At the lower price, where there are two."""
    open: dict[Decimal, dict[str | None, Decimal]] = attrs.field(factory=dict)
    """Counts of what may cost more, by how much more a token then costs."""

    def put(
        self, who: str | None, count: Decimal, cost: Decimal | None, step: Decimal = ZERO
    ) -> None:
        """Count use of somebody; a cost of None is one that is not known.

        Each token of it may cost `step` more.
        """
        self.counts[who] = add(self.counts.get(who, ZERO), count)
        if cost is not None:
            self.costs[who] = add(self.costs.get(who, ZERO), cost)
            if step:
                counts = self.open.setdefault(step, {})
                counts[who] = add(counts.get(who, ZERO), count)

    def weights(self, above: Decimal) -> dict[str | None, Decimal]:
        """Return what the use costs, where a share of what may cost more does."""
        weights = dict(self.costs)
        for step, counts in self.open.items():
            for who, count in counts.items():
                weights[who] = add(weights[who], times(times(step, count), above))
        return weights

    @property
    def priced(self) -> bool:
        """Whether all of it has a price."""
        return all(self.costs.get(who) for who, count in self.counts.items() if count)


@attrs.frozen(eq=False)
class Claim:
    """A line of the bill: an amount, and the values of what it is for; None fits any."""

    amount: Decimal
    values: tuple[str | None, ...]


@attrs.frozen
class Fit:
    """A part of the bill and who caused it."""

    who: str | None
    amount: Decimal
    by_price: bool
    """Whether it was split by cost at list, not by a count."""
    loose: bool
    """Whether no use agreed with the line in all that it names."""


def shares(amount: Decimal, weights: Mapping[str | None, Decimal]) -> dict[str | None, Decimal]:
    """Split an amount by weights; the shares add up to it exactly, the largest takes the rest."""
    used = {who: weight for who, weight in weights.items() if weight}
    whole = total(used.values())
    parts = {
        who: quantize(divide(times(amount, weight), whole), _FINE) for who, weight in used.items()
    }
    largest = max(parts, key=lambda who: (absolute(parts[who]), str(who)))
    parts[largest] = add(parts[largest], subtract(amount, total(parts.values())))
    return parts


def allocate(
    days: Iterable[tuple[Sequence[Claim], Sequence[Cell]]],
    drop: Sequence[int],
    keep: Iterable[int] = (),
    summed: bool = False,
) -> list[tuple[list[Fit], list[Claim]]]:
    """Give each day's claims to those whose use they are for; returns that, and what fits nothing.

    `drop` are the places of the dimensions that are given up, one after the other, for a claim
    that fits nothing; `keep` are those whose null is first of all a value like others. `summed`
    says that a cell is use which the bill may have told apart: several claims may be for it.
    """
    results: list[tuple[list[Fit], list[Claim]]] = []
    groups: list[tuple[list[Fit], list[_Found], Sequence[Cell]]] = []
    below: list[tuple[list[Fit], Decimal, list[Cell], bool]] = []
    for claims, cells in days:
        search = _Search(cells, drop, frozenset(keep))
        charges: list[_Found] = []
        done: list[Fit] = []
        lost: list[Claim] = []
        for claim in claims:
            fits, loose = search.cells_of(claim)
            if not fits:
                lost.append(claim)
            elif claim.amount < 0:
                below.append((done, claim.amount, [cells[place] for place in fits], loose))
            else:
                charges.append(_Found(claim.amount, frozenset(fits), loose))
        groups += [(done, part, cells) for part in _components(charges)]
        results.append((done, lost))
    ratios: set[Decimal] = set()
    for _, part, cells in groups:
        ratio = _ratio(part, cells) if _certain(part) else None
        if ratio is not None:
            ratios.add(_digits(ratio))
    for done, amount, those, loose in below:
        done += _paid(amount, those, loose, ZERO)
    for done, part, cells in groups:
        done += _settled(part, cells, ratios, summed)
    return results


def _places(charges: Sequence[_Found]) -> list[int]:
    return sorted(frozenset().union(*(charge.fits for charge in charges)))


def _certain(charges: Sequence[_Found]) -> bool:
    """Tell whether charges can be for their use in one way only."""
    return len(_places(charges)) == 1


def _ratio(charges: Sequence[_Found], cells: Sequence[Cell]) -> Decimal | None:
    """Return the ratio of charges to the list; None where that is not known well enough."""
    fits = [cells[place] for place in _places(charges)]
    cost = total(map(_cost, fits))
    if not all(cell.priced and not cell.open for cell in fits) or cost < _ENOUGH:
        return None
    return divide(total(charge.amount for charge in charges), cost)


def _digits(ratio: Decimal) -> Decimal:
    return quantize(ratio, 5)


@attrs.frozen(eq=False)
class _Found:
    """A charge and the places of the cells that it fits."""

    amount: Decimal
    fits: frozenset[int]
    loose: bool


class _Search:
    """Finds the cells that a claim fits."""

    def __init__(self, cells: Sequence[Cell], drop: Sequence[int], keep: frozenset[int]) -> None:
        self._cells = cells
        self._drop = drop
        self._keep = keep
        self._index: dict[tuple[int, ...], dict[tuple[str | None, ...], list[int]]] = {}

    def cells_of(self, claim: Claim) -> tuple[list[int], bool]:
        """Return the places of the cells, and whether a dimension was given up for it."""
        for step, (pattern, loose) in enumerate(self._patterns(claim)):
            fits = self._matching(claim, pattern)
            fits = [place for place in fits if self._cells[place].billed] or fits
            if not step:
                fits = fits or self._nullable(claim, pattern)
            if fits:
                return fits, loose
        return [], True

    def _patterns(self, claim: Claim) -> Iterator[tuple[tuple[int, ...], bool]]:
        """Yield the dimensions to join on, all that are named first, then fewer and fewer."""
        values = claim.values
        named = [at for at, value in enumerate(values) if value is not None]
        first = sorted({*named, *(at for at in self._keep if values[at] is None)})
        yield tuple(first), False
        if first != named:
            yield tuple(named), False
        for at in self._drop:
            if at in named:
                named.remove(at)
                yield tuple(named), True

    def _matching(self, claim: Claim, pattern: tuple[int, ...]) -> list[int]:
        if pattern not in self._index:
            index: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
            for place, cell in enumerate(self._cells):
                index[tuple(cell.values[at] for at in pattern)].append(place)
            self._index[pattern] = index
        return self._index[pattern].get(tuple(claim.values[at] for at in pattern), [])

    def _nullable(self, claim: Claim, pattern: tuple[int, ...]) -> list[int]:
        """Return cells whose own nulls may be what the claim names."""
        return [
            place
            for place, cell in enumerate(self._cells)
            if cell.billed
            and all(
                cell.values[at] == claim.values[at]
                or (cell.values[at] is None and at not in self._keep)
                for at in pattern
            )
        ]


def _components(charges: Iterable[_Found]) -> list[list[_Found]]:
    """Return the charges in groups that have no cell in common."""
    groups: list[tuple[set[int], list[_Found]]] = []
    of_cell: dict[int, int] = {}
    for charge in charges:
        met = sorted({of_cell[place] for place in charge.fits if place in of_cell})
        if not met:
            met = [len(groups)]
            groups.append((set(), []))
        cells, members = groups[met[0]]
        for other in met[1:]:
            cells |= groups[other][0]
            members += groups[other][1]
            groups[other] = (set(), [])
        cells |= charge.fits
        members.append(charge)
        of_cell.update(dict.fromkeys(cells if len(met) > 1 else charge.fits, met[0]))
    return [members for _, members in groups if members]


def _settled(
    charges: list[_Found], cells: Sequence[Cell], ratios: Collection[Decimal], summed: bool
) -> Iterator[Fit]:
    """Yield who pays for charges that have cells in common.

    `ratios` to the list are those at which other use is billed for certain.
    """
    places = _places(charges)
    every = [cells[place] for place in places]
    amount = total(charge.amount for charge in charges)
    loose = any(charge.loose for charge in charges)
    solved = _above(charges, every, ratios)
    above = ZERO if solved is None else solved
    level = False
    if len(places) > 1 and len(charges) > 1 and all(cell.priced for cell in every):
        off = absolute(subtract(total(_cost(cell, above) for cell in every), amount))
        level = summed or off <= times(_ROUNDING, len(charges) + 1) or solved is not None
        if not level and (ratio := _ratio(charges, cells)) is not None:
            near = {add(_digits(ratio), step) for step in _STEPS}
            level = _LIST in near or not near.isdisjoint(ratios)
    if level and len(_even(charges, cells, above)) == 1:
        # All of it is billed at a ratio that is known, so each use is.
        yield from _paid(amount, every, loose, above)
        return
    alone, rest = _forced(charges)
    for charge, place in alone:
        own = _above([charge], [cells[place]], ratios)
        yield from _paid(charge.amount, [cells[place]], charge.loose, above if own is None else own)
    for part in _components(rest):
        for some, among in _even(part, cells, above):
            yield from _paid(
                total(charge.amount for charge in some),
                [cells[place] for place in sorted(among)],
                any(charge.loose for charge in some),
                above,
            )


def _above(
    charges: Sequence[_Found], cells: Sequence[Cell], ratios: Collection[Decimal]
) -> Decimal | None:
    """Return the share of what may cost more that does, where the charges say it.

    At a ratio to the list that is known, they are those of one whole number of tokens.
    """
    steps = {step for cell in cells for step in cell.open}
    if len(steps) != 1 or not all(cell.priced for cell in cells):
        return None
    (step,) = steps
    tokens = total(count for cell in cells for count in cell.open.get(step, {}).values())
    if tokens != int(tokens):
        return None
    amount = total(charge.amount for charge in charges)
    cost = total(total(cell.costs.values()) for cell in cells)
    found = set()
    for ratio in ratios or (_LIST,):
        if ratio > 0:
            over = subtract(amount, times(cost, ratio))
            slack = times(_PLACE, len(charges))
            span = tokens_above(over, times(step, ratio), int(tokens), slack)
            found |= {span} if span else set()
    if len(found) != 1:
        return None
    ((least, most),) = found
    return quantize(divide(least, tokens), _FINE) if least == most else None


def _forced(charges: list[_Found]) -> tuple[list[tuple[_Found, int]], list[_Found]]:
    """Return the charges that only one cell is left for, with it, and the others with what is left.

    Where that leaves a charge without any cell, a cell has more charges than one: then no charge
    is taken to have a cell for itself.
    """
    taken: set[int] = set()
    alone: list[tuple[_Found, int]] = []
    rest = charges
    while True:
        left = [attrs.evolve(charge, fits=charge.fits - taken) for charge in rest]
        if not all(charge.fits for charge in left):
            return [], charges
        found = [(charge, next(iter(charge.fits))) for charge in left if len(charge.fits) == 1]
        if not found:
            return alone, left
        alone += found
        taken |= {place for _, place in found}
        rest = [charge for charge in left if len(charge.fits) > 1]


def _paid(amount: Decimal, cells: Sequence[Cell], loose: bool, above: Decimal) -> Iterator[Fit]:
    """Yield an amount's parts, by cost at list where all of the use has a price, else by count."""
    by_price = all(cell.priced for cell in cells)
    weights: dict[str | None, Decimal] = defaultdict(lambda: ZERO)
    for cell in cells:
        for who, weight in (cell.weights(above) if by_price else cell.counts).items():
            weights[who] = add(weights[who], weight)
    for who, share in shares(amount, weights).items():
        yield Fit(who, share, by_price, loose)


def _cost(cell: Cell, above: Decimal = ZERO) -> Decimal:
    return total(cell.weights(above).values())


def _even(
    charges: Sequence[_Found], cells: Sequence[Cell], above: Decimal
) -> list[tuple[list[_Found], frozenset[int]]]:
    """Part charges and cells so that each part is billed at one ratio to its list.

    The parts are those of the most even distribution that the charges allow: where a group of
    charges exceeds the ratio of the whole on all that it fits, it pays for that alone.
    """
    places = _places(charges)
    by_price = all(cells[place].priced for place in places)
    demand = {
        place: _cost(cells[place], above) if by_price else total(cells[place].counts.values())
        for place in places
    }
    amount = total(charge.amount for charge in charges)
    whole = total(demand.values())
    if len(charges) == 1 or len(places) == 1 or not amount or not whole:
        return [(list(charges), frozenset(places))]
    supply = [times(charge.amount, whole) for charge in charges]
    needed = [times(demand[place], amount) for place in places]
    slack = times(times(_ROUNDING, len(charges)), whole)
    over = _overfull(supply, needed, [[places.index(p) for p in c.fits] for c in charges], slack)
    if not over or len(over) == len(charges):
        return [(list(charges), frozenset(places))]
    first = [charge for at, charge in enumerate(charges) if at in over]
    reached = frozenset().union(*(charge.fits for charge in first))
    second: list[_Found] = []
    for at, charge in enumerate(charges):
        if at not in over:
            # What the rounding left over, or nothing, may fit nothing but what is full.
            beside = charge.fits - reached
            (second if beside else first).append(attrs.evolve(charge, fits=beside or charge.fits))
    parts = list(_even(first, cells, above)) if second else [(first, reached)]
    for part in _components(second):
        parts += _even(part, cells, above)
    return parts


def _overfull(
    supply: Sequence[Decimal],
    needed: Sequence[Decimal],
    edges: Sequence[Sequence[int]],
    slack: Decimal,
) -> set[int]:
    """Return the sources whose supply exceeds all that they can reach; none if all fits.

    A maximal flow by shortest augmenting paths; what a source with supply left can reach is full.
    """
    left, room = list(supply), list(needed)
    flow: list[dict[int, Decimal]] = [{} for _ in supply]
    users: list[set[int]] = [set() for _ in needed]
    while True:
        parent: dict[tuple[str, int], tuple[str, int]] = {}
        queue = deque(("source", at) for at, rest in enumerate(left) if rest > slack)
        seen = set(queue)
        goal = None
        while queue and goal is None:
            node = queue.popleft()
            side, at = node
            targets: Iterable[tuple[str, int]]
            if side == "source":
                targets = (("sink", sink) for sink in edges[at])
            else:
                targets = (("source", source) for source in users[at])
            for target in targets:
                if target in seen:
                    continue
                seen.add(target)
                parent[target] = node
                queue.append(target)
                if target[0] == "sink" and room[target[1]] > 0:
                    goal = target
                    break
        if goal is None:
            return {at for side, at in seen if side == "source"}
        path = [goal]
        while path[-1] in parent:
            path.append(parent[path[-1]])
        path.reverse()
        amount = min(left[path[0][1]], room[goal[1]])
        for before, after in itertools.pairwise(path):
            if before[0] == "sink":
                amount = min(amount, flow[after[1]][before[1]])
        left[path[0][1]] = subtract(left[path[0][1]], amount)
        room[goal[1]] = subtract(room[goal[1]], amount)
        for before, after in itertools.pairwise(path):
            if before[0] == "source":
                known = flow[before[1]].get(after[1], ZERO)
                flow[before[1]][after[1]] = add(known, amount)
                users[after[1]].add(before[1])
            else:
                rest = subtract(flow[after[1]][before[1]], amount)
                flow[after[1]][before[1]] = rest
                if not rest:
                    users[before[1]].discard(after[1])
