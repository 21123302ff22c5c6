"""A room a report: its row, its query, its pages, and what proves them whole.

`kind` says what the rest of the house may ask of any report; `REGISTRY` names them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .claude_code import CLAUDE_CODE, ClaudeCodeRow, ModelUse, ToolUse
from .cost import COST, CostRow
from .kind import SETTLING, Kind, Page, Part, Proof, Window, hole
from .query import PERIODS, Many, Query, check_version
from .usage import USAGE, UsageRow

__all__ = [
    "CLAUDE_CODE",
    "COST",
    "PERIODS",
    "REGISTRY",
    "SETTLING",
    "USAGE",
    "ClaudeCodeRow",
    "CostRow",
    "Kind",
    "Many",
    "ModelUse",
    "Page",
    "Part",
    "Proof",
    "Query",
    "ToolUse",
    "UsageRow",
    "Window",
    "check_version",
    "hole",
]

REGISTRY: Final[Mapping[str, Kind[Any]]] = {kind.name: kind for kind in (USAGE, COST, CLAUDE_CODE)}
"""Every report by its name."""
