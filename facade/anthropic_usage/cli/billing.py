"""`prices`, `reconcile` and `chargeback`: what finance asks."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click

from ..analysis.chargeback import BY, Chargeback, chargeback
from ..analysis.owners import OwnerMap
from ..analysis.prices import KINDS, Price
from ..analysis.reconcile import Cell, Reconciliation, reconcile
from ..directory import Directory
from ..errors import InvalidQuery
from ..human import count, dollars
from ..moments import parse_moment, rfc3339, utc_now
from ..money import plain
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
from .options import source_options
from .session import Connection, note

__all__ = ["chargeback_command", "prices_command", "read_owners", "reconcile_command"]

_SHORT_KINDS = ("input", "5m write", "1h write", "cache read", "output")
_CENT = Decimal("0.01")


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
            Column("from", [_day(price.valid_from) for price in prices]),
            Column("to", [_day(price.valid_to) for price in prices]),
            Column("besides", [_besides(price, on) for price in prices]),
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
            key=lambda cell: -abs(cell.unexplained),
        )
        directory = names_of(source, ids or not shown, "workspaces")
    rows = [_cell(cell, directory, ids) for cell in shown]
    residuals = [
        {"name": item.name, "amount_usd": item.amount, "note": item.note}
        for item in result.residuals
    ]
    document = {
        "starting_at": result.starting_at,
        "ending_at": result.ending_at,
        "list_cost_usd": result.list_cost,
        "residuals": residuals,
        "billed_usd": result.billed,
        "unexplained_usd": result.unexplained,
        "not_compared": [
            {"name": item.name, "amount_usd": item.amount, "note": item.note}
            for item in result.not_compared
        ],
        "cells": rows,
    }

    def show(out: IO[str]) -> None:
        _print_reconciliation(result, out)
        if shown:
            out.write("\n")
            _print_cells(shown, directory, ids, out)

    cell_columns = ("day", "workspace_id", "model", "kind", "billed_usd", "unexplained_usd")
    answer(output, document, show, rows if cells else residuals, cell_columns)


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
        "unexplained_usd": cell.unexplained,
    }


def _print_reconciliation(result: Reconciliation, out: IO[str]) -> None:
    lines = [("usage at list prices", result.list_cost, "all tiers, web searches included")]
    lines += [(item.name, item.amount, item.note) for item in result.residuals]
    columns = [
        Column("", [name for name, _, _ in lines], "billed"),
        Column("amount", [_cents(amount) for _, amount, _ in lines], _cents(result.billed), True),
        Column("", [text for _, _, text in lines]),
    ]
    print_columns(columns, out, _span(result))
    for item in result.not_compared:
        note(f"{item.name}: {dollars(item.amount)} {item.note}")


def _span(result: Chargeback | Reconciliation) -> str:
    return f"{rfc3339(result.starting_at)[:10]} up to {rfc3339(result.ending_at)[:10]}"


def _cents(amount: Decimal) -> str:
    """Write dollars to the cent; what rounds to nothing is nothing."""
    rounded = amount.quantize(_CENT)
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
    type=click.Path(dir_okay=False),
    help="YAML, JSON or CSV: patterns of ids or names, and the teams that pay.",
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
    owners = read_owners(map_file, by)
    kinds = {"workspace": ["workspaces"], "api_key": ["api_keys"], "model": []}[by]
    with connection.source() as source:
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
    document = {
        "by": result.by,
        "starting_at": result.starting_at,
        "ending_at": result.ending_at,
        "billed_usd": f"{result.billed_usd:.2f}",
        "exact_usd": result.exact_usd,
        "settled": result.settled,
        "lines": rows,
    }
    answer(
        output,
        document,
        lambda out: _print_chargeback(result, bool(owners), out),
        rows,
        ("name", "id", "team", "cost_center", "amount_usd", "exact_usd", "kind", "rule"),
    )
    for pattern in result.unused:
        note(f"the map's {pattern!r} matches nothing in this bill")
    if not result.settled:
        note("the range has days without a bill yet: the parts can still grow")


def _print_chargeback(result: Chargeback, owned: bool, out: IO[str]) -> None:
    lines = result.lines
    whole = result.exact_usd
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
            [f"{100 * line.exact_usd / whole:.1f}%" if whole else "-" for line in lines],
            right=True,
        ),
        Column("how", [f"{_kind(line.direct)}: {line.rule}" for line in lines]),
    ]
    print_columns(columns, out, f"{_span(result)}, {count(len(lines))} parts")


def _kind(direct: bool) -> str:
    return "direct" if direct else "allocated"


def read_owners(map_file: str | None, by: str) -> OwnerMap:
    """Return the map of a file; where the lines are keys, with that of the environment behind it.

    ANTHROPIC_AGENT_MAP_JSON says who uses API keys: it decides nothing where the lines are others.
    """
    agents = OwnerMap.from_environment() if by == "api_key" else OwnerMap()
    if map_file is None:
        return agents
    form = {".csv": "csv", ".tsv": "csv", ".json": "json"}.get(
        Path(map_file).suffix.lower(), "yaml"
    )
    text = read_text(map_file, "--map")
    try:
        return OwnerMap.parse(text, form).plus(agents)
    except InvalidQuery as error:
        raise InvalidQuery(f"--map: {map_file}: {error}") from None
