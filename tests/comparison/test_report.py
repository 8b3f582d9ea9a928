"""The report as text: self-contained, every name escaped, numbers rounded, protocol stated; its size."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from fedbal.comparison import methods_text, report
from fedbal.comparison.base import open_base
from fedbal.comparison.compared import Compared
from fedbal.comparison.declaration import declare
from fedbal.comparison.records import Look, Method
from fedbal.comparison.report.leaving import EVERY, disclosures, leaving
from fedbal.comparison.report.numbers import encode, numbers
from fedbal.comparison.report.page import render
from fedbal.comparison.report.sheets import target_sheets
from fedbal.comparison.views import views
from fedbal.comparison.views.curves import thin
from fedbal.errors import UsageError
from tests.comparison.made import DATASETS, HOSTILE
from tests.scenarios import digits

MOST_BYTES = 8_000_000


class Page(HTMLParser):
    """What elements a page has, and its text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.scripts, self.text, self._inside = [], [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data


@pytest.fixture(scope="module")
def text(small):
    return render(small, views(small))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_it_is_one_file_that_asks_for_nothing(small, tmp_path, page):
    path = report.write(small, tmp_path)
    assert path == tmp_path / "report.html"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    assert path.stat().st_size < MOST_BYTES
    for _, attributes in page.tags:
        for name in ("src", "href", "action"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), address
    policy = next(one["content"] for tag, one in page.tags if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_names_are_text_everywhere(page):
    # The data and five scripts; a label that is a script adds none.
    assert len(page.scripts) == 6
    assert HOSTILE in page.text
    assert json.loads(page.scripts[0])["methods"][1]["label"] == HOSTILE
    assert "<script" not in page.scripts[0]


def test_ids_are_unique_and_links_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    links = [one["href"] for tag, one in page.tags if tag == "a"]
    assert len(links) > 12
    assert {link[1:] for link in links} <= set(page.ids)
    named = {one.get("aria-labelledby") for _, one in page.tags} - {None}
    assert named <= set(page.ids)


def test_every_section_is_there(page, small):
    for heading in (
        *("Verdict", "Ranked table", "Over all data sets", "Curves", "Differences, seed by seed"),
        *("Recall of each class", "What each rule gave each client", "Fairness against accuracy"),
        *("Own models against the global one", "Cost", "Who holds what", "What leaves a site", "Tuning"),
        *("Runs", "Pairing", "How to reproduce", "For a methods section"),
    ):
        assert heading in page.text
    assert small.command in page.text
    assert "its process died 3 times" in page.text
    assert "fedprox: lr lies at the edge of its space." in page.text
    assert small.pairing.sentence in page.text
    for contrast in small.analysis.contrasts:
        assert f"adjusted p {'1' if contrast.p_adjusted == 1 else ''}" in page.text
    # Whatever is not the declared outcome says so.
    assert page.text.count("exploratory") > 8


def test_numbers_are_those_of_the_runs(small):
    found = numbers(small, views(small))
    first = found["datasets"][0]
    runs = [one for one in small.records if one.method == "fedavg" and one.dataset == DATASETS[0]]
    primary = [one.values["test.balanced_accuracy"] for one in runs]
    band = first["curves"]["fedavg"]["values"]["test.balanced_accuracy"]
    assert band["mean"][-1] == pytest.approx(np.mean(primary))
    assert band["high"][-1] - band["low"][-1] == pytest.approx(2 * np.std(primary, ddof=1))
    assert first["curves"]["fedavg"]["bytes"][-1] == pytest.approx(
        np.mean([one.values["megabytes"] for one in runs])
    )
    assert first["fairness"]["fedavg"]["primary"] == tuple(primary)
    assert set(first["personal"]) == {"local_only"}
    assert "local_only" not in first["classes"]["recall"]
    # Pooled data have no clients whose weights could be shown.
    assert set(first["clients"]["weights"]) == {"fedavg", HOSTILE, "fedprox", "wild"}
    weights = first["clients"]["weights"]["fedavg"]
    assert np.nansum(weights, axis=0) == pytest.approx(np.ones(weights.shape[1]))
    assert found["tuning"]["fedprox"] == [0.1, 0.3, 0.4]


def test_json_is_short_and_cannot_end_its_element():
    text = encode(
        {"a": [0.123456789, float("nan"), 1, True, None], "b": "</script>&\u2028", 3: np.array([2.0])}
    )
    assert "</" not in text
    assert "\u2028" not in text
    read = json.loads(text)
    assert read == {"a": [0.1235, None, 1, True, None], "b": "</script>&\u2028", "3": [2.0]}


def test_a_comparison_that_was_read_again_gives_the_same_page(small, text):
    small.write()
    again = Compared.read(small.directory)
    assert render(again, views(again)) == text


def test_thinned_curves_keep_both_ends():
    rounds = np.arange(1, 2001)
    kept = thin(rounds, 150)
    assert len(kept) <= 150
    assert (kept[0], kept[-1]) == (1, 2000)
    assert np.diff(kept).max() <= 15
    assert list(thin(rounds[:100], 150)) == list(rounds[:100])


def test_the_largest_promised_comparison_fits(small, text):
    """Six rules and four references of 200 rounds: whatever they hold, curves are that many numbers."""
    shown = numbers(small, views(small)[:1])
    own = len(encode(shown))
    rng = np.random.default_rng(0)
    labels = [f"rule {at}" for at in range(10)]

    def values(*shape):
        return rng.random(shape)

    first = shown["datasets"][0]
    outcomes = [one["key"] for one in first["outcomes"]]
    band = ("mean", "low", "high")
    first["curves"] = {
        label: {
            **{axis: values(150) for axis in ("rounds", "bytes", "seconds")},
            "values": {name: {part: values(150) for part in band} for name in outcomes},
        }
        for label in labels
    }
    first["clients"]["weights"] = {label: values(60, 50) for label in labels}
    first["classes"]["recall"] = {label: values(100) for label in labels}
    first["differences"] = [
        {
            "method": label,
            "seeds": list(range(10)),
            "values": values(10),
            "mean": 0.1,
            "low": 0.0,
            "high": 0.2,
        }
        for label in labels
    ]
    assert len(text) - own + len(encode(shown)) < MOST_BYTES


def test_a_declared_target_is_the_one_that_is_timed(small):
    asked = declare(open_base(digits(), ("compare={target: 0.05, seeds: 0-1}",))).protocol.target
    assert asked == 0.05
    found = target_sheets(replace(small, protocol=replace(small.protocol, target=asked)))
    assert [sheet.title for sheet in found] == [
        f"To balanced accuracy of 5.0 % on {data}" for data in DATASETS
    ]
    rows = {row[0]: row for row in found[0].rows}
    assert rows["centralised"][1:3] == ("2 of 2", "1 [1, 1]")
    # A diverged run never gets there: it counts with all its rounds.
    assert rows["wild"][1:3] == ("0 of 2", "2 [2, 2]")
    # A row without a common model has no such time.
    assert "local_only" not in rows


def test_what_leaves_a_site_is_what_rule_update_loss_and_evaluation_declare(small):
    by_rule = {}
    for row in leaving(small.protocol.methods, small.records).rows:
        by_rule.setdefault(row[0], []).append(row[1])
    assert by_rule[EVERY] == ["confusion"]
    assert by_rule["fedavg"] == ["nothing more"]
    assert by_rule[HOSTILE] == ["label-counts"]
    assert by_rule["local_only"] == ["personal-confusion"]
    assert by_rule["centralised"] == ["training samples"]
    names = [one.name for one in disclosures(digits("strategy=scaffold").resolved())]
    assert "control-delta" in names
    lc = [one.name for one in disclosures(digits("client.loss={name: focal}").resolved())]
    assert lc == ["confusion"]


def test_a_rule_whose_file_is_gone_is_unknown_not_an_error(small, tmp_path):
    run = small.records[0]
    moved = tmp_path / "run"
    moved.mkdir()
    scenario = digits().resolved()
    scenario["strategy"] = {"name": str(tmp_path / "gone.py") + ":Rule"}
    (moved / "scenario.yaml").write_text(json.dumps(scenario))
    sheet = leaving([Method(run.method)], [replace(run, directory=moved)])
    assert sheet.rows[0][1].startswith("unknown: ")


def test_the_methods_section_states_the_protocol(small):
    found = " ".join(methods_text.methods_text(small))
    for part in (
        f"We compared {HOSTILE}, fedprox and wild with fedavg as the baseline, each with 2 seeds",
        "on 2 variations of the data",
        "last 10 % of all rounds",
        "Holm's procedure over the 3 rules",
        "within 0.5 percentage points of zero",
        "There were 24 runs. 4 diverged and count at chance level. 2 failed",
        "3 trials of 2 rounds each",
    ):
        assert part in found
    assert "Lan and DeMets" not in found
    looks = (Look(5, 0.002, "2026-01-01T00:00:00Z"), Look(10, 0.048, "2026-01-02T00:00:00Z"))
    protocol = replace(small.protocol, looks=looks, planned_seeds=10, budget=("bytes", 2e6))
    again = " ".join(methods_text.methods_text(replace(small, protocol=protocol)))
    assert (
        "10 seeds were planned; results were looked at after 5 (level 0.002) and 10 (level 0.048) seeds"
        in again
    )
    assert "budget of 2e+06 bytes" in again
    assert "Lan and DeMets" in again


def test_without_plotly_the_extra_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UsageError, match=r"pip install 'fedbal\[report\]'"):
        report.write(small, tmp_path, ())
    assert not re.findall("report", " ".join(path.name for path in tmp_path.iterdir()))
