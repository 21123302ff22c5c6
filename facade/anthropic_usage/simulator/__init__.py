"""A strict stand-in for Anthropic's organisation Admin API, served over real HTTP on 127.0.0.1.

    with Simulator(seed=7).serve() as server:
        ...  # point a client at server.url, with Simulator.DEMO_KEY

It invents an organisation from a seed and answers the usage, cost and Claude Code reports and the
lookups as the real API does, refusing what that refuses. `Simulator.ledger` holds the truth to
compare with, `billing` are terms that its bill can be given beside the list prices, and `faults`
make it fail in every way that `FAULTS` lists. It shares no code with the
client, so that the two cannot share a mistake. Serving needs the extra `simulator`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .billing import Billing, Credit, Discount, Surcharge
from .faults import FAULTS, Fault, parse_fault
from .http.requests import Request
from .ledger import Ledger
from .simulator import DEMO_KEY, Simulator, run, server_class

if TYPE_CHECKING:
    from .http.server import Server

__all__ = [
    "DEMO_KEY",
    "FAULTS",
    "Billing",
    "Credit",
    "Discount",
    "Fault",
    "Ledger",
    "Request",
    "Server",
    "Simulator",
    "Surcharge",
    "parse_fault",
    "run",
]


def __getattr__(name: str) -> object:
    # The server needs aiohttp, which all the rest does without.
    if name == "Server":
        return server_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
