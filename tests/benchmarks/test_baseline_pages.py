"""The baselines' page parts and figures: one method against its control, from the results file alone."""

from __future__ import annotations

import pytest

from benchmarks.reproduce import results
from benchmarks.reproduce.baseline_pages import METHODS, differences, draw, render, settings
from benchmarks.reproduce.studies.baselines import ARMS, GRID, STUDY, TUNED
from fedbal.errors import UsageError
from tests.documents import DOCS

OFFSETS = {"scaffold": 0.10, "qfedavg-0": 0.05, "class_balanced": -0.20}
METRICS = ("accuracy", "balanced", "posthoc", "client_mean", "spread", "personal")


def record(setting, arm, seed):
    # Seed 2 of SCAFFOLD has no gain, so that differences are .10, .10, 0.
    value = 0.6 + (OFFSETS.get(arm, 0.0) if (arm, seed) != ("scaffold", 2) else 0.0)
    curve = {"round": [1, 2], **{name: [value / 2, value] for name in METRICS}}
    ends = {f"{name}.{window}": value for name in METRICS for window in ("last", "last10", "best")}
    shared = {"status": "finished", "seconds": 6.0, "code": "c", "curve": curve, "endpoints": ends}
    return {"setting": setting, "arm": arm, "seed": seed, **shared}


@pytest.fixture(scope="module")
def content():
    pairs = STUDY.pairs("cpu")
    records = [record(setting.name, arm.name, seed) for setting, arm in pairs for seed in range(3)]
    return results.collect(STUDY, "cpu", records, 2)


def test_a_page_part_shows_claim_difference_and_control(content):
    text = render(content, {"method": "scaffold"})
    assert "](../images/methods/baselines-scaffold.png)" in text
    assert "Controls beat FedAvg on skewed clients of which few take part." in text
    # Differences .10, .10, 0: mean .0667, sd .0577, t(2; .975) = 4.302653, half width .1434.
    assert "| +6.67 [-7.68, +21.01], 2 of 3 above 0 |" in text
    assert "| FedAvg | 60.00 ± 0.00 |" in text
    assert "MOON" not in text
    assert "seeds 100 to 102" in text


def test_a_long_tail_is_judged_by_balanced_accuracy_and_clients_by_spread(content):
    text = render(content, {"method": "class_balanced"})
    assert "**Opposite.** Class-balanced weights beat cross-entropy on a long tail." in text
    assert "balanced accuracy, %: last round" in text
    assert "balanced accuracy, post-hoc, %" in text
    assert differences(content, "uneven", "qfedavg", "qfedavg-0") == pytest.approx(
        {"0": -0.05, "1": -0.05, "2": -0.05}
    )
    assert "spread over clients, %: last round" in render(content, {"method": "qfedavg"})


def test_an_unknown_method_is_named():
    with pytest.raises(UsageError, match=r"method=sgd.*must be one of fedavg"):
        render({}, {"method": "sgd"})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_setting_with_its_control_and_a_page(content, name):
    method = METHODS[name]
    assert settings(content, method)
    assert {method.control, *method.arms} <= {arm.name for arm in ARMS}
    marker = f"<!-- results:baselines method={name} -->"
    assert sum(marker in page.read_text(encoding="utf-8") for page in (DOCS / "methods").glob("*.md")) == 1


def test_every_arm_that_is_reported_is_on_a_page():
    shown = {arm for method in METHODS.values() for arm in (method.control, *method.arms)}
    assert {arm.name for arm in ARMS} == shown


def test_what_is_reported_was_in_the_grid_and_grid_seeds_are_not_reported():
    reported = {arm.name: arm.overrides for arm in ARMS}
    for method, values in GRID.items():
        assert [change for _, change in values if (change,) == reported[method]], method
    assert {arm.name for arm in TUNED}.isdisjoint(reported)
    assert set(STUDY.sizes["tune"].seeds).isdisjoint(STUDY.sizes["cpu"].seeds)
    assert {arm.name for _, arm in STUDY.pairs("cpu")} == set(reported)


def test_a_figure_for_each_method(content, tmp_path):
    pytest.importorskip("matplotlib")
    figures = draw(content)
    assert set(figures) == {f"-{name}" for name in METHODS}
    axes = figures["-scaffold"].axes
    assert len(axes) == 6
    (dots,) = (line for line in axes[3].lines if line.get_marker() == "o")
    assert list(dots.get_ydata()) == pytest.approx([10.0, 10.0, 0.0])
