import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbal.data.long_tail import class_fractions, class_sizes, long_tail
from fedbal.errors import UsageError


def apply(available, factor, profile="exponential", order="index", rare_share=0.5, seed=0):
    labels = np.repeat(np.arange(len(available)), available)
    names = tuple(map(str, range(len(available))))
    kept = long_tail(
        labels, names, profile=profile, imbalance_factor=factor, order=order, rare_share=rare_share, seed=seed
    )
    return kept, np.bincount(labels[kept], minlength=len(available))


@pytest.mark.parametrize(
    ("available", "factor", "expected"),
    [
        ([5000] * 10, 100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        ([6000] * 10, 100, [6000, 3596, 2156, 1292, 774, 464, 278, 166, 100, 60]),
    ],
)
def test_published_class_counts(available, factor, expected):
    kept, sizes = apply(available, factor)
    assert list(sizes) == expected
    assert np.all(np.diff(kept) > 0)


@pytest.mark.parametrize(
    ("classes", "rows", "factor", "total"),
    [
        (10, 5000, 100, 12_406),
        (10, 5000, 50, 13_996),
        (10, 5000, 10, 20_431),
        (100, 500, 100, 10_847),
        (100, 500, 50, 12_608),
        (100, 500, 10, 19_573),
        (10, 6000, 100, 14_886),
    ],
)
def test_published_totals(classes, rows, factor, total):
    assert apply([rows] * classes, factor)[1].sum() == total


def test_a_factor_of_one_keeps_every_row_of_imbalanced_data_too():
    assert list(apply([30, 7, 12], 1.0)[1]) == [30, 7, 12]


def test_the_step_profile_has_two_sizes():
    assert list(apply([100] * 5, 10, "step", rare_share=0.4)[1]) == [100, 100, 100, 10, 10]


def test_n_max_is_the_largest_that_every_class_has_rows_for():
    sizes = apply([1000, 90, 1000], 4)[1]
    assert list(sizes) == [181, 90, 45]
    assert (
        class_sizes(np.array([1000, 90, 1000]), class_fractions(np.arange(3), "exponential", 4, 0.5))[0]
        == 181
    )


@given(
    available=st.lists(st.integers(50, 400), min_size=2, max_size=12),
    factor=st.floats(1.01, 20),
    profile=st.sampled_from(["exponential", "step"]),
    seed=st.integers(0, 5),
)
def test_no_class_is_asked_for_more_than_it_has_and_one_more_would_be_too_much(
    available, factor, profile, seed
):
    kept, sizes = apply(available, factor, profile, seed=seed)
    assert np.all(sizes <= available)
    assert len(np.unique(kept)) == len(kept) == sizes.sum()
    assert sizes.max() / sizes.min() == pytest.approx(factor, rel=1.1 / sizes.min())
    fractions = class_fractions(np.arange(len(available)), profile, factor, 0.5)
    assert np.any(np.floor((sizes.max() + 1) * fractions + 1e-9) > available)


def test_random_order_moves_the_rare_class_with_the_seed():
    rarest = {int(apply([200] * 10, 50, order="random", seed=seed)[1].argmin()) for seed in range(12)}
    assert len(rarest) > 3


def test_a_larger_factor_keeps_a_subset_of_the_rows():
    mild, strong = apply([500] * 5, 5)[0], apply([500] * 5, 50)[0]
    assert set(strong) < set(mild)


def test_rows_are_drawn_with_the_seed():
    assert not np.array_equal(apply([50] * 3, 5, seed=0)[0], apply([50] * 3, 5, seed=1)[0])
    np.testing.assert_array_equal(apply([50] * 3, 5)[0], apply([50] * 3, 5)[0])


def test_a_factor_beyond_the_data_says_what_is_possible():
    with pytest.raises(UsageError, match=r"imbalance_factor 1000 leaves class '2'.*at most 100\b"):
        apply([100, 100, 100], 1000)
    assert apply([100, 100, 100], 100)[1].min() == 1


def test_a_class_without_rows_cannot_have_a_place_in_the_tail():
    with pytest.raises(UsageError, match="class '1' has no training rows"):
        apply([10, 0, 10], 2)
