"""A report is one room: outside it nobody asks which one it is, and its fields are said once."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest
from anthropic_usage.reports import REGISTRY

PACKAGE = Path(__file__).parents[2] / "facade" / "anthropic_usage"
OUTSIDE = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in ("reports", "fields", "simulator")
)
ROWS = {kind.fields.row.__name__ for kind in REGISTRY.values()}
KINDS = {type(kind).__name__ for kind in REGISTRY.values()} | {"Buckets"}

MOST_LINES = 3800
"""Of client, fields, reports and engine, without blanks, comments and docstrings."""


def _tests_of_kind(tree: ast.AST) -> list[int]:
    """Return the lines in which code asks which report it has in hand."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {
            "isinstance",
            "issubclass",
        }:
            names = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
            found += [node.lineno] if names & (ROWS | KINDS) else []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = any(
                isinstance(side, ast.Attribute) and side.attr in ("report", "kind")
                for side in sides
            )
            named = any(
                isinstance(part, ast.Constant) and part.value in REGISTRY
                for side in sides
                for part in ast.walk(side)
            )
            found += [node.lineno] if asked and named else []
    return found


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_outside_asks_which_report_it_is(path: Path) -> None:
    assert _tests_of_kind(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(row, CostRow)",
        "issubclass(query.row, (UsageRow, CostRow))",
        "query.report == 'cost'",
        "'usage' != read.report",
        "part.report in ('usage', 'cost')",
    ],
)
def test_such_a_question_is_found(code: str) -> None:
    assert _tests_of_kind(ast.parse(code)) == [1]


def _code_lines(path: Path) -> int:
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    said = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in said:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def test_the_core_stays_small() -> None:
    paths = [PACKAGE / "client.py"]
    for room in ("fields", "reports", "engine"):
        paths += (PACKAGE / room).rglob("*.py")
    lines = sum(map(_code_lines, paths))
    assert lines <= MOST_LINES, lines
