"""A report as one page that needs nothing else: no network, light and dark, wide and narrow."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from importlib import resources
from typing import Any

import attrs

from ..analysis.people import Actor, People, Work
from ..analysis.spend import KeySpend, Slice, Spend
from ..human import count, dollars
from ..moments import DAY
from ..money import ZERO, divide, plain, subtract, times
from ..outside import clean
from ..sinks.columns import require
from . import team
from .charts import Chart, charts
from .figures import KIND_NAMES, change, figures, interval, span

__all__ = ["render"]

_WIDE, _HALF, _NARROW = 1050, 500, 340
_MOST_KEYS, _MOST_PEOPLE = 15, 100


@attrs.frozen(kw_only=True)
class _Cell:
    text: str
    exact: str = ""
    id: str = ""
    classes: str = "name"
    copy: bool = False
    bar: str | None = None
    mark: str = ""


@attrs.frozen
class _Heading:
    heading: str
    classes: str = ""


@attrs.frozen
class _Table:
    caption: str
    columns: Sequence[_Heading]
    rows: Sequence[Sequence[_Cell]]
    total: Sequence[_Cell] = ()


def render(spend: Spend, *, title: str | None = None, ids: bool = False) -> str:
    """Return the page; every text from outside is escaped.

    Raises MissingExtra without the extra `charts`.
    """
    jinja2: Any = require("jinja2", "charts")
    folder = resources.files(__package__)
    script = folder.joinpath("report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_cleaned
    )
    template = environment.from_string(
        folder.joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    page: str = template.render(
        title=title or spend.organization or "Claude spend",
        span=_span(spend),
        figures=figures(spend),
        charts={
            **dict.fromkeys(("daily", "models", "workspaces", "claude-code")),
            **{chart.name: _picture(chart) for chart in charts(spend)},
        },
        tables=_tables(spend, ids),
        coding=_coding(spend),
        not_known=f"N{team.NOT_KNOWN[1:]}",
        notes=spend.notes,
        script=_Verbatim(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page


class _Verbatim(str):
    """Our own script, which must not be escaped."""

    def __html__(self) -> str:
        return str(self)


def _cleaned(value: Any) -> Any:
    """Return what the page may hold of a text: nothing that turns others around or is no text."""
    return clean(value) if type(value) is str else value


def _span(spend: Spend) -> str:
    said = f"{span(spend)} (UTC, exclusive)"
    if spend.compared_from is not None and spend.billed_days:
        said += f", compared with the same number of days from {spend.compared_from:%Y-%m-%d} on"
    if spend.billed is None:
        return f"{said}."
    if not spend.billed_days:
        return f"{said}. No day of it has a bill yet."
    return f"{said}. The last day with a bill is {spend.billed_until - DAY:%Y-%m-%d}."


def _picture(chart: Chart) -> dict[str, str]:
    wide = _WIDE if chart.name in ("daily", "claude-code") else _HALF
    pictures = {
        f"{name}_{theme}": _data_uri(chart.svg(width, theme))
        for name, width in (("wide", wide), ("narrow", _NARROW))
        for theme in ("light", "dark")
    }
    return {"title": chart.title, "summary": chart.summary, **pictures}


def _data_uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _tables(spend: Spend, ids: bool) -> dict[str, _Table]:
    by_id = "id" if ids else "both"
    return {
        "models": _slices("Billed, by model", spend.by_model, spend, "models"),
        "workspaces": _slices(
            "Billed, by workspace", spend.by_workspace, spend, "workspaces", by_id
        ),
        "kinds": _slices("Billed, by kind of charge", spend.by_kind, spend, "kinds"),
        "tokens": _tokens(spend),
        "keys": _keys(spend.keys, by_id),
        "days": _days(spend),
    }


def _slices(
    caption: str, parts: Sequence[Slice], spend: Spend, mark: str, shown: str = "name"
) -> _Table:
    most = max((part.billed for part in parts), default=Decimal(0))
    compared = spend.before is not None
    rows = [
        [
            _label(part.id, part.name, shown, _bar(part.billed, most)),
            _Cell(
                text=dollars(part.amount_usd), exact=plain(part.billed), classes="number", copy=True
            ),
            *_against(part.billed, part.before, money=True),
        ]
        for part in parts
    ]
    total = [
        _Cell(text="total"),
        attrs.evolve(_money(spend.billed), mark=f"total-{mark}"),
        *_against(spend.billed, spend.before, money=True),
    ]
    headings = [_Heading(caption.rpartition("by ")[2]), *_numbers("billed")]
    return _Table(caption, [*headings, *_before_headings(compared)], rows, total)


def _before_headings(compared: bool) -> list[_Heading]:
    if not compared:
        return []
    return [_Heading("before", "number before"), _Heading("change", "number")]


def _against(
    now: Decimal | int | None, before: Decimal | int | None, *, money: bool
) -> list[_Cell]:
    """Return what a row says of the span before: nothing if nothing is compared."""
    if before is None:
        return []
    if money:
        cell = _money(Decimal(before), "number before")
    else:
        cell = _Cell(text=count(int(before)), exact=str(before), classes="number before")
    return [cell, _Cell(text=change(now, before), exact=_ratio(now, before), classes="number")]


def _label(id_: str | None, name: str, shown: str, bar: str) -> _Cell:
    """Return a cell with a name, an id, or the one above the other."""
    text = id_ if shown == "id" and id_ is not None else name
    below = id_ if shown == "both" and id_ != name else None
    return _Cell(text=text, exact=text, id=below or "", bar=bar)


def _tokens(spend: Spend) -> _Table:
    most = max((now for now, _ in spend.tokens.values()), default=0)
    compared = spend.before is not None
    rows = [
        [
            _Cell(text=KIND_NAMES.get(name, name), exact=name, bar=_bar(now, most)),
            _Cell(text=count(now), exact=str(now), classes="number", copy=True),
            *_against(now, before, money=False),
        ]
        for name, (now, before) in spend.tokens.items()
    ]
    headings = [_Heading("kind"), *_numbers("now"), *_before_headings(compared)]
    days = "The days that have a bill" if spend.billed_days else "Whole range"
    caption = f"{days}, and as many before them" if compared else days
    if spend.caching is None:
        caption = "The usage could not be read"
    return _Table(caption, headings, rows)


def _keys(keys: Sequence[KeySpend], by_id: str) -> _Table:
    shown = keys[:_MOST_KEYS]
    most = max((key.high or ZERO for key in shown), default=ZERO)
    rows = [
        [
            _label(key.id, key.name, by_id, _bar(key.high or ZERO, most)),
            _count(key.tokens),
            _Cell(
                text=interval(key.low, key.high),
                exact="" if key.low is None else plain(key.low),
                classes="number",
                copy=True,
            ),
        ]
        for key in shown
    ]
    more = f"; {len(keys) - len(shown)} more are not shown" if len(keys) > len(shown) else ""
    caption = f"Estimated by list prices, for the bill does not name keys{more}"
    return _Table(caption, [_Heading("key"), *_numbers("tokens", "estimated")], rows)


@attrs.frozen
class _Coding:
    """What a page says of Claude Code."""

    tables: Sequence[_Table]
    idle: str
    notes: Sequence[str]


def _coding(spend: Spend) -> _Coding | None:
    """Return the section on Claude Code; None if nothing is known of it."""
    if spend.coding is None:
        return None
    who = spend.coding.who
    tables = [_together(who), _payers(who), _weeks(who)]
    if who.teams:
        tables.append(_teams(who))
    if who.people:
        tables.append(_actors(who.people, who.by_people, "person", "people"))
    if who.others:
        tables.append(_actors(who.others, who.by_others, team.kinds(who), f"{team.kinds(who)}s"))
    return _Coding(tables, team.idle(who.idle), who.notes)


def _together(who: People) -> _Table:
    """Return what people did, and keys beside them: each column divides by itself."""
    works = [who.by_people, who.by_others, who.total] if who.keys else [who.by_people]
    names = ["people", f"{team.kinds(who)}s", "together"][: len(works)]
    numbers = [who.active, who.keys, None][: len(works)]
    rows = [
        [
            _Cell(text="Active"),
            *(_Cell(text="", classes="number") if n is None else _count(n) for n in numbers),
        ]
    ]
    for line in zip(*map(team.work_figures, works), strict=True):
        rows.append([_Cell(text=line[0][0]), *(_figure(*figure) for figure in line)])
    each = who.cost_per_person_usd
    blank = [_Cell(text="-", classes="number")] * (len(works) - 1)
    rows.append(
        [
            _Cell(text="est. cost per person"),
            _figure("", team.each(each), team.average(each)),
            *blank,
        ]
    )
    caption = f"{team.seated(who)} active"
    if who.keys:
        caption += "; API keys are no people, and stand beside them"
    return _Table(caption, [_Heading("what"), *_numbers(*names)], rows)


def _figure(heading: str, text: str, exact: str) -> _Cell:
    return _Cell(text=text, exact=exact, classes="number", copy=bool(exact))


def _payers(who: People) -> _Table:
    rows = [
        [
            _Cell(text=team.payer_name(payer, team.kinds(who))),
            _count(payer.number),
            _money(payer.estimated_cost_usd),
            _money(payer.each_usd),
        ]
        for payer in who.payers
    ]
    total = [
        _Cell(text="total"),
        _Cell(text="", classes="number"),
        attrs.evolve(_money(who.total.estimated_cost_usd), mark="total-coding"),
        _Cell(text="", classes="number"),
    ]
    caption = (
        "Who pays: what is estimated on the API is in the bill, so never add the two; what is on "
        "a subscription is not in it"
    )
    return _Table(caption, [_Heading("who"), *_numbers("number", "estimated", "each")], rows, total)


def _weeks(who: People) -> _Table:
    most = max((week.active for week in who.weeks), default=0)
    rows = [
        [
            _Cell(text=str(week.week), exact=str(week.week), bar=_bar(week.active, most)),
            _Cell(text=team.week_days(week), exact=str(week.days), classes="number"),
            _count(week.active),
            *_work(week.work),
        ]
        for week in who.weeks
    ]
    parts = any(week.days < week.days_in_period for week in who.weeks)
    caption = "People by week, Monday to Sunday (UTC)"
    caption += "; a week of fewer days is a part of one, and no drop" if parts else ""
    headings = [_Heading("week"), *_numbers("days", "people"), *_work_headings()]
    return _Table(caption, headings, rows)


def _teams(who: People) -> _Table:
    most = max(part.by_people.estimated_cost_usd for part in who.teams)
    rows = [
        [
            _Cell(
                text=part.team,
                exact=part.team,
                id=part.cost_center or "",
                bar=_bar(part.by_people.estimated_cost_usd, most),
            ),
            _Cell(
                text=team.active(part.active, part.seats), exact=str(part.active), classes="number"
            ),
            *_work(part.by_people),
            _figure(
                "", team.each(part.cost_per_person_usd), team.average(part.cost_per_person_usd)
            ),
        ]
        for part in who.teams
    ]
    each = who.cost_per_person_usd
    total = [
        _Cell(text="total"),
        _Cell(text=team.active(who.active, who.seats), classes="number"),
        *_work(who.by_people),
        _figure("", team.each(each), team.average(each)),
    ]
    active = "active" if who.seats is None else "active / seats"
    headings = [
        _Heading("team"),
        *_numbers(active),
        *_work_headings(),
        *_numbers("est. cost per person"),
    ]
    return _Table("Teams, their people only", headings, rows, total)


def _actors(actors: Sequence[Actor], whole: Work, one: str, many: str) -> _Table:
    shown = actors[:_MOST_PEOPLE]
    most = max(actor.work.estimated_cost_usd for actor in shown)
    mapped = any(actor.team is not None for actor in actors)
    rows = [
        [
            _Cell(
                text=team.key_name(actor) if one != "person" else actor.actor or "-",
                exact=actor.actor or "",
                id=actor.name or "",
                bar=_bar(actor.work.estimated_cost_usd, most),
            ),
            *([_Cell(text=actor.team or "-", exact=actor.team or "")] if mapped else []),
            _count(actor.active_days),
            *_work(actor.work),
        ]
        for actor in shown
    ]
    total = [
        _Cell(text="total"),
        *([_Cell(text="")] if mapped else []),
        _Cell(text="", classes="number"),
        *_work(whole),
    ]
    more = len(actors) - len(shown)
    caption = many[0].upper() + many[1:]
    if more:
        caption += f"; {more:,} more are not shown, but in the total"
    headings = [
        _Heading(one),
        *([_Heading("team")] if mapped else []),
        *_numbers("active days"),
        *_work_headings(),
    ]
    return _Table(caption, headings, rows, total)


_SHOWN = ("sessions", "lines +", "commits", "PRs", "accepted", "est. cost", "per session", "per PR")


def _work(work: Work) -> list[_Cell]:
    return [_figure(*figure) for figure in team.work_figures(work) if figure[0] in _SHOWN]


def _work_headings() -> list[_Heading]:
    return _numbers(*_SHOWN)


def _days(spend: Spend) -> _Table:
    most = max((day.billed for day in spend.by_day), default=Decimal(0))
    rows = [
        [
            _Cell(text=str(day.day), exact=str(day.day), bar=_bar(day.billed, most)),
            _money(day.billed),
        ]
        for day in spend.by_day
    ]
    total = [_Cell(text="total"), attrs.evolve(_money(spend.billed), mark="total-days")]
    return _Table("Billed, by day (UTC)", [_Heading("day"), *_numbers("billed")], rows, total)


def _numbers(*names: str) -> list[_Heading]:
    return [_Heading(name, "number") for name in names]


def _money(value: Decimal | None, classes: str = "number") -> _Cell:
    if value is None:
        return _Cell(text="-", classes=classes)
    return _Cell(text=dollars(value), exact=plain(value), classes=classes, copy=True)


def _count(number: int) -> _Cell:
    return _Cell(text=f"{number:,}", exact=str(number), classes="number", copy=True)


def _ratio(now: Decimal | int | None, before: Decimal | int) -> str:
    if now is None or before <= 0 or now < 0:
        return ""
    return f"{divide(subtract(Decimal(now), Decimal(before)), before):.6f}"


def _bar(part: Decimal | int, most: Decimal | int) -> str:
    return f"{divide(times(Decimal(part), 100), most):.1f}" if most > 0 and part > 0 else "0"
