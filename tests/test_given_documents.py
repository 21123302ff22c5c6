"""What people hand over: read as it is written, or refused in a sentence that says where."""

from __future__ import annotations

import codecs
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from anthropic_usage import InvalidQuery
from anthropic_usage.analysis.budgets import Budgets
from anthropic_usage.analysis.chargeback import Owner, OwnerMap
from anthropic_usage.analysis.prices import PriceTable
from anthropic_usage.simulator import Server, Simulator
from cassettes import run_command
from hypothesis import given
from hypothesis import strategies as st

WORDS = (
    "NO", "on", "Yes", "0123", "0471", "0o17", "0x1F", "1_000", "12:30", "1e3", "2026-11-25",
    "1.0", ".inf", "true", "12:30:45", "+1", "=",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_keys_and_values_of_yaml_are_texts_as_written(word: str) -> None:
    owners = OwnerMap.parse(f"{word}: {word}\nx: {{team: {word}, cost_center: {word}}}\n")
    assert owners.entries == {word: Owner(team=word), "x": Owner(team=word, cost_center=word)}


@pytest.mark.parametrize("number", ["4711", "0.10", "1e3", "-0", "1.50", "9" * 5000])
def test_numbers_of_json_are_texts_as_written(number: str) -> None:
    owners = OwnerMap.parse(f'{{"x": {{"team": "T", "cost_center": {number}}}}}', "json")
    assert owners.owner("x") == Owner(team="T", cost_center=number)


@pytest.mark.parametrize(
    "text",
    [
        "pattern,team,cost_center\nA,T,0471\n",
        "pattern;team;cost_center\r\nA;T;0471\r\n",
        "pattern\tteam\tcost_center\rA\tT\t0471\r",
        "\ufeffPattern, Team, Cost Center\n A , T , 0471 \n",
        "sep=;\nCOST-CENTER;note;TEAM;pattern\n0471;anything;T;A\n",
        '"Cost Centre","team","pattern"\n"0471","T","A"\n,,\n\n',
        "\n\npattern,team,cost_center,\nA,T,0471,\n",
    ],
)
def test_a_table_is_read_however_a_spreadsheet_writes_it(text: str) -> None:
    assert OwnerMap.parse(text, "csv").entries == {"A": Owner(team="T", cost_center="0471")}


@pytest.mark.parametrize(
    ("form", "text", "sentence"),
    [
        ("csv", "pattern,team\nA,T\nB\n", "line 3: 1 cells under 2 headings"),
        ("csv", "pattern,team,cost_center\nA,T\n", "line 2: 2 cells under 3 headings"),
        ("csv", "pattern,team\nA,T,U\n", "line 2: 3 cells under 2 headings"),
        ("csv", "pattern,team\nA,\n", "line 2: the team of 'A' is empty"),
        ("csv", "pattern,team\n,T\n", "line 2: the pattern is empty"),
        ("csv", "pattern,team\nA,T\n\nA,U\n", "line 4: 'A' is there twice, first in line 2"),
        ("csv", 'pattern,team\n"A\nB",T\nC,\n', "line 4: the team of 'C' is empty"),
        ("csv", "pattern,team,Team\nA,T,U\n", "line 1: the column team is there twice"),
        ("csv", "who;group\nA;T\n", "found: 'who', 'group'"),
        ("csv", "", "found: nothing"),
        ("csv", 'pattern,team\n"A"x,T\n', "it is no CSV: line 2"),
        ("yaml", "A: T\nB: U\nA: V\n", "line 3: 'A' is there twice, first in line 1"),
        ("yaml", "A:\n  team: T\n  team: U\n", "line 3: 'team' is there twice, first in line 2"),
        ("yaml", "A: T\nB: ''\n", "line 2: the team of 'B' is empty"),
        ("yaml", "A: T\nB:\n", "line 2: the team of 'B' is empty"),
        ("yaml", "A: null\n", "line 1: the team of 'A' is empty"),
        ("yaml", "A: {cost_center: 1}\n", "line 1: the team of 'A' is empty"),
        ("yaml", "A: {team: T, group: 1}\n", "line 1: the entry of 'A' must be a team"),
        ("yaml", "A: [T]\n", "line 1: the entry of 'A' must be a team"),
        ("yaml", "A: {team: [T]}\n", "line 1: the entry of 'A' must be a team"),
        ("yaml", "'': T\n", "line 1: the pattern is empty"),
        ("yaml", "- A\n", "must be an object of patterns"),
        ("yaml", "", "must be an object of patterns"),
        ("yaml", "? [a]\n: T\n", "line 1: a key must be a text"),
        ("yaml", "A: T\n---\nB: U\n", "line 2: a second document"),
        ("yaml", "A: !!python/object:os.system T\n", "line 1: tags such as"),
        ("yaml", "x: &x {team: T}\nA: {<<: *x}\n", "line 2: merge keys"),
        ("yaml", "A: &a [*a]\n", "line 1: *a names nothing before it"),
        ("yaml", "A: T\nB: [\n", "it is no YAML: line 3"),
        ("yaml", "A: \x07\n", "it is no YAML"),
        ("json", '{"A": "T",\n "A": "U"}', "line 2: 'A' is there twice, first in line 1"),
        ("json", '{"A": {"team": "T"},\n"B": {"team": "T",\n"team": "U"}}', "line 3: 'team' is"),
        ("json", '{"\\u0041": "T",\n "A": "U"}', "line 2: 'A' is there twice"),
        ("json", '{"A": "T",\n "B": ""}', "line 2: the team of 'B' is empty"),
        ("json", '{"A": true}', "line 1: the entry of 'A' must be a team"),
        ("json", '{"A": NaN}', "NaN is no number"),
        ("json", '{"A": "T"\n', "it is no JSON: line 2"),
        ("json", "[]", "must be an object of patterns"),
    ],
)  # fmt: skip
def test_a_map_that_says_two_things_or_nothing_is_refused_with_its_line(
    form: str, text: str, sentence: str
) -> None:
    with pytest.raises(InvalidQuery) as refused:
        OwnerMap.parse(text, form)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_alias_stands_for_what_it_names() -> None:
    owners = OwnerMap.parse("A: &one {team: T, cost_center: '1'}\nB: *one\n")
    assert owners.owner("B") == Owner(team="T", cost_center="1")


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 30_000 + "]" * 30_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '"' + "x" * (5 * 2**20) + '"',
        '{"a": "' + '\\"' * 100_000,
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]\n" for c in "bcdefghijkl"),
    ],
    ids=["lists", "objects", "long", "unclosed", "laughs"],
)
def test_what_would_never_end_ends_in_a_sentence(form: str, text: str) -> None:
    before = time.process_time()
    with pytest.raises(InvalidQuery) as refused:
        OwnerMap.parse(text, form)
    assert len(str(refused.value)) < 500
    assert time.process_time() - before < 60  # minutes or more where it is not bounded


@given(
    st.dictionaries(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
)
def test_any_texts_come_back_from_json_as_they_were(entries: dict[str, str]) -> None:
    text = json.dumps(entries, indent=1)
    assert {
        who: owner.team for who, owner in OwnerMap.parse(text, "json").entries.items()
    } == entries


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("[prod] *", "[prod] search", True),
        ("[ab]x", "ax", False),
        ("[!a]x", "[!a]x", True),
        ("a.c", "abc", False),
        ("a?c", "abc", True),
        ("a*c", "a\nc", True),
        ("*[", "x[", True),
        ("{a,b}", "a", False),
        ("\\*", "*", False),
        ("A*", "abc", False),
    ],
)
def test_only_stars_and_question_marks_stand_for_others(
    pattern: str, text: str, matches: bool
) -> None:
    assert bool(OwnerMap({pattern: Owner(team="T")}).owner(text)) is matches


NO_NUMBERS = (
    "40,50", "1,5", "1.000,50", "1,00", "0,500", "1,0000", ",5", "1,,000", "12,34,567", "1,000,",
    "1_000", "nan", "NaN", "inf", "-Infinity", "", " ", " 5", "5 ", "5\n", "٤٠", "４０", "$5", "1e", "0x10",
    "1e9999", "five", "1 000", "1'000", "½",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_none_in_budgets_prices_and_thresholds(text: str) -> None:
    quoted = json.dumps(text)
    for budgets in (
        f"budgets: [{{amount_usd: {quoted}}}]",
        f"budgets: [{{amount_usd: 5, warn_at: [{quoted}]}}]",
        f"jump: {{factor: {quoted}}}",
        f"jump: {{usd: {quoted}}}",
        f"cache_drop: {quoted}",
    ):
        with pytest.raises(InvalidQuery, match=r"line 1"):
            Budgets.parse(budgets)
    for name in ("input_per_million", "output_per_million"):
        with pytest.raises(InvalidQuery, match=r"line 1"):
            PriceTable.bundled().with_overrides(f'{{"m": {{"{name}": {quoted}}}}}')


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1,234", 1234), ("12,345,678.50", "12345678.50"), ("40.50", "40.50"), (".5", "0.5"), ("1e3", 1000)],
)  # fmt: skip
def test_commas_may_group_thousands(text: str, amount: str | int) -> None:
    (budget,) = Budgets.parse(f"budgets: [{{amount_usd: '{text}'}}]").budgets
    assert budget.amount == Decimal(amount)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("budgets:\n  - {amount_usd: 5}\n  - {amount_usd: '4,5'}", "budget 2: amount_usd (line 3)"),
        ("budgets:\n  - amount_usd: 5\n    amount_usd: 6", "line 3: 'amount_usd' is there twice"),
        ("budgets:\n  - {amount_usd: 5,\n     colour: red}", "budget 1 has 'colour' (line 3)"),
        ("budgets:\n  - {amount_usd: 5,\n     workspace: ''}", "workspace (line 3) must be an id"),
        ("budgets:\n  - {amount_usd: 5, period: year}", "period (line 2) is 'year'"),
        ("budgets:\n", "budgets (line 1) must be a list"),
    ],
)
def test_a_budget_that_is_refused_has_its_line(text: str, sentence: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        Budgets.parse(text)
    assert sentence in str(refused.value)


COMMANDS = {
    "--map": ("chargeback", "--by", "workspace", "--since", "2026-11-10", "--until", "2026-11-12"),
    "--budget": ("check", "--today", "2026-11-12"),
    "--pricing-json": ("prices",),
}
GOOD = {
    "--map": "'*': Tous ensemble\n",
    "--budget": "budgets: [{name: tous, amount_usd: 100000000}]\njump: off\ncache_drop: off\n",
    "--pricing-json": '{"modèle": {"input_per_million": 3, "output_per_million": 15}}',
}


@pytest.fixture
def where(served: tuple[Simulator, Server]) -> dict[str, str]:
    """Give the address and the key of the module's simulator."""
    key = "sk-ant-admin01-MARKER-nobody-sees"
    return {"ANTHROPIC_BASE_URL": served[1].url, "ANTHROPIC_ADMIN_API_KEY": key}


@pytest.mark.parametrize("option", COMMANDS)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_every_file_may_have_a_mark_and_any_line_ends(
    option: str, ends: str, mark: bytes, where: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file.yml"
    file.write_bytes(mark + GOOD[option].replace("\n", ends).encode())
    code, _, err = run_command((*COMMANDS[option], option, str(file)), where)
    assert code == 0, err


@pytest.mark.parametrize("option", COMMANDS)
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (GOOD["--map"].encode("utf-16"), "UTF-16: save it as UTF-8"),
        (GOOD["--map"].encode("utf-16-le"), "UTF-16: save it as UTF-8"),
        (GOOD["--map"].encode("utf-32"), "UTF-16: save it as UTF-8"),
        ("a: b\nc: é\n".encode("latin-1"), "(byte 0xe9 in line 2): save it as UTF-8"),
        (b"x" * (5 * 2**20), "is longer than 4 MB"),
    ],
    ids=["utf-16", "unmarked", "utf-32", "latin-1", "long"],
)
def test_every_file_that_is_no_text_is_refused_alike(
    option: str, data: bytes, sentence: str, where: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "file.yml"
    file.write_bytes(data)
    code, out, err = run_command((*COMMANDS[option], option, str(file)), where)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{option}: {file}" in err
    assert sentence in err


@pytest.mark.parametrize("option", COMMANDS)
def test_a_file_that_cannot_be_read_is_named_once(
    option: str, where: dict[str, str], tmp_path: Path
) -> None:
    for path in (tmp_path / "nofile.yml", tmp_path):
        code, _, err = run_command((*COMMANDS[option], option, str(path)), where)
        assert code == 2
        assert err.count(str(path)) == err.count(option) == 1
