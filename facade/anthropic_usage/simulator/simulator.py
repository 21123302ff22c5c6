"""The stand-in itself: an organisation, a clock, and the faults in force."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from .books import Books
from .calendar import as_utc, day_of, seconds_of
from .claude_code import ClaudeCode
from .costs import Costs
from .events import Events
from .faults import Fault, FaultPlan
from .ledger import Ledger
from .mix import mix
from .organisation import build_organisation, make_hostile
from .prices import load_prices
from .streams import build_streams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .billing import Billing
    from .http.server import Server

DEMO_KEY = "sk-ant-admin01-simulator-demo-key"
DEMO_TOKEN = "sk-ant-oat01-simulator-demo-token"  # noqa: S105 - opens the stand-in only


class Simulator:
    """An invented organisation and the Admin API over it, the same for the same arguments.

    `size` scales people, keys and streams of use: at 1.0 there are sixty streams. Grouped by key,
    workspace, model, tier and context window they make some 30 rows an hour; 7.0 makes 200, and 1.7
    makes 30 rows a minute. `days` is the organisation's age. `now` fixes the clock; None leaves it
    running. `latency_ms` delays every answer, `jitter_ms` by up to that much more. Past
    `requests_per_minute`, requests answer 429. `discount` is the share taken off every line of the
    bill (0.15 for 15 %), `overcharge` so many dollars that are added to one line of each day.
    `hostile` puts text meant to do harm into every name. `billing` are further terms of the bill:
    discounts of a part of it, credits, null dimensions, late bills.
    """

    DEMO_KEY = DEMO_KEY
    DEMO_TOKEN = DEMO_TOKEN

    def __init__(
        self,
        seed: int = 7,
        size: float = 1.0,
        days: int = 400,
        now: datetime | None = None,
        latency_ms: float = 0.0,
        faults: Iterable[Fault | str] = (),
        jitter_ms: float = 0.0,
        requests_per_minute: int = 100_000,
        discount: float | str | Decimal = 0,
        overcharge: float | str | Decimal = 0,
        hostile: bool = False,
        billing: Billing | None = None,
    ) -> None:
        if size <= 0 or days < 1:
            raise ValueError("size must be above 0 and days at least 1")
        if not 0 <= Decimal(str(discount)) <= 1:
            raise ValueError("discount must be a share from 0 to 1")
        self.seed = seed
        self.latency_ms = latency_ms
        self.jitter_ms = jitter_ms
        self.requests_per_minute = requests_per_minute
        self.restatements = 0
        """How often a day has been restated."""
        self._fixed_now = None if now is None else as_utc(now)
        self._plan = FaultPlan(faults, seed)

        prices = load_prices()
        # Nobody used Claude before the first model on the price list came out.
        founded = max(day_of(self.now) - days, day_of(prices.first_day))
        organisation = build_organisation(seed, size, founded, days)
        if hostile:
            organisation = make_hostile(organisation)
        self.organisation = organisation
        self.claude_code = ClaudeCode(seed, organisation, prices)
        self._events = Events(build_streams(seed, size, organisation, prices), organisation, prices)
        self.books = Books(self._events, lambda: seconds_of(self.now))
        shares = Decimal(str(discount)), Decimal(str(overcharge))
        costs = Costs(seed, organisation, prices, *shares, billing)
        self.ledger = Ledger(organisation, self.books, costs, self.claude_code)

    @property
    def now(self) -> datetime:
        """The time of the simulated clock; set it to move a clock by hand."""
        return datetime.now(UTC) if self._fixed_now is None else self._fixed_now

    @now.setter
    def now(self, moment: datetime | None) -> None:
        self._fixed_now = None if moment is None else as_utc(moment)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults in force; setting them starts the counts anew."""
        return self._plan.faults

    @faults.setter
    def faults(self, faults: Iterable[Fault | str]) -> None:
        self._plan = FaultPlan(faults, self.seed)

    def restate(self, day: date | str, factor: float | str | Decimal | Fraction = 1.1) -> None:
        """Multiply a day's use, and with it its cost, from now on; each measure is rounded down."""
        if isinstance(day, str):
            day = date.fromisoformat(day)
        # A float is taken as it is written: 1.1 is eleven tenths.
        exact = Fraction(str(factor)) if isinstance(factor, float) else Fraction(factor)
        if exact < 0:
            raise ValueError("factor must not be negative")
        self._events.restate(day_of(day), exact)
        self.restatements += 1

    def serve(self, port: int = 0) -> Server:
        """Return a server of this simulator for a `with` statement; port 0 takes a free one."""
        return server_class()(self, port)

    def next_fault(self, endpoint: str) -> Fault | None:
        """Return the fault that the next request to an endpoint meets."""
        return self._plan.next(endpoint)

    def wait_seconds(self, number: int) -> float:
        """Return how long the n-th request waits for its answer."""
        jitter = self.jitter_ms * mix(self.seed, number) / 2**64
        return (self.latency_ms + jitter) / 1000


def server_class() -> type[Server]:
    """Return `Server`, or raise an ImportError that names the extra it needs."""
    try:
        from .http.server import Server
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise ImportError("this needs aiohttp: pip install 'anthropic-usage[simulator]'") from None
    return Server


def run(
    port: int = 8787,
    seed: int = 7,
    latency_ms: float = 0,
    faults: Iterable[Fault | str] = (),
    size: float = 1.0,
    days: int = 400,
    now: datetime | None = None,
    discount: float | str | Decimal = 0,
    overcharge: float | str | Decimal = 0,
) -> None:
    """Serve until SIGINT or SIGTERM; to be called in the main thread."""
    simulator = Simulator(
        seed, size, days, now, latency_ms, faults, discount=discount, overcharge=overcharge
    )
    stop = threading.Event()
    handlers = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with simulator.serve(port) as server:
            today = simulator.now.date()
            print(
                f"{server.url} with key {DEMO_KEY}; try: curl -gs -H 'x-api-key: {DEMO_KEY}' "
                f"-H 'anthropic-version: 2023-06-01' '{server.url}/v1/organizations/"
                f"usage_report/messages?starting_at={today.replace(day=1)}T00:00:00Z&group_by[]=model'",
                file=sys.stderr,
                flush=True,
            )
            stop.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
