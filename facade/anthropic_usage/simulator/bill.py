"""A line of the bill."""

from __future__ import annotations

from decimal import Decimal

import attrs

TOKEN_DIMENSIONS = ("model", "token_type", "service_tier", "context_window", "inference_geo")
"""What a line for tokens says of them, beside its workspace and description."""


@attrs.frozen
class CostLine:
    """One line of a day's bill, in cents."""

    workspace_id: str | None
    description: str
    cost_type: str | None
    amount: Decimal
    model: str | None = None
    token_type: str | None = None
    service_tier: str | None = None
    context_window: str | None = None
    inference_geo: str | None = None
