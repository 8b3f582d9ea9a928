import numpy as np
import pytest

from fedbal.data.federation import load_federation
from fedbal.data.params import DigitsData, DirichletParams, LongTailParams
from fedbal.data.subset import subset
from fedbal.errors import UsageError


def test_class_shares_stay_and_remainders_go_to_the_largest():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    kept = subset(labels, 25, 0)
    assert np.bincount(labels[kept]).tolist() == [15, 8, 2]
    assert np.all(np.diff(kept) > 0)
    assert subset(labels, 100, 0).tolist() == list(range(100))


def test_smaller_sizes_keep_a_part_of_larger_ones_and_the_seed_decides():
    labels = np.repeat([0, 1], [200, 100])
    assert set(subset(labels, 30, 4)) < set(subset(labels, 90, 4))
    assert subset(labels, 30, 4).tolist() == subset(labels, 30, 4).tolist() != subset(labels, 30, 5).tolist()


def test_more_rows_than_there_are_is_refused():
    with pytest.raises(UsageError, match=r"data\.train_rows is 4, and there are 3 training rows"):
        subset(np.zeros(3, np.int64), 4, 0)


def test_a_federation_uses_the_rows_after_the_long_tail():
    block = {"long_tail": LongTailParams(imbalance_factor=10.0), "partition": DirichletParams(clients=5)}
    whole = load_federation(DigitsData(validation=0.0, client_test=0.0, **block), 3)
    part = load_federation(DigitsData(validation=0.0, client_test=0.0, train_rows=300, **block), 3)
    assert len(part.train.indices) == 300
    assert set(part.train.indices) < set(whole.train.indices)
    shares = [item.label_counts().sum(axis=0) / item.label_counts().sum() for item in (whole, part)]
    np.testing.assert_allclose(*shares, atol=1 / 300)
