"""Crops and flips: exact where nothing is drawn, distributed as said, the same bytes in every runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clients.augment import Augmentation, crop
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.standard import Standard
from clients.training import LocalPlan, StepOptions, train
from fedbal.errors import UsageError
from fedbal.results import RunReader
from fedbal.seeding import stream
from fedbal.simulation import run
from tests.clients.test_training import LocalRound, make_data, make_model
from tests.scenarios import digits, sha256

ON = "client.augment={crop_padding: 2, horizontal_flip: true}"


def images(n=6, channels=3, height=5, width=7):
    return torch.arange(n * channels * height * width, dtype=torch.float32).view(n, channels, height, width)


def test_a_crop_is_cut_out_of_zeros():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert torch.equal(crop(x, torch.tensor([[1, 1]]), 1), x)
    assert crop(x, torch.tensor([[0, 0]]), 1).flatten().tolist() == [0, 0, 0, 1]
    assert crop(x, torch.tensor([[2, 1]]), 1).flatten().tolist() == [3, 4, 0, 0]
    assert crop(x, torch.tensor([[1, 2]]), 1).flatten().tolist() == [2, 0, 4, 0]


def test_every_image_is_cropped_by_its_own_draw_and_keeps_its_channels_together():
    x = images()
    shifts = torch.from_numpy(stream(0, "test").integers(0, 5, (6, 2)))
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    for image, (row, column), cut in zip(padded, shifts.tolist(), crop(x, shifts, 2), strict=True):
        assert torch.equal(cut, image[:, row : row + 5, column : column + 7])


def test_nothing_to_do_draws_nothing_and_changes_nothing():
    generator = stream(0, "test")
    x = images()
    assert Augmentation()(x, generator) is x
    assert generator.random() == stream(0, "test").random()


def test_half_of_the_images_are_mirrored_each_entirely():
    x = images(2000, 1, 2, 3)
    flipped = Augmentation(horizontal_flip=True)(x, stream(0, "test"))
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    same = (flipped == x).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 900 < int(mirrored.sum()) < 1100


def test_all_shifts_are_equally_likely():
    marked = torch.zeros(5000, 1, 5, 5)
    marked[:, 0, 2, 2] = 1.0
    moved = Augmentation(crop_padding=2)(marked, stream(0, "test"))
    counts = moved.sum((0, 1))
    assert counts.sum() == 5000
    # 25 cells, 200 expected each, standard deviation 14.
    assert 130 < float(counts.min()) <= float(counts.max()) < 270


def test_draws_belong_to_seed_client_and_round():
    x, augment = images(), Augmentation(2, True)

    def result(*key):
        return augment(x, augment.draws(*key))

    assert torch.equal(result(0, "a", 1), result(0, "a", 1))
    for other in [(1, "a", 1), (0, "b", 1), (0, "a", 2)]:
        assert not torch.equal(result(0, "a", 1), result(*other))


def trained_on(options, work=None):
    data, model = make_data(features=5), make_model()
    local = LocalRound(round=2, received=dict(model.state_dict()), data=data, num_classes=3)
    batches = LocalPlan(8, epochs=2).minibatches(0, data.key, 2, len(data.train), work)
    return train(model, Standard(CrossEntropy()), SGD(0.1), local, {}, batches, options)


def test_augmentation_that_is_off_is_no_augmentation_bit_for_bit():
    off, _ = trained_on(StepOptions(augment=Augmentation(0, False), seed=9))
    plain, _ = trained_on(StepOptions())
    assert all(torch.equal(off[name], plain[name]) for name in plain)


def test_evaluation_is_not_augmented_and_off_gives_the_same_bytes(tmp_path):
    run(digits("model=cnn", "rounds=2"), tmp_path / "plain")
    off = "client.augment={crop_padding: 0, horizontal_flip: false}"
    run(digits("model=cnn", "rounds=2", off), tmp_path / "off")
    run(digits("model=cnn", "rounds=2", ON), tmp_path / "on")
    hashes = {name: sha256(tmp_path / name / "model.safetensors") for name in ("plain", "off", "on")}
    assert hashes["plain"] == hashes["off"] != hashes["on"]
    plain, on = RunReader(tmp_path / "plain"), RunReader(tmp_path / "on")
    # Round 1 evaluates the same initial model on the clients' own test data.
    received = [
        [row["received_accuracy"] for row in reader.clients() if row["round"] == 1] for reader in (plain, on)
    ]
    assert received[0] == received[1]
    assert plain.fingerprints["batches"] != on.fingerprints["batches"]
    assert plain.fingerprints["batches"] == RunReader(tmp_path / "off").fingerprints["batches"]


def test_ray_gives_the_same_bytes(tmp_path):
    pytest.importorskip("ray")
    changes = (
        "rounds=2",
        ON,
        "client.clip_norm=0.5",
        "client.optimizer={name: adamw, lr: 0.01, schedule: cosine}",
        "cohort.availability={name: label_correlated, period: 4}",
    )
    run(digits(*changes), tmp_path / "here")
    run(digits(*changes, "runtime={backend: ray, workers: 2}"), tmp_path / "ray")
    assert sha256(tmp_path / "here" / "model.safetensors") == sha256(tmp_path / "ray" / "model.safetensors")


def test_what_is_no_image_is_refused(tmp_path):
    flat = "data={dataset: synthetic, clients: 4}"
    with pytest.raises(UsageError, match=r"client\.augment needs images .* has shape \(60,\)"):
        run(digits(flat, "model=logistic", ON), tmp_path / "flat")
    with pytest.raises(UsageError, match=r"crop_padding: got 8; the images are 8 x 8"):
        run(digits("client.augment.crop_padding=8"), tmp_path / "small")
    with pytest.raises(UsageError, match=r"client\.augment\.crop_padding: got -1"):
        digits("client.augment.crop_padding=-1")
    assert np.all([not (tmp_path / name).exists() for name in ("flat", "small")])


def test_masks_move_with_their_images():
    x = torch.arange(1, 1 + 40 * 5 * 7, dtype=torch.float32).view(40, 1, 5, 7)
    y = x[:, 0].to(torch.int64)
    for change in (Augmentation(2, True), Augmentation(1), Augmentation(0, True)):
        moved, masks = change.rows(x, y, stream(0, "test"))
        assert torch.equal(moved[:, 0].to(torch.int64), masks)
        assert torch.equal(moved, change(x, stream(0, "test")))
        assert not torch.equal(masks, y)


def test_labels_stay_where_images_move():
    x, y = images(), torch.arange(6)
    moved, labels = Augmentation(2, True).rows(x, y, stream(0, "test"))
    assert labels is y
    assert torch.equal(moved, Augmentation(2, True)(x, stream(0, "test")))


@pytest.mark.parametrize("augmentation", [Augmentation(2, True), Augmentation(2), Augmentation(0, True)])
def test_drawing_ahead_draws_the_same(augmentation):
    images = torch.arange(9 * 3 * 6 * 6, dtype=torch.float32).reshape(9, 3, 6, 6)
    one = stream(0, "ahead")
    expected = [augmentation(part, one) for part in images.split([4, 4, 1])]
    ahead = augmentation.changes([4, 4, 1], stream(0, "ahead"), images.device)
    found = [
        augmentation.apply(part, each) for part, each in zip(images.split([4, 4, 1]), ahead, strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
