"""A report as Markdown, short enough for a chat."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.people import People, Work
from ..analysis.spend import Slice, Spend
from ..human import count, dollars
from ..money import total
from ..outside import markdown
from . import team
from .figures import KIND_NAMES, change, figures, interval, span

__all__ = ["render"]

_MOST = 8


def render(spend: Spend, *, title: str | None = None) -> str:
    """Return the report as Markdown; texts from outside cannot become markup."""
    lines = [
        f"## {markdown(title or spend.organization or 'Claude spend')}",
        "",
        f"{markdown(span(spend))}, UTC, exclusive",
        "",
    ]
    for figure in figures(spend):
        lines.append(f"* **{figure.name}: {markdown(figure.value)}** {markdown(figure.note)}")
    compared = spend.before is not None
    if spend.billed is not None:
        lines += _slices("model", spend.by_model, compared)
        lines += _slices("workspace", spend.by_workspace, compared)
    if spend.tokens:
        lines += _table(
            "tokens",
            "now",
            [
                (KIND_NAMES.get(name, name), count(now), change(now, before))
                for name, (now, before) in spend.tokens.items()
            ],
            compared,
        )
    if spend.keys:
        lines += ["", "| API key (estimated) | cost |", "|---|---:|"]
        for key in spend.keys[:5]:
            lines.append(f"| {markdown(key.name)} | {interval(key.low, key.high)} |")
    lines += ["", "### Claude Code", ""]
    lines += [team.NOT_KNOWN] if spend.coding is None else _coding(spend.coding.who)
    if spend.notes:
        lines += ["", *(f"> {markdown(note)}" for note in spend.notes)]
    return "\n".join(lines) + "\n"


def _coding(who: People) -> list[str]:
    """Return people and who pays, the weeks, and teams or else the people with the largest cost."""
    work = who.by_people
    done = f"{count(work.sessions)} sessions, {count(work.pull_requests)} PRs"
    lines = [markdown(f"{team.seated(who)} active: {done}")]
    lines += [f"* {markdown(sentence)}" for sentence in team.paid(who)]
    lines += _people(
        "week", [(team.week_name(week), str(week.active), week.work) for week in who.weeks]
    )
    if who.teams:
        active = "active" if who.seats is None else "active / seats"
        rows = [
            (team.team_name(part), team.active(part.active, part.seats), part.by_people)
            for part in who.teams
        ]
        lines += _people("team", rows, active)
    elif who.people:
        rows = [
            (person.actor or "-", str(person.active_days), person.work)
            for person in who.people[:_MOST]
        ]
        lines += _people("person", rows, "active days")
        if (more := len(who.people) - _MOST) > 0:
            lines += ["", f"and {more:,} more"]
    return [*lines, *(line for note in who.notes for line in ("", f"> {markdown(note)}"))]


def _people(what: str, rows: Sequence[tuple[str, str, Work]], heading: str = "people") -> list[str]:
    """Return a table of people's work."""
    lines = ["", f"| {what} | {heading} | estimated |", "|---|---:|---:|"]
    lines += [
        f"| {markdown(name)} | {number} | {dollars(work.estimated_cost_usd)} |"
        for name, number, work in rows
    ]
    return lines


def _slices(what: str, parts: Sequence[Slice], compared: bool) -> list[str]:
    rows = [
        (part.name, dollars(part.amount_usd), change(part.billed, part.before))
        for part in parts[:_MOST]
    ]
    if rest := parts[_MOST:]:
        rows.append((f"{len(rest)} more", dollars(total(part.amount_usd for part in rest)), ""))
    return _table(what, "billed", rows, compared)


def _table(
    what: str, heading: str, rows: Sequence[tuple[str, str, str]], compared: bool
) -> list[str]:
    """Return a table, with its last column only if something is compared."""
    width = 3 if compared else 2
    lines: list[tuple[str, ...]] = [(what, heading, "change"), ("---", "---:", "---:")]
    lines += [(markdown(name), *rest) for name, *rest in rows]
    return ["", *(f"| {' | '.join(line[:width])} |" for line in lines)]
