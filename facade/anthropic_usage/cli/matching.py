"""A filter that matches nothing: which values there are, and which of them was meant."""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import AnthropicUsageError, AuthenticationError, InvalidQuery, NothingMatchedWarning
from ..reports import Query

if TYPE_CHECKING:
    from ..client import UsageClient

__all__ = ["check_ids", "quiet", "unmatched"]

_LOOKUPS = {
    "workspace_id": ("wrkspc_", "workspaces"),
    "api_key_id": ("apikey_", "api_keys"),
    "account_id": ("user_", "users"),
    "service_account_id": ("svac_", "service_accounts"),
}
"""Dimension -> how its ids begin, and what lists them with their names."""
_MOST = 8
_UNITS = (("1d", dt.timedelta(days=1)), ("1h", dt.timedelta(hours=1)))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to oneself that nothing matched: `unmatched` says more of it than a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingMatchedWarning)
        yield


def check_ids(client: UsageClient, query: Query) -> None:
    """Refuse a name where an id is wanted; raises InvalidQuery with the id of that name."""
    for dimension, values in query.named.items():
        prefix, lookup = _LOOKUPS.get(dimension, ("", ""))
        names = [value for value in values if not value.startswith(prefix)]
        if not names or not lookup:
            continue
        try:
            known = getattr(client, lookup)()
        except AuthenticationError:
            raise
        except AnthropicUsageError:
            continue  # who may not look names up is told by the empty answer
        for name in names:
            ids = [item.id for item in known if str(item.name).casefold() == name.casefold()]
            if ids and not any(item.id == name for item in known):
                option = f"--{dimension.replace('_', '-')}s"
                raise InvalidQuery(
                    f"{option} takes ids, and {name!r} is a name: it is {' and '.join(ids)}"
                )


def unmatched(client: UsageClient, query: Query) -> str:
    """Return which values occur in the range of a filtered query that came to nothing.

    One more report is read, in buckets as long as the range allows; nothing for no such query.
    """
    if not query.named:
        return ""
    dimensions = tuple(query.named)[: query.kind.most_dimensions]
    try:
        groups = client.report(_unfiltered(query, dimensions)).by(*dimensions)
    except AuthenticationError:
        raise
    except AnthropicUsageError as error:
        return f"which values occur in this range could not be read: {error}"
    if not groups:
        return "nothing else was used in this range either"
    said = []
    for dimension in dimensions:
        occur = dict.fromkeys(getattr(row, dimension) for row in groups)
        present = [value for value in occur if value is not None]
        for value in query.named[dimension]:
            if value not in present:
                what = dimension.removesuffix("_id").replace("_", " ")
                said.append(f"no {what} {value!r}; in this range {_were(present, value)}")
    return "; ".join(said) or "each of these was used in this range, but never all together"


def _unfiltered(query: Query, dimensions: Sequence[str]) -> Query:
    span = (query.starting_at, query.ending_at)
    width = next(
        (
            name
            for name, unit in _UNITS
            if not any((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) % unit for moment in span)
        ),
        query.bucket_width,
    )
    kept: dict[str, Any] = {
        name: values
        for name, values in query.filters.items()
        if name.removesuffix("s") not in query.named
    }
    return query.kind.ask(
        *span,
        bucket_width=width,
        group_by=dimensions,
        strict=query.strict,
        anthropic_version=query.anthropic_version,
        **kept,
    )


def _were(present: Sequence[str], value: str) -> str:
    """Say which values occur, those that are near at first."""
    if not present:
        return "there was none with an id"
    near = _near(present, value)
    shown = [*near, *(other for other in present if other not in near)][:_MOST]
    more = len(present) - len(shown)
    were = f"were {', '.join(shown)}" if len(present) > 1 else f"was {shown[0]}"
    return f"{were}{f' and {more} more' if more else ''}"


def _near(present: Iterable[str], value: str) -> list[str]:
    asked = value.casefold()
    parts = [name for name in present if asked in name.casefold() or name.casefold() in asked]
    return [*parts, *difflib.get_close_matches(value, [n for n in present if n not in parts], n=3)]
