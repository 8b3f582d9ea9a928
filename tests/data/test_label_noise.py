"""Wrong training labels: how many, whose, which, and what stays clean."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from fedbal.data.federation import load_federation
from fedbal.data.heterogeneity import describe
from fedbal.data.params import DigitsData, DirichletParams
from fedbal.data.row_params import GaussianNoiseParams, LabelNoiseParams, RotationParams

PARTITION = DirichletParams(clients=12, alpha=0.5)


def load(seed=0, **noise):
    return load_federation(DigitsData(partition=PARTITION, label_noise=LabelNoiseParams(**noise)), seed)


CLEAN = load_federation(DigitsData(partition=PARTITION), 0)


def wrong(federation):
    return federation.dataset.y != CLEAN.dataset.y


@pytest.mark.parametrize("kind", ["symmetric", "class_pair"])
def test_exactly_the_rate_of_training_labels_is_wrong(kind):
    noisy = load(kind=kind, rate=0.3)
    changed = wrong(noisy)
    for client, rows in enumerate(map(noisy.train.of, range(12))):
        assert changed[rows].sum() == round(0.3 * len(rows))
        assert noisy.label_noise[client] == pytest.approx(changed[rows].mean() if len(rows) else 0.0)
    for part in (noisy.validation, noisy.client_test):
        assert not changed[part.indices].any()
    np.testing.assert_array_equal(noisy.dataset.y_test, CLEAN.dataset.y_test)
    np.testing.assert_array_equal(noisy.clean_y, CLEAN.dataset.y)
    np.testing.assert_array_equal(noisy.train.indices, CLEAN.train.indices)
    assert noisy.dataset.x.tobytes() == CLEAN.dataset.x.tobytes()


def test_class_pair_goes_to_the_next_class():
    noisy = load(kind="class_pair", rate=0.5)
    changed = wrong(noisy)
    np.testing.assert_array_equal(noisy.dataset.y[changed], (CLEAN.dataset.y[changed] + 1) % 10)


def test_symmetric_reaches_every_other_class_alike():
    noisy = load(kind="symmetric", rate=1.0)
    rows = noisy.train.indices
    steps = (noisy.dataset.y[rows] - CLEAN.dataset.y[rows]) % 10
    counts = np.bincount(steps, minlength=10)
    assert counts[0] == 0
    expected = len(rows) / 9
    assert (
        (counts[1:] - expected) ** 2 / expected
    ).sum() < 26.1  # chi-square, 8 degrees of freedom, p = 0.001


def test_only_a_share_of_the_clients_is_noisy_each_at_its_own_rate():
    rates = load(rate=[0.2, 0.6], clients=0.5).label_noise
    noisy = rates[rates > 0]
    assert len(noisy) == 6
    assert len(np.unique(noisy)) == 6
    assert noisy.min() >= 0.19
    assert noisy.max() <= 0.61


def test_validation_labels_only_if_wanted():
    noisy = load(rate=0.5, validation=True)
    changed = wrong(noisy)
    assert 0.4 < changed[noisy.validation.indices].mean() < 0.6
    assert not changed[noisy.client_test.indices].any()
    own = noisy.train.of(3)
    assert noisy.label_noise[3] == pytest.approx(changed[own].mean())


def test_counts_are_those_that_clients_see():
    noisy = load(rate=0.4)
    expected = [np.bincount(noisy.dataset.y[noisy.train.of(client)], minlength=10) for client in range(12)]
    np.testing.assert_array_equal(noisy.label_counts(), expected)
    np.testing.assert_array_equal(describe(noisy).counts, expected)
    np.testing.assert_array_equal(noisy.label_counts(clean=True), CLEAN.label_counts())


def test_the_fingerprint_knows():
    prints = [CLEAN, load(rate=0.2), load(rate=0.3), load(kind="class_pair"), load(seed=1, rate=0.2)]
    assert len({each.fingerprint() for each in prints}) == 5
    assert load(rate=0.2).fingerprint() == prints[1].fingerprint()


def test_ranges_ascend():
    with pytest.raises(ValidationError, match=r"did you mean \[0.1, 0.4\]"):
        LabelNoiseParams(rate=[0.4, 0.1])


def test_strengths_are_each_clients_own():
    shift = load_federation(
        DigitsData(partition=PARTITION, feature_shift=RotationParams(max_degrees=30.0)), 0
    ).shift
    assert len(np.unique(shift.strengths)) == 12
    assert np.abs(shift.strengths).max() <= 30.0
    more = DigitsData(
        partition=DirichletParams(clients=20, alpha=0.5), feature_shift=RotationParams(max_degrees=30.0)
    )
    np.testing.assert_array_equal(load_federation(more, 0).shift.strengths[:12], shift.strengths)
    chosen = DigitsData(partition=PARTITION, feature_shift=RotationParams(angles=[0.0, 90.0]))
    assert set(load_federation(chosen, 0).shift.strengths) == {0.0, 90.0}
    dealt = RotationParams(angles=[0.0, 30.0, 60.0, 90.0, 120.0], spread="even")
    shift = load_federation(DigitsData(partition=PARTITION, feature_shift=dealt), 0).shift
    assert shift.strengths.tolist() == [0.0, 30.0, 60.0, 90.0, 120.0] * 2 + [0.0, 30.0]
    spaced = RotationParams(max_degrees=55.0, spread="even")
    shift = load_federation(DigitsData(partition=PARTITION, feature_shift=spaced), 0).shift
    np.testing.assert_allclose(shift.strengths, np.arange(-55.0, 56.0, 10.0))


def test_a_client_can_have_several_angles():
    def load_with(total, clients=12, seed=0):
        mixed = RotationParams(angles=[0.0, 45.0, 90.0], mixture=total)
        partition = DirichletParams(clients=clients, alpha=0.5)
        return load_federation(DigitsData(partition=partition, feature_shift=mixed), seed)

    shift = load_with(1.0).shift
    np.testing.assert_allclose(shift.shares.sum(axis=1), np.ones(12))
    np.testing.assert_allclose(shift.strengths, shift.shares @ [0.0, 45.0, 90.0])
    np.testing.assert_array_equal(load_with(1.0, clients=20).shift.shares[:12], shift.shares)
    assert load_with(1.0).fingerprint() != load_with(2.0).fingerprint()
    assert load_with(1e-3).shift.shares.max(axis=1).min() > 0.99
    assert load_with(1e6).shift.shares.max() < 0.34


def test_several_angles_need_a_list():
    with pytest.raises(ValidationError, match="mixture needs angles"):
        RotationParams(mixture=1.0)
    with pytest.raises(ValidationError, match="global_test: angles needs angles"):
        RotationParams(global_test="angles")
    with pytest.raises(ValidationError, match="delete one of them"):
        RotationParams(mixture=1.0, angles=[0.0, 1.0], spread="even")


def test_shift_changes_the_fingerprint():
    noisy = DigitsData(partition=PARTITION, feature_shift=GaussianNoiseParams(std=0.1))
    assert load_federation(noisy, 0).fingerprint() != CLEAN.fingerprint()
    assert load_federation(noisy, 0).shift.column == "noise_std"


def test_angles_or_a_range():
    with pytest.raises(ValidationError, match="only one of the two"):
        RotationParams(max_degrees=3.0, angles=[1.0])
    assert RotationParams().bounds() == {"low": -45.0, "high": 45.0}
