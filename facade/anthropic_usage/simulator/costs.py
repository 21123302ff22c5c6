"""The lines of a day's bill: its use at that day's list prices, and what is billed beside it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from .books import POSITIONS, add_up
from .mix import mix, seed_of
from .prices import LONG, TOKEN_TYPES, PriceList, iso_day
from .streams import BILLABLE_TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable

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
_POSITION = {
    "uncached_input_tokens": 0,
    "cache_creation.ephemeral_5m_input_tokens": 1,
    "cache_creation.ephemeral_1h_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "output_tokens": 4,
}
_SEARCHES = 5


@attrs.frozen
class CostLine:
    """One line of a day's bill, in cents."""

    workspace_id: str | None
    description: str
    cost_type: str
    amount: Decimal
    model: str | None = None
    token_type: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None


class Costs:
    """Turns a day's cells into its bill."""

    def __init__(self, seed: int, organisation: Organisation, prices: PriceList) -> None:
        self._seed = seed_of(f"costs:{seed}")
        self._organisation = organisation
        self._prices = prices

    def lines(self, day: int, cells: Iterable[Cell]) -> list[CostLine]:
        """Return the lines of a day, one for each kind of token of each billed combination."""
        lines: list[CostLine] = []
        searches: dict[str | None, int] = {}
        date = iso_day(day)
        for dims, measures in add_up(
            cells, _BY, {POSITIONS["service_tier"]: BILLABLE_TIERS}
        ).items():
            workspace_id = dims[0]
            model, tier, window, geo, speed = map(str, dims[1:])
            searches[workspace_id] = searches.get(workspace_id, 0) + measures[_SEARCHES]
            price = self._prices.of(model, date)
            for token_type in TOKEN_TYPES:
                tokens = measures[_POSITION[token_type]]
                if tokens:
                    rate = price.cents_per_token(token_type, tier, window, geo, speed)
                    notes = [
                        note
                        for note, holds in (
                            ("Batch", tier == "batch"),
                            ("Long Context", window == LONG),
                            ("US Only", geo == "us"),
                            ("Fast Mode", speed == "fast"),
                        )
                        if holds
                    ]
                    label = ", ".join([_LABELS[token_type], *notes])
                    lines.append(
                        CostLine(
                            workspace_id,
                            f"{price.title} Usage - {label}",
                            "tokens",
                            tokens * rate,
                            model,
                            token_type,
                            tier,
                            window,
                            geo,
                        )
                    )
        lines += [
            CostLine(
                workspace_id,
                "Web Search Usage",
                "web_search",
                count * self._prices.cents_per_web_search,
            )
            for workspace_id, count in searches.items()
            if count
        ]
        lines += self._hourly(day)
        return lines

    def _hourly(self, day: int) -> list[CostLine]:
        """Return container and session time, which the usage report knows nothing of."""
        lines: list[CostLine] = []
        if day < self._organisation.founded_day:
            return lines
        for index, workspace in enumerate(self._organisation.workspaces):
            if day < workspace.created_day or (
                workspace.archived_day is not None and day >= workspace.archived_day
            ):
                continue
            chance = mix(self._seed, day, index)
            for shift, description, cost_type, rate in (
                (
                    0,
                    "Code Execution Usage",
                    "code_execution",
                    self._prices.cents_per_container_hour,
                ),
                (24, "Session Usage", "session_usage", self._prices.cents_per_session_hour),
            ):
                # Billed by the minute, in two workspaces of five on any day.
                if (chance >> shift) % 5 < 2:
                    hours = Decimal((chance >> shift + 8) % 4800) / 100
                    amount = hours * rate
                    if amount:
                        lines.append(
                            CostLine(workspace.reported_id, description, cost_type, amount)
                        )
        return lines


def decimal_text(amount: Decimal) -> str:
    """Return an amount as the API prints it: plain digits, unrounded, without needless zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
