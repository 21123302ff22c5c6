"""The example agent answers both questions with Anthropic's SDK and the true numbers."""

from __future__ import annotations

from decimal import Decimal

import agent_loop
from anthropic_usage.simulator import Simulator


async def test_both_questions_end_to_end() -> None:
    simulator = Simulator(seed=7, size=0.3, days=90)
    with simulator.serve() as server, agent_loop.stand_in() as address:
        options = {"api_key": Simulator.DEMO_KEY, "base_url": server.url}
        spent = await agent_loop.ask(agent_loop.QUESTIONS[0], address, options)
        used = await agent_loop.ask(agent_loop.QUESTIONS[1], address, options)
    for messages, action in ((spent, "cost"), (used, "usage")):
        assert [message["role"] for message in messages] == [
            "user",
            "assistant",
            "user",
            "assistant",
        ]
        call = messages[1]["content"][0]
        assert call["input"]["action"] == action
        assert call["input"]["bucket_width"] == "1d"
    today = simulator.now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = today.replace(day=1)
    if first < today:  # on the first of a month there is no bill yet, and the tool says so
        cents = simulator.ledger.cost(first, today)[()]
        assert f"${Decimal(cents) / 100:,.2f}" in spent[-1]["content"][0]["text"]
    assert "in all: " in used[-1]["content"][0]["text"]
