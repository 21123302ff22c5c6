"""What a line of the bill is for, in words: one naming for every answer and picture."""

from __future__ import annotations

from ..reports import CostRow

__all__ = ["OTHER", "charge_kind", "charge_name", "kind_name"]

OTHER = "other"
_NAMES = {
    "tokens": "Tokens",
    "web_search": "Web search",
    "code_execution": "Code execution",
    "session_usage": "Session usage",
}


def charge_kind(line: CostRow) -> str | None:
    """Return a line's cost type; one without a type is of tokens only if it says which ones."""
    if line.cost_type is None and line.token_type is not None:
        return "tokens"
    return line.cost_type


def kind_name(line: CostRow) -> str:
    """Name the kind of charge; one without a type is "other", with its description."""
    kind = charge_kind(line)
    if kind is not None:
        return _NAMES.get(kind, kind)
    return f"{OTHER}: {line.description}" if line.description else OTHER


def charge_name(line: CostRow) -> str:
    """Name a line by its model or, where it has none, by its kind; never "Tokens"."""
    if line.model is not None:
        return line.model
    if charge_kind(line) == "tokens":
        return f"{OTHER}: {line.description}" if line.description else f"{OTHER} tokens"
    return kind_name(line)
