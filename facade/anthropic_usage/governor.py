"""How hard a client may press the API: requests under way, pauses, and bytes not yet consumed.

Pure bookkeeping; the transports own locks, threads and tasks. When the API says "too many", every
window slows down together and recovers slowly (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Backlog", "Governor", "Slot"]


class Governor:
    """Shared by everything one client sends."""

    def __init__(self, concurrency: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.most = concurrency
        self.allowed = float(concurrency)
        self.active = 0
        self._monotonic = monotonic
        self._not_before = 0.0
        self._slowdowns = 0

    def delay(self) -> float | None:
        """Return 0 if a request may start now, the seconds to wait, or None: until another ends."""
        pause = self._not_before - self._monotonic()
        if pause > 0:
            return pause
        return 0.0 if self.active < max(1, int(self.allowed)) else None

    def begin(self) -> int:
        """Count a request as under way; returns what `throttle` wants to know of it."""
        self.active += 1
        return self._slowdowns

    def end(self, accepted: bool) -> None:
        """Count a request as over; one that was `accepted` earns a little more speed."""
        self.active -= 1
        if accepted:
            self.allowed = min(float(self.most), self.allowed + 1 / self.allowed)

    def throttle(self, begun: int, seconds: float) -> None:
        """Halve the speed and pause everybody for `seconds`.

        Requests that began before the last slowdown do not slow things down again: they could not
        know of it.
        """
        if begun == self._slowdowns:
            self._slowdowns += 1
            self.allowed = max(1.0, self.allowed / 2)
        self._not_before = max(self._not_before, self._monotonic() + seconds)


class Slot:
    """A window under way: what it has emitted and nobody has taken yet."""

    def __init__(self) -> None:
        self.items: deque[tuple[Any, int]] = deque()
        self.reserved = 0
        self.done = False
        self.error: BaseException | None = None

    def ready(self) -> bool:
        """Tell whether there is something to take, or nothing to wait for."""
        return bool(self.items) or self.done


class Backlog:
    """The windows under way, in order, and the bytes they hold.

    Only the first window may exceed the budget: it is the one being consumed, so it always gets on.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.slots: deque[Slot] = deque()
        self.bytes = 0
        self._largest = 0

    def open(self) -> Slot:
        """Add a window behind the others."""
        slot = Slot()
        self.slots.append(slot)
        return slot

    def may_send(self, slot: Slot) -> bool:
        """Tell whether another page fits, by the largest one seen."""
        first = bool(self.slots) and self.slots[0] is slot
        return first or self.bytes + self._largest <= self.budget

    def reserve(self, slot: Slot) -> None:
        """Set room aside for the page that `slot` asks for."""
        self._settle(slot, self._largest)

    def put(self, slot: Slot, item: Any, size: int) -> None:
        """Keep a page until it is taken."""
        self._settle(slot, 0)
        self._largest = max(self._largest, size)
        self.bytes += size
        slot.items.append((item, size))

    def finish(self, slot: Slot, error: BaseException | None) -> None:
        """Mark the window as ended."""
        self._settle(slot, 0)
        slot.error = error
        slot.done = True

    def _settle(self, slot: Slot, reserved: int) -> None:
        self.bytes += reserved - slot.reserved
        slot.reserved = reserved
