"""A report as Markdown, short enough for a chat."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.spend import Slice, Spend
from ..human import count, dollars
from ..outside import markdown
from .figures import KIND_NAMES, change, figures, interval

__all__ = ["render"]

_MOST = 8


def render(spend: Spend, *, title: str | None = None) -> str:
    """Return the report as Markdown; texts from outside cannot become markup."""
    lines = [
        f"## {markdown(title or spend.organization or 'Claude spend')}",
        "",
        f"{spend.starting_at:%Y-%m-%d} up to {spend.ending_at:%Y-%m-%d} (UTC, exclusive)",
        "",
    ]
    for figure in figures(spend):
        lines.append(f"* **{figure.name}: {markdown(figure.value)}** {markdown(figure.note)}")
    lines += _slices("model", spend.by_model)
    lines += _slices("workspace", spend.by_workspace)
    lines += ["", "| tokens | now | change |", "|---|---:|---:|"]
    for name, (now, before) in spend.tokens.items():
        lines.append(f"| {KIND_NAMES.get(name, name)} | {count(now)} | {change(now, before)} |")
    if spend.keys:
        lines += ["", "| API key (estimated) | cost |", "|---|---:|"]
        for key in spend.keys[:5]:
            lines.append(f"| {markdown(key.name)} | {interval(key.low, key.high)} |")
    if spend.notes:
        lines += ["", *(f"> {markdown(note)}" for note in spend.notes)]
    return "\n".join(lines) + "\n"


def _slices(what: str, parts: Sequence[Slice]) -> list[str]:
    lines = ["", f"| {what} | billed | change |", "|---|---:|---:|"]
    for part in parts[:_MOST]:
        moved = change(part.billed, part.before)
        lines.append(f"| {markdown(part.name)} | {dollars(part.billed)} | {moved} |")
    rest = parts[_MOST:]
    if rest:
        amount = sum((part.billed for part in rest[1:]), rest[0].billed)
        lines.append(f"| {len(rest)} more | {dollars(amount)} | |")
    return lines
