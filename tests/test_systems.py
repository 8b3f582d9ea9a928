"""Stragglers, dropouts and the simulated clock."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.systems import DROPOUT, STRAGGLER, Systems, draw_speeds

COHORT = list(range(5, 15))


def make(**options):
    work, speeds = np.arange(20.0) * 10, np.full(20, 100.0)
    return Systems(**{"seed": 0, "units": 20, "work": work, "speeds": speeds, **options})


@pytest.mark.parametrize(("fraction", "late"), [(0.0, 0), (0.5, 5), (0.9, 9), (1.0, 10)])
def test_exactly_the_share_of_the_cohort_straggles(fraction, late):
    dropped = make(fraction=fraction).directives(3, COHORT)
    partial = make(fraction=fraction, policy="partial").directives(3, COHORT)
    assert sum(directive.excluded == STRAGGLER for directive in dropped.values()) == late
    kept = {client: directive.work for client, directive in partial.items() if directive.work is not None}
    assert len(kept) == late
    assert {client for client, one in dropped.items() if one.excluded} == set(kept)
    assert all(1 <= work <= 20 for work in kept.values())


def test_partial_work_covers_the_whole_range():
    drawn = [
        directive.work
        for server_round in range(1, 200)
        for directive in make(fraction=1.0, policy="partial", units=3)
        .directives(server_round, COHORT)
        .values()
    ]
    shares = [drawn.count(units) / len(drawn) for units in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)


def test_stragglers_change_with_the_round_and_the_seed():
    def late(seed, server_round):
        directives = make(seed=seed, fraction=0.5).directives(server_round, COHORT)
        return {client for client, directive in directives.items() if directive.excluded}

    assert late(0, 1) == late(0, 1)
    assert len({frozenset(late(0, server_round)) for server_round in range(10)}) > 5
    assert late(0, 1) != late(1, 1)


def test_dropout_has_its_rate_and_does_not_move_stragglers():
    systems = make(dropout=0.3, fraction=0.5, policy="partial")
    rounds = [systems.directives(server_round, COHORT) for server_round in range(200)]
    gone = np.mean([one.excluded == DROPOUT for directives in rounds for one in directives.values()])
    assert gone == pytest.approx(0.3, abs=0.03)
    calm = make(fraction=0.5, policy="partial")
    for server_round, directives in enumerate(rounds):
        expected = calm.directives(server_round, COHORT)
        assert all(
            one.work == expected[client].work for client, one in directives.items() if not one.excluded
        )


def test_the_clock_waits_for_the_slowest_full_round():
    assert make().seconds([1, 4, 2]) == pytest.approx(0.4)
    assert make().seconds([]) == 0.0


def test_speeds_spread_around_their_median():
    assert (draw_speeds(0, 5, 50.0, 0.0) == 50.0).all()
    speeds = draw_speeds(0, 20_000, 50.0, 0.5)
    assert np.median(speeds) == pytest.approx(50.0, rel=0.03)
    assert np.log(speeds).std() == pytest.approx(0.5, rel=0.03)
