"""How hard a client may press the API: requests under way, pauses, and bytes not yet consumed.

When the API says "too many", every window slows down together and recovers slowly (additive
increase, multiplicative decrease). A request has its turn within `async with`, so however it ends,
the turn is given back and whoever waits for it is woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs

__all__ = ["Backlog", "Governor", "Signal", "Slot", "Turn"]


class Signal:
    """Wakes whoever waits for something to change.

    `notify` never waits, so a `finally` may call it. It belongs to no event loop until somebody
    waits.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}  # in order, so that nobody starves

    def notify(self) -> None:
        """Let everybody look again."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def until(self, delay: Callable[[], float | None]) -> None:
        """Wait until `delay` is 0; else it is seconds, or None: until something changes."""
        while (seconds := delay()) != 0:
            changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[changed] = None
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await changed
            finally:
                del self._waiting[changed]


@attrs.define
class Turn:
    """Leave to send one request; `accepted` is what came of it."""

    slowdowns: int
    accepted: bool = False


class Governor:
    """Shared by everything one client sends."""

    def __init__(
        self,
        concurrency: int,
        signal: Signal,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = concurrency
        self.allowed = float(concurrency)
        self.active = 0
        self._signal = signal
        self._monotonic = monotonic
        self._not_before = 0.0
        self._slowdowns = 0

    @contextlib.asynccontextmanager
    async def turn(self, fits: Callable[[], bool]) -> AsyncIterator[Turn]:
        """Wait for leave to send a request whose answer `fits`; given back however it ends."""
        await self._signal.until(lambda: self._delay() if fits() else None)
        self.active += 1
        turn = Turn(self._slowdowns)
        try:
            yield turn
        finally:
            self.active -= 1
            if turn.accepted:
                self.allowed = min(float(self.most), self.allowed + 1 / self.allowed)
            self._signal.notify()

    def throttle(self, turn: Turn, seconds: float) -> None:
        """Halve the speed and pause everybody for `seconds`.

        Requests that began before the last slowdown do not slow things down again: they could not
        know of it.
        """
        if turn.slowdowns == self._slowdowns:
            self._slowdowns += 1
            self.allowed = max(1.0, self.allowed / 2)
        self._not_before = max(self._not_before, self._monotonic() + seconds)

    def _delay(self) -> float | None:
        pause = self._not_before - self._monotonic()
        if pause > 0:
            return pause
        return 0.0 if self.active < max(1, int(self.allowed)) else None


class Backlog:
    """The windows under way, in order, and the bytes they hold.

    Only the first window may exceed the budget: it is the one being consumed, so it always gets on.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.slots: deque[Slot] = deque()
        self.bytes = 0
        self.largest = budget // 4  # a guess, until the first answer has come
        self.guessing = True

    def open(self) -> Slot:
        """Add a window behind the others."""
        slot = Slot(self)
        self.slots.append(slot)
        return slot

    def taken(self, size: int) -> None:
        """Count a page as consumed."""
        self.bytes -= size


class Slot:
    """A window under way: what it has emitted and nobody has taken yet."""

    def __init__(self, backlog: Backlog) -> None:
        self.items: deque[tuple[Any, int]] = deque()
        self.done = False
        self.error: BaseException | None = None
        self._backlog = backlog
        self._held = 0

    def ready(self) -> bool:
        """Tell whether there is something to take, or nothing to wait for."""
        return bool(self.items) or self.done

    def may_send(self) -> bool:
        """Tell whether another answer fits, by the largest one seen."""
        backlog = self._backlog
        return self._place() == 0 or backlog.bytes + backlog.largest <= backlog.budget

    def may_unpack(self) -> bool:
        """Tell whether the answer's turn is near; until then it stays packed and small."""
        return self._place() < 2

    def sent(self) -> None:
        """Set room aside for the answer to a request."""
        self._hold(self._backlog.largest)

    def arrived(self, size: int) -> None:
        """Count an answer as it came over the wire."""
        backlog = self._backlog
        backlog.largest = size if backlog.guessing else max(backlog.largest, size)
        backlog.guessing = False
        self._hold(size)

    def put(self, item: Any, size: int) -> None:
        """Keep a page until it is taken."""
        self._hold(0)
        self._backlog.bytes += size
        self.items.append((item, size))

    def finish(self, error: BaseException | None) -> None:
        """Mark the window as ended."""
        self._hold(0)
        self.error = error
        self.done = True

    def _place(self) -> int:
        return self._backlog.slots.index(self) if self in self._backlog.slots else 0

    def _hold(self, size: int) -> None:
        self._backlog.bytes += size - self._held
        self._held = size
