"""`claude-code --map` and `--people`: the answer for whoever answers for a team."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import IO, Any

import attrs

from ..analysis.people import Actor, People, Seat, Team, Week, Work
from ..human import clean, count, dollars
from ..moments import DAY
from ..sinks.delimited import disarm
from ..sinks.plain import plain_value
from .options import Printing
from .tables import TableColumn, print_fitted

__all__ = ["print_people"]

_NOTHING = dict.fromkeys((field.name for field in attrs.fields(Work)), 0)
_RATIOS = ("acceptance", "cost_per_session_usd", "cost_per_pull_request_usd")
_FACTS = tuple(field.name for field in attrs.fields(Actor) if field.name != "work")
_COLUMNS = (*_FACTS, *_NOTHING)
_TEXTS = ("actor", "actor_type", "name", "role", "team", "cost_center")
_MOST_IDLE = 20

Cell = Callable[[Any], str]


def print_people(result: People, printing: Printing, out: IO[str]) -> list[str]:
    """Print the answer; CSV and NDJSON have a line for each actor and each idle member.

    Returns the sentences that belong beside a table.
    """
    if printing.order == "asc":
        result = attrs.evolve(result, people=result.people[::-1], others=result.others[::-1])
    if printing.format == "json":
        json.dump(plain_value(result), out, indent=2, ensure_ascii=False)
        out.write("\n")
    elif printing.format == "ndjson":
        for line in _lines(result):
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    elif printing.format == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for line in _lines(result):
            writer.writerow(
                disarm(value) if printing.excel_safe and name in _TEXTS else _cell(value)
                for name, value in line.items()
            )
    else:
        left_out = _print_tables(result, out)
        return [*left_out, *_sentences(result)]
    return []


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
    out.write(f"Claude Code, {result.starting_at:%Y-%m-%d} to {last:%Y-%m-%d} (UTC days)\n\n")
    for heading, value in _headlines(result):
        out.write(f"{heading:<12}  {value}\n")
    left: list[str] = []
    if result.teams:
        left += _table(_team_columns(result), out, footer=len(result.teams) > 1)
    if result.people:
        columns = [
            _labels("person", [actor.actor or "-" for actor in result.people]),
            *_work_columns([actor.work for actor in result.people], result.by_people),
        ]
        left += _table(columns, out, footer=len(result.people) > 1)
    if result.others:
        columns = [
            _labels("API key", [_key(actor) for actor in result.others]),
            *_work_columns([actor.work for actor in result.others], result.by_others),
        ]
        left += _table(columns, out, footer=len(result.others) > 1)
    left += _table(_week_columns(result.weeks), out)
    if result.idle:
        shown = ", ".join(clean(_seat(seat)) for seat in result.idle[:_MOST_IDLE])
        more = len(result.idle) - _MOST_IDLE
        out.write(f"\nNot active: {shown}{f' and {more} more' if more > 0 else ''}\n")
    headings = ", ".join(dict.fromkeys(left))
    return [f"no room for {headings}: a wider terminal or a pipe shows it all"] if left else []


def _table(
    columns: Sequence[TableColumn], out: IO[str], *, footer: bool = False
) -> tuple[str, ...]:
    out.write("\n")
    return print_fitted(columns, out, footer=footer)


def _headlines(result: People) -> Iterable[tuple[str, str]]:
    of = "" if result.seats is None else f", {result.active_seats} of {result.seats} with a seat"
    yield "Active", f"{result.active} {'person' if result.active == 1 else 'people'}{of}"
    work = result.by_people
    each = _dollars(result.cost_per_person_usd)
    yield "Their cost", f"{dollars(work.estimated_cost_usd)} estimated, {each} for each of them"
    per_session, per_pull = (
        _dollars(amount) for amount in (work.cost_per_session_usd, work.cost_per_pull_request_usd)
    )
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


def _work_columns(works: Sequence[Work], whole: Work | None) -> list[TableColumn]:
    """Return the columns of what was done; the least telling ones give way first."""
    cells: list[tuple[str, Cell]] = [
        ("sessions", lambda work: count(work.sessions)),
        ("lines +", lambda work: count(work.lines_added)),
        ("lines -", lambda work: count(work.lines_removed)),
        ("commits", lambda work: count(work.commits)),
        ("PRs", lambda work: count(work.pull_requests)),
        ("accepted", lambda work: _share(work.acceptance)),
        ("est. cost", lambda work: dollars(work.estimated_cost_usd)),
        ("per session", lambda work: _dollars(work.cost_per_session_usd)),
        ("per PR", lambda work: _dollars(work.cost_per_pull_request_usd)),
    ]
    giving_way = ("lines -", "per session", "commits", "lines +", "accepted")
    return [
        TableColumn(
            heading=heading,
            cells=[cell(work) for work in works],
            total="" if whole is None else cell(whole),
            measure=True,
            dispensable=giving_way.index(heading) if heading in giving_way else None,
        )
        for heading, cell in cells
    ]


def _team_columns(result: People) -> list[TableColumn]:
    teams = result.teams
    return [
        _labels("team", [team.team for team in teams]),
        _counts("active", [_active(team) for team in teams], _of(result.active, result.seats)),
        *_work_columns([team.by_people for team in teams], result.by_people),
        _counts(
            "per person",
            [_dollars(team.cost_per_person_usd) for team in teams],
            _dollars(result.cost_per_person_usd),
        ),
    ]


def _week_columns(weeks: Sequence[Week]) -> list[TableColumn]:
    def days(week: Week) -> str:
        whole = week.days == week.days_in_period
        return str(week.days) if whole else f"{week.days} of {week.days_in_period}"

    return [
        TableColumn(heading="week", cells=[str(week.week) for week in weeks], total=""),
        TableColumn(heading="days", cells=[days(week) for week in weeks], total=""),
        _counts("people", [str(week.active) for week in weeks], ""),
        *_work_columns([week.work for week in weeks], None),
    ]


def _labels(heading: str, names: Sequence[str]) -> TableColumn:
    return TableColumn(
        heading=heading, cells=[clean(name) for name in names], total="total", rigid=False
    )


def _counts(heading: str, cells: Sequence[str], whole: str) -> TableColumn:
    return TableColumn(heading=heading, cells=cells, total=whole, measure=True)


def _key(actor: Actor) -> str:
    kind = "" if actor.actor_type == "api_actor" else f" ({actor.actor_type or 'kind not said'})"
    return f"{actor.actor or '-'}{kind}"


def _seat(seat: Seat) -> str:
    return seat.email or seat.name


def _active(team: Team) -> str:
    return _of(team.active, team.seats)


def _of(number: int, whole: int | None) -> str:
    return f"{number}" if whole is None else f"{number} / {whole}"


def _dollars(amount: Decimal | None) -> str:
    return "-" if amount is None else dollars(amount)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


def _sentences(result: People) -> Iterable[str]:
    yield from result.notes
    for pattern in result.unused:
        yield f"the map's {pattern!r} matches nobody here"
    yield "An estimated cost overlaps the API's bill: never add the two."
