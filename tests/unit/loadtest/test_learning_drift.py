"""The shop in which something changes: one run of each kind that is worth it."""

from __future__ import annotations

from loadtest.learning.drift import WORLDS, Shop


def test_an_outage_is_told_and_costs_next_to_nothing_afterwards() -> None:
    outcome = Shop(WORLDS["outage"], 0, 0.0, remembers=True).run()
    assert outcome.outage
    assert not outcome.changed
    assert outcome.lost(5) < 1.0


def test_a_swap_is_found_with_a_holdout_and_lost_without_a_memory() -> None:
    assert Shop(WORLDS["swap"], 0, 0.05, remembers=True).run().found(7) < 3.0
    assert Shop(WORLDS["swap"], 0, 0.05, remembers=False).run().lost(5) > 20.0
