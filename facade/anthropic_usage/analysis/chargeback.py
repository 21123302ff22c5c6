"""The bill, split among those who caused it, to the cent."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import attrs

from ..directory import Directory
from ..errors import InvalidQuery
from ..moments import Moment
from ..money import ZERO, add, negative, quantize, subtract, times, total
from ..reports import CostRow
from .days import read_bill, uneven
from .joined import LINE, Joined, Share, join_keys, join_models
from .owners import Owner, OwnerMap
from .prices import KINDS, PriceTable
from .source import Source

__all__ = [
    "BY",
    "Behind",
    "Chargeback",
    "Line",
    "Owner",
    "OwnerMap",
    "chargeback",
    "owners_of_tags",
    "split_cents",
]

BY = ("workspace", "api_key", "model")

_CENT = Decimal("0.01")
_NAMES = {
    "web_search": "web search",
    "code_execution": "code execution",
    "session_usage": "session usage",
}
DIRECT = "as billed"
UNMAPPED = "unmapped"
BY_PRICE = "each day's line split by the use priced at list"
BY_TOKENS = "each day's line split by tokens"
LOOSELY = "where no use agrees with all that a line names, over the day's use of its model"
BY_SEARCHES = "each day's searches split by their number"


@attrs.frozen(kw_only=True)
class Behind:
    """A workspace, key or model that an owner pays for."""

    id: str | None
    name: str
    exact_usd: Decimal


@attrs.frozen(kw_only=True)
class Line:
    """A part of the bill."""

    id: str | None
    """What it was split by; None is the API's null, or that the bill does not say."""
    name: str
    owner: Owner | None
    exact_usd: Decimal
    """The unrounded amount."""
    amount_usd: Decimal
    """Whole cents; those of all lines add up to the bill."""
    direct: bool
    """Whether the bill itself says so; otherwise the amount was allocated."""
    rule: str
    """How it was allocated."""
    behind: tuple[Behind, ...] = ()
    """What an owner's line, or that of those without one, is made of, largest first."""

    @property
    def adjusted(self) -> bool:
        """Whether it is a cent beside its own rounding, so that the parts add up to the bill."""
        return self.amount_usd != quantize(self.exact_usd, 2)


@attrs.frozen(kw_only=True)
class Chargeback:
    """A range's bill and its parts."""

    by: str
    starting_at: dt.datetime
    ending_at: dt.datetime
    exact_usd: Decimal
    billed_usd: Decimal
    """The bill in whole cents, rounded half to even."""
    lines: tuple[Line, ...]
    settled: bool
    """Whether every day of the range has its bill."""
    unsettled: tuple[str, ...] = ()
    """Which days have none yet, in sentences."""
    missing: tuple[str, ...] = ()
    """What names could not be looked up."""
    unused: tuple[str, ...] = ()
    """Patterns of the owners' map that match nothing in this bill."""
    notes: tuple[str, ...] = ()
    """Which days are in it whole though the range cuts through them; what could not be read of the
    use, and why: parts are coarser for it."""
    undivided: bool = False
    """Whether that was all of the use, so that the bill could not be split as was asked."""
    currency: str = "USD"

    @property
    def rules(self) -> tuple[str, ...]:
        """How the parts that the bill does not state were allocated, each rule once."""
        rules = (rule for line in self.lines for rule in line.rule.split("; ") if rule != DIRECT)
        return tuple(dict.fromkeys(rules))

    @property
    def unmapped(self) -> Line | None:
        """The line of what no owner pays for."""
        return next((line for line in self.lines if line.owner is None and line.behind), None)


def owners_of_tags(source: Source, tags: str, by: str = "workspace") -> OwnerMap:
    """Return a map made of the tags of workspaces: `team`, or `team,cost_center`.

    The values of the first tag are the teams, those of the second the cost centers. An API key
    falls to its workspace's team. Raises InvalidQuery for models, which no tag says anything of,
    and for a tag that no workspace has, and what a lookup raises.
    """
    team, _, center = (part.strip() for part in tags.partition(","))
    if not team:
        raise InvalidQuery("name the tag that says who pays: tags:team")
    if by not in BY[:2]:
        raise InvalidQuery(f"tags are those of workspaces: they say nothing of a split by {by}")
    seen: dict[str, None] = {}
    owners: dict[str, Owner] = {}
    for workspace in source.workspaces():
        said = _tags(workspace)
        seen |= dict.fromkeys(said)
        if said.get(team):
            owners[workspace.id] = Owner(team=said[team], cost_center=said.get(center) or None)
    for tag in filter(None, (team, center)):
        if tag not in seen:
            known = f"tags are {', '.join(sorted(seen))}" if seen else "none has any tag"
            raise InvalidQuery(f"no workspace has the tag {tag!r}: {known}")
    if by == "api_key":
        keys = ((key.id, _workspace_of(key)) for key in source.api_keys())
        owners = {key: owners[space] for key, space in keys if space in owners}
    return OwnerMap(owners)


def _tags(workspace: Any) -> dict[str, str]:
    tags = getattr(workspace, "tags", None)
    entries = getattr(tags, "additional_properties", tags)
    return dict(entries) if isinstance(entries, Mapping) else {}


def _workspace_of(key: Any) -> str | None:
    """Return a key's workspace, in the older or the newer form of the answer."""
    space = getattr(key, "workspace_id", None)
    scope = getattr(key, "scope", None)
    if not isinstance(space, str) and isinstance(scope, Mapping):
        space = scope.get("workspace_id") or scope.get("id")
    return space if isinstance(space, str) else None


def chargeback(
    source: Source,
    starting_at: Moment,
    ending_at: Moment | None = None,
    *,
    by: str = "workspace",
    owners: OwnerMap | None = None,
    directory: Directory | None = None,
    prices: PriceTable | None = None,
) -> Chargeback:
    """Split the bill of a range by workspace, API key or model.

    The bill names workspaces and models, so these parts are direct. It does not name keys: each of
    its lines is joined with the use of its day on all that it names, and what several keys used is
    split in proportion to what their use costs by the list. With `owners` the lines are
    those of the owners. Lines are largest first; rounded amounts add up to the rounded bill, by
    largest remainders.

    Raises InvalidQuery for another `by`, or if no day of the range has a bill yet.
    """
    if by not in BY:
        raise InvalidQuery(f"cannot split by {by!r}: choose {', '.join(BY)}")
    directory = directory or Directory()
    prices = prices or PriceTable.bundled()
    bill = read_bill(source, starting_at, ending_at, by=LINE)
    days = bill.days.require()
    cut = uneven(starting_at, ending_at, days.settled_until)
    rows = bill.lines
    exact = total(row.amount_usd for row in rows)
    span = days.billed.start, days.billed.end
    joined: Joined | None = None
    if by == "api_key":
        joined = join_keys(source, rows, span, prices)
        parts = _by_key(joined)
    elif by == "model":
        joined = _models(source, rows, span, prices)
        parts = _by_model(joined, rows, prices)
    else:
        parts = [_Part(row.workspace_id, None, row.amount_usd, DIRECT) for row in rows]
    name = {"workspace": directory.workspace, "api_key": directory.api_key}.get(by)
    parts = [
        part if part.name is not None else attrs.evolve(part, name=name(part.id) if name else "-")
        for part in parts
    ]
    parts = list(_summed(parts))
    lines = _lines(parts, owners)
    billed = quantize(exact, 2)
    cents = split_cents([line.exact_usd for line in lines], billed)
    lines = [
        attrs.evolve(line, amount_usd=amount) for line, amount in zip(lines, cents, strict=True)
    ]
    return Chargeback(
        by=by,
        starting_at=days.starting_at,
        ending_at=days.ending_at,
        exact_usd=exact,
        billed_usd=billed,
        lines=tuple(lines),
        settled=days.whole,
        unsettled=tuple(days.sentences()),
        missing=directory.missing,
        unused=_unused(parts, owners),
        notes=(*([cut] if cut else []), *(() if joined is None else joined.missing)),
        undivided=joined is not None and joined.blind,
    )


def _unused(parts: Iterable[_Part], owners: OwnerMap | None) -> tuple[str, ...]:
    if not owners:
        return ()
    used = {owners.match(part.id, part.name) for part in parts}
    return tuple(pattern for pattern in owners.entries if pattern not in used)


def split_cents(exact: Iterable[Decimal], whole: Decimal) -> list[Decimal]:
    """Round amounts to cents that add up to `whole`, by largest remainders, the first of equals."""
    amounts = list(exact)
    rounded = [quantize(amount, 2, ROUND_FLOOR) for amount in amounts]
    missing = int(times(subtract(whole, total(rounded)), 100))
    remainders = [subtract(amount, cents) for amount, cents in zip(amounts, rounded, strict=True)]
    order = sorted(range(len(amounts)), key=lambda place: (negative(remainders[place]), place))
    for place in order[: max(missing, 0)]:
        rounded[place] = add(rounded[place], _CENT)
    # The whole may have been rounded down below the floors' sum: never by more than a cent a part.
    for place in reversed(order[len(order) + min(missing, 0) :]):
        rounded[place] = subtract(rounded[place], _CENT)
    return rounded


@attrs.frozen
class _Part:
    """An amount before owners are settled."""

    id: str | None
    name: str | None
    amount: Decimal
    rule: str
    shown: str = ""
    """The name, with the id where others bear it too."""


def _summed(parts: Iterable[_Part]) -> Iterator[_Part]:
    """Sum parts up by id, name and rule, and tell apart what goes by one name."""
    sums: dict[tuple[str | None, str | None, str], Decimal] = defaultdict(lambda: ZERO)
    ids: dict[str | None, set[str | None]] = defaultdict(set)
    for part in parts:
        key = (part.id, part.name, part.rule)
        sums[key] = add(sums[key], part.amount)
        ids[part.name].add(part.id)
    for (id_, name, rule), amount in sums.items():
        shared = len(ids[name]) > 1 and id_ is not None
        yield _Part(id_, name, amount, rule, f"{name} ({id_})" if shared else str(name))


def _lines(parts: Iterable[_Part], owners: OwnerMap | None) -> list[Line]:
    """Sum parts up to lines: one an owner if there are owners, else one an id."""
    groups: dict[Any, list[_Part]] = defaultdict(list)
    for part in parts:
        owner = owners.owner(part.id, part.name) if owners else None
        groups[owner if owners else (part.id, part.name)].append(part)
    lines = []
    for key, members in groups.items():
        rules = sorted({part.rule for part in members})
        behind: dict[tuple[str | None, str], Decimal] = defaultdict(lambda: ZERO)
        for part in members:
            at = (part.id, part.shown)
            behind[at] = add(behind[at], part.amount)
        lines.append(
            Line(
                id=None if owners else members[0].id,
                name=(key.team if key else UNMAPPED) if owners else members[0].shown,
                owner=key if owners else None,
                exact_usd=total(part.amount for part in members),
                amount_usd=ZERO,
                direct=rules == [DIRECT],
                rule="; ".join(rules),
                behind=_largest_first(behind) if owners else (),
            )
        )
    return sorted(lines, key=lambda line: (negative(line.exact_usd), line.name))


def _largest_first(amounts: Mapping[tuple[str | None, str], Decimal]) -> tuple[Behind, ...]:
    parts = [Behind(id=id_, name=name, exact_usd=amount) for (id_, name), amount in amounts.items()]
    return tuple(sorted(parts, key=lambda part: (negative(part.exact_usd), part.name)))


def _by_key(joined: Joined) -> list[_Part]:
    """Split the bill's lines among keys."""
    parts = [_Part(share.who, None, share.amount, _rule(share)) for share in joined.shares]
    return parts + [
        _Part(None, f"{_said(row)} (no key known)", row.amount_usd, DIRECT) for row in joined.rest
    ]


def _models(
    source: Source, rows: Sequence[CostRow], span: tuple[Any, Any], prices: PriceTable
) -> Joined:
    """Join the bill with the models used, if there are tokens of no named model."""
    nameless = [row for row in rows if not row.model]
    if any(row.cost_type == "tokens" or row.token_type in KINDS for row in nameless):
        return join_models(source, rows, span, prices)
    return Joined([], nameless)


def _by_model(joined: Joined, rows: Sequence[CostRow], prices: PriceTable) -> list[_Part]:
    """Sum the bill up by model; tokens of no named model are those of the models used."""
    names = {row.model for row in rows if row.model}
    names |= {share.who for share in joined.shares if share.who}
    left = set(map(id, joined.rest))
    parts = []
    direct: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        if row.model:
            name = prices.canonical(row.model, names)
            parts.append(_Part(name, name, row.amount_usd, DIRECT))
            if id(row) not in left:
                direct[name] = add(direct[name], row.amount_usd)
        elif id(row) in left:
            parts.append(_Part(None, _said(row), row.amount_usd, DIRECT))
    billed: dict[str | None, Decimal] = defaultdict(lambda: ZERO)
    rules = {share.who: _rule(share) for share in joined.shares}
    for share in joined.shares:
        billed[share.who] = add(billed[share.who], share.amount)
    for who, amount in billed.items():
        # The join gave a model its own lines too; what exceeds them is of lines that name none.
        if beside := subtract(amount, direct[str(who)]):
            parts.append(_Part(who, who or "no model", beside, rules[who]))
    return parts


def _rule(share: Share) -> str:
    if share.kind == "web_search":
        return BY_SEARCHES
    rule = BY_PRICE if share.by_price else BY_TOKENS
    return f"{rule}, {LOOSELY}" if share.loose else rule


def _said(row: CostRow) -> str:
    """Say what a line is for; one without a type is what its description says."""
    if row.cost_type is None:
        return row.description or "other"
    return _NAMES.get(row.cost_type, row.cost_type)
