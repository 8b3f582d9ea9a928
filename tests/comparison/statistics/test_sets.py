"""Several data sets: pairs, ranks and the critical difference, against SciPy and Demšar's example."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedbal.comparison.statistics.sets import across_sets, critical_difference, friedman, ranks_of

# Table 6 of Demšar (2006): AUC of C4.5 with four settings on 14 data sets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
METHODS = ["C4.5", "m", "cf", "m+cf"]


def values(table, methods=METHODS):
    return {
        f"set {row}": {
            method: {seed: float(mean) + 0.001 * seed for seed in (-1, 0, 1)}
            for method, mean in zip(methods, line, strict=True)
        }
        for row, line in enumerate(table)
    }


def test_mean_ranks_friedman_and_critical_difference_of_demsar():
    assert ranks_of(DEMSAR).mean(axis=0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=1e-3)
    # He gives 9.28, without the correction for ties that SciPy makes.
    found = friedman(DEMSAR)
    assert found["p"] == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).pvalue)
    assert 9.28 <= found["statistic"] < 10.5
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(2, 10) == pytest.approx(1.960 * np.sqrt(6 / 60), abs=1e-3)


def test_independent_sets_get_a_critical_difference_from_ten_on():
    found = across_sets(values(DEMSAR), METHODS, independent=True)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.ranks["m+cf"] == pytest.approx(1.964, abs=1e-3)
    assert "friedman" in found.extra
    fewer = across_sets(values(DEMSAR[:9]), METHODS, independent=True)
    assert fewer.critical_difference is None
    assert "9 data sets are too few" in fewer.notes[0]
    variations = across_sets(values(DEMSAR), METHODS)
    assert variations.critical_difference is None
    assert "variations of the same data" in variations.notes[0]


def test_pairs_are_wilcoxons_test_with_holm():
    found = across_sets(values(DEMSAR[:, [0, 3]], ["C4.5", "m+cf"]), ["C4.5", "m+cf"])
    (pair,) = found.across
    differences = DEMSAR[:, 0] - DEMSAR[:, 3]
    expected = stats.permutation_test(
        (stats.rankdata(np.abs(differences[differences != 0])) * np.sign(differences[differences != 0]),),
        np.sum,
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert pair.p == pytest.approx(expected.pvalue)
    assert (pair.datasets, pair.wins, pair.losses) == (14, 2, 11)
    four = across_sets(values(DEMSAR), METHODS).across
    assert len(four) == 6
    smallest = min(four, key=lambda one: one.p)
    assert smallest.p_adjusted == pytest.approx(min(1.0, 6 * smallest.p))


def test_less_is_better_turns_wins_and_ranks():
    found = across_sets(values(DEMSAR[:, [0, 3]], ["C4.5", "m+cf"]), ["C4.5", "m+cf"], higher=False)
    assert (found.across[0].wins, found.across[0].losses) == (11, 2)
    assert found.ranks["C4.5"] < found.ranks["m+cf"]


def test_a_method_that_lacks_data_sets():
    known = values(DEMSAR[:3, :2], ["a", "b"])
    del known["set 1"]["b"]
    found = across_sets(known, ["a", "b", "c"])
    by_pair = {(one.first, one.second): one for one in found.across}
    assert by_pair["a", "b"].datasets == 2
    assert by_pair["a", "c"].p is by_pair["a", "c"].p_adjusted is None
    assert found.ranks == {}
    assert "0 of 3 data sets" in found.notes[0]


def test_one_data_set_says_nothing_across():
    assert across_sets(values(DEMSAR[:1]), METHODS).across == ()


def test_friedman_of_equal_methods():
    assert friedman(np.ones((10, 3)))["p"] == 1.0
