"""What several reports are split by, said once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, get_args

from anthropic_admin_client.models.context_window import ContextWindow
from anthropic_admin_client.models.cost_group_by import CostGroupBy
from anthropic_admin_client.models.inference_geo import InferenceGeo
from anthropic_admin_client.models.service_tier import ServiceTier
from anthropic_admin_client.models.speed import Speed as SpeedValue
from anthropic_admin_client.models.usage_group_by import UsageGroupBy

from ..fields import Dimension

__all__ = ["ApiKey", "Context", "Geo", "Model", "Speed", "Text", "Tier", "Workspace"]

Text = str | None

UsageDimensions = UsageGroupBy | Iterable[UsageGroupBy] | None
"""What the usage report can be grouped by: one dimension, or several."""
CostDimensions = CostGroupBy | Iterable[CostGroupBy] | None
"""What the cost report can be grouped by."""

_TIERS, _GEOS, _WINDOWS = get_args(ServiceTier), get_args(InferenceGeo), get_args(ContextWindow)

ApiKey = Annotated[
    Text,
    Dimension(
        "API key",
        filter="api_key_ids",
        null="use without an API key (the Console)",
        heading="api key",
    ),
]
Workspace = Annotated[
    Text,
    Dimension(
        "workspace", filter="workspace_ids", null="the default workspace", heading="workspace"
    ),
]
Model = Annotated[Text, Dimension("model", filter="models", certain=True)]
Tier = Annotated[
    Text,
    Dimension("service tier", filter="service_tiers", values=_TIERS, heading="tier", certain=True),
]
Context = Annotated[
    Text,
    Dimension(
        "0-200k or 200k-1M",
        filter="context_window",
        values=_WINDOWS,
        heading="context",
        certain=True,
    ),
]
Geo = Annotated[
    Text, Dimension("where inference ran", filter="inference_geos", values=_GEOS, heading="geo")
]
Speed = Annotated[
    Text,
    # A beta's, whose field may not come back.
    Dimension("standard or fast", filter="speeds", values=get_args(SpeedValue), echoed=False),
]
