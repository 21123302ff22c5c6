"""`prices`, `reconcile` and `chargeback`: what finance asks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click

from ..analysis.chargeback import BY, Chargeback, Line, chargeback, owners_of_tags
from ..analysis.owners import OwnerMap
from ..analysis.prices import KINDS, Price
from ..analysis.ratios import plain_word
from ..analysis.reconcile import Cell, Part, Reconciliation, Residual, reconcile
from ..directory import Directory
from ..errors import InvalidQuery
from ..human import dollars, several
from ..moments import parse_moment, utc_now
from ..money import absolute, divide, negative, plain, quantize, times
from .answers import (
    Column,
    Output,
    answer,
    answer_options,
    ids_option,
    names_of,
    period_options,
    price_table,
    pricing_option,
    print_columns,
    read_text,
)
from .columns import footnotes
from .options import source_options
from .session import Connection, note

__all__ = ["chargeback_command", "prices_command", "read_owners", "reconcile_command"]

_SHORT_KINDS = ("input", "5m write", "1h write", "cache read", "output")
_CENT = Decimal("0.01")
_TAGS = "tags:"
_NAMED = 5
"""How many of those that nobody pays for are named."""


@click.command(
    "prices",
    short_help="List prices, dated.",
    epilog="""\b
Examples:
  anthropic-usage prices
  anthropic-usage prices --date 2026-02-11
  anthropic-usage prices --model claude-sonnet-4-5 --json
  anthropic-usage prices --all --csv > prices.csv
  anthropic-usage prices --pricing-json '{"my-model": {"input_per_million": 3, \
"output_per_million": 15}}'""",
)
@click.option(
    "--date", "day", metavar="YYYY-MM-DD", help="The prices of this day.  [default: today]"
)
@click.option("--model", metavar="MODEL", help="Only this model, by any of its names.")
@click.option("--all", "every", is_flag=True, help="The prices of all days.")
@pricing_option
@answer_options("table", "json", "csv")
def prices_command(
    day: str | None, model: str | None, every: bool, pricing_json: str | None, output: Output
) -> None:
    """List prices in USD for a million tokens, as bundled: dated, and how sure each one is."""
    on = (parse_moment(day, "--date") if day else utc_now()).date()
    table = price_table(pricing_json)
    wanted = None if model is None else table.model_named(model)
    prices = [
        price
        for price in table.prices
        if (every or price in table.prices_of(price.model, on))
        and (wanted is None or price.model in wanted)
    ]
    if not prices:
        what = f"{model} has no price" if model else "there are no prices"
        when = "" if every else f" on {on}"
        raise InvalidQuery(f"{what}{when}; `anthropic-usage prices --all` lists all")
    rows = [_price(price, on) for price in prices]
    document = {
        "as_of": table.as_of,
        "date": None if every else on,
        "currency": "USD",
        "web_search_usd": table.web_search_usd,
        "prices": rows,
    }

    def show(out: IO[str]) -> None:
        columns = [
            Column("model", [price.model for price in prices]),
            *(
                Column(
                    heading,
                    [_rate(price, kind) for price in prices],
                    right=True,
                )
                for heading, kind in zip(_SHORT_KINDS, KINDS, strict=True)
            ),
            Column("from", [_day(price.valid_from) for price in prices], rigid=True, gives_way=1),
            Column("to", [_day(price.valid_to) for price in prices], rigid=True, gives_way=2),
            Column("besides", [_besides(price, on) for price in prices], gives_way=0),
        ]
        print_columns(columns, out, "USD for a million tokens")

    answer(output, document, show, rows)
    if output.format == "table":
        note(
            f"list prices as of {table.as_of}; a web search is ${plain(table.web_search_usd)}; "
            "batch is half; --json says how sure each price is"
        )


def _price(price: Price, on: dt.date) -> dict[str, Any]:
    band = price.long_context
    return {
        "model": price.model,
        "names": " ".join(price.match),
        "valid_from": None if price.valid_from == dt.date.min else price.valid_from,
        "valid_to": price.valid_to,
        **{f"{kind}_usd_per_mtok": price.usd_per_mtok.get(kind) for kind in KINDS},
        "batch_multiplier": price.batch_multiplier,
        "us_geo_multiplier": price.us_geo_multiplier,
        "fast_multiplier": price.fast_multiplier(on) if price.fast else None,
        "long_context_from_tokens": band.threshold_input_tokens if band else None,
        "long_context_input_multiplier": band.input_multiplier if band else None,
        "long_context_output_multiplier": band.output_multiplier if band else None,
        "source": price.source,
        "confidence": price.confidence,
    }


def _rate(price: Price, kind: str) -> str:
    """Write a price; one that no source says is none, not nothing."""
    rate = price.usd_per_mtok.get(kind)
    return "-" if rate is None else plain(rate)


def _day(day: dt.date | None) -> str:
    return "-" if day in (None, dt.date.min) else str(day)


def _besides(price: Price, on: dt.date) -> str:
    parts = []
    if price.us_geo_multiplier:
        parts.append(f"US x{price.us_geo_multiplier}")
    if price.fast_multiplier(on) != 1:
        across = (
            " (any window)"
            if price.fast and price.long_context and price.fast.across_context
            else ""
        )
        parts.append(f"fast x{price.fast_multiplier(on)}{across}")
    if price.long_context:
        threshold = price.long_context.threshold_input_tokens // 1000
        parts.append(f"above {threshold}k x{price.long_context.input_multiplier}")
    return ", ".join(parts)


@click.command(
    "reconcile",
    epilog="""\b
Examples:
  anthropic-usage reconcile --since 2026-10-01 --until 2026-11-01
  anthropic-usage reconcile --month 2026-10 --json
  anthropic-usage reconcile --since last-month --cells --csv > differences.csv
  anthropic-usage reconcile --demo""",
)
@period_options("last-month")
@pricing_option
@click.option("--cells", is_flag=True, help="Every day, workspace, model and kind of charge.")
@ids_option
@answer_options("table", "json", "csv")
@source_options
def reconcile_command(
    connection: Connection,
    output: Output,
    starting_at: dt.datetime,
    ending_at: dt.datetime,
    pricing_json: str | None,
    cells: bool,
    ids: bool,
) -> None:
    """Compare usage at list prices with the bill, and name what differs."""
    table = price_table(pricing_json)
    with connection.source() as source:
        result = reconcile(source, starting_at, ending_at, prices=table)
        shown = sorted(
            (cell for cell in result.cells if cells or cell.unexplained),
            key=lambda cell: negative(absolute(cell.unexplained)),
        )
        named = shown or any(part.scope.values for item in result.residuals for part in item.parts)
        directory = names_of(source, ids or not named, "workspaces")
    words = _words(directory, ids)
    rows = [_cell(cell, directory, ids) for cell in shown]
    residuals = [_residual(item) for item in result.residuals]
    document = {
        "starting_at": result.starting_at,
        "ending_at": result.ending_at,
        "list_cost_usd": result.list_cost,
        "residuals": [
            {**row, "parts": [_part(part, words) for part in item.parts]}
            for row, item in zip(residuals, result.residuals, strict=True)
        ],
        "billed_usd": result.billed,
        "unexplained_usd": result.unexplained,
        "not_compared": [_residual(item) for item in result.not_compared],
        "notes": list(result.notes),
        "cells": rows,
    }

    def show(out: IO[str]) -> None:
        _print_reconciliation(result, words, out)
        if shown:
            out.write("\n")
            _print_cells(shown, directory, ids, out)

    cell_columns = ("day", "workspace_id", "model", "kind", "billed_usd", "unexplained_usd")
    answer(output, document, show, rows if cells else residuals, cell_columns)
    if output.format != "json":
        for sentence in result.notes:
            note(sentence)


def _words(directory: Directory, ids: bool) -> Callable[[str, str | None], str]:
    """Return what turns a dimension and its value into words: a workspace has a name."""

    def word(name: str, value: str | None) -> str:
        if name == "workspace_id" and not ids:
            return f"workspace {directory.workspace(value)}"
        return plain_word(name, value)

    return word


def _residual(item: Residual) -> dict[str, Any]:
    return {"name": item.name, "amount_usd": item.amount, "note": item.note}


def _part(part: Part, words: Callable[[str, str | None], str]) -> dict[str, Any]:
    scope = part.scope
    return {
        "amount_usd": part.amount,
        "says": part.text(words),
        "ratio": part.ratio,
        "why": part.why or None,
        "first_day": scope.first,
        "last_day": scope.last,
        **{name: sorted(values, key=str) for name, values in scope.values.items()},
    }


def _cell(cell: Cell, directory: Directory, ids: bool) -> dict[str, Any]:
    return {
        "day": cell.day,
        "workspace_id": cell.workspace_id,
        **({} if ids else {"workspace": directory.workspace(cell.workspace_id)}),
        "model": cell.model,
        "kind": cell.kind,
        "billed_usd": cell.billed,
        "list_low_usd": cell.low,
        "list_high_usd": cell.high,
        "unpriced": cell.unpriced,
        "solved": cell.solved,
        "unexplained_usd": cell.unexplained,
    }


def _print_reconciliation(
    result: Reconciliation, words: Callable[[str, str | None], str], out: IO[str]
) -> None:
    lines = [("usage at list prices", result.list_cost, "all tiers, web searches included")]
    for item in result.residuals:
        said = [part.text(words) for part in item.parts[:_NAMED]]
        if item.name != "discount" or len(item.parts) > 1:
            sums = [_cents(part.amount) for part in item.parts]
            said = [f"{amount} {text}" for amount, text in zip(sums, said, strict=False)]
        if (more := len(item.parts) - len(said)) > 0:
            said.append(f"and {more:,} more")
        lines.append((item.name, item.amount, "; ".join(said) or item.note))
    columns = [
        Column("", [name for name, _, _ in lines], "billed"),
        Column("amount", [_cents(amount) for _, amount, _ in lines], _cents(result.billed), True),
        Column("", [text for _, _, text in lines], prose=True),
    ]
    print_columns(columns, out, _span(result))
    for item in result.not_compared:
        note(f"{item.name}: {dollars(item.amount)} {item.note}")


def _span(result: Chargeback | Reconciliation) -> str:
    last = result.ending_at - dt.timedelta(microseconds=1)
    return f"{result.starting_at:%Y-%m-%d} to {last:%Y-%m-%d}"


def _cents(amount: Decimal) -> str:
    """Write dollars to the cent; what rounds to nothing is nothing."""
    rounded = quantize(amount, 2)
    return dollars(rounded if rounded else Decimal(0)) if amount else "$0.00"


def _print_cells(shown: list[Cell], directory: Directory, ids: bool, out: IO[str]) -> None:
    most = shown[:40]
    columns = [
        Column("day", [str(cell.day) for cell in most]),
        Column(
            "workspace",
            [
                (cell.workspace_id or "-") if ids else directory.workspace(cell.workspace_id)
                for cell in most
            ],
        ),
        Column("model", [cell.model or "-" for cell in most]),
        Column("kind", [cell.kind for cell in most]),
        Column("billed", [dollars(cell.billed) for cell in most], right=True),
        Column("by the list", [_interval(cell.low, cell.high) for cell in most], right=True),
        Column("unexplained", [_cents(cell.unexplained) for cell in most], right=True),
    ]
    print_columns(columns, out)
    if len(shown) > len(most):
        note(f"{len(shown) - len(most):,} more; --csv or --json has all of them")


def _interval(low: Decimal, high: Decimal) -> str:
    return dollars(low) if low == high else f"{dollars(low)} to {dollars(high)}"


@click.command(
    "chargeback",
    epilog="""\b
Examples:
  anthropic-usage chargeback --month 2026-02
  anthropic-usage chargeback --by api_key --since mtd --csv > chargeback.csv
  anthropic-usage chargeback --by api_key --month 2026-02 --map teams.yml
  anthropic-usage chargeback --by model --demo

A map says who pays, by id or name; * and ? stand for anything:
  teams.yml    "support-*": {team: Support, cost_center: 4711}
  teams.csv    pattern,team,cost_center
  tags:team    the workspaces' own tags
ANTHROPIC_AGENT_MAP_JSON='{"apikey_01...": "opus-main"}' is a map too, used by --by api_key.""",
)
@click.option(
    "--by",
    type=click.Choice(BY),
    default="workspace",
    show_default=True,
    help="What to split the bill by.",
)
@period_options("last-month")
@click.option(
    "--map",
    "map_file",
    metavar="FILE|tags:TAG",
    help="YAML, JSON or CSV: patterns of ids or names, and the teams that pay; or a tag of the "
    "workspaces that says who pays: tags:team, tags:team,cost_center.",
)
@pricing_option
@ids_option
@answer_options("table", "json", "csv")
@source_options
def chargeback_command(
    connection: Connection,
    output: Output,
    by: str,
    starting_at: dt.datetime,
    ending_at: dt.datetime,
    map_file: str | None,
    pricing_json: str | None,
    ids: bool,
) -> None:
    """Split the bill so that the parts add up to it, to the cent."""
    table = price_table(pricing_json)
    tags = map_file.removeprefix(_TAGS) if map_file and map_file.startswith(_TAGS) else None
    owners = read_owners(None if tags is not None else map_file, by)
    kinds = {"workspace": ["workspaces"], "api_key": ["api_keys"], "model": []}[by]
    with connection.source() as source:
        tagged = OwnerMap() if tags is None else owners_of_tags(source, tags, by)
        owners = tagged.plus(owners)
        directory = names_of(source, ids, *kinds)
        result = chargeback(
            source,
            starting_at,
            ending_at,
            by=by,
            owners=owners,
            directory=directory,
            prices=table,
        )
    rows = [
        {
            "name": line.name,
            "id": line.id,
            "team": line.owner.team if line.owner else None,
            "cost_center": line.owner.cost_center if line.owner else None,
            "amount_usd": f"{line.amount_usd:.2f}",
            "exact_usd": line.exact_usd,
            "kind": "direct" if line.direct else "allocated",
            "rule": line.rule,
        }
        for line in result.lines
    ]
    whole = {
        "by": result.by,
        "starting_at": result.starting_at,
        "ending_at": result.ending_at,
        "currency": result.currency,
        "billed_usd": f"{result.billed_usd:.2f}",
    }
    document = {
        **whole,
        "exact_usd": result.exact_usd,
        "settled": result.settled,
        "rules": list(result.rules),
        "notes": list(result.notes),
        "lines": [
            {**row, "rounded_for_the_sum": line.adjusted, "behind": _behind(line)}
            for row, line in zip(rows, result.lines, strict=True)
        ],
    }
    names = ("name", "id", "team", "cost_center", "amount_usd", "exact_usd", "kind", "rule")
    answer(
        output,
        document,
        lambda out: _print_chargeback(result, bool(owners), out),
        [{**row, **whole} for row in rows],
        (*names, *whole),
    )
    # A tagged workspace that was not used is no mistake, as a pattern may be.
    unused = [pattern for pattern in result.unused if pattern not in tagged.entries]
    _note_chargeback(result, unused)
    if result.undivided:
        # The bill is right, but it is not what was asked for.
        click.get_current_context().exit(1)


def _behind(line: Line) -> list[dict[str, Any]]:
    return [{"id": part.id, "name": part.name, "exact_usd": part.exact_usd} for part in line.behind]


def _note_chargeback(result: Chargeback, unused: Iterable[str]) -> None:
    """Say what the parts do not say by themselves."""
    if result.unmapped is not None:
        most = result.unmapped.behind[:_NAMED]
        named = ", ".join(f"{part.name} {dollars(quantize(part.exact_usd, 2))}" for part in most)
        more = len(result.unmapped.behind) - len(most)
        note(f"unmapped: {named}{f', and {more} more' if more else ''}")
    for pattern in unused:
        note(f"the map's {pattern!r} matches nothing in this bill")
    if beside := sum(line.adjusted for line in result.lines):
        parts = "1 amount is" if beside == 1 else f"{beside} amounts are"
        note(f"{parts} a cent beside its own rounding, so that the parts add up to the bill")
    for sentence in (*result.notes, *result.unsettled):
        note(sentence)
    if not result.settled:
        note("the range has days without a bill yet: the parts can still grow")


def _print_chargeback(result: Chargeback, owned: bool, out: IO[str]) -> None:
    lines = result.lines
    whole = result.exact_usd
    how, rules = footnotes([_kind(line.direct) for line in lines], [line.rule for line in lines])
    columns = [Column("team" if owned else result.by, [line.name for line in lines], "the bill")]
    if owned and any(line.owner and line.owner.cost_center for line in lines):
        centers = [(line.owner.cost_center if line.owner else None) or "-" for line in lines]
        columns.append(Column("cost center", centers))
    columns += [
        Column(
            "amount",
            [dollars(line.amount_usd) for line in lines],
            dollars(result.billed_usd),
            right=True,
        ),
        Column(
            "share",
            [_share(line.exact_usd, whole) for line in lines],
            right=True,
        ),
        Column("how", how, rigid=True, gives_way=0),
    ]
    print_columns(columns, out, f"{_span(result)}, {several(len(lines), 'part')}", below=rules)


def _share(part: Decimal, whole: Decimal) -> str:
    """Write a part's share of the whole in percent, where that says anything."""
    return f"{quantize(divide(times(part, 100), whole), 1):.1f}%" if whole > 0 else "-"


def _kind(direct: bool) -> str:
    return "direct" if direct else "allocated"


def read_owners(map_file: str | None, by: str) -> OwnerMap:
    """Return the map of a file; where the lines are keys, with that of the environment behind it.

    ANTHROPIC_AGENT_MAP_JSON says who uses API keys: it decides nothing where the lines are others.
    """
    agents = OwnerMap.from_environment() if by == "api_key" else OwnerMap()
    if map_file is None:
        return agents
    if map_file.startswith(_TAGS):
        raise InvalidQuery(
            "--map: tags are those of workspaces, and Claude Code's records name none: give a file"
        )
    form = {".csv": "csv", ".tsv": "csv", ".json": "json"}.get(
        Path(map_file).suffix.lower(), "yaml"
    )
    text = read_text(map_file, "--map")
    try:
        return OwnerMap.parse(text, form).plus(agents)
    except InvalidQuery as error:
        raise InvalidQuery(f"--map: {map_file}: {error}") from None
