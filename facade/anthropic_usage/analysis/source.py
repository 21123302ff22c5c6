"""Where an analysis gets its reports from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from anthropic_admin_client.models.api_key import ApiKey
from anthropic_admin_client.models.bucket_width import BucketWidth
from anthropic_admin_client.models.organization import Organization
from anthropic_admin_client.models.user import User
from anthropic_admin_client.models.workspace import Workspace

from ..engine.report import Report
from ..errors import AnthropicUsageError, ApiError, AuthenticationError, InvalidQuery
from ..moments import Moment
from ..reports import ClaudeCodeRow, CostRow, Many, UsageRow
from ..reports.dimensions import CostDimensions, UsageDimensions

__all__ = ["Source", "UsageSource", "optional", "reason"]

T = TypeVar("T")


def optional(read: Callable[[], T], otherwise: T) -> tuple[T, AnthropicUsageError | None]:
    """Return what can be read, or `otherwise` and the error that kept it from being read.

    For a part of an answer that the rest can do without: it was refused, kept failing, or cannot be
    proven whole. A key that is not known and a wrong question are errors of all of it, and raised.
    """
    try:
        return read(), None
    except (AuthenticationError, InvalidQuery):
        raise
    except AnthropicUsageError as error:
        return otherwise, error


def reason(error: AnthropicUsageError) -> str:
    """Say why a part could not be read, without advice on how the whole client is set up."""
    if not isinstance(error, ApiError):
        return str(error)
    facts = " ".join(str(fact) for fact in (error.status, error.type) if fact is not None)
    said = f"{facts}: {error.message}" if facts else error.message
    return f"{said} (request {error.request_id})" if error.request_id else said


class UsageSource(Protocol):
    """Whatever can be asked for usage."""

    def usage(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        bucket_width: BucketWidth = "1d",
        group_by: UsageDimensions = (),
        speeds: Many | None = None,
    ) -> Report[UsageRow]:
        """Return the tokens used in a range."""


class Source(UsageSource, Protocol):
    """Whatever can be asked for reports: a `UsageClient`, or a lake.

    A report may be grouped finer than it was asked to be, so an analysis sums it up with
    `.by(...)` or `.totals()` and never counts on a row for each group.
    """

    def cost(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        group_by: CostDimensions = (),
    ) -> Report[CostRow]:
        """Return what was billed in a range."""

    def claude_code(
        self, starting_at: Moment, ending_at: Moment | None = None
    ) -> Report[ClaudeCodeRow]:
        """Return what Claude Code did in a range."""

    def workspaces(self) -> list[Workspace]:
        """Return the workspaces, archived ones too."""

    def api_keys(self) -> list[ApiKey]:
        """Return the API keys."""

    def users(self) -> list[User]:
        """Return the users."""

    def organization(self) -> Organization:
        """Return the organisation."""
