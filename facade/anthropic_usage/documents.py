"""What people hand over in writing: maps, budgets, prices; read in one way, as it is written.

A text is UTF-8, with or without a mark. YAML and JSON become dicts, lists and texts: a number, a
date, a `NO` or a `0123` is what was written. A key that occurs twice is refused, and a refusal says
what was found and in which line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs

from .errors import InvalidQuery
from .money import check_amount

__all__ = [
    "Entries",
    "Row",
    "from_csv",
    "from_json",
    "from_yaml",
    "number",
    "read_text",
    "shown",
    "text_of",
    "whole_number",
]

MOST_BYTES: Final = 4 * 2**20
"""A longer text is no map, no budget and no list of prices."""
DEEPEST: Final = 20
"""How deep lists and objects may lie in each other."""

_NULLS: Final = ("~", "null", "Null", "NULL")
_MARKS: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
_NUMBER: Final = re.compile(
    r"[+-]?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:[eE][+-]?[0-9]{1,3})?"
)
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|[\[\]{}]', re.DOTALL)


class Entries(dict[str, Any]):
    """An object of a document, which knows the line of each of its keys."""

    def __init__(self, values: Mapping[str, Any], lines: Mapping[str, int]) -> None:
        super().__init__(values)
        self.lines = dict(lines)


@attrs.frozen
class Row:
    """A line of a CSV: the wanted columns, without blanks around; one that is not there is ""."""

    line: int
    cells: Mapping[str, str]


def read_text(path: str, what: str) -> str:
    """Return a file's text; raises InvalidQuery in one line that begins with `what`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no name of a file"
        raise InvalidQuery(f"{what}: cannot read {path}: {reason}") from None
    return text_of(data, f"{what}: {path}")


def text_of(data: bytes | str, what: str) -> str:
    """Return a text with plain line ends and without a mark; raises InvalidQuery."""
    if isinstance(data, str):  # of the environment, where undecodable bytes are half characters
        try:
            data = data.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidQuery(f"{what} holds half characters, which no encoding has") from None
    if len(data) > MOST_BYTES:
        raise InvalidQuery(f"{what} is longer than {MOST_BYTES >> 20} MB")
    if data.startswith(_MARKS) or b"\0" in data:
        raise InvalidQuery(f"{what} is no UTF-8 but, it seems, UTF-16: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidQuery(
            f"{what} is no UTF-8 (byte {data[error.start]:#04x} in line {line}): save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def from_yaml(text: str) -> Any:
    """Return what a YAML document says; its scalars are texts as written, a null is None.

    Aliases stand for what they name; merge keys (`<<`), tags and a second document are refused.
    Raises InvalidQuery.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text_of(text, "the text"), Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise InvalidQuery(f"it is no YAML: {where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InvalidQuery(f"it is no YAML: {' '.join(str(error).split())[:200]}") from None
    return builder.document


class _Builder:
    """Makes a document of YAML's events, without recursion."""

    def __init__(self) -> None:
        self.document: Any = None
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, Any] = {}

    def take(self, event: Any) -> None:
        import yaml

        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise InvalidQuery(f"line {line}: a second document begins; give one")
        elif isinstance(event, yaml.ScalarEvent):
            _refuse_tag(event, line)
            null = event.style in (None, "") and (event.value in _NULLS or not event.value)
            self._add(event.value, line, event.anchor, null=null)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise InvalidQuery(f"line {line}: *{event.anchor} names nothing before it")
            self._add(self._anchors[event.anchor], line, None)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _refuse_tag(event, line)
            if len(self._open) == DEEPEST:
                raise InvalidQuery(f"line {line}: more than {DEEPEST} levels deep")
            is_object = isinstance(event, yaml.MappingStartEvent)
            self._open.append(_Open(is_object, line, event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self._open.pop()
            self._add(done.value(), done.line, done.anchor)

    def _add(self, value: Any, line: int, anchor: str | None, null: bool = False) -> None:
        if self._open and self._open[-1].wants_key:
            self._open[-1].begin(value, line)
        elif self._open:
            self._open[-1].add(None if null else value)
        else:
            self.document = None if null else value
        if anchor is not None:
            self._anchors[anchor] = None if null else value


class _Open:
    """A list or an object whose end has not come yet."""

    def __init__(self, is_object: bool, line: int, anchor: str | None) -> None:
        self.line = line
        self.anchor = anchor
        self._items: list[Any] = []
        self._values: dict[str, Any] = {}
        self._lines: dict[str, int] = {}
        self._is_object = is_object
        self._key: str | None = None

    @property
    def wants_key(self) -> bool:
        return self._is_object and self._key is None

    def begin(self, key: Any, line: int) -> None:
        """Take an entry's key."""
        if not isinstance(key, str):
            raise InvalidQuery(f"line {line}: a key must be a text")
        if key == "<<":
            raise InvalidQuery(f"line {line}: merge keys (<<) are not read: write the entry out")
        if key in self._lines:
            raise InvalidQuery(_twice(key, self._lines[key], line))
        self._key = key
        self._lines[key] = line

    def add(self, value: Any) -> None:
        """Take an item, or the value of the key before it."""
        if self._is_object and self._key is not None:
            self._values[self._key] = value
            self._key = None
        else:
            self._items.append(value)

    def value(self) -> Any:
        return Entries(self._values, self._lines) if self._is_object else self._items


def _refuse_tag(event: Any, line: int) -> None:
    if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
        raise InvalidQuery(f"line {line}: tags such as {event.tag[:40]} are not read")


def _twice(key: str, first: int, second: int) -> str:
    return f"line {second}: {shown(key)} is there twice, first in line {first}"


def from_json(text: str) -> Any:
    """Return what a JSON document says; numbers are texts as written. Raises InvalidQuery."""
    text = text_of(text, "the text")
    as_written: dict[str, Any] = {
        "parse_float": str,
        "parse_int": str,
        "parse_constant": _refuse_constant,
    }
    try:
        json.loads(text, **as_written)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidQuery(f"it is no JSON: {place}: {error.msg}") from None
    except RecursionError:
        raise InvalidQuery(f"it is more than {DEEPEST} levels deep") from None
    # Now that it is known to be JSON, once more for the lines.
    lines = iter(_key_lines(text))
    return json.loads(
        text, object_pairs_hook=lambda pairs: _entries(pairs, next(lines)), **as_written
    )


def _key_lines(text: str) -> list[list[tuple[str, int]]]:
    """Return the keys of each object and their lines, in the order in which objects end."""
    done: list[list[tuple[str, int]]] = []
    around: list[list[tuple[str, int]]] = []
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        if token[0] in "{[":
            around.append([])
            if len(around) > DEEPEST:
                raise InvalidQuery(f"line {line}: more than {DEEPEST} levels deep")
        elif token[0] in "}]":
            keys = around.pop()
            if token[0] == "}":
                done.append(keys)
        elif token["key"]:
            around[-1].append((token[0], line))
    return done


def _entries(pairs: Sequence[tuple[str, Any]], keys: Sequence[tuple[str, int]]) -> Entries:
    lines: dict[str, int] = {}
    for (key, _), (_, line) in zip(pairs, keys, strict=True):
        if key in lines:
            raise InvalidQuery(_twice(key, lines[key], line))
        lines[key] = line
    return Entries(dict(pairs), lines)


def _refuse_constant(constant: str) -> Any:
    raise InvalidQuery(f"{constant} is no number")


def from_csv(
    text: str, wanted: Sequence[str], optional: Sequence[str] = (), also: Mapping[str, str] = {}
) -> list[Row]:
    """Return the lines of a table whose first line names its columns.

    Cells are parted by commas, semicolons or tabs: as the headings are. Headings may have any case,
    blanks and underscores; columns that are neither `wanted` nor `optional` are passed over, `also`
    are other spellings. Raises InvalidQuery for a table without the wanted columns, and for a line
    with fewer or more cells than there are headings.
    """
    text = text_of(text, "the text")
    head, _, rest = text.partition("\n")
    skipped = 0
    if re.fullmatch(r"sep=.", head.strip()):  # a line that Excel writes for itself
        text, skipped = rest, 1
    delimiter, headings = _headings(text, wanted)
    names = {_plain(name): name for name in (*wanted, *optional)}
    names |= {_plain(spelling): name for spelling, name in also.items()}
    columns = [names.get(_plain(heading)) for heading in headings]
    known = [name for name in columns if name]
    if doubled := next((name for name in known if known.count(name) > 1), None):
        raise InvalidQuery(f"line {skipped + 1}: the column {doubled} is there twice")
    rows = []
    for line, cells in _lines(text, delimiter, skipped):
        if len(cells) < len(headings) or any(cells[len(headings) :]):
            raise InvalidQuery(
                f"line {line}: {len(cells)} cells under {len(headings)} headings; "
                f"cells are parted by {_DELIMITERS[delimiter]} here"
            )
        named = dict.fromkeys((*wanted, *optional), "")
        named |= {name: cell for name, cell in zip(columns, cells, strict=False) if name}
        rows.append(Row(line, named))
    return rows


def _headings(text: str, wanted: Sequence[str]) -> tuple[str, list[str]]:
    """Return what parts the cells, and the headings; raises InvalidQuery."""
    best: tuple[str, list[str]] = ",", []
    for delimiter in _DELIMITERS:
        headings = _first(text, delimiter)
        if {_plain(name) for name in wanted} <= {_plain(heading) for heading in headings}:
            return delimiter, headings
        if len(headings) > len(best[1]):
            best = delimiter, headings
    found = ", ".join(shown(heading) for heading in best[1][:10]) or "nothing"
    raise InvalidQuery(
        f"the first line must name the columns {' and '.join(wanted)}, parted by commas, "
        f"semicolons or tabs; found: {found}"
    )


def _first(text: str, delimiter: str) -> list[str]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        return next(([cell.strip() for cell in cells] for cells in reader if any(cells)), [])
    except csv.Error:
        return []


def _lines(text: str, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines behind the headings that are not empty."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    line, headed = skipped + 1, False
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if any(cells):
                if headed:
                    yield line, cells
                headed = True
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise InvalidQuery(f"it is no CSV: line {line}: {error}") from None


def _plain(heading: str) -> str:
    return re.sub(r"[\W_]+", "", heading).casefold()


def number(where: str, value: Any) -> Decimal:
    """Return a number as it was written; commas may only group thousands. Raises InvalidQuery."""
    text = str(value)
    if not _NUMBER.fullmatch(text):
        hint = "; write 40.50, or 1,234.50" if "," in text else ""
        raise InvalidQuery(f"{where} is {shown(value)}, which is no number{hint}")
    try:
        return check_amount(Decimal(text.replace(",", "")))
    except ValueError:
        raise InvalidQuery(f"{where} is {shown(value)}, which is no amount") from None


def whole_number(where: str, value: Any, least: int | None = None) -> int:
    """Return a whole number, as `number` reads it; raises InvalidQuery."""
    amount = number(where, value)
    if least is not None and amount < least:
        raise InvalidQuery(f"{where} must be at least {least}")
    if amount != amount.to_integral_value():
        raise InvalidQuery(f"{where} is {shown(value)}, which is no whole number")
    return int(amount)


def shown(value: Any) -> str:
    """Return what was written, short enough for a sentence."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}...{text[0]}"
