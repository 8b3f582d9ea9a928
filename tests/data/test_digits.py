import hashlib

import numpy as np
import pytest

from fedbal.data import digits
from fedbal.data.dataset import Request
from fedbal.errors import RunError


def load(seed=0, test=0.2):
    return digits.load(Request(seed), test=test)


def test_shape_range_and_scaling():
    data = load()
    assert data.x.dtype == np.uint8
    assert data.input_shape == (1, 8, 8)
    assert data.num_classes == 10
    assert (data.x.min(), data.x.max(), data.scaling.divide) == (0, 16, 16.0)
    assert len(data.y) + len(data.y_test) == 1797
    assert "CC BY 4.0" in data.licence


def test_the_test_share_is_stratified():
    data = load()
    totals = np.bincount(np.concatenate([data.y, data.y_test]))
    assert len(data.y_test) == round(0.2 * 1797)
    assert np.all(np.abs(np.bincount(data.y_test) - 0.2 * totals) < 1)


def test_the_seed_chooses_the_test_rows():
    assert load(0).fingerprint() == load(0).fingerprint() != load(1).fingerprint()


def test_training_and_test_rows_are_those_of_scikit_learn():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    data = load()
    rows = np.concatenate([data.x, data.x_test]).reshape(1797, -1)
    mine = np.column_stack([rows, np.concatenate([data.y, data.y_test])]).astype(np.float64)
    theirs = np.column_stack([original.data, original.target])
    assert sorted(map(bytes, mine)) == sorted(map(bytes, theirs))


def test_a_damaged_package_file_is_named(tmp_path, monkeypatch):
    text = digits._FILE.read_text(encoding="utf-8")
    checksum = text.split('"sha256": "')[1][:64]
    other = hashlib.sha256(b"").hexdigest()
    (tmp_path / "digits.json").write_text(text.replace(checksum, other), encoding="utf-8")
    monkeypatch.setattr(digits, "_FILE", tmp_path / "digits.json")
    with pytest.raises(RunError, match=r"damaged.*checksum differs.*reinstall"):
        load()
