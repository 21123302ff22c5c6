"""Exact, complete usage, cost and Claude Code reports from Anthropic's Admin API.

>>> from anthropic_usage import UsageClient
>>> with UsageClient() as client:  # doctest: +SKIP
...     client.usage("2026-02-01", "2026-03-01", group_by=["model"]).by("model")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.prices import PriceTable
    from .client import AsyncUsageClient, UsageClient
    from .directory import Directory
    from .engine.flow import Retry, Wait
    from .engine.groups import Groups
    from .engine.report import AsyncReport, Report
    from .engine.transport import Listener
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
    from .reports import ClaudeCodeRow, CostRow, ModelUse, Part, Query, UsageRow

    __version__: str

__all__ = [
    "AnthropicUsageError",
    "ApiError",
    "AsyncReport",
    "AsyncUsageClient",
    "AuthenticationError",
    "ClaudeCodeRow",
    "ConnectionFailed",
    "CostRow",
    "Directory",
    "Groups",
    "IncompleteReport",
    "IncompleteReportWarning",
    "InvalidQuery",
    "Listener",
    "MissingExtra",
    "ModelUse",
    "NothingMatchedWarning",
    "Part",
    "PermissionDenied",
    "PriceTable",
    "Query",
    "RateLimited",
    "Report",
    "Retry",
    "UsageClient",
    "UsageRow",
    "Wait",
    "__version__",
]

_HOMES = {
    "AsyncUsageClient": "client",
    "UsageClient": "client",
    "Retry": "engine.flow",
    "AsyncReport": "engine.report",
    "Report": "engine.report",
    "Groups": "engine.groups",
    "Query": "reports",
    "Listener": "engine.transport",
    "Part": "reports",
    "Wait": "engine.flow",
    "PriceTable": "analysis.prices",
    "Directory": "directory",
    "ClaudeCodeRow": "reports",
    "CostRow": "reports",
    "ModelUse": "reports",
    "UsageRow": "reports",
}
"""Where what is no error lives: imported when it is asked for, so that `--help` waits for none."""


def __getattr__(name: str) -> Any:
    """Import a public name, and keep it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        metadata = importlib.import_module("importlib.metadata")
        value: Any = metadata.version("anthropic-usage")
    else:
        home = importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__)
        value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
