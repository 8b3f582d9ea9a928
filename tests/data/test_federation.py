import numpy as np
import pytest

from fedbal.data.federation import Shards, load_federation
from fedbal.data.params import (
    DigitsData,
    DirichletParams,
    IidParams,
    LognormalParams,
    LongTailParams,
    NaturalIdParams,
    PathologicalParams,
    PowerLawParams,
    SyntheticData,
    TableData,
)
from fedbal.errors import UsageError

QUICKSTART = DigitsData(
    long_tail=LongTailParams(imbalance_factor=10.0), partition=DirichletParams(clients=20, alpha=0.3)
)


def parts(federation):
    return federation.train, federation.validation, federation.client_test


def kept(federation):
    return np.concatenate([shards.indices for shards in parts(federation)])


BLOCKS = {
    "quickstart": QUICKSTART,
    "defaults": DigitsData(),
    "no-splits": DigitsData(validation=0.0, client_test=0.0),
    "synthetic": SyntheticData(clients=10),
    "synthetic-iid": SyntheticData(clients=5, partition=IidParams(clients=8)),
    "sized": DigitsData(partition=PathologicalParams(clients=10), quantity=PowerLawParams()),
    "many": DigitsData(partition=IidParams(clients=5000)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_kept_row_is_in_exactly_one_list(name):
    federation = load_federation(BLOCKS[name], 0)
    rows = kept(federation)
    assert len(np.unique(rows)) == len(rows) <= len(federation.dataset.y)
    for shards in parts(federation):
        assert shards.offsets[0] == 0
        assert shards.offsets[-1] == len(shards.indices)
        assert len(shards.sizes) == federation.num_clients
        assert shards.indices.dtype == shards.offsets.dtype == np.int64


@pytest.mark.parametrize("name", BLOCKS)
def test_a_client_with_data_trains_on_at_least_one_row(name):
    train, validation, test = (shards.sizes for shards in parts(load_federation(BLOCKS[name], 0)))
    assert np.all(train[(validation + test) > 0] >= 1)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_seed_decides_everything(name):
    prints = [load_federation(BLOCKS[name], seed).fingerprint() for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_the_long_tail_is_in_the_kept_rows():
    federation = load_federation(QUICKSTART, 0)
    sizes = np.bincount(federation.dataset.y[kept(federation)])
    assert sizes[0] / sizes[-1] == pytest.approx(10, rel=0.05)
    assert np.all(np.diff(sizes) < 0)


def test_validation_and_client_test_have_their_shares():
    federation = load_federation(
        DigitsData(partition=IidParams(clients=5), validation=0.2, client_test=0.1), 0
    )
    total = sum(shards.sizes for shards in parts(federation))
    np.testing.assert_array_equal(federation.client_test.sizes, np.rint(0.1 * total))
    np.testing.assert_array_equal(federation.validation.sizes, np.rint(0.2 * total))


def test_label_counts_are_those_of_the_training_rows():
    federation = load_federation(QUICKSTART, 0)
    counts = federation.label_counts()
    assert counts.shape == (20, 10)
    for client in range(20):
        labels = federation.dataset.y[federation.train.of(client)]
        np.testing.assert_array_equal(counts[client], np.bincount(labels, minlength=10))


def test_clients_without_data_stay_in_the_index():
    federation = load_federation(DigitsData(partition=IidParams(clients=5000)), 0)
    assert federation.num_clients == len(federation.names) == 5000
    assert federation.names[4999] == "4999"
    assert federation.train.sizes.min() == 0
    assert len(federation.train.of(4999)) == 0


def test_a_client_s_rows_are_a_view_in_ascending_order():
    federation = load_federation(QUICKSTART, 0)
    rows = federation.train.of(3)
    assert rows.base is not None
    assert np.shares_memory(rows, federation.train.indices)
    assert np.all(np.diff(rows) > 0)


def test_the_synthetic_devices_are_the_clients():
    federation = load_federation(SyntheticData(validation=0.0, client_test=0.0), 0)
    assert federation.names[:3] == ("0", "1", "2")
    assert list(federation.train.sizes[:5]) == [1718, 153, 392, 4388, 2103]
    assert federation.train.sizes.sum() == 20_101


def test_quantity_skew_does_not_redraw_the_other_axes():
    block = DigitsData(partition=IidParams(clients=10))
    plain = load_federation(block, 0)
    sized = load_federation(block.model_copy(update={"quantity": LognormalParams(sigma=1.0)}), 0)
    np.testing.assert_array_equal(plain.dataset.y_test, sized.dataset.y_test)
    assert plain.fingerprint() != sized.fingerprint()
    assert sized.train.sizes.max() > 2 * sized.train.sizes.min()


def test_the_partition_does_not_redraw_the_long_tail():
    rows = [
        np.sort(kept(load_federation(QUICKSTART.model_copy(update={"partition": partition}), 0)))
        for partition in (IidParams(clients=3), DirichletParams(clients=9))
    ]
    np.testing.assert_array_equal(*rows)


def test_the_fingerprint_sees_data_labels_columns_and_lists(tmp_path):
    def fingerprint(**changes):
        arrays = {
            "x": np.arange(60.0).reshape(30, 2),
            "y": np.arange(30) % 2,
            "site": np.arange(30) % 3,
            "x_test": np.ones((4, 2)),
            "y_test": np.arange(4) % 2,
        }
        arrays.update(changes)
        np.savez(tmp_path / "t.npz", **arrays)
        block = TableData(path="t.npz", partition=NaturalIdParams(partition_by="site"))
        return load_federation(block, 0, base=tmp_path).fingerprint()

    original = fingerprint()
    x = np.arange(60.0).reshape(30, 2)
    x[7, 1] += 0.5
    assert fingerprint() == original
    changed = [
        fingerprint(x=x),
        fingerprint(y=np.arange(1, 31) % 2),
        fingerprint(site=np.arange(30) % 5),
        fingerprint(x_test=np.zeros((4, 2))),
        fingerprint(classes=np.array(["a", "b"])),
    ]
    assert len({original, *changed}) == 6


def test_an_impossible_partition_is_a_usage_error():
    with pytest.raises(UsageError, match="classes_per_client 11"):
        load_federation(DigitsData(partition=PathologicalParams(classes_per_client=11)), 0)


def test_shards_group_rows_by_owner():
    shards = Shards.grouped(np.array([2, 0, 2, 0]), np.array([1, 4, 6, 9]), 4)
    assert [list(shards.of(client)) for client in range(4)] == [[4, 9], [], [1, 6], []]
    assert list(shards.sizes) == [2, 0, 2, 0]
