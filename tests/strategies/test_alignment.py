"""Length and direction of updates: worked by hand, and recorded by every rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from strategies.alignment import alignment


def model(*values: float) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {"a": np.array(values[:1], np.float32), "b": np.array([values[1:]], np.float32)}


def test_worked_example() -> None:
    # Updates (1, 0, 0) and (0, 2, 0); their mean with weights 1/2 is (0.5, 1, 0).
    start = model(1.0, 1.0, 1.0)
    found = alignment(start, [model(2.0, 1.0, 1.0), model(1.0, 3.0, 1.0)], np.array([0.5, 0.5]))
    assert [row["update_norm"] for row in found] == [1.0, 2.0]
    length = math.sqrt(1.25)
    assert [row["cosine"] for row in found] == pytest.approx([0.5 / length, 2.0 / (2.0 * length)])


def test_one_client_is_its_own_mean_and_opposite_ones_cancel() -> None:
    start = model(0.0, 0.0, 0.0)
    (alone,) = alignment(start, [model(1.0, 2.0, 3.0)], np.ones(1))
    assert alone["cosine"] == pytest.approx(1.0)
    against = alignment(start, [model(3.0, 0.0, 0.0), model(-1.0, 0.0, 0.0)], np.array([0.5, 0.5]))
    assert [row["cosine"] for row in against] == [1.0, -1.0]
    cancelled = alignment(start, [model(1.0, 0.0, 0.0), model(-1.0, 0.0, 0.0)], np.array([0.5, 0.5]))
    assert cancelled == [{"update_norm": 1.0}, {"update_norm": 1.0}]


def test_an_update_of_zero_has_no_direction() -> None:
    start = model(1.0, 1.0, 1.0)
    still, moving = alignment(start, [start, model(2.0, 1.0, 1.0)], np.array([0.5, 0.5]))
    assert still == {"update_norm": 0.0}
    assert moving["cosine"] == pytest.approx(1.0)


def test_counters_are_no_update_and_float32_does_not_lose_small_ones() -> None:
    start = {"w": np.array([1e4], np.float32), "n": np.array(5)}
    near = {"w": np.nextafter(start["w"], np.float32(2e4)), "n": np.array(500)}
    (found,) = alignment(start, [near], np.ones(1))
    assert found["update_norm"] == float(near["w"][0]) - 1e4
