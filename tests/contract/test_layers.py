"""The contracts of imports catch what they are there for, wherever it is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "facade" / "anthropic_usage"
ROOMS = sorted(
    str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.stat().st_size
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the contracts speak of."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for folder in ("facade", "generated"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("*.pyc"))
    return copy


def lint(tree: Path) -> tuple[int, str]:
    """Run import-linter on a tree; returns its exit code and what it says."""
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=tree,
        env={"PYTHONPATH": f"{tree / 'facade'}:{tree / 'generated'}", "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def test_the_tree_keeps_all_contracts(tree: Path) -> None:
    code, said = lint(tree)
    assert code == 0, said


def test_httpx_is_found_in_every_module_at_once(tree: Path) -> None:
    """Each module but the one that may gets the import; every one of them must be named."""
    allowed = {"transport.py", "engine/transport.py"}
    before = {name: (tree / "facade/anthropic_usage" / name).read_text() for name in ROOMS}
    try:
        for name, text in before.items():
            if name not in allowed:
                (tree / "facade/anthropic_usage" / name).write_text(text + "\nimport httpx\n")
        code, said = lint(tree)
    finally:
        for name, text in before.items():
            (tree / "facade/anthropic_usage" / name).write_text(text)
    assert code == 1
    for name in before.keys() - allowed:
        module = "anthropic_usage." + name.removesuffix(".py").replace("/", ".")
        assert f"{module.removesuffix('.__init__')} is not allowed to import httpx" in said or (
            f"{module.removesuffix('.__init__')} -> httpx" in said
        ), module


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("simulator/ledger.py", "from anthropic_usage.money import add"),
        ("simulator/http/app.py", "import anthropic_usage.client"),
        ("simulator/prices.py", "import anthropic_admin_client"),
        ("money.py", "import anthropic_usage.client"),
        ("analysis/spend.py", "from anthropic_usage.cli import main"),
    ],
)
def test_an_import_across_or_upwards_is_refused(tree: Path, module: str, line: str) -> None:
    path = tree / "facade/anthropic_usage" / module
    text = path.read_text()
    try:
        path.write_text(f"{text}\n{line}\n")
        code, said = lint(tree)
    finally:
        path.write_text(text)
    assert code == 1, said
