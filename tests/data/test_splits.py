import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbal.data.splits import TEST, TRAIN, VALIDATION, hold_out, split

OPTIONS = {"validation": 0.1, "test": 0.1, "seed": 0}


def mark(owner, labels, classes=5, **options):
    return split(np.asarray(owner), np.asarray(labels), classes, **{**OPTIONS, **options})


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    validation=st.floats(0, 0.49),
    test=st.floats(0, 0.49),
    seed=st.integers(0, 3),
)
def test_every_client_gives_its_rounded_shares_stratified_and_keeps_a_training_row(
    sizes, validation, test, seed
):
    rng = np.random.Generator(np.random.PCG64(seed))
    owner = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = rng.integers(0, 5, len(owner))
    part = mark(owner, labels, validation=validation, test=test, seed=seed)
    for client, size in enumerate(sizes):
        mine = part[owner == client]
        if not size:
            continue
        tested, validated = np.sum(mine == TEST), np.sum(mine == VALIDATION)
        assert np.sum(mine == TRAIN) >= 1
        assert tested == min(round(test * size), size - 1)
        assert validated == min(round(validation * size), size - 1 - tested)
        for label in range(5):
            own = labels[owner == client] == label
            assert abs(np.sum(mine[own] == TEST) - tested * own.sum() / size) < 1
            assert np.sum(mine[own] == VALIDATION) <= np.ceil(validated * own.sum() / max(size - tested, 1))


def test_large_clients_are_stratified_in_all_three_parts():
    labels = np.repeat([0, 1, 2], [500, 300, 200])
    part = mark(np.zeros_like(labels), labels, 3, validation=0.2, test=0.1)
    assert list(np.bincount(labels[part == TEST])) == [50, 30, 20]
    assert list(np.bincount(labels[part == VALIDATION])) == [100, 60, 40]


def test_the_validation_share_does_not_move_the_test_rows():
    owner, labels = np.repeat(np.arange(20), 30), np.tile(np.arange(5), 120)
    np.testing.assert_array_equal(
        mark(owner, labels, validation=0.0) == TEST, mark(owner, labels, validation=0.3) == TEST
    )


def test_rare_classes_of_small_clients_are_tested_as_often_as_their_share():
    labels = np.tile([0, 0, 0, 0, 0, 0, 0, 1, 1, 2], 2000)
    owner = np.repeat(np.arange(2000), 10)
    part = mark(owner, labels, 3)
    for kind in (TEST, VALIDATION):
        drawn = np.bincount(labels[part == kind], minlength=3)
        assert drawn.sum() == 2000
        np.testing.assert_allclose(drawn / 2000, [0.7, 0.2, 0.1], atol=0.03)


def test_a_client_with_one_row_trains_on_it():
    assert list(mark([0, 1], [0, 1], validation=0.49, test=0.5)) == [TRAIN, TRAIN]


def test_shares_of_zero_leave_everything_to_train():
    assert not mark(np.zeros(50, dtype=int), np.zeros(50, dtype=int), validation=0.0, test=0.0).any()


def test_no_rows_at_all():
    assert mark(np.zeros(0, dtype=int), np.zeros(0, dtype=int)).shape == (0,)


def test_the_seed_chooses_the_rows():
    owner, labels = np.zeros(100, dtype=int), np.tile(np.arange(5), 20)
    np.testing.assert_array_equal(mark(owner, labels), mark(owner, labels))
    assert not np.array_equal(mark(owner, labels), mark(owner, labels, seed=1))


def test_a_hundred_thousand_clients():
    owner = np.repeat(np.arange(100_000), 10)
    labels = np.tile(np.arange(10), 100_000)
    part = mark(owner, labels, 10)
    assert np.all(np.bincount(owner[part == TEST], minlength=100_000) == 1)
    assert np.all(np.bincount(owner[part == VALIDATION], minlength=100_000) == 1)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.3])
def test_a_single_owner_gives_a_stratified_hold_out(share):
    labels = np.repeat(np.arange(4), [40, 80, 120, 160])
    held = hold_out(np.zeros_like(labels), labels, 4, share=share, seed=0)
    assert list(np.bincount(labels[held])) == [round(share * n) for n in (40, 80, 120, 160)]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any), share=st.floats(0.01, 0.9))
def test_the_hold_out_takes_from_every_client_by_its_size_and_empties_none(sizes, share):
    rng = np.random.Generator(np.random.PCG64(0))
    owner = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    held = hold_out(owner, rng.integers(0, 5, len(owner)), 5, share=share, seed=0)
    taken = np.bincount(owner[held], minlength=len(sizes))
    exact = round(share * len(owner)) / len(owner) * np.array(sizes)
    assert np.all((taken < sizes) | (np.array(sizes) == 0))
    assert np.all((np.abs(taken - exact) < 1) | (taken == np.array(sizes) - 1))


def test_many_tiny_clients_still_give_the_share():
    owner, labels = np.repeat(np.arange(1000), 4), np.tile([0, 0, 0, 1], 1000)
    held = hold_out(owner, labels, 2, share=0.1, seed=0)
    assert held.sum() == 400
    assert np.bincount(labels[held])[1] == pytest.approx(100, abs=40)
    assert np.bincount(owner[held]).max() == 1
