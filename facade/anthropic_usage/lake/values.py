"""An Arrow table as rows that JSON, CSV and a terminal can show, whatever its types.

Whole numbers are numbers, decimals are exact, what is not a number is null, and what Python has no
form for (dates beyond the year 9999, nanoseconds, intervals, bytes) is text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..sinks.columns import require

__all__ = ["rows_of"]


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Return the rows; columns have names of their own."""
    columns = [_values(column.combine_chunks()) for column in table.columns]
    names = table.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(array: Any) -> list[Any]:
    pa: Any = require("pyarrow", "lake")
    types, kind = pa.types, array.type
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in _values(chunk)]
    if isinstance(kind, pa.BaseExtensionType):
        return _values(array.storage)
    if types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if types.is_map(kind):
        return _each(array, lambda item: _map(item.values))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _each(array, lambda item: _values(item.values))
    if types.is_struct(kind):
        return _each(array, _struct)
    if types.is_union(kind):
        return [_one(item.value) for item in array]
    if types.is_floating(kind):
        return [None if v is None or not math.isfinite(v) else v for v in array.to_pylist()]
    if types.is_decimal(kind):
        return [_number(v) for v in array.to_pylist()]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return [None if v is None else _escaped(v) for v in array.to_pylist()]
    if types.is_temporal(kind):
        return _moments(array)
    found: list[Any] = array.to_pylist()
    return found


def _each(array: Any, write: Callable[[Any], Any]) -> list[Any]:
    return [write(item) if item.is_valid else None for item in array]


def _one(item: Any) -> Any:
    pa: Any = require("pyarrow", "lake")
    return None if item is None or not item.is_valid else _values(pa.array([item], item.type))[0]


def _struct(item: Any) -> dict[str, Any]:
    return {field.name: _one(item[place]) for place, field in enumerate(item.type)}


def _map(pairs: Any) -> dict[str, Any]:
    keys, values = (_values(pairs.field(place)) for place in (0, 1))
    return {str(key): value for key, value in zip(keys, values, strict=True)}


def _number(value: Decimal | None) -> int | Decimal | None:
    if value is None or value.as_tuple().exponent != 0:
        return value
    return int(value)


def _escaped(data: bytes) -> str:
    """Return bytes as DuckDB writes them."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02X}" for byte in data
    )


def _moments(array: Any) -> list[Any]:
    """Return dates and times as Python has them, as far as it does; else as DuckDB writes them."""
    pa: Any = require("pyarrow", "lake")
    kind = array.type
    known = pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.unit != "ns")
    if known:
        try:
            found: list[Any] = array.to_pylist()
        except (OverflowError, ValueError):
            found = []
        if len(found) == len(array):
            return found
    duckdb: Any = require("duckdb", "lake")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("told", pa.table({"value": array}))
        texts = connection.sql("select cast(value as varchar) from told").fetchall()
    if not known:
        return [text for (text,) in texts]
    return [_moment(item, text) for item, (text,) in zip(array, texts, strict=True)]


def _moment(item: Any, text: str | None) -> Any:
    try:
        return item.as_py()
    except (OverflowError, ValueError):
        return text
