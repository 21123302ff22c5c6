"""A tracker's command, and a lake of a few days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from anthropic_usage.cli import track
from anthropic_usage.lake.storage import Storage
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command
from tracking import KEY, Run


@pytest.fixture
def run(served: tuple[Simulator, Server], tmp_path: Path) -> Run:
    """Run `anthropic-usage-track` (or another command, with `of`) on a lake of its own."""

    def with_key(*args: str, of: Any = track.main, **environment: str) -> tuple[int, str, str]:
        where = {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": KEY}
        root = () if "--datalake-root" in args else ("--datalake-root", str(tmp_path / "lake"))
        done = run_command((*args, *root), where | environment, main=of)
        assert "MARKER" not in done[1] + done[2]
        return done

    return with_key


@pytest.fixture
def lake(tmp_path: Path) -> Storage:
    """Give the storage that `run` writes to."""
    return Storage(tmp_path / "lake")
