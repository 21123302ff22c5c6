"""What runs once a result, millions of times: written out as source and compiled, as attrs does.

Looping over fields would cost more than everything else about a row; a function for each row class
is the bytecode that one would have written by hand. `declarations` says what, this only how.
"""

from __future__ import annotations

import itertools
import linecache
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .declarations import Field, Fields, Row

__all__ = ["answer_of", "compiled", "source_of_adder", "source_of_filler", "source_of_maker"]

_FILES = itertools.count()


def answer_of(row: type[Row], fields: Iterable[Field]) -> Any:
    """Return the struct of the result that has these fields at their paths."""
    return _object(row.__name__, [(field.at.split("."), field) for field in fields])


def _object(name: str, fields: Sequence[tuple[list[str], Field]]) -> Any:
    members: dict[str, list[tuple[list[str], Field]]] = {}
    for (head, *rest), field in fields:
        members.setdefault(head, []).append((rest, field))
    made = [
        (head, _object(f"{name}_{head}", inner)) if inner[0][0] else (head, *inner[0][1].answer())
        for head, inner in members.items()
    ]
    return msgspec.defstruct(name, made, gc=False, kw_only=True)


def source_of_maker(fields: Fields[Any]) -> str:
    """Return the source of what makes rows of results."""
    wired = [*fields.dimensions.values(), *fields.summed.values()]
    bound, path = _paths(wired)
    times = [f"t_{name} = time_{name}(start, end)" for name in fields.time]
    cells = [f"{name}=t_{name}," for name in fields.time]
    cells += [f"{field.name}={field.value(path(field))}," for field in wired]
    return _function(
        "results, start, end",
        "rows = []",
        *times,
        "for r in results:",
        *_indented(*bound, "rows.append(Row(", *_indented(*cells), "))"),
        "return rows",
    )


def source_of_adder(fields: Fields[Any], by: tuple[str, ...], of_rows: bool = False) -> str:
    """Return the source of what adds results to `groups`: `{(begin, *values of by): sums}`.

    If not of results, then of rows.
    """
    parted = [fields.breakdown[name] for name in by if name in fields.breakdown]
    if parted and not of_rows:
        return _source_of_parter(fields, by, parted)
    summed = list(fields.summed.values())
    if of_rows:
        keys = [f"r.{name}" for name in by]
        adding = [
            field.plus(f"sums[{i}]", f"r.{field.name}", True) for i, field in enumerate(summed)
        ]
        body = ["for r in results:", *_indented(*_entry(keys, "zeros"), *adding)]
        return _function("results, start, end, groups, begin", *body)
    bound, path = _paths(summed)
    keys = [fields.dimensions[name].value(f"r.{fields.dimensions[name].at}") for name in by]
    entry = _entry(keys, "zeros")
    adding = [field.plus(f"sums[{i}]", path(field)) for i, field in enumerate(summed)]
    body = ["for r in results:", *_indented(*entry, *bound, *adding)]
    if not by and not fields.nested and all(" += " in line for line in adding):
        # The whole span is one group: columns add up faster than rows.
        values = [field.value(f"r.{field.at}") for field in summed]
        adding = [f"sums[{i}] += sum([{value} for r in results])" for i, value in enumerate(values)]
        body = ["if results:", *_indented(*entry, *adding)]
    return _function("results, start, end, groups, begin", *body)


def _source_of_parter(fields: Fields[Any], by: tuple[str, ...], parted: Sequence[Any]) -> str:
    """Return the source of what adds up results by what is nested in them."""
    (within,) = {field.within for field in parted}
    nest = fields.summed[within]
    place = list(fields.summed).index(within)
    keys = [
        f"part.{name}"
        if name in fields.breakdown
        else fields.dimensions[name].value(f"r.{fields.dimensions[name].at}")
        for name in by
    ]
    adding = [
        *_entry(keys, "unknowns"),
        f"merge_{within}((part,), start, end, sums[{place}], None)",
    ]
    parts = f"for part in {nest.value(f'r.{nest.at}')}:"
    return _function(
        "results, start, end, groups, begin",
        "for r in results:",
        *_indented(parts, *_indented(*adding)),
    )


def _entry(keys: Sequence[str], nothing: str) -> list[str]:
    return [
        f"key = ({', '.join(['begin', *keys])},)",
        "sums = groups.get(key)",
        "if sums is None:",
        f"    sums = groups[key] = {nothing}()",
    ]


def source_of_filler(fields: Fields[Any], names: Iterable[str]) -> str:
    """Return the source of what puts results into lists, a list a column."""
    lines = []
    for name in names:
        if name in fields.time:
            values = f"[us(time_{name}(start, end))] * len(results)"
        else:
            field = fields.all[name]
            values = f"[{field.value(f'r.{field.at}')} for r in results]"
        lines.append(f"lists[{name!r}] += {values}")
    return _function("results, start, end, lists", *lines)


def compiled(source: str, scope: dict[str, Any]) -> Callable[..., Any]:
    """Return the function `made` of the source; tracebacks can show its lines."""
    file = f"<fields, {next(_FILES)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {}
    exec(compile(source, file, "exec"), scope, namespace)  # noqa: S102 (our own source)
    function: Callable[..., Any] = namespace["made"]
    return function


def _paths(fields: Iterable[Field]) -> tuple[list[str], Callable[[Field], str]]:
    """Return lines that bind objects that several fields are in, and what gives a field's path."""
    fields = list(fields)
    count = Counter(f"r.{field.at}".rpartition(".")[0] for field in fields)
    objects = {head: f"o{i}" for i, head in enumerate(count) if head != "r" and count[head] > 1}

    def path(field: Field) -> str:
        head, _, leaf = f"r.{field.at}".rpartition(".")
        return f"{objects.get(head, head)}.{leaf}"

    return [f"{name} = {head}" for head, name in objects.items()], path


def _function(arguments: str, *lines: str) -> str:
    return "\n".join([f"def made({arguments}):", *_indented(*lines), ""])


def _indented(*lines: str) -> list[str]:
    return [f"    {line}" for line in lines]
