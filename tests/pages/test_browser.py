"""The page in a real browser: it renders, stays silent, adds up, sorts, copies, and fits."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic_usage.analysis.spend import Spend
from hostile import HOSTILE

VIEWS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    """Open the page at a width and in a colour scheme; it must not complain or ask for anything."""
    contexts: list[Any] = []
    trouble: list[str] = []

    def at(width: int = 1440, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))

        def asked(request: Any) -> None:
            if not request.url.startswith(("file:", "data:")):
                trouble.append(request.url)

        page.on("request", asked)
        page.goto(page_file.as_uri())
        return page

    yield at
    for context in contexts:
        context.close()
    assert trouble == []


def test_the_totals_are_the_apis(opened: Any, result: Spend) -> None:
    page = opened()
    for mark in ("models", "workspaces", "kinds", "days"):
        exact = page.locator(f"#total-{mark}").get_attribute("data-copy")
        assert Decimal(exact) == result.billed
    shown = page.locator("#total-models").inner_text()
    assert shown == f"${result.billed:,.2f}"
    table = page.locator("table").filter(has=page.locator("#total-models"))
    cells = table.locator("tbody td:nth-child(2) button").all()
    assert sum(Decimal(cell.get_attribute("data-copy")) for cell in cells) == result.billed


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_fits_and_can_be_read(width: int, scheme: str, opened: Any) -> None:
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = page.locator("picture img").all()
    assert len(charts) == 4
    for chart in charts:
        drawn = chart.evaluate("i => ({w: i.naturalWidth, to: i.getBoundingClientRect().right})")
        assert drawn["w"] > 0
        assert drawn["to"] <= width
        assert len(chart.get_attribute("alt")) > 20
    for selector in ("body", ".figures .note", "caption", "td.number", ".id"):
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector
    assert page.locator("h1").inner_text() == "Acme & Söhne"


def test_tables_sort_by_mouse_and_keyboard(opened: Any) -> None:
    page = opened()
    table = page.locator("table").filter(has=page.locator("#total-models"))
    billed = table.locator("th").nth(1)
    values = "t => [...t.tBodies[0].rows].map(r => Number(r.cells[1].dataset.sort))"
    billed.locator("button").click()
    assert billed.get_attribute("aria-sort") == "descending"
    down = table.evaluate(values)
    assert down == sorted(down, reverse=True)
    billed.locator("button").press("Enter")
    assert billed.get_attribute("aria-sort") == "ascending"
    assert table.evaluate(values) == down[::-1]
    name = table.locator("th").nth(0)
    name.locator("button").click()
    names = table.evaluate("t => [...t.tBodies[0].rows].map(r => r.cells[0].dataset.sort)")
    assert names == sorted(names, key=str.lower)
    assert billed.get_attribute("aria-sort") is None


def test_numbers_copy_exactly(opened: Any, result: Spend) -> None:
    page = opened()
    page.locator("#total-models").click()
    assert page.evaluate("navigator.clipboard.readText()") == f"{result.billed:f}".rstrip("0")
    assert page.locator("#said").inner_text().startswith("Copied ")


def test_hostile_names_are_text(opened: Any) -> None:
    page = opened()
    assert page.title() == "Acme & Söhne"
    assert page.locator("script").count() == 1
    texts = page.locator("td.name").all_inner_texts()
    assert sum("<script>document.title='owned'</script>" in text for text in texts) >= 2
    assert HOSTILE[:20] in page.content().replace("&lt;", "<").replace("&gt;", ">")


CONTRAST = """element => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ink = light(parse(getComputedStyle(element).color));
  let behind = element, paper;
  while (behind) {
    paper = parse(getComputedStyle(behind).backgroundColor);
    if (paper.length < 4 || paper[3] > 0) break;
    behind = behind.parentElement;
  }
  const ground = light(paper);
  return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
}"""
