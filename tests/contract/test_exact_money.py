"""Money is reckoned with the functions of `money`, never with what follows the caller's context.

The operators of `Decimal`, and `sum`, `abs` and `round` of them, round by whatever decimal context
the caller has set. What is a `Decimal` is told here by what the source itself says: annotations of
parameters and fields, and what the functions of `money` return. A field counts only if all fields
of its name in the package are Decimals, so that nothing else is taken for one.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import anthropic_usage
import pytest

PACKAGE = Path(anthropic_usage.__file__).parent
CHECKED = sorted(path for path in PACKAGE.rglob("*.py") if "simulator" not in path.parts)
RETURN_MONEY = {
    node.name
    for node in ast.parse((PACKAGE / "money.py").read_text()).body
    if isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or node) == "Decimal"
}
ROUNDED = {"sum", "abs", "round", "divmod", "pow"}
METHODS = {"quantize", "normalize", "sqrt", "scaleb", "fma", "remainder_near", "exp", "ln", "log10"}


def is_money(annotation: ast.expr | None) -> bool:
    """Tell whether an annotation is that of a Decimal, or none."""
    written = "" if annotation is None else ast.unparse(annotation)
    return written in ("Decimal", "Decimal | None") or written.startswith("Annotated[Decimal,")


def fields() -> set[str]:
    """Return the names of fields and properties that are Decimals wherever they are declared."""
    declared: dict[str, set[bool]] = defaultdict(set)
    for path in CHECKED:
        for node in ast.walk(ast.parse(path.read_text())):
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                    declared[member.target.id].add(is_money(member.annotation))
                elif isinstance(member, ast.FunctionDef):
                    kinds = {ast.unparse(decorator) for decorator in member.decorator_list}
                    is_property = bool(kinds & {"property", "Derived"})
                    declared[member.name].add(is_property and is_money(member.returns))
    return {name for name, kinds in declared.items() if kinds == {True}}


FIELDS = fields()


class Scope:
    """The names of a function, or of a module, that are Decimals whatever is assigned to them."""

    def __init__(self, node: ast.AST, outer: set[str]) -> None:
        self.names = set(outer)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            self.names -= {argument.arg for argument in every}
            self.names |= {argument.arg for argument in every if is_money(argument.annotation)}
        assigned: dict[str, list[bool]] = defaultdict(list)
        for child in own(node):
            if isinstance(child, ast.Assign):
                for target in child.targets:
                    for name in ast.walk(target):
                        if isinstance(name, ast.Name):
                            whole = name is target and self.holds(child.value)
                            assigned[name.id].append(whole)
            elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                assigned[child.target.id].append(is_money(child.annotation))
            elif isinstance(child, ast.For | ast.comprehension):
                for name in ast.walk(child.target):
                    if isinstance(name, ast.Name):
                        assigned[name.id].append(False)
        for name, kinds in assigned.items():
            (self.names.add if all(kinds) else self.names.discard)(name)

    def holds(self, node: ast.expr) -> bool:
        """Tell whether an expression is certainly a Decimal."""
        if isinstance(node, ast.Name):
            return node.id in self.names
        if isinstance(node, ast.Attribute):
            return node.attr in FIELDS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id in RETURN_MONEY | {"Decimal"}
        if isinstance(node, ast.BinOp):
            return self.holds(node.left) or self.holds(node.right)
        if isinstance(node, ast.UnaryOp):
            return self.holds(node.operand)
        if isinstance(node, ast.IfExp):
            return self.holds(node.body) and self.holds(node.orelse)
        return False

    def has(self, node: ast.expr) -> bool:
        """Tell whether an argument is a Decimal, or yields Decimals."""
        several = isinstance(node, ast.GeneratorExp | ast.ListComp)
        return self.holds(node.elt if several else node)  # type: ignore[attr-defined]

    def found(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what follows the caller's context."""
        for child in own(node):
            if isinstance(child, ast.BinOp):
                bad = self.holds(child.left) or self.holds(child.right)
            elif isinstance(child, ast.UnaryOp):
                bad = isinstance(child.op, ast.USub | ast.UAdd) and self.holds(child.operand)
            elif isinstance(child, ast.AugAssign):
                bad = self.holds(child.value)
            elif isinstance(child, ast.Call) and isinstance(child.func, ast.Name):
                bad = child.func.id in ROUNDED and any(map(self.has, child.args))
            elif isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
                with_context = "context" in {word.arg for word in child.keywords} or any(
                    ast.unparse(argument).isupper() for argument in child.args
                )
                bad = (
                    child.func.attr in METHODS and self.holds(child.func.value) and not with_context
                )
            else:
                bad = False
            if bad:
                yield child


def own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in a function or module, without what is in the functions within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from own(child)


def inexact(source: str) -> list[str]:
    """Return the places of a module where a Decimal follows the caller's context."""
    tree = ast.parse(source)
    module = Scope(tree, set())
    found = list(module.found(tree))

    def inside(node: ast.AST, outer: set[str]) -> None:
        for child in ast.iter_child_nodes(node):
            names = outer
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                scope = Scope(child, outer)
                found.extend(scope.found(child))
                names = scope.names
            inside(child, names)

    inside(tree, module.names)
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in found
        if isinstance(node, ast.expr | ast.stmt)
    ]


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_decimal_follows_the_callers_context(path: Path) -> None:
    assert inexact(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "return amount * 2",
        "return -amount",
        "return 1 - row.amount_usd",
        "return sum(line.amount_usd for line in lines)",
        "return abs(add(amount, amount))",
        "whole = add(amount, amount)\n    return whole / 3",
        "whole = Decimal(0)\n    whole += amount\n    return whole",
        "return amount.quantize(Decimal('0.01'))",
        "return round(amount, 2)",
    ],
)
def test_what_follows_it_is_found(line: str) -> None:
    assert inexact(f"def f(amount: Decimal, row, lines):\n    {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "return count * 2",
        "return add(amount, amount)",
        "return float(amount) * 2",
        "return sum(line.tokens for line in lines)",
        "return amount.quantize(Decimal('0.01'), context=_PLAIN)",
        "return amount < 2",
    ],
)
def test_what_does_not_is_not(line: str) -> None:
    assert inexact(f"def f(amount: Decimal, count: int, lines):\n    {line}\n") == []
