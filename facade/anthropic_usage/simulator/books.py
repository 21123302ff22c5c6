"""What can be seen of the events at a moment: all that is old, and of the rest what has arrived."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import add

from .calendar import MINUTES_PER_DAY, MINUTES_PER_HOUR
from .events import LONGEST_DELAY, Cell, Events, Measures, delay
from .streams import DIMENSIONS, Dims

Wanted = Mapping[int, Collection[str | None]]
"""Values that each filtered dimension, by its position, may have."""

POSITIONS = {name: position for position, name in enumerate(DIMENSIONS)}


class Books:
    """The events as the organisation's reports show them now."""

    def __init__(self, events: Events, clock: Callable[[], int]) -> None:
        self.events = events
        self.clock = clock

    def settled(self, end_minute: int, now: int) -> bool:
        """Say whether nothing that happened before `end_minute` is still on its way."""
        return end_minute * 60 + LONGEST_DELAY <= now

    def cells(self, start: int, width: int, now: int) -> list[Cell]:
        """Return what is visible of the bucket of `width` minutes that begins at minute `start`."""
        if start * 60 >= now:
            return []
        if self.settled(start + width, now):
            if width == MINUTES_PER_DAY:
                return self.events.day(start // MINUTES_PER_DAY)
            if width == MINUTES_PER_HOUR:
                return self.events.hour(start // MINUTES_PER_HOUR)
            return self.events.minute(start)
        if width == 1:
            age = now - (start + 1) * 60
            return [cell for cell in self.events.minute(start) if delay(cell[0], start) <= age]
        narrower = MINUTES_PER_HOUR if width == MINUTES_PER_DAY else 1
        return [
            cell
            for part in range(start, start + width, narrower)
            for cell in self.cells(part, narrower, now)
        ]

    def between(self, start: int, end: int, now: int) -> Iterator[Cell]:
        """Yield what is visible of any span of minutes, in the widest buckets that fit."""
        while start < end:
            width = next(
                width
                for width in (MINUTES_PER_DAY, MINUTES_PER_HOUR, 1)
                if start % width == 0 and start + width <= end
            )
            yield from self.cells(start, width, now)
            start += width


def add_up(cells: Iterable[Cell], by: Sequence[int], wanted: Wanted) -> dict[Dims, Measures]:
    """Sum the wanted cells by the dimensions at the given positions."""
    sums: dict[Dims, Measures] = {}
    tests = list(wanted.items())
    for _, dims, measures in cells:
        if tests and not all(dims[position] in values for position, values in tests):
            continue
        key = tuple([dims[position] for position in by])
        known = sums.get(key)
        sums[key] = measures if known is None else tuple(map(add, known, measures))
    return sums
