"""Exact, complete usage, cost and Claude Code reports from Anthropic's Admin API.

>>> from anthropic_usage import UsageClient
>>> with UsageClient() as client:  # doctest: +SKIP
...     client.usage("2026-02-01", "2026-03-01", group_by=["model"]).by("model")
"""

import importlib.metadata

from .client import AsyncUsageClient, UsageClient
from .engine.flow import Retry
from .engine.report import AsyncReport, Report
from .errors import (
    AnthropicUsageError,
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    IncompleteReport,
    IncompleteReportWarning,
    InvalidQuery,
    MissingExtra,
    NothingMatchedWarning,
    PermissionDenied,
    RateLimited,
)
from .reports import ClaudeCodeRow, CostRow, ModelUse, UsageRow

__version__ = importlib.metadata.version("anthropic-usage")

__all__ = [
    "AnthropicUsageError",
    "ApiError",
    "AsyncReport",
    "AsyncUsageClient",
    "AuthenticationError",
    "ClaudeCodeRow",
    "ConnectionFailed",
    "CostRow",
    "IncompleteReport",
    "IncompleteReportWarning",
    "InvalidQuery",
    "MissingExtra",
    "ModelUse",
    "NothingMatchedWarning",
    "PermissionDenied",
    "RateLimited",
    "Report",
    "Retry",
    "UsageClient",
    "UsageRow",
    "__version__",
]
