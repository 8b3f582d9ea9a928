"""Every study is well-formed: its claims can be judged and every scenario is valid and paired."""

from __future__ import annotations

import pytest

from benchmarks.reproduce.studies import find_study, studies
from fedbal.errors import UsageError

STUDIES = studies()


@pytest.fixture(params=sorted(STUDIES))
def study(request):
    return STUDIES[request.param]


def test_the_studies_of_the_papers_are_there():
    assert {"fedprox", "feddisco"} <= set(STUDIES)
    with pytest.raises(UsageError, match="no study 'nothing'; choose one of"):
        find_study("nothing")


def test_names_are_unique_and_can_stand_in_a_marker(study):
    for items in (study.settings, study.arms, study.claims, study.metrics):
        names = [item.name for item in items]
        assert len(set(names)) == len(names)
    assert "-" not in study.name


def test_claims_can_be_judged_on_two_cores(study):
    sizes = [size for size in study.sizes if size in ("cpu", *(one.name for one in study.settings))]
    pairs = {(setting.name, arm.name) for size in sizes for setting, arm in study.pairs(size)}
    metrics = {metric.name for metric in study.metrics}
    windows = {"last", "best", *(f"last{window}" for window in study.windows)}
    for claim in study.claims:
        assert (claim.setting, claim.a) in pairs
        assert (claim.setting, claim.b) in pairs
        assert claim.a != claim.b
        assert claim.direction in ("higher", "lower", "similar")
        assert claim.direction != "similar" or claim.margin > 0.0
        name, _, window = claim.endpoint.partition(".")
        assert study.measure is not None or (name in metrics and window in windows)


def test_sizes(study):
    assert {"smoke", "cpu"} <= set(study.sizes)
    assert len(study.sizes["cpu"].seeds) >= 7
    known = {setting.name for setting in study.settings}
    for size in study.sizes.values():
        assert set(size.settings or ()) | set(size.by_setting) <= known
        assert len(set(size.seeds)) == len(size.seeds)


def test_every_scenario_is_valid(study):
    for size in study.sizes:
        for cell in study.cells(size, (3,)):
            assert cell.scenario.seed.partition == cell.scenario.seed.training == 3
            assert cell.scenario.runtime.backend == "inprocess"


@pytest.mark.parametrize("name", ["fedprox", "feddisco"])
def test_arms_of_a_setting_differ_in_the_method_only(name):
    study = STUDIES[name]
    for size in study.sizes:
        groups = {}
        for cell in study.cells(size, (0,)):
            resolved = cell.scenario.resolved()
            del (
                resolved["strategy"],
                resolved["client"]["update"],
                resolved["systems"]["stragglers"]["policy"],
            )
            assert groups.setdefault(cell.setting, resolved) == resolved


def test_fedprox_sets_keep_the_number_of_stragglers():
    found = {
        cell.setting: cell.scenario.systems.stragglers.fraction
        for cell in STUDIES["fedprox"].cells("full", (0,))
    }
    assert found == {
        f"{name}-{level}": level / 100 for name in ("iid", "00", "0505", "11") for level in (0, 50, 90)
    }
