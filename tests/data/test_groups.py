import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbal.data.federation import load_federation
from fedbal.data.groups import assign_whole, hold_out_groups, split_groups
from fedbal.data.params import (
    DirichletParams,
    IidParams,
    LognormalParams,
    NaturalIdParams,
    ShardsParams,
    TableData,
)
from fedbal.data.partitions.dirichlet import dirichlet
from fedbal.data.partitions.iid import iid
from fedbal.data.splits import TEST, TRAIN, VALIDATION
from fedbal.errors import UsageError
from tests.data.pools import pool

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=60)
SHARE = st.floats(0.0, 0.49)


def made(sizes, clients, seed, spanning=False):
    """Shuffled rows of groups; each group at one client, or its rows anywhere."""
    rng = np.random.Generator(np.random.PCG64(seed))
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    owner = rng.integers(0, clients, len(groups if spanning else sizes))
    return (owner if spanning else owner[groups]), rng.integers(0, 4, len(groups)), groups


def sides(part, groups):
    return [set(part[groups == group].tolist()) for group in np.unique(groups)]


@settings(max_examples=150, deadline=None)
@given(SIZES, st.integers(1, 5), SHARE, SHARE, st.integers(0, 3), st.booleans())
def test_no_group_is_on_two_sides_and_every_client_trains(sizes, clients, validation, test, seed, spanning):
    owner, labels, groups = made(sizes, clients, seed, spanning)
    part = split_groups(owner, labels, groups, 4, validation=validation, test=test, seed=seed)
    assert all(len(found) == 1 for found in sides(part, groups))
    for client in np.unique(owner):
        assert np.any(part[owner == client] == TRAIN)


@settings(max_examples=150, deadline=None)
@given(SIZES, SHARE, SHARE, st.integers(0, 3))
def test_shares_of_a_client_are_met_within_one_group(sizes, validation, test, seed):
    owner, labels, groups = made(sizes, 1, seed)
    part = split_groups(owner, labels, groups, 4, validation=validation, test=test, seed=seed)
    n, largest = len(groups), max(sizes)
    tested, validated = np.sum(part == TEST), np.sum(part == VALIDATION)
    free = [size for group, size in enumerate(sizes) if np.all(part[groups == group] == TRAIN)]
    assert abs(validated - round(validation * n)) <= largest or len(free) == 1
    assert abs(tested - round(test * n)) <= largest
    assert np.any(part == TRAIN)
    if len(free) > 1:
        assert abs(validated - round(validation * n)) <= largest / 2 + 0.5


@settings(max_examples=150, deadline=None)
@given(SIZES.filter(lambda sizes: len(sizes) > 1), st.integers(1, 5), st.floats(0.01, 0.6), st.integers(0, 3))
def test_the_hold_out_takes_whole_groups_and_empties_no_client(sizes, clients, share, seed):
    owner, labels, groups = made(sizes, clients, seed)
    held = hold_out_groups(owner, labels, groups, 4, share=share, seed=seed)
    assert all(len(found) == 1 for found in sides(held, groups))
    assert set(owner[~held]) == set(owner)
    if clients == 1:
        assert abs(held.sum() - round(share * len(groups))) <= max(sizes)


def test_groups_of_one_row_meet_the_shares_exactly():
    owner, labels = np.repeat(np.arange(10), 50), np.tile(np.arange(5), 100)
    rows = np.arange(500)
    part = split_groups(owner, labels, rows, 5, validation=0.1, test=0.2, seed=0)
    assert set(np.bincount(owner[part == TEST])) == {10}
    assert set(np.bincount(owner[part == VALIDATION])) == {5}
    held = hold_out_groups(owner, labels, rows, 5, share=0.1, seed=0)
    assert held.sum() == 50
    assert set(np.bincount(labels[held])) <= {9, 10, 11}
    assert set(np.bincount(owner[held])) <= {4, 5, 6}


def test_there_is_a_test_set_even_where_every_group_is_too_large():
    groups = np.repeat(np.arange(4), [9, 8, 20, 9])
    held = hold_out_groups(groups * 0, groups % 2, groups, 2, share=0.05, seed=0)
    assert set(groups[held]) == {1}


def test_every_group_is_held_out_as_often_as_the_share():
    sizes = np.tile([1, 2, 3], 10)
    groups = np.repeat(np.arange(30), sizes)
    zeros = np.zeros_like(groups)
    labels = groups % 3
    often = np.mean(
        [hold_out_groups(zeros, labels, groups, 3, share=0.2, seed=s) for s in range(400)], axis=0
    )
    np.testing.assert_allclose(often, 0.2, atol=0.08)


def test_the_validation_share_does_not_move_the_test_groups_and_the_seed_decides():
    owner, labels, groups = made([3] * 60, 4, 0)

    def tested(validation, seed=0):
        return split_groups(owner, labels, groups, 4, validation=validation, test=0.2, seed=seed) == TEST

    np.testing.assert_array_equal(tested(0.0), tested(0.4))
    assert not np.array_equal(tested(0.1), tested(0.1, seed=1))


def test_groups_of_a_client_that_never_trains_are_tested_everywhere():
    owner = np.array([0, 0, 1, 1, 1, 1])
    groups = np.array([0, 1, 1, 2, 3, 4])
    part = split_groups(owner, owner * 0, groups, 1, validation=0.0, test=0.0, seed=0, unseen=(0,))
    np.testing.assert_array_equal(part, [TEST, TEST, TEST, TRAIN, TRAIN, TRAIN])


@pytest.mark.parametrize("divide", [iid, dirichlet])
def test_a_partition_keeps_groups_whole_by_their_majority_class(divide):
    _, _, groups = made([1, 2, 3, 4, 5] * 20, 1, 0)
    labels = groups % 4
    labels[np.unique(groups[np.bincount(groups)[groups] > 2], return_index=True)[1]] = 3
    kwargs = {"alpha": 0.3, "min_size": 0, "size_guard": False} if divide is dirichlet else {}
    rows = pool(labels, 4)
    found = assign_whole(rows, groups, divide, clients=5, **kwargs)
    assert all(len(owners) == 1 for owners in sides(found.owner, groups))
    majority = np.array([np.bincount(labels[groups == g], minlength=4).argmax() for g in range(100)])
    whole = divide(pool(majority, 4), clients=5, **kwargs)
    per_class = [np.bincount(majority, minlength=4)]
    assert len(whole.owner) == 100
    client = np.array([found.owner[groups == g][0] for g in range(100)])
    dealt = np.array([np.bincount(majority[client == k], minlength=4) for k in range(5)])
    np.testing.assert_array_equal(dealt.sum(axis=0), per_class[0])
    expected = np.array([np.bincount(majority[whole.owner == k], minlength=4) for k in range(5)])
    np.testing.assert_array_equal(dealt.sum(axis=1), expected.sum(axis=1))


def patients(tmp_path, **extra):
    rng = np.random.Generator(np.random.PCG64(1))
    patient = np.repeat(np.arange(80), rng.integers(1, 9, 80))
    n = len(patient)
    arrays = {"x": np.arange(2.0 * n).reshape(n, 2), "y": rng.integers(0, 3, n), "patient": patient + 100}
    arrays["site"] = patient % 4
    np.savez(tmp_path / "t.npz", **{**arrays, **extra})
    return dict(zip(arrays["x"][:, 0].tolist(), arrays["patient"].tolist(), strict=True))


PARTITIONS = {
    "iid": {"partition": IidParams(clients=6)},
    "dirichlet": {"partition": DirichletParams(clients=6, alpha=0.5)},
    "shards": {"partition": ShardsParams(clients=6)},
    "sized": {"partition": IidParams(clients=6), "quantity": LognormalParams()},
    "natural": {"partition": NaturalIdParams(partition_by="site")},
    "unseen": {"partition": NaturalIdParams(partition_by="site"), "holdout_clients": ["2"]},
}


@pytest.mark.parametrize("name", PARTITIONS)
def test_a_federation_keeps_every_patient_on_one_side_and_with_one_client(tmp_path, name):
    patient_of = patients(tmp_path)
    block = TableData(path="t.npz", group="patient", test=0.2, **PARTITIONS[name])
    federation = load_federation(block, 0, base=tmp_path)
    data = federation.dataset
    places = {}
    for kind, shards in [
        ("train", federation.train),
        ("validation", federation.validation),
        ("client_test", federation.client_test),
    ]:
        for client in range(federation.num_clients):
            for row in shards.of(client):
                places.setdefault(patient_of[float(data.x[row, 0])], set()).add((kind, client))
    for row in data.x_test[:, 0].tolist():
        places.setdefault(patient_of[row], set()).add(("test", None))
    assert len(places) == 80
    assert all(len(found) == 1 for found in places.values())
    grouping = federation.grouping
    assert grouping is not None
    assert (grouping.column, grouping.largest <= 8) == ("patient", True)
    for kind, wanted in (("validation", 0.1), ("client_test", 0.1), ("test", 0.2)):
        assert grouping.realised[kind] == pytest.approx(wanted, abs=0.05)
    assert data.features == ("0", "1")


def test_the_group_column_of_a_csv_is_no_feature(tmp_path):
    text = "age,patient,y\n" + "".join(f"{i},p{i // 3},{i % 2}\n" for i in range(90))
    (tmp_path / "t.csv").write_text(text)
    block = TableData(path="t.csv", group="patient")
    assert load_federation(block, 0, base=tmp_path).dataset.features == ("age",)


def test_a_missing_group_is_an_error(tmp_path):
    patients(tmp_path)
    with pytest.raises(UsageError, match=r"unknown column 'patien' .did you mean patient"):
        load_federation(TableData(path="t.npz", group="patien"), 0, base=tmp_path)
    (tmp_path / "t.csv").write_text("age,patient,y\n" + "1,,0\n2,p,1\n" * 30)
    with pytest.raises(UsageError, match=r"misses the group of 30 rows"):
        load_federation(TableData(path="t.csv", group="patient"), 0, base=tmp_path)


def test_a_test_set_that_shares_patients_is_refused(tmp_path):
    test = {"x_test": np.ones((3, 2)), "y_test": np.arange(3)}
    patients(tmp_path, **test, patient_test=np.array([7, 8, 110]))
    block = TableData(path="t.npz", group="patient")
    with pytest.raises(UsageError, match=r"1 values of 'patient', such as '110', stand in the training and"):
        load_federation(block, 0, base=tmp_path)
    patients(tmp_path, **test, patient_test=np.array([7, 8, 9]))
    assert len(load_federation(block, 0, base=tmp_path).dataset.y_test) == 3


def test_a_hundred_thousand_clients_with_groups():
    groups = np.repeat(np.arange(200_000), 3)
    owner = groups // 2
    part = split_groups(owner, groups % 10, groups, 10, validation=0.0, test=0.4, seed=0)
    assert np.mean(part == TEST) == pytest.approx(0.5)
