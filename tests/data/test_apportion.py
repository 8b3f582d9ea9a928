import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbal.data.apportion import cut, deal, largest_remainder

SHARES = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).filter(lambda shares: sum(shares) > 1e-3)


@pytest.mark.parametrize("divide", [largest_remainder, cut])
@given(shares=SHARES, total=st.integers(0, 10_000))
def test_whole_numbers_add_up_and_stay_within_one_of_the_quota(divide, shares, total):
    result = divide(np.array(shares), total)
    quota = np.array(shares) / sum(shares) * total
    assert result.sum() == total
    assert np.all(result >= 0)
    assert np.all(np.abs(result - quota) < 1 + 1e-6)


def test_largest_remainder_by_hand():
    assert list(largest_remainder([0.5, 0.3, 0.2], 9)) == [4, 3, 2]
    assert list(largest_remainder([1, 1, 1], 5)) == [2, 2, 1]


def test_a_share_of_zero_gets_nothing_wherever_it_stands():
    assert list(cut(np.array([0.0, 0.1, 0.0, 0.2, 0.0]), 7)) == [0, 2, 0, 5, 0]


def test_deal_gives_each_client_exactly_its_table():
    table = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 4]])
    labels = np.array([2, 0, 1, 2, 0, 2, 1, 0, 2, 0, 2, 1])
    owner = deal(table, labels, np.random.Generator(np.random.PCG64(0)))
    np.testing.assert_array_equal(np.bincount(owner * 3 + labels, minlength=9).reshape(3, 3), table)
    again = deal(table, labels, np.random.Generator(np.random.PCG64(1)))
    assert not np.array_equal(owner, again)
