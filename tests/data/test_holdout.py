"""Clients that are held out whole: chosen by share or by name, and nothing of theirs is trained on."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.data.federation import Federation, load_federation
from fedbal.data.holdout import held_out
from fedbal.errors import UsageError
from tests.scenarios import digits

NAMES = ["ward a", "ward b", "ward c", "empty"]
SIZES = np.array([10, 20, 5, 0])


def federation(*overrides: str) -> Federation:
    scenario = digits(*overrides)
    return load_federation(scenario.data, scenario.seed.partition)


def test_names_choose_and_do_not_depend_on_the_seed() -> None:
    for seed in range(3):
        assert held_out(["ward c", "ward a", "ward a"], NAMES, SIZES, seed) == [0, 2]
    assert held_out([1], ["0", "1", "2"], np.ones(3, np.int64), 0) == [1]


def test_a_share_is_of_the_clients_with_data_and_seeded() -> None:
    names, sizes = [str(k) for k in range(50)], np.arange(50)
    chosen = held_out(0.2, names, sizes, 0)
    assert len(chosen) == len(set(chosen)) == 10
    assert 0 not in chosen
    assert chosen == sorted(chosen) == held_out(0.2, names, sizes, 0)
    assert chosen != held_out(0.2, names, sizes, 1)
    assert len(held_out(0.001, names, sizes, 0)) == 1
    assert held_out(0.0, names, sizes, 0) == []


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"no client is called 'ward d'; did you mean .*ward.*ward a, ward b"
    ):
        held_out(["ward d"], NAMES, SIZES, 0)


def test_someone_must_be_left_to_train() -> None:
    with pytest.raises(UsageError, match="all 3 clients"):
        held_out(["ward a", "ward b", "ward c"], NAMES, SIZES, 0)
    with pytest.raises(UsageError, match="all 1 clients"):
        held_out(0.5, ["a"], np.array([4]), 0)


def test_all_rows_of_a_held_out_client_are_test_rows_and_the_others_are_as_before() -> None:
    plain, without = federation(), federation("data.holdout_clients=[3]")
    assert without.unseen == (3,)
    assert plain.unseen == ()
    total = plain.train.sizes[3] + plain.validation.sizes[3] + plain.client_test.sizes[3]
    assert (without.train.sizes[3], without.validation.sizes[3]) == (0, 0)
    assert without.client_test.sizes[3] == total > plain.client_test.sizes[3]
    for client in set(range(8)) - {3}:
        for part in ("train", "validation", "client_test"):
            assert np.array_equal(getattr(plain, part).of(client), getattr(without, part).of(client))
    assert plain.fingerprint() != without.fingerprint()
    assert plain.fingerprint() == federation("data.holdout_clients=0.0").fingerprint()


@pytest.mark.parametrize("value", ["1.0", "-0.1", "[]", '[""]', "true"])
def test_values_that_are_no_share_and_no_names(value: str) -> None:
    with pytest.raises(UsageError, match="holdout_clients"):
        digits(f"data.holdout_clients={value}")
