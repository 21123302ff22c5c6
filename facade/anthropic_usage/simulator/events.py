"""What each stream used: by day, split without remainder into hours, and these into minutes.

Every level is drawn from the one above it with whole-number weights, `total * so_far // all`, so
that the parts add up to the whole to the last token, and only what is looked at is computed.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING

from .calendar import MINUTES_PER_HOUR
from .lru import Lru
from .mix import mix
from .streams import Dims, Stream, price_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .organisation import Organisation
    from .prices import PriceList

MEASURES = (
    "uncached_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "web_search_requests",
)
Measures = tuple[int, int, int, int, int, int]
Cell = tuple[Stream, Dims, Measures]

LONGEST_DELAY = 3600
"""Seconds after which everything that happened in a minute has arrived."""

_NOTHING: Measures = (0, 0, 0, 0, 0, 0)
_EVEN_BITS = int("01" * 32, 2)


class Events:
    """The whole history of use, computed where it is looked at."""

    def __init__(
        self, streams: tuple[Stream, ...], organisation: Organisation, prices: PriceList
    ) -> None:
        self._streams = streams
        self._founded = organisation.founded_day
        self._age = organisation.age
        self._prices = prices
        self._factors: Mapping[int, Fraction] = {}
        self._days: Lru[int, list[Cell]] = Lru(1200)
        self._hours: Lru[int, list[list[Cell]]] = Lru(40)
        self._minutes: Lru[int, list[list[Cell]]] = Lru(48)

    def restate(self, day: int, factor: Fraction) -> None:
        """Multiply a day's use, on top of earlier restatements."""
        self._factors = {**self._factors, day: self._factors.get(day, Fraction(1)) * factor}
        for cache in (self._days, self._hours, self._minutes):
            cache.clear()

    def day(self, day: int) -> list[Cell]:
        """Return the cells of a day."""
        return self._days.get(day, self._draw_day)

    def hour(self, hour: int) -> list[Cell]:
        """Return the cells of an hour, counted since the epoch."""
        day, within = divmod(hour, 24)
        return self._hours.get(day, self._draw_hours)[within]

    def minute(self, minute: int) -> list[Cell]:
        """Return the cells of a minute, counted since the epoch."""
        hour, within = divmod(minute, MINUTES_PER_HOUR)
        return self._minutes.get(hour, self._draw_minutes)[within]

    def _draw_day(self, day: int) -> list[Cell]:
        if day < self._founded:
            return []
        growth = 400 + min(600 * (day - self._founded) // self._age, 900)
        factor = self._factors.get(day)
        weekend = (day + 3) % 7 >= 5
        cells: list[Cell] = []
        for stream in self._streams:
            if not stream.runs_on(day):
                continue
            chance = mix(stream.seed, day)
            if chance % stream.every:
                continue
            price = price_in_use(stream.models, day, self._prices)
            if price is None:
                continue
            percent = stream.weekend_percent if weekend else 100
            scale = growth * percent * (60 + (chance >> 8) % 81)
            measures = _measures(stream, scale, chance >> 16)
            if factor is not None:
                top, bottom = factor.as_integer_ratio()
                measures = _measures_of(value * top // bottom for value in measures)
            if measures != _NOTHING:
                cells.append((stream, stream.dims(day, price), measures))
        return cells

    def _draw_hours(self, day: int) -> list[list[Cell]]:
        hours: list[list[Cell]] = [[] for _ in range(24)]
        for cell in self.day(day):
            stream = cell[0]
            chance = mix(stream.seed, day, 1)
            weights = [
                weight * (4 + (chance >> 2 * hour & 3)) for hour, weight in enumerate(stream.hours)
            ]
            _split(cell, weights, hours)
        return hours

    def _draw_minutes(self, hour: int) -> list[list[Cell]]:
        minutes: list[list[Cell]] = [[] for _ in range(MINUTES_PER_HOUR)]
        for cell in self.hour(hour):
            stream = cell[0]
            bits = mix(stream.seed, hour, 2) | mix(stream.seed, hour, 3) << 64
            if not stream.dense:
                # Both bits of a minute's weight are cleared in three minutes of four.
                quiet = mix(stream.seed, hour, 4) & mix(stream.seed, hour, 5) & _EVEN_BITS
                quiet |= (mix(stream.seed, hour, 6) & mix(stream.seed, hour, 7) & _EVEN_BITS) << 64
                bits &= quiet * 3
            weights = [bits >> 2 * minute & 3 for minute in range(MINUTES_PER_HOUR)]
            if not any(weights):
                weights[stream.seed % MINUTES_PER_HOUR] = 1
            _split(cell, weights, minutes)
        return minutes


def delay(stream: Stream, minute: int) -> int:
    """Return the seconds after its end at which a minute's use shows up, mostly within 300."""
    chance = mix(stream.seed, minute, 8)
    longest = LONGEST_DELAY if chance % 20 == 0 else 300
    return (chance >> 8) % (longest + 1)


def _measures(stream: Stream, scale: int, chance: int) -> Measures:
    """Return a day's use; `scale` is in parts of ten million."""
    tokens = stream.tokens_per_day * scale // 10_000_000
    output = tokens * stream.output_per_mille * (80 + chance % 41) // 100_000
    return (
        tokens * stream.share_uncached // 1000 + chance % 977,
        tokens * stream.share_write_5m // 1000,
        tokens * stream.share_write_1h // 1000,
        tokens * stream.share_read // 1000,
        output + (chance >> 10) % 97,
        stream.searches_per_day * scale // 10_000_000,
    )


def _measures_of(values: Iterable[int]) -> Measures:
    first, second, third, fourth, fifth, sixth = values
    return (first, second, third, fourth, fifth, sixth)


def _split(cell: Cell, weights: Sequence[int], parts: Sequence[list[Cell]]) -> None:
    """Hand each part its share of a cell; a share of nothing is no cell."""
    stream, dims, measures = cell
    so_far = list(accumulate(weights, initial=0))
    whole = so_far[-1]
    sums = [[total * weight // whole for weight in so_far] for total in measures]
    shares = zip(*(map(sub, column[1:], column) for column in sums), strict=True)
    for part, share in zip(parts, shares, strict=True):
        if share != _NOTHING:
            part.append((stream, dims, _measures_of(share)))
