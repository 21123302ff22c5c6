"""Attacks of every kind, at random: `make soak` makes more of them."""

from __future__ import annotations

import re

import pytest
from soak_attacks import attack, soak, world_of_its_own


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_gets_through(seed: int) -> None:
    kinds, problems = soak(60, seed)
    assert problems == []
    assert {re.split(",", kind)[0] for kind in kinds} >= {"lake", "text", "server", "SQL"}


def test_the_same_attack_can_be_made_again() -> None:
    with world_of_its_own() as world:
        assert attack(world, 3, 5) == attack(world, 3, 5)
