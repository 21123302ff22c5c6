"""Faults on demand: a small grammar, and the decision which request meets which fault."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import attrs

from .mix import mix, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterable

FAULTS = {
    "400": "Answers 400 invalid_request_error to a request that is right.",
    "401": "Answers 401 authentication_error.",
    "402": "Answers 402 billing_error.",
    "403": "Answers 403 permission_error.",
    "404": "Answers 404 not_found_error.",
    "408": "Answers 408, as a gateway does that waited too long for the request.",
    "409": "Answers 409 conflict_error.",
    "413": "Answers 413 request_too_large.",
    "429": "Answers 429 rate_limit_error with `Retry-After` (=SECONDS, by default 1).",
    "429-bare": "Answers 429 rate_limit_error without saying when to come back.",
    "429-reset": "Answers 429 with `anthropic-ratelimit-requests-reset` "
    "(=SECONDS from now, negative is past; by default 1).",
    "500": "Answers 500 api_error.",
    "504": "Answers 504 timeout_error.",
    "529": "Answers 529 overloaded_error.",
    "html": "Answers 502 with a proxy's HTML page.",
    "not-json": "Answers 200 with an HTML page.",
    "empty-body": "Answers 200 with no body at all.",
    "bad-gzip": "Answers 200 with a body that says it is gzip and is not.",
    "slow": "Waits before the answer (=SECONDS, by default 2).",
    "drop": "Closes the connection before the answer.",
    "truncate": "Announces a Content-Length and closes the connection halfway through the body.",
    "truncate-chunked": "Closes the connection in the midst of a chunked body.",
    "redirect": "Answers 302 to another host name.",
    "has-more-without-next-page": "Says `has_more` and gives no `next_page`.",
    "repeat-cursor": "Gives a page whose `next_page` leads back to that page.",
    "missing-bucket": "Leaves a bucket out of the middle of a page (usage, cost).",
    "duplicate-bucket": "Gives the first bucket of a page twice (usage, cost).",
    "out-of-order": "Gives the first two buckets of a page in the wrong order (usage, cost).",
    "unknown-field": "Adds fields that no documentation mentions.",
    "unknown-enum": "Gives a dimension of the first row a value that no documentation mentions.",
    "unknown-actor": "Gives the first record an actor of an unknown type (claude_code).",
    "missing-measure": "Leaves a measure out of the first row of a page.",
    "null-measure": "Gives null for a measure of the first row of a page.",
    "wrong-type": "Gives a measure of the first row of a page as an object.",
}
"""Every kind of fault and what it does."""

DATA_FAULTS = frozenset(
    {
        "has-more-without-next-page",
        "repeat-cursor",
        "missing-bucket",
        "duplicate-bucket",
        "out-of-order",
        "unknown-field",
        "unknown-enum",
        "unknown-actor",
        "missing-measure",
        "null-measure",
        "wrong-type",
    }
)
"""Kinds that alter a good answer of a report and touch nothing else."""

FAST_MODE = "fast_mode"
"""Questions to the usage report after its fast mode; such a fault spares all others to it."""
REPORTS = frozenset({"usage", FAST_MODE, "cost", "claude_code"})
LOOKUPS = frozenset({"me", "workspaces", "api_keys", "users", "service_accounts"})

_TAKES_SECONDS = {"429": 1.0, "429-reset": 1.0, "slow": 2.0}
_ENDPOINTS = (
    {name: frozenset({name}) for name in sorted(REPORTS | LOOKUPS)}
    | {"reports": REPORTS, "lookups": LOOKUPS}
    | {"usage": frozenset({"usage", FAST_MODE})}
)
_FORM = "KIND[=SECONDS][:PROBABILITY][@ENDPOINT][#NTH][xTIMES]"
_GRAMMAR = re.compile(
    r"(?P<kind>[a-z0-9-]+?)"
    r"(?:=(?P<seconds>-?[0-9]+(?:\.[0-9]+)?))?"
    r"(?::(?P<probability>[0-9]+(?:\.[0-9]+)?|\.[0-9]+))?"
    r"(?:@(?P<endpoint>[a-z_-]+?))?"
    r"(?:#(?P<nth>[0-9]+))?"
    r"(?:x(?P<times>[0-9]+))?"
)


@attrs.frozen
class Fault:
    """One way to fail, and when.

    `probability` is that of each matching request; `endpoint` limits it to one endpoint, to
    `reports` or to `lookups`; `nth` to the n-th matching request, counted from 1; `times` to that
    many requests in all.
    """

    kind: str
    seconds: float = 0.0
    probability: float = 1.0
    endpoint: str | None = None
    nth: int | None = None
    times: int | None = None

    def concerns(self, endpoint: str) -> bool:
        """Say whether requests to an endpoint can meet this fault."""
        if self.kind in DATA_FAULTS and endpoint not in REPORTS:
            return False
        return self.endpoint is None or endpoint in _ENDPOINTS[self.endpoint]


def parse_fault(text: str) -> Fault:
    """Read `KIND[=SECONDS][:PROBABILITY][@ENDPOINT][#NTH][xTIMES]`.

    For example `429=0:0.2@usage` is a 429 with `Retry-After: 0` for one usage request in five,
    `drop#3` drops the third request, and `500x2` fails the first two. ENDPOINT is `usage`,
    `fast_mode` (what it is asked of that mode alone), `cost`, `claude_code`, `me`, `workspaces`,
    `api_keys`, `users`, `service_accounts`, `reports` (the first four) or `lookups` (the others).

    Raises ValueError with one line that says what is wrong.
    """
    match = _GRAMMAR.fullmatch(text.strip())
    kind = match["kind"] if match else text
    if match is None or kind not in FAULTS:
        raise ValueError(
            f"no such fault: {text!r}; write {_FORM}, where KIND is one of {', '.join(FAULTS)}"
        )
    if match["seconds"] is not None and kind not in _TAKES_SECONDS:
        raise ValueError(
            f"fault {text!r}: {kind} takes no seconds; only {', '.join(_TAKES_SECONDS)} do"
        )
    seconds = float(match["seconds"] or _TAKES_SECONDS.get(kind, 0.0))
    if seconds < 0 and kind != "429-reset":
        raise ValueError(f"fault {text!r}: the seconds must not be negative")
    probability = float(match["probability"] or 1)
    if not 0 <= probability <= 1:
        raise ValueError(f"fault {text!r}: the probability must lie between 0 and 1")
    endpoint = match["endpoint"]
    if endpoint is not None:
        endpoint = endpoint.replace("-", "_")
        if endpoint not in _ENDPOINTS:
            raise ValueError(f"fault {text!r}: the endpoint must be one of {', '.join(_ENDPOINTS)}")
    nth = int(match["nth"]) if match["nth"] else None
    times = int(match["times"]) if match["times"] else None
    if nth == 0 or times == 0:
        raise ValueError(f"fault {text!r}: requests are counted from 1")
    fault = Fault(kind, seconds, probability, endpoint, nth, times)
    if endpoint is not None and not any(map(fault.concerns, _ENDPOINTS[endpoint])):
        raise ValueError(f"fault {text!r}: {kind} only happens to {', '.join(sorted(REPORTS))}")
    return fault


@attrs.define
class _Tally:
    fault: Fault
    seed: int
    met: int = 0
    fired: int = 0

    def fires(self, *, free: bool) -> bool:
        """Count a request, and say whether it meets the fault if none before it was met."""
        self.met += 1
        if not free:
            return False
        fault = self.fault
        if fault.nth is not None and self.met != fault.nth:
            return False
        if fault.times is not None and self.fired >= fault.times:
            return False
        if mix(self.seed, self.met) / 2**64 >= fault.probability:
            return False
        self.fired += 1
        return True


class FaultPlan:
    """The faults in force, with what has been counted since they were."""

    def __init__(self, faults: Iterable[Fault | str], seed: int) -> None:
        self.faults = tuple(
            parse_fault(fault) if isinstance(fault, str) else fault for fault in faults
        )
        self._tallies = [
            _Tally(fault, seed_of(f"fault:{seed}:{index}"))
            for index, fault in enumerate(self.faults)
        ]
        self._lock = threading.Lock()

    def next(self, endpoint: str) -> Fault | None:
        """Return the fault that this request meets: the first in order that fires, if any does."""
        with self._lock:
            chosen = None
            for tally in self._tallies:
                if tally.fault.concerns(endpoint) and tally.fires(free=chosen is None):
                    chosen = tally.fault
            return chosen
