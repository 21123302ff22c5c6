"""The one door for text from outside: what people named, what the API wrote, what an error quotes.

Such a text may hold anything. Where it goes decides what would do harm there, so each way out has a
function of its own: `clean` for terminals, tables, pages and notes, `whole` for JSON, `cell` and
`disarm` for CSV, `markdown` and `mrkdwn` for chats. What a model reads is `agent.untrusted`'s.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["cell", "clean", "disarm", "markdown", "mrkdwn", "replaced", "whole"]

_REPLACED = "\ufffd"
# Controls, escapes and line breaks; what turns the text behind it around; halves of a character.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_MARKS = re.compile("[\u061c\u200e\u200f]")
"""Marks of direction: invisible, and no letter is lost with them."""
_HALVES = re.compile("[\ud800-\udfff]")
_NO_CELL = re.compile("[\x00\ud800-\udfff]")
_NO_SHEET = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What a spreadsheet may read as a formula, also behind blanks that it drops.
_FORMULA = re.compile("[\\s\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\\-@＝＋－＠﹦﹢﹣﹫]|[\t\r\n]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_LINK = re.compile("(?<=:)(?=//)|(?<=[\\w-][.\uff0e\u3002\uff61])(?=[^\\W\\d_])|(?<=[@#])(?=\\w)")
"""The places at which an address, a mention or a number of an issue can be told as one."""
_APART = "\u200b"


def clean(text: Any) -> str:
    """Make a text safe for one line of a terminal, a table or a page.

    No control, no escape, no line break and no half of a character is left; letters of every
    script, their joiners, no-break spaces and soft hyphens stay.
    """
    return _MARKS.sub("", _HARMFUL.sub(_REPLACED, str(text)))


def whole(text: str) -> str:
    """Return a text that every Unicode encoding can hold: a half of a character is replaced."""
    return _HALVES.sub(_REPLACED, text)


def replaced(value: Any) -> Any:
    """Return a JSON value every text of which is `whole`."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [replaced(item) for item in value]
    if isinstance(value, dict):
        return {replaced(name): replaced(item) for name, item in value.items()}
    return value


def disarm(value: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula; a plain number stays one."""
    if not isinstance(value, str):
        return value
    text = _NO_SHEET.sub(_REPLACED, cell(value))
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def cell(value: Any) -> Any:
    """Return what a CSV file can hold of a value."""
    return _NO_CELL.sub(_REPLACED, value) if isinstance(value, str) else value


def markdown(text: Any) -> str:
    """Escape what Markdown, or the HTML in it, would act on: no markup, no link, no mention."""
    apart = _LINK.sub(_APART, clean(text))
    return re.sub(r"([\\`*_{}\[\]<>|#~@!&$])", r"\\\1", apart)


def mrkdwn(text: Any) -> str:
    """Escape what Slack would act on: no markup, no link, no mention."""
    apart = _LINK.sub(_APART, clean(text))
    apart = apart.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A zero-width space keeps stars and the like from formatting what is around them.
    return re.sub(r"([*_~`])", f"{_APART}\\1{_APART}", apart)
