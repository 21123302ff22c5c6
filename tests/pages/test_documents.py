"""What pages, pictures and Markdown are made of, without a browser."""

from __future__ import annotations

import datetime as dt
import sys

import attrs
import pytest
from anthropic_usage import MissingExtra
from anthropic_usage.analysis.spend import Spend
from anthropic_usage.pages import html, markdown
from anthropic_usage.pages.charts import charts


def test_the_page_names_no_other_host(result: Spend) -> None:
    page = html.render(result)
    assert "default-src 'none'" in page
    for scheme in ("http://", "https://", "//cdn", "@import", "url("):
        assert scheme not in page.replace("http://www.w3.org", "")


def test_ids_instead_of_names(result: Spend) -> None:
    page = html.render(result, ids=True)
    assert "wrkspc_" in page
    tables = page.split("<table data-sortable>")
    assert not any("document.title" in table for table in tables)
    assert "document.title" in html.render(result)


def test_the_page_is_the_same_each_time(result: Spend) -> None:
    assert html.render(result) == html.render(result)


def test_pictures_are_pngs(result: Spend) -> None:
    made = charts(result)
    assert [chart.name for chart in made] == ["daily", "models", "workspaces", "claude-code"]
    for chart in made:
        picture = chart.png()
        assert picture.startswith(b"\x89PNG")
        # At twice the size, so that it is sharp on a phone.
        assert int.from_bytes(picture[16:20], "big") >= 1600


def test_markdown_cannot_be_broken_by_a_name(result: Spend) -> None:
    text = markdown.render(result)
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "[x](" not in text
    assert f"${result.billed:,.2f}" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace(r"\|", "").count("|") in (3, 4)


def test_nothing_to_show_is_still_a_page(result: Spend) -> None:
    nothing = attrs.evolve(
        result,
        billed=result.billed * 0,
        before=result.before * 0,
        billed_until=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        by_day=(),
        by_model=(),
        by_workspace=(),
        by_kind=(),
        keys=(),
        coding=None,
    )
    assert charts(nothing) == []
    assert "no day has a bill yet" in html.render(nothing)
    assert "no day has a bill yet" in markdown.render(nothing)


def test_without_the_extra_it_says_so(result: Spend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingExtra, match=r"anthropic-usage\[charts\]"):
        html.render(result)
