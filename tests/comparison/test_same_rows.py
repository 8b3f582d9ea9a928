"""Personal models are compared on the rows on which they are measured."""

from __future__ import annotations

import pytest

from fedbal.comparison.outcomes import read, values_of
from fedbal.comparison.same_rows import on_the_same_rows
from fedbal.comparison.statistics.analysis import analyse
from tests.comparison.runs import PERSONAL, cell, made_up, protocol

COMMON = "fairness.pooled_balanced_accuracy"


def analysed(declared, records):
    return analyse(
        values_of(records, "test.balanced_accuracy"),
        methods=[method.label for method in declared.methods if not method.reference],
        baseline="fedavg",
        references=[method.label for method in declared.methods if method.reference],
    )


def test_the_difference_is_from_the_common_model_on_clients_rows(ran):
    declared = protocol()
    records = read(declared, ran.cells)
    before = analysed(declared, records)
    found = on_the_same_rows(before, declared, records)
    assert [one.method for one in found.references] == ["fedavg_finetuned", "local_only", "centralised"]
    assert found.contrasts == before.contrasts
    assert found.references[2] in before.references
    personal, common = values_of(records, PERSONAL)[""], values_of(records, COMMON)[""]["fedavg"]
    for contrast in found.references[:2]:
        expected = {seed: personal[contrast.method][seed] - common[seed] for seed in (0, 1)}
        assert dict(contrast.differences) == pytest.approx(expected)
        assert contrast.mean == pytest.approx(sum(personal[contrast.method].values()) / 2)
    assert "fedavg_finetuned and local_only: means are of the clients' own models" in found.notes[-1]


def test_without_clients_that_evaluate_there_is_no_such_difference(tmp_path):
    declared = protocol("fedavg", "uniform", "local_only")
    cells = [
        cell(label, seed, made_up(tmp_path / f"{label}{seed}", [0.3 + seed / 10], personal=personal))
        for label, personal in (("fedavg", None), ("uniform", None), ("local_only", [0.5, 0.6]))
        for seed in (0, 1)
    ]
    records = read(declared, cells)
    found = on_the_same_rows(analysed(declared, records), declared, records)
    assert found.references == ()
    assert [one.method for one in found.contrasts] == ["uniform"]


def test_nothing_changes_without_such_rows(ran):
    declared = protocol("fedavg", "moon", "centralised")
    records = read(declared, [one for one in ran.cells if one.method in ("fedavg", "moon", "centralised")])
    before = analysed(declared, records)
    assert on_the_same_rows(before, declared, records) is before
