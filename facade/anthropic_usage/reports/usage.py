"""Tokens used through the Messages API: `/v1/organizations/usage_report/messages`."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Annotated, Any, ClassVar, Final

from anthropic_admin_client.api.usage import get_messages_usage_report
from anthropic_admin_client.types import UNSET

from ..fields import Dimension, Measure, Total, fields_of
from ..moments import DAY
from .buckets import Bucketed, Buckets
from .dimensions import ApiKey, Context, Geo, Model, Speed, Text, Tier, Workspace
from .kind import Width
from .query import Query

__all__ = ["USAGE", "UsageRow"]

FAST_MODE_BETA: Final = "fast-mode-2026-02-01"
"""The beta header under which usage can be grouped or filtered by speed."""

_Input = functools.partial(Measure, into="input_tokens")
_HOUR, _MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)


class UsageRow(Bucketed, frozen=True, gc=False, kw_only=True):
    """Tokens of one bucket and one combination of the dimensions grouped by.

    Source: platform.claude.com, api/admin/usage_report. Counts are whole tokens or requests.
    """

    REPORT: ClassVar = "usage"

    api_key_id: ApiKey = None
    workspace_id: Workspace = None
    model: Model = None
    service_tier: Tier = None
    context_window: Context = None
    inference_geo: Geo = None
    account_id: Annotated[
        Text, Dimension("user account", filter="account_ids", heading="account")
    ] = None
    service_account_id: Annotated[
        Text, Dimension("service account", filter="service_account_ids")
    ] = None
    speed: Speed = None

    uncached_input_tokens: Annotated[
        int, _Input("input tokens that no cache was asked for", heading="input")
    ]
    cache_creation_5m_input_tokens: Annotated[
        int,
        _Input(
            "input tokens written to the 5-minute cache",
            at="cache_creation.ephemeral_5m_input_tokens",
            heading="cache write",
        ),
    ]
    cache_creation_1h_input_tokens: Annotated[
        int,
        _Input(
            "input tokens written to the 1-hour cache",
            at="cache_creation.ephemeral_1h_input_tokens",
            heading="cache write",
        ),
    ]
    cache_read_input_tokens: Annotated[
        int, _Input("input tokens read from a cache", heading="cache read")
    ]
    output_tokens: Annotated[int, Measure("output tokens", into="total_tokens", heading="output")]
    web_search_requests: Annotated[
        int, Measure("web searches", at="server_tool_use.web_search_requests", heading="searches")
    ]

    input_tokens = Total("all input tokens", into="total_tokens")
    total_tokens = Total("all tokens", heading="total tokens")

    @property
    def cache_efficiency(self) -> float | None:
        """Cache reads as a share of all input, from 0 to 1; None where there was no input."""
        return self.cache_read_input_tokens / self.input_tokens if self.input_tokens else None


class Usage(Buckets[UsageRow]):
    """The usage report. Data appears within about 5 minutes."""

    name = "usage"
    path = "/v1/organizations/usage_report/messages"
    fields = fields_of(UsageRow)
    filters = fields.filters
    title = "Anthropic usage report (tokens)"
    largest_by = "total_tokens"
    table = ("input", "cache write", "cache read", "output", "total tokens", "searches")
    gives_way = ("searches", "cache write", "cache read")
    page_of = "a page of {width} buckets"
    widths: ClassVar = {
        "1d": Width(DAY, 31, 31 * DAY),
        "1h": Width(_HOUR, 168, 168 * _HOUR),
        "1m": Width(_MINUTE, 1440, 1440 * _MINUTE),
    }

    def request(
        self, query: Query, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        by_speed = "speed" in query.group_by or "speeds" in query.filters
        return get_messages_usage_report.request(
            starting_at=starting_at,
            ending_at=ending_at,
            bucket_width=query.bucket_width,  # type: ignore[arg-type]
            group_by=list(query.group_by) or UNSET,  # type: ignore[arg-type]
            limit=query.limit,
            page=UNSET if page is None else page,
            anthropic_version=query.anthropic_version,
            anthropic_beta=FAST_MODE_BETA if by_speed else UNSET,
            **{name: list(values) for name, values in query.filters.items()},  # type: ignore[arg-type]
        )


USAGE: Final = Usage()
