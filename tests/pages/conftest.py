"""A report of a simulated organisation, and its page in a real browser."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from anthropic_usage import UsageClient
from anthropic_usage.analysis.spend import Spend, spend
from anthropic_usage.directory import Directory
from anthropic_usage.simulator import Simulator
from clock import NOW
from hostile import HOSTILE


@pytest.fixture(scope="session")
def truth() -> Simulator:
    """Give the organisation that the pages are of."""
    return Simulator(seed=7, size=0.5, days=400, now=NOW)


@pytest.fixture(scope="session")
def result(truth: Simulator) -> Spend:
    """Give its report, with a hostile name in each place that holds one."""
    with (
        truth.serve() as server,
        UsageClient(Simulator.DEMO_KEY, base_url=server.url, clock=lambda: NOW) as client,
    ):
        directory = Directory.read(client)
        first_key, first_workspace = (
            next(iter(directory.api_keys)),
            next(iter(directory.workspaces)),
        )
        directory = attrs.evolve(
            directory,
            api_keys={**directory.api_keys, first_key: HOSTILE},
            workspaces={**directory.workspaces, first_workspace: HOSTILE},
        )
        made = spend(
            client,
            dt.date(2026, 11, 1),
            dt.date(2026, 11, 21),
            directory=directory,
            organization="Acme & Söhne",
        )
    assert any(part.name == HOSTILE for part in made.by_workspace)
    assert any(key.name == HOSTILE for key in made.keys)
    return made


@pytest.fixture(scope="session")
def page_file(result: Spend, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page."""
    from anthropic_usage.pages import html

    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render(result), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Open a headless Chromium; CHROMIUM says where it is, REQUIRE_CHROMIUM that it must be.

    It is closed after its module, for while it is open no other event loop can run.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(name) for name in names)
    path = os.environ.get("CHROMIUM") or next(filter(None, found), None)
    if path is None:
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail("REQUIRE_CHROMIUM is set, and there is no chromium")
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()
