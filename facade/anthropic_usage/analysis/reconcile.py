"""Usage times price against the bill: what differs, and why."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal

import attrs

from ..moments import Moment
from ..money import ZERO, absolute, add, negative, plain, subtract, times, total
from ..reports import UsageRow
from .bands import PRIORITY, Reading, contradictions, found_ratio, ratios_beside, read, shares_of
from .days import read_bill, uneven
from .matches import DIMENSIONS, Match, match_bill
from .priced import read_priced_usage
from .prices import WEB_SEARCH, PriceTable, add_costs
from .ratios import ONE, Scope, ratios_of, scopes, scopes_of
from .source import Source

__all__ = ["Cell", "Part", "Reconciliation", "Residual", "reconcile"]

_MODEL, _KIND = DIMENSIONS.index("model"), DIMENSIONS.index("kind")
_BESIDE = {"code_execution": "code execution", "session_usage": "session usage"}
_FEW = 3
_UNUSED = "used and not billed"
_REASONS = (
    "web search",
    *_BESIDE.values(),
    "credit",
    "price band",
    "unpriced",
    "no bill",
    "no use",
    "discount",
    "rounding",
    "unexplained",
)


@attrs.frozen(kw_only=True)
class Cell:
    """One kind of charge of one workspace on one day, in US dollars."""

    day: dt.date
    workspace_id: str | None
    model: str | None
    kind: str
    """The cost report's `token_type`, or its `cost_type` where that is not `tokens`; for a line
    without a type "other" and its description."""
    billed: Decimal
    low: Decimal
    """What the usage costs by the list, at the least."""
    high: Decimal
    """What the usage costs by the list, at the most."""
    unpriced: bool = False
    """Whether the table has no price for the model on that day."""
    unexplained: Decimal = ZERO
    """What is left of the difference when every named reason is taken off."""
    solved: bool = False
    """Whether the bill was needed to say at which of two prices the usage was."""


@attrs.frozen(kw_only=True)
class Part:
    """A part of a residual, and what it depends on."""

    amount: Decimal
    scope: Scope
    """The charges that it is in: a model, a workspace, a kind, days."""
    ratio: Decimal | None = None
    """The share of the list at which they are billed, where they have one in common."""
    why: str = ""

    def text(self, names: Callable[[str, str | None], str] | None = None) -> str:
        """Say what it is; `names` turns a dimension and a value of it into words."""
        what = f"{_percent(self.ratio)} of the list" if self.ratio else self.why
        return f"{what} {self.scope.text(names)}"


@attrs.frozen(kw_only=True)
class Residual:
    """One reason why the bill is not usage times price, in US dollars."""

    name: str
    amount: Decimal
    note: str
    parts: tuple[Part, ...] = ()
    """What it depends on; the parts add up to it. None where the note says all."""


@attrs.frozen(kw_only=True)
class Reconciliation:
    """The bill of a range, taken apart: `list_cost` and all residuals add up to `billed`."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    """The end of the last day that has a bill."""
    billed: Decimal
    list_cost: Decimal
    """The usage at list prices, of all service tiers. Where a row has one of two prices, the bill
    says which; where it does not, in the cheapest reading of the row."""
    residuals: tuple[Residual, ...]
    cells: tuple[Cell, ...]
    not_compared: tuple[Residual, ...] = ()
    """What the bill does not have yet; no part of the sums."""
    notes: tuple[str, ...] = ()
    """Sentences on what is in the range, what was solved, and what could not be read."""

    @property
    def unexplained(self) -> Decimal:
        """What no reason accounts for."""
        return next(item.amount for item in self.residuals if item.name == "unexplained")


def reconcile(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    prices: PriceTable | None = None,
) -> Reconciliation:
    """Compare the cost report with usage at list prices, charge by charge.

    Only days with a bill are compared; the rest is `not_compared`. A difference that is larger than
    the rounding of the bill's amounts has a name, and parts that say what it depends on. Raises
    InvalidQuery if no day of the range has a bill yet.
    """
    prices = prices or PriceTable.bundled()
    bill = read_bill(source, starting_at, ending_at, by=None)
    days = bill.days.require()
    usage = read_priced_usage(source, days.starting_at, ending_at, by="workspace_id", prices=prices)
    compared = [row for row in usage if row.starting_at in days.billed]
    matches, tokens, costs = match_bill(bill.lines, compared, prices)
    verdicts = _Verdicts(matches, prices)
    cells = verdicts.cells()
    residuals = [*verdicts.tiers(tokens, costs), *verdicts.residuals()]
    within = uneven(starting_at, ending_at, days.settled_until)
    return Reconciliation(
        starting_at=days.starting_at,
        ending_at=days.billed_until,
        billed=total(line.amount_usd for line in bill.lines),
        list_cost=total([*(cell.low for cell in cells), *verdicts.beside(costs).values()]),
        residuals=tuple(residuals),
        cells=tuple(cells),
        not_compared=_unsettled(
            [row for row in usage if row.starting_at >= days.billed_until], prices
        ),
        notes=(
            *([within] if within else []),
            *days.sentences(),
            *usage.missing,
            *verdicts.sentences(),
        ),
    )


@attrs.define(eq=False)
class _Verdict:
    """What a charge is found to be."""

    match: Match
    reading: Reading
    named: dict[str, Decimal]
    """The difference between the bill and the list, by reason; it adds up to that."""
    scope: Scope | None = None
    """That of its ratio."""

    @property
    def unexplained(self) -> Decimal:
        return self.named.get("unexplained", ZERO)


class _Verdicts:
    """The reasons for every difference of a bill."""

    def __init__(self, matches: Sequence[Match], prices: PriceTable) -> None:
        self._prices = prices
        self._no_bill, self._no_use = _lone_days(matches)
        plain_days = [
            match
            for match in matches
            if match.counted
            and not match.unpriced
            and match.day not in self._no_bill
            and match.day not in self._no_use
        ]
        self._found = [ONE, *ratios_of(plain_days)]
        self._shares = shares_of(plain_days, self._found)
        unread = [match for match in plain_days if match.beside and not self._any(match)]
        self._found += [ratio for ratio in ratios_beside(unread) if ratio not in self._found]
        self._shares = shares_of(plain_days, self._found)
        self._seek(plain_days)
        self._ratios = scopes_of(
            (match, [ratio for ratio in self._found if read(match, ratio, self._shares)])
            for match in plain_days
            if match.used
        )
        readings = self._read(plain_days)
        self._all = [self._verdict(match, readings.get(id(match))) for match in matches]

    def _seek(self, matches: Sequence[Match]) -> None:
        """Find ratios that only charges with an open price are at."""
        left = [match for match in matches if match.open and match.lines and not self._any(match)]
        for at in (None, *range(len(DIMENSIONS))):
            groups: dict[str | None, list[Match]] = defaultdict(list)
            for match in left:
                groups[None if at is None else match.values[at]].append(match)
            for members in groups.values():
                if (ratio := found_ratio(members)) is not None:
                    self._found.append(ratio)
            left = [match for match in left if not self._any(match)]

    def _any(self, match: Match) -> bool:
        return any(read(match, ratio, self._shares) for ratio in self._found)

    def _read(self, matches: Sequence[Match]) -> dict[int, Reading]:
        """Return the readings that explain charges, by their identity."""
        first = ((match, self._first(match)) for match in matches)
        readings = {id(match): reading for match, reading in first if reading is not None}
        solved = [
            (match, readings[id(match)], self._threshold(match))
            for match in matches
            if id(match) in readings and readings[id(match)].above is not None
        ]
        for match in contradictions(solved):
            del readings[id(match)]
        return readings

    def _first(self, match: Match) -> Reading | None:
        own = [ratio for ratio, _ in self._scoped(match)] or [ONE]
        others = self._found if match.used and match.open else []
        tried = (read(match, ratio, self._shares) for ratio in dict.fromkeys([*own, *others]))
        return next((reading for reading in tried if reading is not None), None)

    def _scoped(self, match: Match) -> Iterator[tuple[Decimal, Scope]]:
        """Yield the ratios whose scopes a charge is in."""
        for ratio, among in self._ratios:
            for scope in among:
                if match in scope:
                    yield ratio, scope

    def _threshold(self, match: Match) -> int:
        """Return from how many tokens of input on a request has the higher price; 0 if from any."""
        prices = self._prices.prices_of(str(match.values[_MODEL]), match.day)
        bands = [price.long_context for price in prices if price.long_context]
        if (
            len(prices) != 1
            or not bands
            or self._prices.may_be_fast(match.values[_MODEL], match.day)
        ):
            return 0
        return bands[0].threshold_input_tokens

    def _verdict(self, match: Match, reading: Reading | None) -> _Verdict:
        at_list = Reading(ratio=ONE, low=match.low, high=match.high)
        difference = subtract(match.billed, match.low)
        if not match.counted:
            kind = str(match.values[_KIND])
            return _Verdict(match, at_list, {_BESIDE.get(kind, kind): match.billed})
        for name, found in (
            ("no bill", match.day in self._no_bill),
            ("no use", match.day in self._no_use),
            ("unpriced", match.unpriced),
        ):
            if found:
                return _Verdict(match, at_list, {name: difference})
        if reading is not None:
            return self._explained(match, reading)
        if match.credit and (without := self._first(_without_credit(match))):
            verdict = self._explained(_without_credit(match), without)
            return _Verdict(
                match, verdict.reading, {**verdict.named, "credit": match.credit}, verdict.scope
            )
        return self._unexplained(match)

    def _explained(self, match: Match, reading: Reading) -> _Verdict:
        among = [scope for ratio, scope in self._scoped(match) if ratio == reading.ratio]
        if reading.ratio > 1 or not reading.ratio:
            left = subtract(match.billed, reading.low)
            return _Verdict(match, reading, {_left(match): left}, next(iter(among), None))
        discounted = times(reading.low, reading.ratio)
        left = subtract(match.billed, discounted)
        named = {"discount": subtract(discounted, reading.low)}
        named["price band" if reading.low < reading.high else "rounding"] = left
        return _Verdict(match, reading, named, next(iter(among), None))

    def _unexplained(self, match: Match) -> _Verdict:
        """Return what is left of a charge that no reading explains, in the cheapest reading."""
        ratio, scope = next(
            ((ratio, scope) for ratio, scope in self._scoped(match) if 0 < ratio < 1), (ONE, None)
        )
        # Other tiers are in it as they usually are.
        usual = {tier: self._shares[tier][0] for tier in match.beside}
        whole = match.with_beside(usual) if any(usual.values()) else match
        reading = Reading(
            ratio=ratio,
            low=whole.low,
            high=whole.high,
            factors=tuple((tier, share) for tier, share in usual.items() if share),
        )
        discounted = times(whole.low, ratio)
        left = subtract(whole.billed, discounted)
        named = {"discount": subtract(discounted, whole.low)}
        if len(whole.open) != 1 or whole.spread[0] != whole.spread[1]:
            # The use itself may cost up to so much more; no more than that is its band.
            band = min(max(left, ZERO), subtract(times(whole.high, ratio), discounted))
            named["price band"], left = band, subtract(left, band)
        named[_left(match)] = left
        return _Verdict(match, reading, named, scope)

    def cells(self) -> list[Cell]:
        """Return the charges by day, workspace, model and kind."""
        cells: dict[tuple[object, ...], Cell] = {}
        for verdict in self._all:
            match = verdict.match
            key = (match.day, *match.values[: _KIND + 1])
            workspace_id, model, kind = match.values[: _KIND + 1]
            cell = cells.setdefault(
                key,
                Cell(
                    day=match.day,
                    workspace_id=workspace_id,
                    model=model,
                    kind=kind or "tokens",
                    billed=ZERO,
                    low=ZERO,
                    high=ZERO,
                ),
            )
            cells[key] = attrs.evolve(
                cell,
                billed=add(cell.billed, match.billed),
                low=add(cell.low, verdict.reading.low),
                high=add(cell.high, verdict.reading.high),
                unpriced=cell.unpriced or match.unpriced,
                unexplained=add(cell.unexplained, verdict.unexplained),
                solved=cell.solved or verdict.reading.above is not None,
            )
        return list(cells.values())

    def _counted(self) -> dict[str, dict[Decimal, Decimal]]:
        """Return the cost of doubtful tiers that the bill has, by tier and share of the list."""
        sums: dict[str, dict[Decimal, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
        for verdict in self._all:
            for tier, factor in verdict.reading.factors:
                cost = verdict.match.beside[tier].low
                sums[tier][factor] = add(sums[tier][factor], cost)
        return sums

    def beside(self, costs: dict[str, Decimal]) -> dict[str, Decimal]:
        """Return what of the list cost of doubtful tiers is in no charge."""
        counted = self._counted()
        return {
            tier: subtract(cost, total(times(part, share) for share, part in counted[tier].items()))
            for tier, cost in costs.items()
        }

    def tiers(self, tokens: dict[str, int], costs: dict[str, Decimal]) -> list[Residual]:
        """Return what is not billed of tiers."""
        counted = self._counted()
        residuals = []
        for tier, left in sorted(self.beside(costs).items()):
            if tier == PRIORITY and not counted[tier]:
                note = f"{tokens[tier]:,} tokens that the cost report never bills"
            else:
                how = "that this bill has none of"
                if counted[tier]:
                    how = f"of which the bill has {_shares(costs[tier], counted[tier])}"
                said = "" if tier == PRIORITY else "; no public page says if the tier is billed"
                note = f"{tokens[tier]:,} tokens {how}{said}"
            if left or counted[tier]:
                name = f"{tier.replace('_', ' ')} tier"
                residuals.append(Residual(name=name, amount=negative(left), note=note))
        return residuals

    def residuals(self) -> Iterator[Residual]:
        """Yield every reason that accounts for something, and what none does."""
        named: dict[str, list[tuple[_Verdict, Decimal]]] = defaultdict(list)
        for verdict in self._all:
            for name, amount in verdict.named.items():
                if amount:
                    named[name].append((verdict, amount))
        others = sorted(set(named) - set(_REASONS))
        for name in (*_REASONS[:3], *others, *_REASONS[3:]):
            entries = named[name]
            amount = total(amount for _, amount in entries)
            if not entries and name != "unexplained":
                continue
            parts: tuple[Part, ...] = ()
            if name in ("discount", "unexplained", "web search"):
                parts = tuple(self._parts(name, entries))
            if amount or parts or name == "unexplained":
                note = self._note(name, entries, parts)
                yield Residual(name=name, amount=amount, note=note, parts=parts)

    def _note(
        self, name: str, entries: Sequence[tuple[_Verdict, Decimal]], parts: Sequence[Part]
    ) -> str:
        models = sorted({str(verdict.match.values[_MODEL]) for verdict, _ in entries})
        said = dict.fromkeys(text for verdict, _ in entries for text in verdict.match.said)
        notes = {
            "web search": "billed searches that the usage report does not count, or the reverse",
            "code execution": "container time; the usage report does not count it",
            "session usage": "session time of managed agents; the usage report does not count it",
            "credit": f"lines below zero: {', '.join(said)}",
            "price band": "usage rows do not say which of two prices applied, nor does the bill",
            "unpriced": f"no list price for {', '.join(models)}",
            "no bill": f"{_days(self._no_bill)} has use and no bill",
            "no use": f"{_days(self._no_use)} has a bill and no use",
            "rounding": "the bill's amounts are rounded to six decimals of a cent",
            "unexplained": "",
        }
        if name == "discount":
            if [part.scope for part in parts] == [Scope()]:
                return f"every line is {_percent(parts[0].ratio or ONE)} of the list"
            return "; ".join(part.text() for part in parts)
        other = ", ".join(text for text in said if not name.endswith(text))
        other = f"{other}; " if other else ""
        return notes.get(name, f"{other}the usage report does not count it")

    def _parts(self, name: str, entries: Sequence[tuple[_Verdict, Decimal]]) -> Iterator[Part]:
        """Yield what the amounts of a reason depend on, the largest first."""
        by_scope: dict[int, list[tuple[_Verdict, Decimal]]] = defaultdict(list)
        rest: dict[tuple[str, Decimal], list[tuple[_Verdict, Decimal]]] = defaultdict(list)
        for verdict, amount in entries:
            reading, match = verdict.reading, verdict.match
            shared = name == "discount" or reading.ratio > 1 or not reading.ratio
            if verdict.scope is not None and shared:
                by_scope[id(verdict.scope)].append((verdict, amount))
            else:
                rest[_why(match, reading.ratio if shared else ONE, amount)].append(
                    (verdict, amount)
                )
        parts = []
        for members in by_scope.values():
            first = members[0][0]
            scope = first.scope or _own(first.match)
            amount = total(amount for _, amount in members)
            ratio = first.reading.ratio
            why = "" if ratio else _UNUSED
            parts.append(Part(amount=amount, scope=scope, ratio=ratio, why=why))
        for (why, ratio), members in rest.items():
            parts += self._apart(why, ratio if ratio != ONE else None, members)
        yield from sorted(parts, key=lambda part: negative(absolute(part.amount)))

    def _apart(
        self, why: str, ratio: Decimal | None, members: Sequence[tuple[_Verdict, Decimal]]
    ) -> Iterator[Part]:
        amounts = {id(verdict.match): amount for verdict, amount in members}
        mine = [verdict.match for verdict, _ in members]
        others = [
            verdict.match
            for verdict in self._all
            if verdict.match.counted and id(verdict.match) not in amounts
        ]
        among = scopes(mine, others) if len(mine) > _FEW else []
        inside: dict[str, list[Match]] = defaultdict(list)
        named: dict[str, Scope] = {}
        for match in mine:
            shared = (scope for scope in among if scope.only is None and match in scope)
            scope = next(shared, None) or _own(match)
            named[scope.text()] = scope
            inside[scope.text()].append(match)
        for text, charges in inside.items():
            amount = total(amounts[id(match)] for match in charges)
            yield Part(amount=amount, scope=named[text], ratio=ratio, why=why)

    def sentences(self) -> Iterator[str]:
        """Say what was solved from the bill, and which days have use or a bill alone."""
        for days, has, lacks in ((self._no_bill, "use", "bill"), (self._no_use, "a bill", "use")):
            if days:
                verb = "has" if len(days) == 1 else "have"
                yield f"{_days(days)} {verb} {has} and no {lacks}."
        solved: dict[str, list[Reading]] = defaultdict(list)
        open_of: dict[str, int] = defaultdict(int)
        for verdict in self._all:
            if verdict.match.open and verdict.match.lines:
                model = str(verdict.match.values[_MODEL])
                open_of[model] += 1
                if verdict.reading.above is not None:
                    solved[model].append(verdict.reading)
        for model, count in sorted(open_of.items()):
            above = sum(reading.above or 0 for reading in solved[model])
            tokens = sum(reading.tokens for reading in solved[model])
            if solved[model]:
                yield (
                    f"{model}: which of two prices tokens had was solved from the bill in "
                    f"{len(solved[model]):,} of {count:,} charges, each of which one whole number "
                    f"of tokens fits: {above:,} of {tokens:,} had the higher price."
                )


def _left(match: Match) -> str:
    """Name what is left of a charge."""
    return "web search" if match.values[_KIND] == WEB_SEARCH else "unexplained"


def _why(match: Match, ratio: Decimal, amount: Decimal) -> tuple[str, Decimal]:
    """Say in words, or by the ratio to the list, how a charge differs that is alone in it."""
    if not match.used:
        said = ", ".join(match.said)
        return (f"billed as {said}, and not used" if said else "billed and not used"), ONE
    if not match.lines:
        return _UNUSED, ONE
    if ratio not in (ZERO, ONE):
        return "", ratio
    return ("more than the list" if amount > 0 else "less than the list"), ONE


def _without_credit(match: Match) -> Match:
    return attrs.evolve(match, billed=subtract(match.billed, match.credit))


def _own(match: Match) -> Scope:
    """Return the scope of one charge alone."""
    values = {
        name: frozenset([value])
        for name, value in zip(DIMENSIONS, match.values, strict=True)
        if value is not None or name == "workspace_id"
    }
    return Scope(values=values, first=match.day, last=match.day)


def _lone_days(matches: Iterable[Match]) -> tuple[set[dt.date], set[dt.date]]:
    """Return the days that have use and no bill for it, and the reverse."""
    used: set[dt.date] = set()
    billed: set[dt.date] = set()
    for match in matches:
        if match.counted:
            if match.used:
                used.add(match.day)
            if match.lines:
                billed.add(match.day)
    return used - billed, billed - used


def _days(days: Iterable[dt.date]) -> str:
    names = [str(day) for day in sorted(days)]
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _shares(whole: Decimal, parts: dict[Decimal, Decimal]) -> str:
    """Say at which share of the standard prices a bill has use of a tier."""
    if set(parts) == {ONE} and parts[ONE] == whole:
        return "all of it, at standard prices"
    return ", ".join(
        f"${plain(part)} of ${plain(whole)} at {_percent(share)} of the standard prices"
        for share, part in sorted(parts.items())
    )


def _unsettled(rows: Iterable[UsageRow], prices: PriceTable) -> tuple[Residual, ...]:
    cost = add_costs(prices.cost(row) for row in rows)
    if not cost.by_kind:
        return ()
    note = "used on days that have no bill yet, at list prices"
    return (Residual(name="unsettled", amount=cost.low, note=note),)


def _percent(ratio: Decimal) -> str:
    return f"{plain(times(ratio, 100))} %"
