"""Values as JSON and CSV write them: exact, and the same everywhere."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from ..fields import Row, fields_of
from ..moments import rfc3339
from ..money import plain
from ..outside import replaced

__all__ = ["dumps", "plain_row", "plain_value"]

# What JSON may hold as it is, and a terminal or an editor would act on.
_ACTED_ON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff]")


def dumps(value: Any, indent: int | None = None) -> str:
    """Write a JSON value: letters as they are, nothing that drives a terminal.

    Raises ValueError for what JSON has no form for.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(replaced(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return _ACTED_ON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain_value(value: Any) -> Any:
    """Return a JSON value: money and moments as strings, the rest as it is."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Row):
        return plain_row(value, fields_of(type(value)).facts())
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain_value(item) for name, item in value.items()}
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return {field.name: plain_value(getattr(value, field.name)) for field in fields}
    return value


def plain_row(row: Row, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return the row's `columns` as JSON values."""
    return {name: plain_value(getattr(row, name)) for name in columns}
