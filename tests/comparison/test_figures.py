"""Figures: which are written, that they hold what was measured, and that every method looks different."""

from __future__ import annotations

import itertools
import sys
import xml.etree.ElementTree as xml
from dataclasses import replace

import numpy as np
import pytest

from fedbal.comparison import figures
from fedbal.comparison.figures import curves, differences, ranks
from fedbal.comparison.figures.ranks import groups
from fedbal.comparison.palette import styles
from fedbal.comparison.records import Method
from fedbal.comparison.views import views
from fedbal.errors import UsageError
from tests.comparison.made import DATASETS, HOSTILE

NAMES = ("classes", "cost", "curves", "differences", "fairness")


def test_every_figure_is_there_twice_and_shows_names_as_they_are(small, tmp_path):
    one = replace(small.protocol, datasets=DATASETS[:1])
    paths = figures.write(replace(small, protocol=one), tmp_path)
    assert sorted(path.name for path in paths) == sorted(
        f"{DATASETS[0]}-{name}.{suffix}" for name in NAMES for suffix in ("png", "svg")
    )
    for path in paths:
        assert path.parent == tmp_path / figures.FOLDER
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            texts = [item.text or "" for item in xml.parse(path).iter() if item.tag.endswith("}text")]
            assert any("fedprox" in text for text in texts)
            # A dollar in a name is no formula.
            assert any(text.startswith('<script>alert("x")') for text in texts)


def test_curves_are_means_over_seeds(small):
    view, found = views(small)[0], styles(small.protocol.methods)
    figure = curves.draw(small, view, found)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    runs = [one for one in small.records if one.method == "fedavg" and one.dataset == DATASETS[0]]
    measured = [one.values["test.balanced_accuracy"] for one in runs]
    assert lines["fedavg"].get_ydata()[-1] == pytest.approx(100 * np.mean(measured))
    assert list(lines["fedavg"].get_xdata()) == [1, 2]


def test_differences_show_every_seed(small):
    view = views(small)[0]
    figure = differences.draw(small, view, styles(small.protocol.methods))
    first = view.contrasts[0]
    assert first.method == HOSTILE
    drawn = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    wanted = [100 * value for value in first.differences.values()]
    assert any(np.allclose(line, wanted) for line in drawn)


def test_no_two_of_many_methods_look_the_same():
    methods = [Method(f"m{at}") for at in range(18)] + [Method(f"r{at}", reference=True) for at in range(5)]
    found = styles(methods)
    assert len({(one.colour, one.marker, one.dash) for one in found.values()}) == len(methods)
    assert len({one.marker for one in list(found.values())[:6]}) == 6
    assert styles(methods[:3])["m2"] == found["m2"]


def test_groups_are_the_longest_stretches_within_the_critical_difference():
    assert groups([1.0, 1.4, 2.0, 3.5], 1.0) == [(1.0, 2.0)]
    assert groups([1.0, 2.0, 2.5, 4.0], 1.5) == [(1.0, 2.5), (2.5, 4.0)]
    assert groups([1.0, 3.0], 1.0) == []


def test_the_critical_difference_diagram_needs_one(small):
    found = styles(small.protocol.methods)
    assert ranks.draw(small, found) is None
    placed = {"fedavg": 1.2, HOSTILE: 1.9, "fedprox": 2.9, "wild": 4.0}
    shown = replace(small, analysis=replace(small.analysis, ranks=placed, critical_difference=1.0))
    texts = [text.get_text() for text in ranks.draw(shown, found).axes[0].texts]
    assert "fedavg (1.20)" in texts
    assert "critical difference 1.00" in texts
    bars = [line for line in ranks.draw(shown, found).axes[0].lines if line.get_linewidth() == 3.0]
    assert len(bars) == len(list(itertools.takewhile(bool, groups([1.2, 1.9, 2.9, 4.0], 1.0)))) == 2


def test_without_matplotlib_the_extra_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'fedbal\[report\]'"):
        figures.write(small, tmp_path)
