"""What holds for every partition, then what each promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbal.data import PARTITIONS
from fedbal.errors import UsageError
from tests.data.pools import balanced, counts, pool

EVERY = {
    "iid": {"clients": 7},
    "dirichlet": {"clients": 7, "alpha": 0.5, "min_size": 0, "size_guard": False},
    "dirichlet_client": {"clients": 7, "alpha": 0.5},
    "pathological": {"clients": 7, "classes_per_client": 2},
    "shards": {"clients": 7, "shards_per_client": 2},
    "niid2": {"clients": 7, "n_niid": 5, "groups": 5},
    "natural_id": {"partition_by": "site"},
}
SIZED = ["iid", "dirichlet", "dirichlet_client", "pathological"]


def divide(name, source, proportions=None, **kwargs):
    given_sizes = {} if proportions is None else {"proportions": proportions}
    return PARTITIONS.load(name)(source, **given_sizes, **{**EVERY[name], **kwargs})


def table(name, source, **kwargs):
    result = divide(name, source, **kwargs)
    return counts(result.owner, source.labels, len(result.names), source.dataset.num_classes)


def test_this_file_tests_every_partition():
    assert list(EVERY) == list(PARTITIONS)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(st.integers(0, 60), min_size=10, max_size=10).filter(lambda n: sum(n) >= 14),
    seed=st.integers(0, 3),
)
def test_each_row_goes_to_exactly_one_client(name, rows, seed):
    labels = np.random.Generator(np.random.PCG64(seed)).permutation(np.repeat(np.arange(10), rows))
    source = pool(labels, 10, seed, site=np.arange(len(labels)) % 4)
    result = divide(name, source)
    assert result.owner.shape == labels.shape
    assert result.owner.dtype == np.int64
    assert 0 <= result.owner.min() <= result.owner.max() < len(result.names)
    assert len(set(result.names)) == len(result.names)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "natural_id"])
def test_the_seed_decides_everything(name):
    first, again, other = (divide(name, balanced(10, 30, seed)).owner for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("natural_id", "shards")])
def test_a_hundred_thousand_clients_over_few_rows_leave_most_empty(name):
    kwargs = {"clients": 100_000} | ({"n_niid": 80_000} if name == "niid2" else {})
    result = divide(name, balanced(10, 60), **kwargs)
    sizes = np.bincount(result.owner, minlength=100_000)
    assert len(result.names) == 100_000
    assert sizes.sum() == 600
    assert np.count_nonzero(sizes) <= 600


@pytest.mark.parametrize("name", [name for name in EVERY if name != "natural_id"])
def test_a_hundred_thousand_clients_with_two_rows_each(name):
    kwargs = {"clients": 100_000} | ({"n_niid": 80_000} if name == "niid2" else {})
    kwargs |= {"shards_per_client": 1} if name == "shards" else {}
    sizes = np.bincount(divide(name, balanced(10, 20_000), **kwargs).owner, minlength=100_000)
    assert sizes.sum() == 200_000
    if name in ("iid", "dirichlet_client", "shards"):
        assert (sizes.min(), sizes.max()) == (2, 2)


@pytest.mark.parametrize("name", SIZED)
def test_given_sizes_are_realised(name):
    wanted = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    kwargs = {"clients": 6} | ({"alpha": 50.0} if name.startswith("dirichlet") else {})
    kwargs |= {"classes_per_client": 10} if name == "pathological" else {}
    sizes = np.bincount(divide(name, balanced(10, 400), wanted, **kwargs).owner, minlength=6) / 4000
    np.testing.assert_allclose(sizes, wanted, atol=0.02 if name == "dirichlet" else 0.004)


@pytest.mark.parametrize("name", ["iid", "dirichlet_client"])
def test_fixed_sizes_are_exact_up_to_rounding(name):
    wanted = np.array([0.5, 0.3, 0.2])
    sizes = np.bincount(divide(name, balanced(4, 101), wanted, clients=3).owner)
    assert list(sizes) == [202, 121, 81]


def test_iid_clients_have_equal_sizes_and_the_global_mix():
    mix = table("iid", balanced(10, 700))
    assert set(mix.sum(axis=1)) == {1000}
    np.testing.assert_allclose(mix / 1000, 0.1, atol=0.04)


def test_pathological_clients_hold_exactly_their_number_of_classes():
    mix = table("pathological", balanced(10, 300), clients=30, classes_per_client=3)
    assert set((mix > 0).sum(axis=1)) == {3}
    assert np.all((mix > 0).sum(axis=0) >= 3)
    for column in mix.T:
        held = column[column > 0]
        assert held.max() - held.min() <= 1


@pytest.mark.parametrize(("clients", "per_client"), [(5, 2), (4, 3), (1, 10), (10, 1), (3, 10)])
def test_pathological_leaves_no_class_out(clients, per_client):
    mix = table("pathological", balanced(10, 40), clients=clients, classes_per_client=per_client)
    assert np.all(mix.sum(axis=0) == 40)
    assert set((mix > 0).sum(axis=1)) == {per_client}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"classes_per_client": 11}, r"classes_per_client 11.*10 classes.*choose 1 to 10"),
        ({"clients": 3, "classes_per_client": 2}, r"at least 5 clients, or at least 4 classes"),
    ],
)
def test_pathological_refuses_what_cannot_be(kwargs, message):
    with pytest.raises(UsageError, match=message):
        divide("pathological", balanced(10, 5), **kwargs)


def test_shards_are_pure_and_equal():
    mix = table("shards", balanced(10, 200), clients=50, shards_per_client=2)
    assert set(mix.sum(axis=1)) == {40}
    assert np.all((mix > 0).sum(axis=1) <= 2)


def test_shards_of_uneven_length_differ_by_one_row():
    sizes = table("shards", balanced(3, 11), clients=10, shards_per_client=1).sum(axis=1)
    assert sizes.sum() == 33
    assert set(sizes) == {3, 4}


def test_more_shards_than_rows_says_how_many_clients_fit():
    with pytest.raises(UsageError, match=r"14 shards, more than the 12 rows.*at most 6 clients"):
        divide("shards", balanced(3, 4))


def test_niid2_is_that_of_the_paper_on_fashion_mnist_sized_data():
    mix = table("niid2", balanced(10, 6000), clients=6, n_niid=5, groups=5)
    assert set(mix.sum(axis=1)) == {10_000}
    for client in range(5):
        assert list(np.flatnonzero(mix[client])) == [2 * client, 2 * client + 1]
        assert set(mix[client][mix[client] > 0]) == {5000}
    assert list(mix[5]) == [1000] * 10


def test_niid2_with_forty_biased_and_ten_full_clients():
    mix = table("niid2", balanced(10, 5000), clients=50, n_niid=40, groups=5)
    assert set(mix.sum(axis=1)) == {1000}
    assert list(np.flatnonzero(mix[7])) == [4, 5]
    assert set((mix[40:] > 0).sum(axis=1)) == {10}


def test_niid2_says_which_groups_fit():
    with pytest.raises(UsageError, match=r"4 classes of toy do not form 3 equal groups.*groups can be 1, 2"):
        divide("niid2", balanced(4, 50), clients=7, n_niid=6, groups=3)


def test_natural_clients_are_named_and_sorted_by_value():
    source = pool([0, 1, 0, 1, 1], 2, site=np.array([10, 9, 10, 100, 9]))
    result = divide("natural_id", source)
    assert result.names == ("9", "10", "100")
    assert list(result.owner) == [1, 0, 1, 2, 0]
    named = divide("natural_id", pool([0, 1, 0], 2, site=np.array(["ulm", "bonn", "ulm"])))
    assert (named.names, list(named.owner)) == (("bonn", "ulm"), [1, 0, 1])


def test_a_hundred_thousand_natural_clients():
    ids = np.arange(250_000) % 100_000
    result = divide("natural_id", pool(np.zeros(250_000, dtype=np.int64), 2, site=ids))
    assert len(result.names) == 100_000
    np.testing.assert_array_equal(result.owner, ids)


def test_natural_clients_without_kept_rows_stay():
    source = pool([0, 1, 0], 2, site=np.array(["a", "b", "c"]))
    result = divide("natural_id", type(source)(source.dataset, np.array([0, 2]), 0))
    assert (result.names, list(result.owner)) == (("a", "b", "c"), [0, 2])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.array([1.0, np.nan, 2.0]), "misses the client of 1 rows"),
        (np.array(["a", " ", ""]), "misses the client of 2 rows"),
        (np.array([1.5, 2.0, 3.0]), "fractions"),
        (np.array([1, 2, 3], dtype=complex), "complex128"),
    ],
)
def test_a_column_that_names_no_clients_is_refused(column, message):
    with pytest.raises(UsageError, match=message):
        divide("natural_id", pool([0, 1, 0], 2, site=column))


def test_an_unknown_column_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean site"):
        divide("natural_id", pool([0, 1], 2, site=np.arange(2)), partition_by="sites")
    with pytest.raises(UsageError, match="nor any other"):
        divide("natural_id", pool([0, 1], 2))
