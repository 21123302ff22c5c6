"""The types that callers see: what is right passes a strict checker, what is wrong does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anthropic_admin_client
import anthropic_usage
import pytest

RIGHT = """\
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import assert_type

from anthropic_admin_client.models.user import User
from anthropic_admin_client.models.workspace import Workspace
from anthropic_usage import (
    ApiError,
    AnthropicUsageError,
    AsyncReport,
    AsyncUsageClient,
    ClaudeCodeRow,
    CostRow,
    Groups,
    Report,
    UsageClient,
    UsageRow,
)
from anthropic_usage.analysis.people import People, people
from anthropic_usage.engine.report import Collected
from anthropic_usage.analysis.spend import Spend, spend


def blocking() -> None:
    with UsageClient() as client:
        used = client.usage(dt.date(2026, 2, 1), "2026-03-01", group_by=["model"])
        assert_type(used, Report[UsageRow])
        for row in used:
            assert_type(row, UsageRow)
            assert_type(row.model, str | None)
            assert_type(row.output_tokens, int)
            assert_type(row.starting_at, dt.datetime)
        assert_type(used.by("day", "model"), Groups[UsageRow])
        assert_type(used.totals(), UsageRow)
        assert_type(used.collect(), Collected[UsageRow])
        assert_type(used.settled_until, dt.datetime | None)
        bill = client.cost("2026-02-01", group_by="workspace_id")
        assert_type(bill, Report[CostRow])
        assert_type(bill.totals().amount_usd, Decimal)
        done = client.claude_code("2026-02-01", timezone="UTC")
        assert_type(done, Report[ClaudeCodeRow])
        assert_type(done.by("actor")[0].estimated_cost_usd, Decimal)
        assert_type(done.by("model")[0].num_sessions, int | None)
        assert_type(client.users(), list[User])
        assert_type(client.workspaces(), list[Workspace])
        assert_type(people(client, "2026-02-01"), People)
        assert_type(spend(client, "2026-02-01"), Spend)
        assert_type(spend(client, "2026-02-01").billed, Decimal | None)


async def waiting() -> None:
    async with AsyncUsageClient() as client:
        used = client.usage("2026-02-01")
        assert_type(used, AsyncReport[UsageRow])
        async for row in used:
            assert_type(row, UsageRow)
        assert_type(await used.by("model"), Groups[UsageRow])
        assert_type(await used.totals(), UsageRow)
        assert_type(await client.users(), list[User])


def failing(error: ApiError) -> AnthropicUsageError:
    assert_type(error.status, int | None)
    assert_type(error.request_id, str | None)
    return error
"""

WRONG = {
    "client.usage(20260201)": "arg-type",
    'client.usage("2026-02-01", group_by=5)': "arg-type",
    'client.usage("2026-02-01", group_by="modle")': "arg-type",
    'client.usage("2026-02-01", group_by=["model", "actor"])': "list-item",
    'client.usage("2026-02-01", bucket_width="2d")': "arg-type",
    'client.cost("2026-02-01", group_by="model")': "arg-type",
    'client.usage("2026-02-01", model="claude")': "call-arg",
    'client.usage("2026-02-01", "2026-03-01", "1d")': "call-arg|misc",
    'client.usage("2026-02-01").totals().outputtokens': "attr-defined",
    'client.cost("2026-02-01", models="claude")': "call-arg",
    'client.cost("2026-02-01").totals().amount_usd + 1.5': "operator",
    'client.claude_code("2026-02-01").by("model")[0].num_sessions + 1': "operator",
    'client.usage("2026-02-01").settled_until.date()': "union-attr",
    'spend(client, "2026-02-01").billed + 1': "operator",
    'spend(client, "2026-02-01").coding.people': "union-attr",
    'UsageClient(timeout="60")': "arg-type",
    "UsageClient(max_retries=3)": "call-arg",
    "client.users()[0].nobody": "attr-defined",
}
HEAD = """\
from anthropic_usage import UsageClient
from anthropic_usage.analysis.spend import spend

client = UsageClient()
"""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """Give what mypy says of both files: lines and codes."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("typed")
    (folder / "right.py").write_text(RIGHT, encoding="utf-8")
    (folder / "wrong.py").write_text(HEAD + "".join(f"{line}\n" for line in WRONG))
    (folder / "mypy.ini").write_text("[mypy]\nstrict = true\n")
    homes = [
        str(Path(made.__file__).parents[1]) for made in (anthropic_usage, anthropic_admin_client)
    ]
    command = ["mypy", "--follow-imports=silent", "--config-file=mypy.ini", "right.py", "wrong.py"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "MYPYPATH": os.pathsep.join(homes)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, list[tuple[int, str]]] = {"right.py": [], "wrong.py": []}
    for line in done.stdout.splitlines():
        if said := re.fullmatch(r"(\S+?):(\d+): error: .*\[([\w-]+)\]", line):
            found[said[1]].append((int(said[2]), said[3]))
    return found


def test_what_is_right_passes(complaints: dict[str, list[tuple[int, str]]]) -> None:
    lines = RIGHT.splitlines()
    assert [(lines[number - 1], code) for number, code in complaints["right.py"]] == []


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_does_not(line: str, complaints: dict[str, list[tuple[int, str]]]) -> None:
    number = HEAD.count("\n") + 1 + list(WRONG).index(line)
    codes = [code for at, code in complaints["wrong.py"] if at == number]
    assert any(re.fullmatch(WRONG[line], code) for code in codes), codes
