"""The one printer of tables: at any width a figure is whole, or its column is left out."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from typing import IO

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ..outside import clean
from .spool import after
from .streams import is_terminal

__all__ = [
    "Column",
    "footnotes",
    "lay_out",
    "left_out_sentence",
    "print_columns",
    "write_line",
]

_NO_LIMIT = 100_000
"""The width where no terminal sets one: nothing is cut or broken in a pipe."""
_LEAST = 40
"""On a narrower terminal than this, the terminal itself breaks lines."""
_NAME, _SHORT_NAME, _SHORTEST_NAME = 24, 12, 7
"""To what a name is cut: at first, before figures have to go, and where nothing else helps."""
_PROSE = 28
_GAP, _TIGHT_GAP = 3, 2
_BLOCKS = frozenset("█▉▊▋▌▍▎▏▁▂▃▄▅▆▇ ")
_CUT = "…"


def _clean(cells: Iterable[object]) -> list[str]:
    return [clean(cell) for cell in cells]


@attrs.frozen
class Column:
    """One column of a table, every cell written out."""

    heading: str = attrs.field(converter=clean)
    cells: Sequence[str] = attrs.field(converter=_clean)
    total: str = attrs.field(default="", converter=clean)
    right: bool = False
    """Whether it holds figures: they are never cut."""
    rigid: bool = attrs.field(default=False, kw_only=True)
    """Whether it is never cut though it holds no figures, as a date."""
    prose: bool = attrs.field(default=False, kw_only=True)
    """Whether it holds sentences, which are broken over lines, or stand below the table."""
    gives_way: int | None = attrs.field(default=None, kw_only=True)
    """The order in which columns are left out before any name is cut; None for the others."""

    @property
    def whole(self) -> bool:
        """Whether no cell may be cut or broken."""
        return self.right or self.rigid

    @property
    def drawn(self) -> bool:
        """Whether it holds bars, which say nothing that figures do not."""
        return not self.right and _BLOCKS.issuperset("".join(self.cells)) and not self.total

    def headings(self, stacked: bool) -> list[str]:
        """Return the heading's lines; stacked, a measure's words stand one above the other."""
        return self.heading.split(" ") if stacked and self.right else [self.heading]

    def width(self, stacked: bool) -> int:
        """Return how wide it is without cutting anything."""
        texts = (*self.headings(stacked), *self.cells, self.total)
        return max(cell_len(text) for text in texts)

    def narrowest(self, name: int) -> int:
        """Return how narrow it may get where names are cut to `name`."""
        width = self.width(stacked=True)
        if self.whole:
            return width
        return min(width, _PROSE if self.prose else max(name, cell_len(self.total)))


def print_columns(
    columns: Sequence[Column], out: IO[str], title: str | None = None, below: Sequence[str] = ()
) -> None:
    """Print an aligned table, with a last line of totals if there are any.

    `below` stands under it, line by line, each once. What had no room is said on stderr.
    """
    if sentence := left_out_sentence(lay_out(columns, out, title, below)):
        after(out, sentence)


def write_line(out: IO[str], text: str, hang: int = 2, style: str = "{}") -> None:
    """Write a line; a terminal too narrow for it gets several, broken at blanks and indented."""
    room = _room(out)
    hang = hang if hang <= room // 2 else 2
    line = ""
    for word in re.findall(r"\s*\S+", clean(text)):
        if line.strip() and cell_len(line + word) > room:
            out.write(f"{style.format(line)}\n")
            line, word = " " * hang, word.lstrip()
        line += word
    out.write(f"{style.format(line)}\n")


def _room(out: IO[str]) -> int:
    if not is_terminal(out):
        return _NO_LIMIT
    return max(_LEAST, Console(file=out, force_terminal=True).width)


def left_out_sentence(headings: Iterable[str]) -> str:
    """Say which columns a terminal was too narrow for; nothing if for none."""
    said = ", ".join(dict.fromkeys(filter(None, headings)))
    return f"no room for {said}: a wider terminal or a pipe shows it all" if said else ""


def footnotes(marks: Sequence[str], texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return short cells and the lines below a table that say, once each, what they stand for.

    A mark that stands for several texts gets a number behind it.
    """
    meanings: dict[str, list[str]] = {}
    for mark, text in zip(marks, texts, strict=True):
        known = meanings.setdefault(mark, [])
        if text not in known:
            known.append(text)

    def numbered(mark: str, text: str) -> str:
        several = len(meanings[mark]) > 1
        return f"{mark} {meanings[mark].index(text) + 1}" if several else mark

    cells = [numbered(mark, text) for mark, text in zip(marks, texts, strict=True)]
    pairs = dict.fromkeys(zip(cells, texts, strict=True))
    return cells, [f"{mark}: {text}" for mark, text in sorted(pairs) if text]


def lay_out(
    columns: Sequence[Column], out: IO[str], title: str | None = None, below: Sequence[str] = ()
) -> tuple[str, ...]:
    """Print a table; returns the headings of the columns that had no room."""
    terminal = is_terminal(out)
    console = Console(file=out, force_terminal=terminal, highlight=False)
    room = _room(out)
    plan = _plan(columns, room)
    bold = "\x1b[1m{}\x1b[0m" if terminal and os.environ.get("TERM") != "dumb" else "{}"

    def line(cells: Iterable[str], style: str = "{}") -> None:
        padded = (
            f"{' ' * (width - cell_len(cell))}{cell}"
            if column.right
            else f"{cell}{' ' * (width - cell_len(cell))}"
            for column, width, cell in zip(plan.columns, plan.widths, cells, strict=True)
        )
        text = (" " * plan.gap).join(padded).rstrip()
        out.write(f"{style.format(text) if text else ''}\n")

    def rule() -> None:
        out.write("─" * (sum(plan.widths) + plan.gap * (len(plan.widths) - 1)) + "\n")

    if title:
        for part in _wrapped(clean(title), room, console):
            out.write(f"{bold.format(part)}\n")
    if plan.columns:
        headings = [
            _heading(column, width, plan.stacked)
            for column, width in zip(plan.columns, plan.widths, strict=True)
        ]
        for cells in _level(headings, above=True):
            line(cells, bold)
        rule()
        for row in zip(*(column.cells for column in plan.columns), strict=True):
            fitted = [
                _wrapped(cell, width, console) if column.prose else [_middle(cell, width)]
                for column, width, cell in zip(plan.columns, plan.widths, row, strict=True)
            ]
            for cells in _level(fitted):
                line(cells)
        if any(column.total for column in plan.columns):
            rule()
            line((column.total for column in plan.columns), bold)
    for text in dict.fromkeys((*plan.below, *map(clean, below))):
        for part in _wrapped(text, room, console):
            out.write(f"{part}\n")
    return tuple(column.heading for column in plan.left_out)


def _heading(column: Column, width: int, stacked: bool) -> list[str]:
    """Return the lines of a heading; one that its column is too narrow for is stacked as well."""
    lines = column.headings(stacked)
    if max(map(cell_len, lines)) > width:
        lines = column.heading.split(" ")
    return [_middle(line, width) for line in lines]


def _level(parts: Sequence[Sequence[str]], above: bool = False) -> Iterable[Sequence[str]]:
    """Yield the lines of cells of several lines each; `above` fills up at the top."""
    tallest = max(map(len, parts))
    filled = (
        [""] * (tallest - len(part) if above else 0)
        + list(part)
        + [""] * (0 if above else tallest - len(part))
        for part in parts
    )
    return zip(*filled, strict=True)


@attrs.frozen(kw_only=True)
class _Plan:
    """Which columns are shown, and how wide."""

    columns: Sequence[Column]
    widths: Sequence[int]
    gap: int
    stacked: bool
    left_out: Sequence[Column] = ()
    below: Sequence[str] = ()


def _plan(columns: Sequence[Column], room: int) -> _Plan:
    """Fit columns into a width.

    First the headings' words go one above the other; then bars and the least telling columns go;
    then names are cut, sentences go below, and at last figures and names go, from the right.
    """
    widths = [column.width(stacked=False) for column in columns]
    if sum(widths) + _GAP * (len(columns) - 1) <= room:
        return _Plan(columns=columns, widths=widths, gap=_GAP, stacked=False)
    shown = list(columns)

    def fits(name: int) -> bool:
        return _needs(shown, name) <= room

    for column in sorted(columns, key=_dispensable):
        if fits(_NO_LIMIT) or _dispensable(column) is _LAST:
            break
        shown.remove(column)
    below: list[str] = []
    name = next((name for name in (_NO_LIMIT, _NAME) if fits(name)), _SHORT_NAME)
    if not fits(name):
        prose = [column for column in shown if column.prose]
        below = _sentences(shown, prose)
        shown = [column for column in shown if not column.prose]
        name = next((name for name in (_NO_LIMIT, _NAME) if fits(name)), _SHORT_NAME)
    for column in _going(shown):
        if not fits(name) and not column.right:
            name = _SHORTEST_NAME  # rather than without it
        if fits(name):
            break
        shown.remove(column)
    if not fits(name):
        name = _SHORTEST_NAME
    return _Plan(
        columns=shown,
        widths=_widths(shown, name, room),
        gap=_TIGHT_GAP,
        stacked=True,
        left_out=[column for column in columns if column not in shown and not column.prose],
        below=below,
    )


_LAST = (2, 0)


def _dispensable(column: Column) -> tuple[int, int]:
    """Return when a column goes before any name is cut: bars at first."""
    if column.drawn:
        return 0, 0
    return _LAST if column.gives_way is None else (1, column.gives_way)


def _going(shown: Sequence[Column]) -> list[Column]:
    """Return the order in which columns go when names are cut already: names from the right, but
    for the first; then figures from the left, for the last tends to be their sum."""
    names = [column for column in shown[1:] if not column.right]
    figures = [column for column in shown[1:] if column.right]
    return [*figures[1:-1][::-1], *names[::-1], *figures[:1], *figures[1:][-1:]]


def _needs(columns: Sequence[Column], name: int) -> int:
    widths = (column.narrowest(name) for column in columns)
    return sum(widths) + _TIGHT_GAP * (len(columns) - 1)


def _widths(columns: Sequence[Column], name: int, room: int) -> list[int]:
    """Return each column's width; what is left of the room goes to what was cut most."""
    widths = [column.narrowest(name) for column in columns]
    spare = room - sum(widths) - _TIGHT_GAP * (len(columns) - 1)
    wanted = [column.width(stacked=True) for column in columns]
    while spare > 0 and widths != wanted:
        place = max(range(len(widths)), key=lambda place: wanted[place] - widths[place])
        widths[place] += 1
        spare -= 1
    return widths


def _sentences(columns: Sequence[Column], prose: Sequence[Column]) -> list[str]:
    """Return sentences as lines below the table, each with what its row is about."""
    about = next((column.cells for column in columns if not column.prose), itertools.repeat(""))
    return [
        f"{name}: {text}" if name else text
        for column in prose
        for name, text in zip(about, column.cells, strict=False)
        if text
    ]


def _middle(text: str, width: int) -> str:
    """Cut a name in its middle: its ends tell it from others."""
    if cell_len(text) <= width:
        return text
    head, tail = "", ""
    for sign in text:
        if cell_len(head + sign) > (width - 1) // 2:
            break
        head += sign
    for sign in reversed(text):
        if cell_len(sign + tail) > width - 1 - cell_len(head):
            break
        tail = sign + tail
    return f"{head}{_CUT}{tail}"


def _wrapped(text: str, width: int, console: Console) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    return [part.plain.rstrip() for part in Text(text).wrap(console, width)]
