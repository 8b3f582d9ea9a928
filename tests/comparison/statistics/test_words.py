"""Verdicts in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedbal.comparison.statistics.notes import level_text, plain
from fedbal.comparison.statistics.results import Across, Analysis, Contrast
from fedbal.comparison.statistics.words import across_sentence, sentence, sentences

CONTRAST = Contrast(
    dataset="",
    method="fedprox",
    baseline="fedavg",
    seeds=10,
    mean=0.731,
    baseline_mean=0.7,
    difference=0.031,
    low=0.01,
    high=0.052,
    p=0.006,
    p_adjusted=0.012,
    p_t=0.01,
    p_equivalence=0.9,
    d_z=1.0,
    rank_biserial=0.9,
    correlation=0.5,
    verdict="better",
    p_equivalence_adjusted=0.95,
)


def said(contrast, percent=True, **changes):
    analysis = Analysis(
        "fedavg", True, 0.005, 0.05, 0.05, (contrast,), family=2, seeds=10, level_equivalence=0.05
    )
    return sentence(contrast, replace(analysis, **changes), label="balanced accuracy", percent=percent)


def test_better_and_worse_tell_the_amount():
    assert said(CONTRAST) == (
        "fedprox is better than fedavg by 3.1 points of balanced accuracy [1.0, 5.2], adjusted p .012, 10 seeds."
    )
    worse = replace(CONTRAST, difference=-0.031, low=-0.052, high=-0.01, verdict="worse", dataset="alpha=0.1")
    assert said(worse) == (
        "On alpha=0.1, fedprox is worse than fedavg by 3.1 points of balanced accuracy [1.0, 5.2], "
        "adjusted p .012, 10 seeds."
    )


def test_what_is_no_share_has_no_points():
    assert said(replace(CONTRAST, verdict="worse"), percent=False) == (
        "fedprox is worse than fedavg in balanced accuracy by 0.031 [0.01, 0.052], adjusted p .012, 10 seeds."
    )


def test_equivalent_tells_the_margin():
    same = replace(
        CONTRAST,
        difference=0.0004,
        low=-0.002,
        high=0.0028,
        verdict="equivalent",
        p_equivalence_adjusted=0.0004,
    )
    assert said(same) == (
        "fedprox and fedavg are equivalent within 0.5 points: difference 0.0 points of balanced accuracy "
        "[-0.2, 0.3], adjusted p of equivalence < .001, 10 seeds."
    )


def test_undecided_tells_what_would_decide():
    open_ = replace(CONTRAST, verdict="undecided", low=-0.01, high=0.072, p_adjusted=0.375, seeds_needed=24)
    assert said(open_) == (
        "fedprox against fedavg is undecided: difference +3.1 points of balanced accuracy [-1.0, 7.2], adjusted p "
        ".375, 10 seeds; about 24 seeds would decide."
    )
    few = replace(open_, seeds=5, seeds_needed=7)
    assert said(few).endswith(
        "5 seeds; with 5 seeds a sign-flip test cannot go below .0625 (.125 adjusted for 2 methods) and so cannot "
        "reach .05; about 7 seeds would decide."
    )
    assert "cannot go below .0625 and so cannot reach .05" in said(few, family=1)
    single = replace(open_, seeds=1, low=None, high=None, seeds_needed=None)
    assert "+3.1 points of balanced accuracy (no interval)" in said(single)
    assert "1 seed;" in said(single)


def test_reference_rows_have_their_own_p_and_earlier_looks_are_named():
    assert "p .006, 10 seeds" in said(CONTRAST, contrasts=(), references=(CONTRAST,))
    assert said(replace(CONTRAST, decided_at=5)).endswith("10 seeds (decided at the look at 5 seeds).")


def test_all_sentences_in_order():
    analysis = Analysis(
        "fedavg",
        True,
        0.005,
        0.05,
        0.05,
        (replace(CONTRAST, notes=("Something.",)),),
        references=(replace(CONTRAST, method="uniform"),),
        across=(Across("a", "b", 4, 2, 1, 0.5, 1.0),),
        notes=("Last.",),
    )
    found = sentences(analysis)
    assert [text.split()[0] for text in found] == ["fedprox", "Reference:", "Over", "fedprox", "Last."]
    assert found[3] == "fedprox against fedavg: Something."
    assert across_sentence(analysis.across[0]) == (
        "Over 4 data sets a is ahead of b on 2 and behind on 1, 1 even: adjusted p 1."
    )


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "-"), (0.0004, "< .001"), (0.012, ".012"), (0.0625, ".062"), (0.9999, "1"), (1.0, "1")],
)
def test_p_values(p, text):
    assert plain(p) == text


@pytest.mark.parametrize(
    ("level", "text"),
    [(0.05, ".05"), (0.0625, ".0625"), (0.00557, ".0056"), (1.0, "1"), (0.0, "0"), (1e-5, "1e-05")],
)
def test_levels(level, text):
    assert level_text(level) == text
