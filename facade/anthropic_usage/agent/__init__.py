"""The reports for agents: a tool of the Messages API, and an MCP server."""

from .tool import DEFAULT_MAX_CHARS, NAME, anthropic_usage, definition, tools

__all__ = ["DEFAULT_MAX_CHARS", "NAME", "anthropic_usage", "definition", "tools"]
