"""Tables, on terminals of any width and in a pipe."""

from __future__ import annotations

import datetime as dt
import io
import re
from decimal import Decimal

import pytest
from anthropic_usage.cli.tables import print_table
from anthropic_usage.reports import (
    CLAUDE_CODE,
    COST,
    USAGE,
    ClaudeCodeRow,
    CostRow,
    ToolUse,
    UsageRow,
)

START, END = dt.datetime(2026, 11, 10, tzinfo=dt.UTC), dt.datetime(2026, 11, 11, tzinfo=dt.UTC)
KEY, WORKSPACE = "apikey_01GA2Zay2QK7g5EBEpCVvih5", "wrkspc_01L69JDJnZv2mWzZ9P1yq6w1"
MODEL = "claude-haiku-4-5-20251001"


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def plain(text: str) -> list[str]:
    """Return the lines without the terminal's own escapes."""
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]


def usage_row(**dimensions: str | None) -> UsageRow:
    return UsageRow(
        starting_at=START,
        ending_at=END,
        uncached_input_tokens=987_654_321,
        cache_creation_5m_input_tokens=1,
        cache_creation_1h_input_tokens=2,
        cache_read_input_tokens=99_999,
        output_tokens=12_345,
        web_search_requests=7,
        **dimensions,  # type: ignore[arg-type]
    )


def code_row(actor: str | None, **more: object) -> ClaudeCodeRow:
    measures = dict.fromkeys(ClaudeCodeRow.MEASURES, 0)
    return ClaudeCodeRow(actor=actor, models=(), **{**measures, **more})  # type: ignore[arg-type]


def usage_lines(width: int, monkeypatch: pytest.MonkeyPatch, *group_by: str) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    query = USAGE.ask(START, END, group_by=group_by)
    dimensions = {"model": MODEL, "workspace_id": WORKSPACE, "api_key_id": KEY}
    row = usage_row(**{name: dimensions[name] for name in group_by})
    out = Terminal()
    print_table(query, [row, row], usage_row(), None, out)
    return plain(out.getvalue())


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
@pytest.mark.parametrize("group_by", [(), ("model",), ("model", "workspace_id", "api_key_id")])
def test_numbers_and_dates_are_whole_at_any_width(
    width: int, group_by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = usage_lines(width, monkeypatch, *group_by)
    text = "\n".join(lines)
    assert text.count("2026-11-10") == 2
    assert text.count("988M") == 6, "input and total, of two rows and their sum"
    assert max(map(len, lines)) <= width
    if len(group_by) < 3:
        assert "…" not in text
        assert all(MODEL in text for _ in group_by)


def test_the_least_telling_columns_give_way_and_that_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    query = CLAUDE_CODE.ask(START, END)
    actor = "somebody.with.a.long.name@company.example"
    out = Terminal()
    row = code_row(actor, num_sessions=3, actor_type="user_actor")
    left_out = print_table(query, [row, row], row, ("actor",), out)
    assert set(left_out) >= {"tokens", "lines -"}
    assert actor in out.getvalue()
    assert max(map(len, plain(out.getvalue()))) <= 80
    pipe = io.StringIO()
    assert print_table(query, [row, row], row, ("actor",), pipe) == ()
    assert "\x1b" not in pipe.getvalue()


def test_nothing_is_cut_in_a_pipe() -> None:
    query = COST.ask(START, END, group_by=["description"])
    description = "a very long description " * 40
    row = CostRow(
        starting_at=START, ending_at=END, description=description, amount_cents=Decimal(1)
    )
    out = io.StringIO()
    print_table(query, [row], row, ("description",), out)
    assert description.strip() in out.getvalue()
    assert "$0.01" in out.getvalue()


def test_names_cannot_drive_the_terminal() -> None:
    query = CLAUDE_CODE.ask(START, END)
    row = code_row("eve\x1b]0;owned\x07\x1b[2J\r\n\u202e[bold]x[/bold]")
    out = io.StringIO()
    print_table(query, [row], row, ("actor",), out)
    line = out.getvalue().splitlines()[2]
    assert line.startswith("eve\ufffd]0;owned\ufffd\ufffd[2J\ufffd\ufffd\ufffd[bold]x[/bold]")
    assert not set("\x1b\x07\r\u202e") & set(out.getvalue())


def test_nulls_say_what_they_are() -> None:
    query = USAGE.ask(START, END, group_by=["workspace_id", "api_key_id", "model"])
    out = io.StringIO()
    print_table(query, [usage_row()], usage_row(), None, out)
    line = out.getvalue().splitlines()[2]
    assert re.search(r"no key \(Console\) +default workspace +- ", line)


def test_acceptance_counts_every_tool() -> None:
    query = CLAUDE_CODE.ask(START, END)
    row = code_row(
        "a",
        edit_tool_accepted=1,
        edit_tool_rejected=1,
        other_tools=(ToolUse(tool="new", accepted=2, rejected=0),),
    )
    out = io.StringIO()
    print_table(query, [row], row, ("actor",), out)
    assert "75%" in out.getvalue()
