"""What a feature shift does to a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clients.data import Pool, Split
from clients.shift import Brightness, GaussianNoise, MixedRotation, Rotation, shift_of
from fedbal.seeding import stream

ROWS = np.arange(4)


def images(height=8, width=8, n=4):
    draws = stream(0, "test-images").random((n, 2, height, width))
    return torch.from_numpy(draws.astype(np.float32))


@pytest.mark.parametrize("degrees", [0.0, 360.0, -360.0])
def test_no_rotation_is_the_identity(degrees):
    x = images()
    assert Rotation(degrees)(x, ROWS) is x


@pytest.mark.parametrize(("degrees", "quarters"), [(90.0, 1), (180.0, 2), (-90.0, 3)])
def test_quarter_turns_are_counter_clockwise(degrees, quarters):
    x = images()
    expected = torch.rot90(x, quarters, (2, 3))
    torch.testing.assert_close(Rotation(degrees)(x, ROWS), expected, rtol=0, atol=1e-5)


def test_oblong_images_are_turned_not_sheared():
    x = images(6, 10)
    torch.testing.assert_close(Rotation(180.0)(x, ROWS), x.flip((2, 3)), rtol=0, atol=1e-5)
    square = torch.zeros(1, 1, 6, 10)
    square[..., 1:5, 3:7] = 1.0
    torch.testing.assert_close(Rotation(90.0)(square, ROWS[:1]), square, rtol=0, atol=1e-5)


def test_turning_forth_and_back_keeps_the_middle():
    x = torch.nn.functional.avg_pool2d(images(40, 40), 9, 1, 4)
    back = Rotation(-20.0)(Rotation(20.0)(x, ROWS), ROWS)
    assert (back - x)[..., 14:26, 14:26].abs().max() < 0.03


def test_every_image_has_an_angle_of_its_own():
    mixed = MixedRotation((0.0, 90.0, 180.0), (0.2, 0.5, 0.3), 3, "7")
    rows, x = np.arange(4000), images(4, 4, 4000)
    chosen, found = mixed.choices(rows), mixed(x, rows)
    np.testing.assert_allclose(np.bincount(chosen) / 4000, [0.2, 0.5, 0.3], atol=0.03)
    for choice in range(3):
        mine = chosen == choice
        torch.testing.assert_close(found[mine], torch.rot90(x, choice, (2, 3))[mine], rtol=0, atol=1e-5)
    assert torch.equal(mixed(x[:2], np.array([9, 5])), mixed(x[[1, 0]], np.array([5, 9])).flip(0))
    others = (
        MixedRotation(mixed.angles, mixed.shares, 3, "8"),
        MixedRotation(mixed.angles, mixed.shares, 4, "7"),
    )
    assert all((other.choices(rows) != chosen).any() for other in others)
    assert MixedRotation((0.0, 90.0), (0.0, 1.0), 3, "7").choices(rows).tolist() == [1] * 4000


def test_noise_belongs_to_the_row():
    shift, x = GaussianNoise(0.5, 3, "7"), torch.zeros(4, 60)
    whole = shift(x, ROWS)
    torch.testing.assert_close(shift(x[:2], np.array([3, 1])), whole[[3, 1]], rtol=0, atol=0)
    assert len(torch.unique(whole)) == whole.numel()
    for other in (GaussianNoise(0.5, 3, "8"), GaussianNoise(0.5, 4, "7")):
        assert not torch.any(other(x, ROWS) == whole)


def test_noise_has_its_standard_deviation():
    noise = GaussianNoise(0.25, 0, "a")(torch.zeros(200, 500), np.arange(200))
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.005)
    assert float(noise.std()) == pytest.approx(0.25, rel=0.01)
    assert GaussianNoise(0.0, 0, "a")(noise, np.arange(200)) is noise


def test_noise_leaves_missing_values_missing():
    x = torch.tensor([[np.nan, 1.0]])
    assert torch.isnan(GaussianNoise(1.0, 0, "a")(x, ROWS[:1])).tolist() == [[True, False]]


def test_brightness_stays_between_black_and_white():
    x = torch.tensor([0.0, 0.5, 0.9]).view(1, 1, 1, 3)
    torch.testing.assert_close(Brightness(0.2)(x, ROWS[:1]).flatten(), torch.tensor([0.2, 0.7, 1.0]))
    torch.testing.assert_close(Brightness(-0.2)(x, ROWS[:1]).flatten(), torch.tensor([0.0, 0.3, 0.7]))
    assert Brightness(0.0)(x, ROWS[:1]) is x


def test_names():
    assert shift_of("rotation", 3.0, 0, "a") == Rotation(3.0)
    assert shift_of("brightness", 0.1, 0, "a") == Brightness(0.1)
    assert shift_of("gaussian_noise", 0.1, 5, "a") == GaussianNoise(0.1, 5, "a")
    with pytest.raises(ValueError, match="unknown feature shift"):
        shift_of("blur", 1.0, 0, "a")


def test_pixels_are_shifted_before_they_are_standardised():
    x = np.full((2, 1, 4, 4), 128, np.uint8)
    pool = Pool(x, np.zeros(2, np.int64), divide=256.0, mean=(0.5,), std=(0.1,))
    plain, _ = Split(pool, np.arange(2)).batch(np.arange(2))
    shifted, _ = Split(pool, np.arange(2), Brightness(0.25)).batch(np.arange(2))
    torch.testing.assert_close(plain, torch.zeros(2, 1, 4, 4))
    torch.testing.assert_close(shifted, torch.full((2, 1, 4, 4), 2.5))
