"""The shop in which something changes: one run of each kind that is worth it."""

from __future__ import annotations

import pytest

from loadtest.learning.drift import WORLDS, Outcome, Shop, record, text


def test_an_outage_is_told_and_costs_next_to_nothing_afterwards() -> None:
    outcome = Shop(WORLDS["outage"], 0, 0.0, remembers=True).run()
    assert outcome.outage
    assert not outcome.changed
    assert outcome.lost(5) < 1.0


def test_a_swap_is_found_with_a_holdout_and_lost_without_a_memory() -> None:
    assert Shop(WORLDS["swap"], 0, 0.05, remembers=True).run().found(7) < 3.0
    assert Shop(WORLDS["swap"], 0, 0.05, remembers=False).run().lost(5) > 20.0


def test_what_runs_come_to() -> None:
    found = Outcome(regret=[0.0] * 560, best=[1.0] * 560, share=[0.0] * 320 + [1.0] * 240)
    missed = Outcome(regret=[0.5] * 560, best=[1.0] * 560, share=[0.0] * 560, changed=True)
    row = record("swap", [found, found, missed])
    assert row["lost_last_five_days"] == pytest.approx(100.0 / 6)
    assert row["found_after_days"] == pytest.approx(
        1.0 + 5 * 0.025
    )  # a day, and until half of a quarter of a day is of it
    assert (row["never_found"], row["changes_told"], row["runs"]) == (1, 1, 3)
    assert "found after 1.1 days" in text(row)
    assert record("stationary", [missed])["found_after_days"] is None
