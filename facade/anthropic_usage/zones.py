"""Days of one's own time zone: where they begin, exactly, whatever its clocks ever did."""

from __future__ import annotations

import datetime as dt
import difflib
import functools
import zoneinfo
from collections.abc import Iterator

import attrs

from .errors import InvalidQuery
from .moments import DAY, EPOCH, Moment, parse_moment

__all__ = ["Zone", "ZoneName"]

ZoneName = str | zoneinfo.ZoneInfo
"""A name of the IANA database such as `Europe/Berlin`."""

_HOUR = dt.timedelta(hours=1)
_MINUTE = dt.timedelta(minutes=1)
_SECOND = dt.timedelta(seconds=1)
_STEP = 12 * _HOUR
"""No zone ever changed its clocks twice within it and came out where it was."""
_REACH = 36 * _HOUR
"""More than any local midnight was ever away from the one in UTC."""

_OF_THE_MACHINE = {"localtime", "posixrules", "Factory"}
"""Files beside the zones on some machines, which are of no place."""


@attrs.frozen
class _Stretch:
    """[starting_at, ending_at), in which a zone's clocks are `offset` ahead of UTC."""

    starting_at: dt.datetime
    ending_at: dt.datetime
    offset: dt.timedelta


@attrs.frozen
class Zone:
    """A time zone; neither the machine's own nor the variable TZ has a say in it."""

    key: str
    info: zoneinfo.ZoneInfo = attrs.field(repr=False, eq=False)

    @classmethod
    def find(cls, name: object) -> Zone:
        """Return the zone of this name; raises InvalidQuery with the names that are near."""
        if isinstance(name, zoneinfo.ZoneInfo):
            name = name.key
        if not isinstance(name, str):
            raise InvalidQuery(f"timezone={name!r} is no name of a time zone; give Europe/Berlin")
        if name not in _names():
            if not _names():
                raise InvalidQuery(
                    f"timezone={name!r}: this machine has no database of time zones; "
                    "pip install tzdata"
                )
            raise InvalidQuery(_unknown(name))
        return cls(name, zoneinfo.ZoneInfo(name))

    def local(self, moment: dt.datetime) -> dt.datetime:
        """Return the moment on the zone's clocks, with the offset that they have then."""
        try:
            there = moment.astimezone(self.info)
        except OverflowError:
            raise InvalidQuery(f"{moment.isoformat()} is too far away for {self.key}") from None
        return there.replace(tzinfo=_fixed(there.utcoffset() or dt.timedelta()), fold=0)

    def midnight(self, day: dt.date) -> dt.datetime:
        """Return the first moment of a day on the zone's clocks.

        That is midnight, or later where clocks leave midnight out; of a day that was skipped, it is
        the first moment of the next.
        """
        written, stretches = self._around(day)
        for part in stretches:
            moment = max(part.starting_at, written - part.offset)
            if moment < part.ending_at:
                return self.local(moment)
        raise InvalidQuery(f"{day} is too far away for {self.key}")

    def last_midnight(self, day: dt.date) -> dt.datetime:
        """Return the moment from which on it is never again before `day`.

        Where clocks go back from just behind midnight, the day before goes on for a while.
        """
        written, stretches = self._around(day)
        for part in reversed(stretches):
            moment = min(part.ending_at, written - part.offset)
            if moment > part.starting_at:
                return self.local(moment)
        raise InvalidQuery(f"{day} is too far away for {self.key}")

    def _around(self, day: dt.date) -> tuple[dt.datetime, list[_Stretch]]:
        """Return the day's midnight by UTC, and the stretches near it."""
        written = dt.datetime.combine(day, dt.time(), dt.UTC)
        try:
            return written, list(self._stretches(written - _REACH, written + _REACH))
        except OverflowError:
            raise InvalidQuery(f"{day} is too far away for {self.key}") from None

    def day_from(self, moment: dt.datetime) -> dt.date:
        """Return the first day that begins at a moment or after it."""
        day = self.local(moment).date()
        while self.midnight(day) < moment:
            day += DAY
        return day

    def hour(self, moment: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        """Return the hour of the zone's clocks that a moment lies in; a change may cut it short."""
        near = self._stretches(moment - _HOUR, moment + _HOUR)
        now = next(part for part in near if moment < part.ending_at)
        start = moment - (moment + now.offset - EPOCH) % _HOUR
        return max(start, now.starting_at), min(start + _HOUR, now.ending_at)

    def parse(self, value: Moment, name: str) -> dt.datetime:
        """Return a moment in UTC; what says no offset is on the zone's clocks.

        A date is its first moment, a time that occurs twice is the first of the two. Raises
        InvalidQuery naming the argument.
        """
        return parse_moment(value, name, self._placed)

    def _placed(self, naive: dt.datetime) -> dt.datetime:
        if naive.time() == dt.time():
            return self.midnight(naive.date()).astimezone(dt.UTC)
        return naive.replace(tzinfo=self.info, fold=0)

    def unit(self, starting_at: dt.datetime, ending_at: dt.datetime) -> dt.timedelta | None:
        """Return the longest of day, hour and minute in UTC of which local days are made.

        None if there is none: some clocks of old were seconds off.
        """
        changes = [starting_at, ending_at, *self._new_days(starting_at, ending_at)]
        return _unit(changes, (DAY, _HOUR, _MINUTE))

    def unit_of_hours(
        self, starting_at: dt.datetime, ending_at: dt.datetime
    ) -> dt.timedelta | None:
        """Return the same for local hours."""
        stretches = list(self._stretches(starting_at, ending_at))
        marks = [part.starting_at for part in stretches[1:]]
        marks += [EPOCH + part.offset for part in stretches]
        return _unit(marks, (_HOUR, _MINUTE))

    def _new_days(self, starting_at: dt.datetime, ending_at: dt.datetime) -> Iterator[dt.datetime]:
        """Yield the moments at which another day begins, or begins again."""
        before: _Stretch | None = None
        for part in self._stretches(starting_at, ending_at):
            if before is not None:
                left = (part.starting_at - _SECOND + before.offset).date()
                if left != (part.starting_at + part.offset).date():
                    yield part.starting_at
            first = part.starting_at + part.offset
            midnight = first + (EPOCH - first) % DAY - part.offset
            # Within a stretch days follow on one another: one midnight stands for all.
            if midnight < part.ending_at:
                yield midnight
            before = part

    def _stretches(self, starting_at: dt.datetime, ending_at: dt.datetime) -> Iterator[_Stretch]:
        """Yield the stretches that tile a span."""
        begin = now = starting_at
        offset = self._offset(now)
        while now < ending_at:
            later = min(now + _STEP, ending_at)
            if self._offset(later) != offset:
                later = self._change(now, later)
                yield _Stretch(begin, later, offset)
                begin, offset = later, self._offset(later)
            now = later
        if begin < ending_at:
            yield _Stretch(begin, ending_at, offset)

    def _change(self, before: dt.datetime, after: dt.datetime) -> dt.datetime:
        """Return the second at which the offset that holds at `before` ends."""
        offset = self._offset(before)
        low, high = 0, -(-(after - before) // _SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(before + middle * _SECOND) == offset:
                low = middle
            else:
                high = middle
        return before + high * _SECOND

    def _offset(self, moment: dt.datetime) -> dt.timedelta:
        return moment.astimezone(self.info).utcoffset() or dt.timedelta()


def _unit(moments: list[dt.datetime], units: tuple[dt.timedelta, ...]) -> dt.timedelta | None:
    for unit in units:
        if not any((moment - EPOCH) % unit for moment in moments):
            return unit
    return None


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - _OF_THE_MACHINE


@functools.cache
def _fixed(offset: dt.timedelta) -> dt.timezone:
    return dt.timezone(offset) if offset else dt.UTC


def _unknown(name: str) -> str:
    """Say that there is no such zone, and which names are near."""
    word = name.strip().lower().replace(" ", "_")
    names = {known.lower(): known for known in sorted(_names())}
    places = {known.rpartition("/")[2]: full for known, full in names.items() if "/" in known}
    near = [names[word]] if word in names else []
    near += [places[place] for place in difflib.get_close_matches(word, places, 2, 0.75)]
    near += [names[full] for full in difflib.get_close_matches(word, names, 2, 0.75)]
    hint = f" (did you mean {' or '.join(dict.fromkeys(near[:2]))}?)" if near else ""
    return f"timezone={name!r} is no time zone{hint}; give a name such as Europe/Berlin"
