"""Where definitions coincide, our partitions agree with those of flwr-datasets in distribution."""

import numpy as np
import pytest

from fedbal.data.partitions.dirichlet import dirichlet
from fedbal.data.partitions.pathological import pathological
from fedbal.data.partitions.shards import shards
from tests.data.pools import balanced, counts

pytest.importorskip("flwr_datasets")
datasets = pytest.importorskip("datasets")

CLIENTS, CLASSES, ROWS = 6, 5, 60


def theirs(partitioner):
    labels = np.tile(np.arange(CLASSES), ROWS)
    partitioner.dataset = datasets.Dataset.from_dict({"label": labels.tolist()})
    held = [np.asarray(partitioner.load_partition(k)["label"]) for k in range(CLIENTS)]
    return np.array([np.bincount(mine, minlength=CLASSES) for mine in held])


def mine(name, seed, **kwargs):
    source = balanced(CLASSES, ROWS, seed)
    return counts(name(source, clients=CLIENTS, **kwargs).owner, source.labels, CLIENTS, CLASSES)


@pytest.mark.parametrize("balancing", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_dirichlet_shares_have_the_same_spread(alpha, balancing):
    from flwr_datasets.partitioner import DirichletPartitioner

    other = [
        theirs(DirichletPartitioner(CLIENTS, "label", alpha, 0, self_balancing=balancing, seed=seed))
        for seed in range(60)
    ]
    ours = [mine(dirichlet, seed, alpha=alpha, min_size=0, size_guard=balancing) for seed in range(60)]
    assert np.mean(ours) == np.mean(other) == ROWS / CLIENTS
    assert np.std(ours) == pytest.approx(np.std(other), rel=0.12)
    sizes = [np.std([table.sum(axis=1) for table in tables]) for tables in (ours, other)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


def test_pathological_clients_have_the_same_shape():
    from flwr_datasets.partitioner import PathologicalPartitioner

    other = theirs(PathologicalPartitioner(CLIENTS, "label", 2, "first-deterministic", seed=0))
    ours = mine(pathological, 0, classes_per_client=2)
    for table in (ours, other):
        assert set((table > 0).sum(axis=1)) == {2}
        np.testing.assert_array_equal(table.sum(axis=0), ROWS)
        assert all(np.ptp(column[column > 0]) <= 1 for column in table.T)


def test_shards_have_the_same_shape():
    from flwr_datasets.partitioner import ShardPartitioner

    other = theirs(ShardPartitioner(CLIENTS, "label", num_shards_per_partition=2, seed=0))
    ours = mine(shards, 0, shards_per_client=2)
    for table in (ours, other):
        np.testing.assert_array_equal(table.sum(axis=0), ROWS)
        assert np.ptp(table.sum(axis=1)) <= 2
        assert np.all((table > 0).sum(axis=1) <= 4)
