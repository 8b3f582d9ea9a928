"""Blobs: seeded, sites apart from one another, wrong masks where asked for and only there."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from fedbal.data.blobs import dilated, draw_look, eroded, load, moved, wrong_masks
from fedbal.data.dataset import Request
from fedbal.data.federation import load_federation
from fedbal.data.heterogeneity import describe
from fedbal.data.params import BlobsData
from fedbal.seeding import stream


def made(seed=0, **changes):
    block = BlobsData(sites=3, images=12, test_images=7, size=24, **changes)
    return load(Request(seed), **block.source_kwargs())


def federation(**changes):
    block = BlobsData(sites=3, images=20, test_images=6, size=16, validation=0.2, client_test=0.2, **changes)
    return load_federation(block, 0)


def test_shapes_and_columns():
    data = made()
    assert (data.x.shape, data.x.dtype, data.y.shape) == ((36, 1, 24, 24), np.uint8, (36, 24, 24))
    assert set(np.unique(data.y)) == {0, 1}
    assert data.columns["site"].tolist() == ["site-0"] * 12 + ["site-1"] * 12 + ["site-2"] * 12
    assert data.test_columns["site"].tolist() == ["site-0"] * 3 + ["site-1"] * 2 + ["site-2"] * 2
    assert (data.task, data.target_shape, data.num_classes) == ("segmentation", (24, 24), 2)
    assert data.y.any((1, 2)).all()
    assert data.y_test.any((1, 2)).all()


def test_the_seed_decides_and_sites_do_not_touch_each_other():
    first = made()
    assert first.fingerprint() == made().fingerprint() != made(seed=1).fingerprint()
    small = made(small_sites=[1], small_share=0.25)
    assert (small.columns["site"] == "site-1").sum() == 3
    for site in ("site-0", "site-2"):
        assert np.array_equal(first.x[first.columns["site"] == site], small.x[small.columns["site"] == site])
    assert np.array_equal(first.x_test, small.x_test)


def test_blobs_are_brighter_than_their_ground():
    data = made(noise=0.0, texture_shift=0.0, intensity_shift=0.0, contrast_shift=0.0)
    inside, outside = data.x[:, 0][data.y == 1], data.x[:, 0][data.y == 0]
    # At the edge of a mask a blob has half of its contrast; a smear alone never reaches it.
    assert inside.min() >= np.floor(255 * (0.35 + 0.35 / 2)) > 255 * (0.35 + 0.4 * 0.35)
    assert np.median(outside) < 255 * (0.35 + 0.35 / 4)


def test_shifts_of_zero_make_sites_alike():
    for site in range(5):
        look = draw_look(0, site, 0.0, 0.0, 0.0)
        assert (look.brightness, look.contrast, look.amplitude) == (0.0, 1.0, 0.0)
    drawn = [draw_look(0, site, 0.2, 0.4, 0.1) for site in range(200)]
    assert 0.18 < max(look.brightness for look in drawn) <= 0.2
    assert -0.2 <= min(look.brightness for look in drawn) < -0.18
    assert 0.6 <= min(look.contrast for look in drawn) < max(look.contrast for look in drawn) <= 1.4
    assert max(look.amplitude for look in drawn) <= 0.1


def test_hand_worked_masks():
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    assert moved(mask, 1, -1).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert moved(mask, 0, 0).tolist() == mask.tolist()
    assert dilated(mask, 1).all()
    assert not eroded(mask, 1).any()
    cross = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0]])
    assert eroded(cross, 1).tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", ["erode", "dilate", "shift", "missing", "mixed"])
def test_so_many_masks_are_wrong_and_in_the_way_asked_for(kind):
    masks = np.zeros((30, 20, 20), np.int64)
    masks[:, 6:14, 6:14] = 1
    drawn = wrong_masks(masks, kind, 0.4, 2, stream(0, "test"))
    wrong = (drawn != masks).any((1, 2))
    assert wrong.sum() == 12
    area = drawn[wrong].sum((1, 2))
    expected = {"erode": {16}, "dilate": {144}, "shift": {64}, "missing": {0}, "mixed": {16, 144, 64, 0}}
    assert set(area.tolist()) == expected[kind]
    assert np.array_equal(masks, wrong_masks(masks, kind, 0.0, 2, stream(0, "test")))


def test_noisy_sites_train_and_validate_on_wrong_masks_and_are_tested_on_true_ones():
    found = federation(noisy_sites=[1], mask_noise="missing", mask_noise_rate=1.0)
    y, clean = found.dataset.y, found.clean_y
    assert not y[found.train.of(1)].any()
    assert not y[found.validation.of(1)].any()
    assert np.array_equal(y[found.client_test.of(1)], clean[found.client_test.of(1)])
    for site in (0, 2):
        rows = np.concatenate([found.train.of(site), found.validation.of(site)])
        assert np.array_equal(y[rows], clean[rows])
    assert clean.any((1, 2)).all()
    assert found.foreground()[1] == 0.0
    assert found.foreground()[0] == pytest.approx(y[found.train.of(0)].mean())
    assert found.fingerprint() != federation().fingerprint()


def test_natural_sites_and_other_partitions():
    found = federation()
    assert found.names == ("site-0", "site-1", "site-2")
    assert found.train.sizes.tolist() == [12, 12, 12]
    assert found.label_counts().shape == (3, 0)
    assert found.counted_classes == ()
    sizes = describe(found)
    assert sizes.sizes.tolist() == [12, 12, 12]
    assert sizes.to_dict()["imbalance_factor"] is None
    pooled = load_federation(
        BlobsData(sites=3, images=20, size=16, partition={"name": "iid", "clients": 5}, quantity="power_law"),
        0,
    )
    assert pooled.num_clients == 5
    assert len(set(pooled.train.sizes.tolist())) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noisy_sites": [6]}, r"sites from 0 to 5 \(data.sites = 6\)"),
        ({"small_sites": [1, 1]}, "name each site once"),
        ({"size": 8}, "greater than or equal to 16"),
        ({"contrast_shift": 1.0}, "less than 1"),
    ],
    ids=str,
)
def test_refusals(changes, message):
    with pytest.raises(ValidationError, match=message):
        BlobsData(**changes)
