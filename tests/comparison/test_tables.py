"""The ranked table: order, what stands in it, and that every form of it escapes what it holds."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from fedbal.comparison import said, tables
from fedbal.comparison.ranked import ranked
from fedbal.comparison.records import RunRecord
from tests.comparison.made import DATASETS, HOSTILE

FIRST = DATASETS[0]


def by_label(compared, dataset=FIRST):
    return {row.label: row for row in ranked(compared, dataset)}


def test_rules_stand_in_order_and_references_after_them(small):
    for dataset in DATASETS:
        rows = ranked(small, dataset)
        rules = [row for row in rows if not row.reference]
        assert [row.reference for row in rows] == [False] * 4 + [True] * 2
        assert [row.rank for row in rows] == [1, 2, 3, 4, None, None]
        # The one that diverged with every seed is last, whatever chance level is.
        assert rules[-1].label == "wild"
        means = [row.mean for row in rules[:-1]]
        assert means == sorted(means, reverse=True)


def test_numbers_are_those_of_the_runs(small):
    row = by_label(small)["fedavg"]
    runs = [one for one in small.records if one.method == "fedavg" and one.dataset == FIRST]
    assert row.mean == pytest.approx(np.mean([one.values["test.balanced_accuracy"] for one in runs]))
    assert row.sd == pytest.approx(np.std([one.values["test.balanced_accuracy"] for one in runs], ddof=1))
    assert row.megabytes == pytest.approx(np.mean([one.values["megabytes"] for one in runs]))
    assert row.baseline
    assert row.contrast is None
    assert row.verdict == "baseline"
    alone = by_label(small)["local_only"]
    runs = [one for one in small.records if one.method == "local_only" and one.dataset == FIRST]
    own = [one.values["personal.pooled_balanced_accuracy"] for one in runs]
    assert alone.mean == pytest.approx(np.mean(own))
    assert alone.worst == pytest.approx(np.mean([one.values["personal.worst_10_percent"] for one in runs]))


def test_runs_without_a_result_are_named(small):
    rows = by_label(small)
    assert rows["wild"].diverged == (0, 1)
    assert rows["wild"].mean == pytest.approx(0.1)
    assert rows["wild"].dropped > 0
    assert rows["fedprox"].failed == (1,)
    assert rows["fedprox"].seeds == 1
    text = " ".join(said.everything(small))
    assert f"wild on {FIRST} diverged with seeds 0, 1 and counts at chance level there." in text
    assert f"fedprox on {FIRST} failed with seed 1." in text
    assert small.pairing.sentence in text
    assert "Stopped after 2 of 2 seeds." in text


def test_the_terminal_shows_every_column_and_the_verdicts(small, capsys):
    tables.print_ranked(small)
    shown = capsys.readouterr().out
    for header in tables.headers(small):
        assert header in shown
    assert "undecided; 2 diverged" in shown
    assert "local_only (reference)" in shown
    assert "Pairs of rules over all data sets" in shown
    assert said.headline(small) in shown


def test_a_method_that_never_ran_is_last_and_has_dashes(small):
    failed = tuple(
        RunRecord(one.dataset, one.method, one.seed, "failed", reason="no disk")
        if one.method == "fedprox"
        else one
        for one in small.records
    )
    none = replace(small.analysis, contrasts=())
    compared = replace(small, records=failed, analysis=none)
    rows = [row for row in ranked(compared, FIRST) if not row.reference]
    assert rows[-1].label == "fedprox"
    assert rows[-1].rank is None
    assert tables.cells(compared, rows[-1])[1:4] == ("-", "-", "-")
    assert said.headline(compared) == "Nothing can be compared with fedavg yet."


def test_the_headline_names_what_is_better_or_counts_the_rest(small):
    assert said.headline(small) == "No rule was shown to be better than fedavg: 6 undecided."
    first, *rest = small.analysis.contrasts
    won = replace(small.analysis, contrasts=(replace(first, verdict="better"), *rest))
    text = said.headline(replace(small, analysis=won))
    assert text == f"Better than fedavg: {first.method} on {first.dataset}."


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (None, 100.0, "-"),
        (0.5, 100.0, "50.0"),
        (0.0312, 1.0, "0.0312"),
        (12.34, 1.0, "12.3"),
        (0.0, 1.0, "0"),
    ],
)
def test_numbers_are_short(value, scale, text):
    assert tables.number(value, scale) == text


def test_markdown_escapes_and_keeps_its_columns(small, tmp_path):
    path, _ = tables.write(small, tmp_path)
    text = path.read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    # A bar in a name would add a column.
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
    assert columns == {11, 8}
    assert "<script>" not in text
    assert r"\<script\>" in text
    assert sum(line.startswith("- ") for line in text.splitlines()) == len(said.everything(small))


def test_latex_is_balanced_and_escaped(small, tmp_path):
    _, path = tables.write(small, tmp_path)
    lines = path.read_text().splitlines()
    body = [line for line in lines if not line.startswith("%")]
    for name in ("table", "tabular"):
        opened = sum(line.startswith(rf"\begin{{{name}}}") for line in body)
        assert opened == sum(line == rf"\end{{{name}}}" for line in body) == 3
    rows = [line for line in body if line.endswith(r" \\")]
    assert len(rows) == 2 * (1 + 6) + 1 + 6
    for row in rows[:14]:
        assert len(re.findall(r"(?<!\\)&", row)) == 9
    text = "\n".join(body)
    stripped = text.replace(r"\\", "").replace(r"\$", "").replace(r"\%", "").replace(r"\_", "")
    assert not re.search(r"[$%_#~^<>|]", stripped)
    assert r"\textless{}script\textgreater{}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert HOSTILE not in text
