"""A report as one page that needs nothing else: no network, light and dark, wide and narrow."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from importlib import resources
from typing import Any

import attrs

from ..analysis.spend import KeySpend, Slice, Spend
from ..human import count, dollars
from ..moments import DAY
from ..money import ZERO, divide, plain, subtract, times
from ..outside import clean
from ..sinks.columns import require
from .charts import Chart, charts
from .figures import KIND_NAMES, change, figures, interval, span

__all__ = ["render"]

_WIDE, _HALF, _NARROW = 1050, 500, 340


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
            **dict.fromkeys(("daily", "models", "workspaces")),
            **{chart.name: _picture(chart) for chart in charts(spend)},
        },
        tables=_tables(spend, ids),
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
    wide = _WIDE if chart.name == "daily" else _HALF
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
        "coding": _coding(spend),
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
    shown = keys[:15]
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


def _coding(spend: Spend) -> _Table:
    coding = spend.coding
    headings = [_Heading("what"), *_numbers("in this range")]
    if coding is None:
        return _Table("What Claude Code did could not be read", headings, [])
    answered = coding.accepted + coding.rejected
    facts: list[tuple[str, str, str]] = [
        ("Active developers", f"{coding.people:,}", str(coding.people)),
        ("Sessions", f"{coding.sessions:,}", str(coding.sessions)),
        ("Lines added", f"{coding.lines_added:,}", str(coding.lines_added)),
        ("Lines removed", f"{coding.lines_removed:,}", str(coding.lines_removed)),
        ("Commits", f"{coding.commits:,}", str(coding.commits)),
        ("Pull requests", f"{coding.pull_requests:,}", str(coding.pull_requests)),
        (
            "Proposals accepted",
            f"{coding.accepted / answered:.1%}" if answered else "-",
            f"{coding.accepted}/{answered}",
        ),
        (
            "Estimated cost on the API",
            dollars(coding.estimated_api),
            plain(coding.estimated_api),
        ),
        (
            "Estimated cost by subscriptions",
            dollars(coding.estimated_subscription),
            plain(coding.estimated_subscription),
        ),
        (
            "Estimated cost per active developer on the API",
            "-" if coding.cost_per_person is None else dollars(coding.cost_per_person),
            "" if coding.cost_per_person is None else f"{coding.cost_per_person:f}",
        ),
    ]
    rows = [
        [_Cell(text=name, exact=name), _Cell(text=text, exact=exact, classes="number", copy=True)]
        for name, text, exact in facts
    ]
    caption = (
        "What is estimated on the API is in the bill, so never add the two; subscriptions are not"
    )
    return _Table(caption, headings, rows)


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
