"""The lines of a day's bill: its use at that day's list prices, and what is billed beside it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from .bill import CostLine
from .billing import Billing
from .books import POSITIONS, add_up
from .events import MEASURES
from .mix import mix, seed_of
from .prices import LONG, PriceList, iso_day
from .streams import BILLABLE_TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .events import Cell
    from .organisation import Organisation

COST_DIMENSIONS = ("workspace_id", "description")

_BY = tuple(
    POSITIONS[name]
    for name in (
        "workspace_id",
        "model",
        "service_tier",
        "context_window",
        "inference_geo",
        "speed",
    )
)
_LABELS = {
    "uncached_input_tokens": "Input Tokens",
    "output_tokens": "Output Tokens",
    "cache_read_input_tokens": "Input Tokens, Cache Read",
    "cache_creation.ephemeral_1h_input_tokens": "Input Tokens, Cache Write (1 hour)",
    "cache_creation.ephemeral_5m_input_tokens": "Input Tokens, Cache Write",
}
_TOKEN_POSITIONS = {
    "uncached_input_tokens": MEASURES.index("uncached_input_tokens"),
    "output_tokens": MEASURES.index("output_tokens"),
    "cache_read_input_tokens": MEASURES.index("cache_read_input_tokens"),
    "cache_creation.ephemeral_1h_input_tokens": MEASURES.index("cache_creation_1h_input_tokens"),
    "cache_creation.ephemeral_5m_input_tokens": MEASURES.index("cache_creation_5m_input_tokens"),
}
_OUTPUT = MEASURES.index("output_tokens")
"""All measures before it are of input."""
_SEARCHES = MEASURES.index("web_search_requests")


class Costs:
    """Turns a day's cells into its bill."""

    def __init__(
        self,
        seed: int,
        organisation: Organisation,
        prices: PriceList,
        discount: Decimal = Decimal(0),
        overcharge: Decimal = Decimal(0),
        billing: Billing | None = None,
    ) -> None:
        self._seed = seed_of(f"costs:{seed}")
        self._organisation = organisation
        self._prices = prices
        self._share = 1 - discount
        self._overcharge = overcharge * 100
        self._billing = billing or Billing()

    def pending(self, day: int, now: int) -> bool:
        """Say whether the bill of a closed day is still to come at second `now`."""
        return self._billing.pending(day, now)

    def lines(self, day: int, cells: Iterable[Cell]) -> list[CostLine]:
        """Return the lines of a day, one for each kind of token of each billed combination."""
        lines: list[CostLine] = []
        searches: dict[str | None, int] = {}
        cells = list(cells)
        wanted = {POSITIONS["service_tier"]: BILLABLE_TIERS}
        billable = add_up(cells, _BY, wanted)
        hidden = add_up((cell for cell in cells if self.hidden_long(day, cell)), _BY, wanted)
        for key, measures in billable.items():
            workspace_id, *described = key
            searches[workspace_id] = searches.get(workspace_id, 0) + measures[_SEARCHES]
            model, tier, window, geo, speed = map(str, described)
            price = self._prices.of(model, iso_day(day))
            notes = _notes(tier, window, geo, speed)
            for token_type, position in _TOKEN_POSITIONS.items():
                tokens = measures[position]
                if tokens:
                    rate = price.cents_per_token(token_type, tier, window, geo, speed)
                    amount = tokens * rate
                    if key in hidden:
                        more = price.cents_per_token(token_type, tier, LONG, geo, speed) - rate
                        amount += hidden[key][position] * more
                    lines.append(
                        CostLine(
                            workspace_id=workspace_id,
                            description=f"{price.title} Usage - {_LABELS[token_type]}{notes}",
                            cost_type="tokens",
                            amount=amount,
                            model=model,
                            token_type=token_type,
                            service_tier=tier,
                            context_window=window,
                            inference_geo=geo,
                        )
                    )
        for workspace_id, count in searches.items():
            if count:
                cents = count * self._prices.cents_per_web_search
                lines.append(CostLine(workspace_id, "Web Search Usage", "web_search", cents))
        lines += self._hourly(day)
        if self._share != 1:
            lines = [attrs.evolve(line, amount=line.amount * self._share) for line in lines]
        if self._overcharge and lines:
            first = lines[0]
            lines[0] = attrs.evolve(first, amount=first.amount + self._overcharge)
        return self._billing.billed(day, lines, self._prices.aliases)

    def hidden_long(self, day: int, cell: Cell) -> bool:
        """Say whether a cell's prompts are long, cost more for it, and no row tells."""
        stream, dims, measures = cell
        if not self._billing.is_long(stream):
            return False
        threshold = self._prices.of(str(dims[POSITIONS["model"]]), iso_day(day)).hidden_threshold
        return threshold is not None and sum(measures[:_OUTPUT]) > threshold

    def _hourly(self, day: int) -> Iterator[CostLine]:
        """Yield container and session time, which the usage report knows nothing of."""
        kinds = (
            ("Code Execution Usage", "code_execution", self._prices.cents_per_container_hour),
            ("Session Usage", "session_usage", self._prices.cents_per_session_hour),
        )
        for index, workspace in enumerate(self._organisation.workspaces):
            archived = workspace.archived_day
            if day < workspace.created_day or (archived is not None and day >= archived):
                continue
            for kind, (description, cost_type, cents_per_hour) in enumerate(kinds):
                chance = mix(self._seed, day, index, kind)
                # Two workspaces in five have any on a given day, for up to two days' worth of time.
                hours = Decimal((chance >> 8) % 4800) / 100
                if chance % 5 < 2 and hours:
                    amount = hours * cents_per_hour
                    yield CostLine(workspace.reported_id, description, cost_type, amount)


def _notes(tier: str, context_window: str, geo: str, speed: str) -> str:
    """Return what a description says of a price that is not the plain one."""
    notes = {
        "Batch": tier == "batch",
        "Long Context": context_window == LONG,
        "US Only": geo == "us",
        "Fast Mode": speed == "fast",
    }
    return "".join(f", {note}" for note, holds in notes.items() if holds)


def decimal_text(amount: Decimal) -> str:
    """Return an amount as the API prints it: plain digits, unrounded, without needless zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
