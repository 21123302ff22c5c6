"""The charts of a report, drawn by Vega-Altair: as SVG for pages and as PNG for chats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from ..analysis.people import Week
from ..analysis.spend import Slice, Spend
from ..human import clean
from ..moments import DAY
from ..money import ZERO, add
from ..sinks.columns import require
from .team import week_name

__all__ = ["Chart", "charts"]

_LARGEST = 5
"""So many models have a colour of their own; more could not be told apart."""
_OTHER = "everything else"
_BARS = 8

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c8c8c")
"""Okabe and Ito's, which people with any kind of colour vision can tell apart."""
_INK = {"light": ("#1b1b18", "#6b6a63", "#e4e2da"), "dark": ("#f2f0e9", "#a8a69d", "#3a3935")}


@attrs.frozen(kw_only=True)
class Chart:
    """One chart, of which pictures can be made."""

    name: str
    title: str
    summary: str
    """What it shows, in words."""
    height: int
    data: Any
    encoding: Any

    def svg(self, width: int = 860, theme: str = "light") -> str:
        """Draw it as SVG, without a background."""
        text: str = require("vl_convert", "charts").vegalite_to_svg(self._spec(width, theme))
        return text

    def png(self, width: int = 860, theme: str = "light", scale: float = 2.0) -> bytes:
        """Draw it as PNG, on a background of its own."""
        spec = self._spec(width, theme)
        spec["background"] = {"light": "#ffffff", "dark": "#191917"}[theme]
        spec["padding"] = 16
        spec["title"] = {"text": self.title, "anchor": "start", "fontSize": 15}
        made: bytes = require("vl_convert", "charts").vegalite_to_png(spec, scale=scale)
        return made

    def _spec(self, width: int, theme: str) -> dict[str, Any]:
        narrow = width < 500
        ink, faint, line = _INK[theme]
        chart = self.encoding(self.data, narrow).properties(width=width, height=self.height)
        spec: dict[str, Any] = chart.to_dict()
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        spec["background"] = None
        # Where the reader's font is wider than the one measured here, labels need room to grow.
        spec["padding"] = {
            "left": 8 if self.name == "daily" else 28,
            "right": 8,
            "top": 2,
            "bottom": 2,
        }
        font = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
        spec["config"] = {
            "font": font,
            "view": {"stroke": None},
            "title": {"color": ink, "font": font},
            "axis": {
                "labelColor": faint,
                "titleColor": faint,
                "gridColor": line,
                "domainColor": line,
                "tickColor": line,
                "labelFontSize": 12,
                "labelLimit": 130 if narrow else 260,
            },
            "legend": {
                "labelColor": ink,
                "title": None,
                "orient": "top",
                "columns": 2 if narrow else 6,
                "labelFontSize": 12,
                "labelLimit": 170,
                "columnPadding": 22,
                "symbolType": "square",
            },
        }
        return spec


def charts(spend: Spend) -> list[Chart]:
    """Return the charts of a report; those without data are left out.

    Raises MissingExtra without the extra `charts`.
    """
    require("altair", "charts")
    require("vl_convert", "charts")
    made = []
    if spend.by_day:
        made.append(_daily(spend))
    for name, title, slices in (
        ("models", "Billed by model", spend.by_model),
        ("workspaces", "Billed by workspace", spend.by_workspace),
    ):
        if any(part.billed or part.before for part in slices):
            made.append(_bars(name, f"{title}{_known(spend)}", slices))
    if spend.coding is not None and spend.coding.who.active:
        made.append(_weeks(spend, spend.coding.who.weeks))
    return made


def _known(spend: Spend) -> str:
    """Say for a title how far the bill goes, if it does not cover the range."""
    return "" if spend.whole else f", up to {spend.billed_until - DAY:%Y-%m-%d}"


def _daily(spend: Spend) -> Chart:
    largest = [part.name for part in spend.by_model[:_LARGEST]]
    rows = []
    for day in spend.by_day:
        for name, amount in _grouped(day.by_model, largest).items():
            place = largest.index(name) if name in largest else _LARGEST
            rows.append(
                {"day": str(day.day), "part": clean(name), "usd": float(amount), "place": place}
            )
    names = [clean(name) for name in largest]
    if any(row["part"] == _OTHER for row in rows):
        names.append(_OTHER)
    most = max(spend.by_day, key=lambda day: day.billed)
    return Chart(
        name="daily",
        title=f"Billed each day{_known(spend)}, US dollars",
        summary=(
            f"Stacked bars, one a day from {spend.by_day[0].day} to {spend.by_day[-1].day}, by "
            f"model. The largest day is {most.day} with ${most.billed:,.2f}."
        ),
        height=240,
        data=rows,
        encoding=lambda rows, narrow: _daily_marks(rows, names, narrow),
    )


def _grouped(parts: Mapping[str, Decimal], largest: list[str]) -> Mapping[str, Decimal]:
    kept = {name: parts[name] for name in largest if name in parts}
    rest = ZERO
    for name, amount in parts.items():
        if name not in kept:
            rest = add(rest, amount)
    return {**kept, _OTHER: rest} if rest else kept


def _dates(dates: list[str], narrow: bool) -> Any:
    """Return an axis of dates that names as many as there is room for."""
    return require("altair", "charts").Axis(
        values=dates[:: max(1, -(-len(dates) // (5 if narrow else 12)))],
        labelAngle=0,
        labelExpr="timeFormat(toDate(datum.value + 'T00:00'), '%b %-d')",
        grid=False,
    )


def _daily_marks(rows: Any, names: list[str], narrow: bool) -> Any:
    altair = require("altair", "charts")
    colours = [*_COLOURS[: len(names) - 1], _COLOURS[-1]] if _OTHER in names else _COLOURS
    days = sorted({row["day"] for row in rows})
    return (
        altair.Chart(altair.Data(values=rows))
        .mark_bar()
        .encode(
            x=altair.X(
                "day:O",
                title=None,
                axis=_dates(days, narrow),
                scale=altair.Scale(paddingInner=0.15),
            ),
            y=altair.Y(
                "usd:Q", title=None, axis=altair.Axis(format="$,.0f", tickCount=5, domain=False)
            ),
            color=altair.Color(
                "part:N", scale=altair.Scale(domain=names, range=list(colours[: len(names)]))
            ),
            order=altair.Order("place:O"),
        )
    )


def _bars(name: str, title: str, slices: Iterable[Slice]) -> Chart:
    shown = list(slices)[:_BARS]
    rows = [
        {
            "part": f"{place:02}{clean(part.name)}",
            "usd": float(part.billed),
            **({} if part.before is None else {"before": float(part.before)}),
            "label": f"${part.billed:,.0f}",
        }
        for place, part in enumerate(shown)
    ]
    first = shown[0]
    compared = first.before is not None
    tick = " A tick marks the span before." if compared else ""
    return Chart(
        name=name,
        title=f"{title}, US dollars{' (tick: the span before)' if compared else ''}",
        summary=(
            f"Horizontal bars, largest first: {clean(first.name)} with ${first.billed:,.2f}.{tick}"
        ),
        height=30 * len(rows),
        data=rows,
        encoding=_bar_marks,
    )


def _bar_marks(rows: Any, narrow: bool) -> Any:
    altair = require("altair", "charts")
    data = altair.Data(values=rows)
    # The place in front keeps two parts of one name apart and in order; it is not shown.
    names = altair.Y(
        "part:N",
        sort=None,
        title=None,
        axis=altair.Axis(labelExpr="slice(datum.label, 2)", ticks=False, domain=False),
    )
    dollars = altair.Axis(
        format="$,.0f", tickCount=3 if narrow else 6, domain=False, labelOverlap=True
    )
    bars = (
        altair.Chart(data)
        .mark_bar(color=_COLOURS[0], height=16)
        .encode(x=altair.X("usd:Q", title=None, axis=dollars), y=names)
    )
    if "before" not in rows[0]:
        return bars
    ticks = (
        altair.Chart(data)
        .mark_tick(color=_COLOURS[1], thickness=3, size=22)
        .encode(x=altair.X("before:Q", title=None), y=names)
    )
    return altair.layer(bars, ticks)


def _weeks(spend: Spend, weeks: Sequence[Week]) -> Chart:
    until = spend.counted_until
    known = "" if until >= spend.ending_at else f", up to {until - DAY:%Y-%m-%d}"
    rows = [
        {
            "week": str(week.week),
            "people": week.active,
            "whole": week.days == week.days_in_period,
        }
        for week in weeks
    ]
    pale = "" if all(row["whole"] for row in rows) else " (pale: a part of a week)"
    most = max(weeks, key=lambda week: week.active)
    return Chart(
        name="claude-code",
        title=f"People active with Claude Code each week{known}{pale}",
        summary=(
            f"Bars, one a week from {week_name(weeks[0])} to {week_name(weeks[-1])}. Most people, "
            f"{most.active:,}, were active in the week of {most.week}."
        ),
        height=140,
        data=rows,
        encoding=_week_marks,
    )


def _week_marks(rows: Any, narrow: bool) -> Any:
    altair = require("altair", "charts")
    weeks = [row["week"] for row in rows]
    return (
        altair.Chart(altair.Data(values=rows))
        .mark_bar(color=_COLOURS[0], size=24)
        .encode(
            x=altair.X(
                "week:O",
                title=None,
                axis=_dates(weeks, narrow),
            ),
            y=altair.Y(
                "people:Q",
                title=None,
                scale=altair.Scale(nice=True),
                axis=altair.Axis(format="d", tickMinStep=1, tickCount=4, domain=False),
            ),
            opacity=altair.condition("datum.whole", altair.value(1), altair.value(0.45)),
        )
    )
