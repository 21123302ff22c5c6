"""Billed dollars of completed UTC days: `/v1/organizations/cost_report`."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from anthropic_admin_client.api.cost import get_cost_report
from anthropic_admin_client.types import UNSET

from ..fields import ALWAYS, Derived, Dimension, Money, fields_of
from ..moments import DAY
from ..money import dollars
from .buckets import Bucketed, BucketProof, Buckets
from .dimensions import Text, Workspace
from .kind import SETTLING, Width, Window
from .query import Query

__all__ = ["COST", "CostRow", "usd"]


def _line(meaning: str, null: str = "", heading: str = "") -> Dimension:
    """Return a dimension that comes with the description."""
    return Dimension(meaning, null=null, heading=heading, group="description")


def usd(written: str) -> str:
    """Return the currency; raises ValueError for any that would not add up with the others."""
    if written != "USD":
        raise ValueError(f"the currency is {written[:10]!r}, and only USD can be added up")
    return written


class CostRow(Bucketed, frozen=True, gc=False, kw_only=True):
    """Billed dollars of one UTC day and one combination of the dimensions grouped by.

    Source: platform.claude.com, api/admin/cost_report. Amounts are exact and unrounded; Priority
    Tier costs never appear. `cost_type`, `model`, `token_type`, `service_tier`, `context_window`
    and `inference_geo` come with `group_by=["description"]`.
    """

    REPORT: ClassVar = "cost"

    workspace_id: Workspace = None
    description: Annotated[Text, Dimension("the bill's own words", certain=True)] = None
    cost_type: Annotated[
        Text, _line("tokens, web_search, code_execution, session_usage", heading="type")
    ] = None
    model: Annotated[Text, _line("model", "a charge without one")] = None
    token_type: Annotated[Text, _line("kind of token", "a charge for anything else")] = None
    service_tier: Annotated[Text, _line("standard or batch", heading="tier")] = None
    context_window: Annotated[Text, _line("0-200k or 200k-1M", heading="context")] = None
    inference_geo: Annotated[Text, _line("where inference ran", heading="geo")] = None
    currency: Annotated[str, Dimension("USD", read=usd, group=ALWAYS, required=True)] = "USD"
    amount_cents: Annotated[Decimal, Money("billed US cents, exact", at="amount")]

    @Derived
    def amount_usd(self) -> Decimal:
        """billed US dollars, exact"""
        return dollars(self.amount_cents)

    amount_usd.heading = "amount"


class Cost(Buckets[CostRow]):
    """The cost report."""

    name = "cost"
    path = "/v1/organizations/cost_report"
    whole_days = "the bill has whole UTC days"
    fields = fields_of(CostRow)
    title = "Anthropic cost report (billed dollars)"
    largest_by = "amount_cents"
    unsettled = "Only completed UTC days have a bill; later days are not in the totals."
    page_of = "a page of days"
    holds = "the cost report holds completed UTC days only"
    widths: ClassVar = {"1d": Width(DAY, 31, 31 * DAY)}
    caveats: ClassVar = ("Priority Tier costs are never in the cost report.",)

    def request(
        self, query: Query, starting_at: dt.datetime, ending_at: dt.datetime, page: str | None
    ) -> dict[str, Any]:
        return get_cost_report.request(
            starting_at=starting_at,
            ending_at=ending_at,
            bucket_width="1d",
            group_by=list(query.group_by) or UNSET,  # type: ignore[arg-type]
            limit=query.limit,
            page=UNSET if page is None else page,
            anthropic_version=query.anthropic_version,
        )

    def summaries(self, asked: tuple[str, ...]) -> list[tuple[str, ...]]:
        if "description" in asked:
            return [("model", "cost_type"), ("cost_type",)]
        return super().summaries(asked)

    def proof(self, query: Query, window: Window) -> BucketProof:
        return _CostProof(query, window)


class _CostProof(BucketProof):
    def excuses(self, status: int, message: str, now: dt.datetime) -> bool:
        """Tell whether a refused window merely holds no completed day yet.

        The API answers 400 "Invalid date range: ending date must be after starting date" then
        (langwatch/langwatch#7177).
        """
        return (
            status == 400
            and "ending date must be after starting date" in message
            and self.window.starting_at + self.query.width > now - SETTLING
        )


COST: Final = Cost()
