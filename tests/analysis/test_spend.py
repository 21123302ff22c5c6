"""A report's figures are the API's own, and the span before is as long as what has a bill."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal, Inexact, localcontext

import attrs
import pytest
from anthropic_usage import PermissionDenied, UsageClient
from anthropic_usage.analysis.chargeback import chargeback
from anthropic_usage.analysis.spend import Spend, spend
from anthropic_usage.cli.main import cli as main
from anthropic_usage.directory import Directory
from anthropic_usage.pages import html, markdown
from anthropic_usage.pages.charts import charts
from anthropic_usage.simulator import Server, Simulator
from anthropic_usage.sinks.plain import plain_value
from click.testing import CliRunner
from played import Organisation, billed, record, used
from support import DAY, KEY


def day(number: int, month: int = 11) -> dt.datetime:
    """Return a midnight of 2026."""
    return dt.datetime(2026, month, number, tzinfo=dt.UTC)


def test_the_figures_are_the_ledgers(client: UsageClient, served: tuple[Simulator, Server]) -> None:
    ledger = served[0].ledger
    result = spend(client, "2026-11-01", "2026-11-21", directory=Directory.read(client))
    assert result.billed_until == day(20)
    assert result.compared_from == day(13, 10)
    assert result.billed == ledger.cost(day(1), day(20))[()] / 100
    assert result.before == ledger.cost(day(13, 10), day(1))[()] / 100
    for parts in (result.by_model, result.by_workspace, result.by_kind):
        assert sum(part.billed for part in parts) == result.billed
        assert sum(part.before for part in parts) == result.before
        assert list(parts) == sorted(parts, key=lambda part: -part.billed)
    assert sum(day.billed for day in result.by_day) == result.billed
    assert [entry.day.day for entry in result.by_day] == list(range(1, 20))
    # Everything is of the days that have a bill, and so is what it is compared with.
    truth = ledger.usage(day(1), day(20))[()]
    earlier = ledger.usage(day(13, 10), day(1))[()]
    for name in ("uncached_input_tokens", "output_tokens", "web_search_requests"):
        assert result.tokens[name] == (truth[name], earlier[name])
    caching = result.caching
    assert caching.read_tokens == truth["cache_read_input_tokens"]
    assert caching.efficiency == caching.read_tokens / caching.input_tokens
    assert 0 < caching.saved_low <= caching.saved_high
    code = ledger.claude_code(day(1).date(), day(20).date())
    assert result.coding.sessions == sum(sums["num_sessions"] for sums in code.values())
    assert result.coding.people > 0
    assert set(result.unbilled) <= {"priority", "priority_on_demand", "flex", "flex_discount"}
    assert any("have none yet" in note for note in result.notes)


def test_names_stand_beside_ids(client: UsageClient) -> None:
    named = spend(client, "2026-11-10", "2026-11-20", directory=Directory.read(client))
    bare = spend(client, "2026-11-10", "2026-11-20")
    assert [part.id for part in named.by_workspace] == [part.id for part in bare.by_workspace]
    assert {part.name for part in bare.by_workspace if part.id} == {
        part.id for part in bare.by_workspace if part.id
    }
    assert not any(key.name.startswith("apikey_") for key in named.keys)


def test_the_first_day_of_a_month_has_tokens_and_no_bill(
    client: UsageClient, served: tuple[Simulator, Server]
) -> None:
    simulator = served[0]
    kept, simulator.now = simulator.now, dt.datetime(2026, 11, 1, 9, tzinfo=dt.UTC)
    try:
        result = spend(client, "2026-11-01", "2026-11-02")
    finally:
        simulator.now = kept
    assert (result.billed, result.before, result.change) == (0, 0, None)
    assert result.tokens["output_tokens"][0] > 0
    assert "No day of this range has a bill yet" in result.notes[0]


def test_use_of_nothing_is_a_real_zero(client: UsageClient) -> None:
    result = spend(client, "2023-02-01", "2023-02-08")
    assert result.billed == 0
    assert result.caching.efficiency is None
    assert result.coding.cost_per_person is None
    assert result.keys == ()


def refusal(status: int) -> tuple[int, dict[str, object]]:
    """Return what an API answers that does not give something."""
    return status, {"type": "error", "error": {"type": "x_error", "message": "Not for you"}}


@pytest.mark.parametrize("status", [400, 403, 404, 500, 200])
@pytest.mark.parametrize("part", ["cost", "usage", "claude_code", "fast"])
def test_what_is_refused_or_broken_costs_its_own_part(part: str, status: int) -> None:
    whole = spent(organisation())
    broken = spent(organisation(refused={part: (200, {}) if status == 200 else refusal(status)}))
    lost = {
        "cost": {"billed", "before", "by_day", "by_model", "by_workspace", "by_kind"},
        "usage": {"tokens", "caching", "keys"},
        "claude_code": {"coding"},
        "fast": {"caching", "keys"},
    }[part]
    if part == "cost":
        # Without the bill nobody knows which days to count, or to compare with.
        lost |= {"billed_until", "compared_from", "tokens", "caching", "keys", "coding"}
    for name in set(attrs.fields_dict(Spend)) - lost - {"notes", "counted_until", "unbilled"}:
        assert getattr(broken, name) == getattr(whole, name), name
    assert (broken.billed is None) == (part == "cost")
    assert (broken.caching is None) == (part == "usage")
    assert (broken.coding is None) == (part == "claude_code")
    (said,) = (note for note in broken.notes if note not in whole.notes and "read" in note)
    assert status == 200 or f"{status} x_error: Not for you" in said
    assert "ANTHROPIC_BASE_URL" not in said
    if part == "fast":
        assert broken.keys[0].low != broken.keys[0].high


def test_a_report_without_its_bill_is_answered_and_fails() -> None:
    for refused, code in (("cost", 1), ("claude_code", 0)):
        with organisation(refused={refused: refusal(404)}).served() as url:
            ran = CliRunner().invoke(
                main,
                ["report", "--since", "2026-11-01", "--until", "2026-12-01", "--json"],
                env={"ANTHROPIC_ADMIN_API_KEY": KEY, "ANTHROPIC_BASE_URL": url},
            )
        answered = json.loads(ran.stdout)
        assert ran.exit_code == code, ran.output
        assert answered["tokens"]["output_tokens"][0] >= 24000
        assert (answered["billed"] is None) == (refused == "cost")
        assert any("404" in note for note in answered["notes"])
        assert "ANTHROPIC_BASE_URL" not in ran.output


def test_without_bill_and_usage_there_is_no_answer() -> None:
    with pytest.raises(PermissionDenied):
        spent(organisation(refused={"cost": refusal(403), "usage": refusal(403)}))


def organisation(**changes: object) -> Organisation:
    """Return twenty-four even days of November, 2026, and as many before, read on the 25th."""
    days = [f"{day(1) + step * DAY:%Y-%m-%d}" for step in range(-30, 25)]
    made = Organisation(
        now=dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC),
        usage=[used(each, output_tokens=1000, cache_read_input_tokens=10) for each in days],
        cost=[billed(each, 2) for each in days if each < "2026-11-25"],
        claude_code=[record(each, "ann@example.com", 300) for each in days],
    )
    return attrs.evolve(made, **changes)


def spent(of: Organisation, *span: str, **options: bool) -> Spend:
    """Return the spend of a span; of November, if nothing else is said."""
    with of.client() as client:
        return spend(client, *(span or ("2026-11-01", "2026-12-01")), **options)


@pytest.mark.parametrize(
    "span",
    [
        ("2026-11-01", "2026-12-01"),
        ("2026-11-20", "2026-12-20"),
        ("2026-11-24T09:00:00Z", "2026-11-25T09:00:00Z"),
        ("2026-11-24",),
    ],
)
def test_flat_use_is_flat_in_every_part(span: tuple[str, ...]) -> None:
    result = spent(organisation(), *span)
    assert result.change == 0
    assert result.before is not None
    assert result.billed
    for name in ("output_tokens", "cache_read_input_tokens"):
        now, before = result.tokens[name]
        assert now == before == result.billed_days * (1000 if name == "output_tokens" else 10)
    assert result.caching is not None
    assert result.caching.efficiency == result.caching.before == 1
    assert result.coding is not None
    assert result.coding.sessions == result.billed_days


def test_nothing_is_compared_if_that_is_not_wanted() -> None:
    result = spent(organisation(), compare=False)
    assert result.billed == Decimal("0.48")
    assert (result.before, result.change, result.compared_from) == (None, None, None)
    assert result.caching is not None
    assert result.caching.before is None
    assert {before for _, before in result.tokens.values()} == {None}
    assert {part.before for part in (*result.by_model, *result.by_kind)} == {None}
    assert plain_value(result)["by_model"][0]["before"] is None


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_bill_is_waited_for(late: int) -> None:
    whole = organisation()
    until = day(25 - late)
    of = attrs.evolve(whole, cost=[line for line in whole.cost if line["day"] < f"{until:%F}"])
    result = spent(of)
    assert (result.billed_until, result.change) == (until, 0)
    assert result.late == tuple((until + step * DAY).date() for step in range(late))
    assert any("late" in note and f"{until:%F}" in note for note in result.notes)


def test_every_billed_day_is_there() -> None:
    whole = organisation()
    of = attrs.evolve(
        whole, cost=[line for line in whole.cost if line["day"] not in ("2026-11-07", "2026-11-20")]
    )
    result = spent(of)
    assert [entry.day.day for entry in result.by_day] == list(range(1, 25))
    assert {entry.day.day for entry in result.by_day if not entry.billed} == {7, 20}


def test_a_line_without_a_type_is_known_by_its_description() -> None:
    whole = organisation()
    nothing = dict.fromkeys(
        ("cost_type", "token_type", "service_tier", "context_window", "inference_geo")
    )
    credit = billed("2026-11-03", -9000, None, description="Promotional credit", **nothing)
    result = spent(attrs.evolve(whole, cost=[*whole.cost, credit]))
    assert "other: Promotional credit" in {part.name for part in result.by_model}
    assert {part.name for part in result.by_kind} == {"Tokens", "other: Promotional credit"}
    assert "other: Promotional credit" in result.by_day[2].by_model
    assert result.change is None, "the bill went below zero"


def test_what_has_no_price_is_not_free() -> None:
    whole = organisation()
    of = attrs.evolve(whole, usage=[{**use, "model": "claude-unheard-of"} for use in whole.usage])
    result = spent(of)
    assert result.caching is not None
    assert (result.caching.saved_low, result.caching.saved_high) == (None, None)
    (key,) = result.keys
    assert (key.low, key.high) == (None, None)
    assert key.unpriced_tokens == key.tokens == 24 * 1010
    for text in (markdown.render(result), html.render(result)):
        assert "unknown" in text


def test_subscriptions_are_no_part_of_the_bill() -> None:
    people = [
        record("2026-11-03", "ann@example.com", 20733),
        record("2026-11-03", "bob@example.com", 20733),
        record("2026-11-03", "build", 1000, key=True),
        record("2026-11-03", "cyd@example.com", 85249, customer_type="subscription"),
        record("2026-11-03", "dan@example.com", 0, customer_type="subscription"),
    ]
    coding = spent(organisation(claude_code=people)).coding
    assert coding is not None
    assert (coding.people, coding.people_on_api) == (4, 2)
    assert coding.cost_per_person == Decimal("207.33")
    assert coding.estimated_api == Decimal("424.66")
    assert coding.estimated_subscription == Decimal("852.49")


def test_parts_are_rounded_as_chargeback_rounds_them() -> None:
    whole = organisation()
    cost = [
        billed("2026-11-03", "100.4", workspace_id=f"wrkspc_{number}", model=f"model-{number}")
        for number in range(5)
    ]
    of = attrs.evolve(whole, cost=cost)
    result = spent(of)
    with of.client() as client:
        for by, parts in (("workspace", result.by_workspace), ("model", result.by_model)):
            split = chargeback(client, "2026-11-01", "2026-12-01", by=by)
            assert sum(part.amount_usd for part in parts) == split.billed_usd
            assert {part.id: part.amount_usd for part in parts} == {
                line.id: line.amount_usd for line in split.lines
            }


@pytest.mark.parametrize("first", [dt.datetime(2026, 11, 18), dt.datetime(2026, 11, 30)])
def test_the_hour_alone_changes_nothing(first: dt.datetime) -> None:
    for hour in range(49):
        now = first.replace(tzinfo=dt.UTC) + hour * DAY / 24
        days = [f"{now + step * DAY:%Y-%m-%d}" for step in range(-40, 1)]
        of = Organisation(
            now=now,
            usage=[used(each, output_tokens=1000) for each in days],
            cost=[billed(each, 2) for each in days],
            claude_code=[record(each, "ann@example.com", 300) for each in days],
        )
        result = spent(of, f"{now - 7 * DAY:%Y-%m-%d}", f"{now + DAY:%Y-%m-%d}")
        settled = 6 if now.hour < 1 else 7
        assert result.billed_days == settled
        assert (result.billed, result.change) == (settled * Decimal("0.02"), 0)
        assert result.tokens["output_tokens"] == (settled * 1000, settled * 1000)
        assert result.coding is not None
        assert result.coding.sessions == settled


@pytest.mark.parametrize("precision", [3, 6, 12])
def test_the_callers_decimal_context_changes_nothing(precision: int) -> None:
    whole = organisation(cost=[billed("2026-11-03", "123456.789012345"), billed("2026-10-30", 7)])
    expected = spent(whole)
    with localcontext(prec=precision) as context:
        context.traps[Inexact] = True
        result = spent(whole)
    assert result == expected


@pytest.mark.parametrize("compare", [True, False])
def test_forms_say_what_is_compared_and_how_much_is_known(compare: bool) -> None:
    result = spent(organisation(), compare=compare)
    made = [markdown.render(result), html.render(result)]
    for text in made:
        assert "24 of 30 days" in text
        assert ("before" in text.partition("<body>")[2] or "change" in text) == compare
        assert ">new<" not in text
        assert "| new |" not in text
    for chart in charts(result):
        assert "2026-11-24" in chart.title
        assert ("tick" in chart.title) <= compare
        chart.svg()
