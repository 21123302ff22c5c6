"""`claude-code --map` and `--people`: the answer for whoever answers for a team."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, Any

import attrs

from ..analysis.people import Actor, People, Week, Work
from ..human import count, dollars
from ..moments import DAY
from ..outside import cell
from ..pages import team
from ..sinks.delimited import csv_writer, disarm
from ..sinks.plain import dumps, plain_value
from .columns import Column, lay_out, left_out_sentence, write_line
from .options import Printing

__all__ = ["print_people", "print_teams"]

_NOTHING = dict.fromkeys((field.name for field in attrs.fields(Work)), 0)
_RATIOS = ("acceptance", "cost_per_session_usd", "cost_per_pull_request_usd")
_FACTS = tuple(field.name for field in attrs.fields(Actor) if field.name != "work")
_COLUMNS = (*_FACTS, *_NOTHING)
_TEXTS = ("actor", "actor_type", "name", "role", "team", "cost_center")
_FIGURES = (
    "sessions",
    "lines +",
    "lines -",
    "commits",
    "PRs",
    "accepted",
    "est. cost",
    "per session",
    "per PR",
)


def print_people(result: People, printing: Printing, out: IO[str]) -> list[str]:
    """Print the answer; CSV and NDJSON have a line for each actor and each idle member.

    Returns the sentences that belong beside a table.
    """
    if printing.order == "asc":
        result = attrs.evolve(result, people=result.people[::-1], others=result.others[::-1])
    if printing.format == "json":
        out.write(f"{dumps(plain_value(result), indent=2)}\n")
    elif printing.format == "ndjson":
        for line in _lines(result):
            out.write(f"{dumps(line)}\n")
    elif printing.format == "csv":
        writer = csv_writer(out)
        writer.writerow(_COLUMNS)
        for line in _lines(result):
            writer.writerow(
                _text(value, printing.excel_safe) if name in _TEXTS else _cell(value)
                for name, value in line.items()
            )
    else:
        left_out = _print_tables(result, out)
        return [*left_out, *_sentences(result)]
    return []


def _text(value: Any, excel_safe: bool) -> Any:
    return disarm(value) if excel_safe else cell(value)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _lines(result: People) -> Iterable[dict[str, Any]]:
    for actor in (*result.people, *result.others):
        facts = {name: plain_value(getattr(actor, name)) for name in _FACTS}
        yield {**facts, **plain_value(actor.work)}
    for seat in result.idle:
        about = dict.fromkeys(_FACTS)
        about |= {"actor": seat.email, "actor_type": "user_actor", "name": seat.name}
        about |= {"role": seat.role, "team": seat.team, "seat": True, "active_days": 0}
        yield {**about, **_NOTHING, **dict.fromkeys(_RATIOS)}


def _print_tables(result: People, out: IO[str]) -> list[str]:
    last = result.ending_at - DAY
    write_line(out, f"Claude Code, {result.starting_at:%Y-%m-%d} to {last:%Y-%m-%d} (UTC days)")
    out.write("\n")
    for heading, value in _headlines(result):
        write_line(out, f"{heading:<12}  {value}", 14)
    left: list[str] = []
    left += print_teams(result, out)
    if result.people:
        columns = [
            _labels("person", [actor.actor or "-" for actor in result.people]),
            *_work_columns([actor.work for actor in result.people], result.by_people),
        ]
        left += _table(columns, out, footer=len(result.people) > 1)
    if result.others:
        columns = [
            _labels("API key", [team.key_name(actor) for actor in result.others]),
            *_work_columns([actor.work for actor in result.others], result.by_others),
        ]
        left += _table(columns, out, footer=len(result.others) > 1)
    left += _table(_week_columns(result.weeks), out)
    if result.idle:
        out.write("\n")
        write_line(out, f"Not active: {team.idle(result.idle)}")
    sentence = left_out_sentence(left)
    return [sentence] if sentence else []


def print_teams(result: People, out: IO[str]) -> tuple[str, ...]:
    """Print the table of teams, if there are any; returns the headings it had no room for."""
    if not result.teams:
        return ()
    return _table(_team_columns(result), out, footer=len(result.teams) > 1)


def _table(columns: Sequence[Column], out: IO[str], *, footer: bool = False) -> tuple[str, ...]:
    out.write("\n")
    shown = columns if footer else [attrs.evolve(column, total="") for column in columns]
    return lay_out(shown, out)


def _headlines(result: People) -> Iterable[tuple[str, str]]:
    of = "" if result.seats is None else f", {result.active_seats} of {result.seats} with a seat"
    yield "Active", f"{result.active} {'person' if result.active == 1 else 'people'}{of}"
    work = result.by_people
    each = team.each(result.cost_per_person_usd)
    yield "Their cost", f"{dollars(work.estimated_cost_usd)} estimated, {each} for each of them"
    per_session, per_pull = (
        team.each(amount) for amount in (work.cost_per_session_usd, work.cost_per_pull_request_usd)
    )
    for sentence in team.paid(result):
        yield "Who pays", sentence
    yield "Sessions", f"{count(work.sessions)}, {per_session} each"
    yield "PRs", f"{count(work.pull_requests)}, {per_pull} each"
    if result.keys:
        whole = dollars(result.total.estimated_cost_usd)
        yield (
            "API keys",
            (
                f"{result.keys}, {dollars(result.by_others.estimated_cost_usd)} estimated; "
                f"with the people {whole}"
            ),
        )


def _work_columns(works: Sequence[Work], whole: Work | None) -> list[Column]:
    """Return the columns of what was done; the least telling ones give way first."""
    giving_way = ("lines -", "per session", "commits", "lines +", "accepted")
    totals = [("", "", "")] * len(_FIGURES) if whole is None else team.work_figures(whole)
    parts = list(zip(*map(team.work_figures, works), strict=True)) or [()] * len(_FIGURES)
    return [
        Column(
            heading,
            [text for _, text, _ in column],
            total,
            True,
            gives_way=giving_way.index(heading) if heading in giving_way else None,
        )
        for heading, column, (_, total, _) in zip(_FIGURES, parts, totals, strict=True)
    ]


def _team_columns(result: People) -> list[Column]:
    teams = result.teams
    return [
        _labels("team", [part.team for part in teams]),
        _counts(
            "active",
            [team.active(part.active, part.seats) for part in teams],
            team.active(result.active, result.seats),
        ),
        *_work_columns([part.by_people for part in teams], result.by_people),
        _counts(
            "per person",
            [team.each(part.cost_per_person_usd) for part in teams],
            team.each(result.cost_per_person_usd),
        ),
    ]


def _week_columns(weeks: Sequence[Week]) -> list[Column]:
    return [
        Column("week", [week.week for week in weeks], rigid=True),
        Column("days", [team.week_days(week) for week in weeks], rigid=True),
        _counts("people", [str(week.active) for week in weeks], ""),
        *_work_columns([week.work for week in weeks], None),
    ]


def _labels(heading: str, names: Sequence[str]) -> Column:
    return Column(heading, names, "total")


def _counts(heading: str, cells: Sequence[str], whole: str) -> Column:
    return Column(heading, cells, whole, True)


def _sentences(result: People) -> Iterable[str]:
    yield from result.notes
    for pattern in result.unused:
        yield f"the map's {pattern!r} matches nobody here"
    yield "An estimated cost overlaps the API's bill: never add the two."
