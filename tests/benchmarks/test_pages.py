"""Pages are filled from the results files alone, and nothing outside the markers changes."""

from __future__ import annotations

import pytest

from benchmarks.reproduce import feddisco_pages, fedprox_pages, results, tables
from benchmarks.reproduce.cli import main
from benchmarks.reproduce.pages import fill, write_pages
from benchmarks.reproduce.studies import find_study
from fedbal.errors import UsageError


def record(setting, arm, seed, value):
    curve = {"round": [1, 2], **{name: [value, value] for name in ("accuracy", "train_loss", "variance")}}
    ends = {
        f"{name}.{window}": value
        for name in ("accuracy", "train_loss", "variance")
        for window in ("last", "last10", "last20", "best")
    }
    shared = {"status": "finished", "seconds": 60.0, "code": "c", "curve": curve, "endpoints": ends}
    return {"setting": setting, "arm": arm, "seed": seed, **shared}


@pytest.fixture
def folder(tmp_path):
    study = find_study("fedprox")
    values = {"partial-mu1": 0.8, "drop-mu0": 0.6}
    records = [
        record(
            setting.name, arm.name, seed, values.get(arm.name, 0.7) + 0.01 * seed * (arm.name == "drop-mu0")
        )
        for setting, arm in study.pairs("cpu")
        for seed in range(3)
    ]
    results.write(tmp_path / "fedprox.json", results.collect(study, "cpu", records, 2))
    return tmp_path


def test_a_marked_part_is_filled_and_the_rest_stays(folder):
    text = "before\n\n<!-- results:fedprox setting=11-90 -->\nold\n<!-- /results -->\n\nafter\n"
    filled = fill(text, folder)
    assert filled.startswith("before\n\n<!-- results:fedprox setting=11-90 -->\n![")
    assert filled.endswith("<!-- /results -->\n\nafter\n")
    assert "old" not in filled
    # Differences .8 - (.6, .61, .62): mean .19, sd .01, t(2; .975) = 4.302653.
    assert (
        "**Shown.** With 90 % stragglers on (1, 1), FedProx with mu 1 beats FedAvg, which drops them."
        in filled
    )
    assert "Difference +19.00 points [+16.52, +21.48] in test accuracy, mean of the last 20 rounds" in filled
    assert "3 of 3 seeds above 0, 0 below, margin 1.00 points" in filled
    assert "| dropped, mu 0 (FedAvg) | 61.00 ± 1.00 |" in filled
    assert "11-0" not in filled
    assert "Without stragglers" not in filled
    assert fill(filled, folder) == filled


def test_parts_and_reference(folder):
    part = "<!-- results:fedprox part=reference -->\n<!-- /results -->"
    filled = fill(part, folder)
    assert "| Synthetic (1, 1), 90 % stragglers: dropped, mu 0 (FedAvg) | 0.610 ± 0.010 | 0.802 |" in filled
    assert "Synthetic IID" not in filled
    assert "![" in fill(part.replace("reference", "figure"), folder)
    assert "| seeds |" not in fill(part.replace("reference", "claims"), folder)


def test_pages_and_figures_are_written_twice_the_same(folder, tmp_path, capsys):
    docs = tmp_path / "docs"
    (docs / "methods").mkdir(parents=True)
    page = docs / "methods" / "fedprox.md"
    page.write_text("# FedProx\n\n<!-- results:fedprox -->\n<!-- /results -->\n")
    main(["pages", "--docs", str(docs), "--results", str(folder)])
    assert str(page) in capsys.readouterr().out
    image = docs / "images" / "methods" / "fedprox.png"
    text, drawn = page.read_text(), image.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert f"../images/methods/{image.name}" in text
    assert write_pages(docs, folder) == [str(image)]
    assert (page.read_text(), image.read_bytes()) == (text, drawn)


def test_what_was_not_measured_says_so(tmp_path):
    filled = fill("<!-- results:feddisco -->\n<!-- /results -->\n", tmp_path)
    assert "Not measured yet: `python -m benchmarks.reproduce feddisco`" in filled


def test_mistakes_name_the_page(tmp_path):
    methods = tmp_path / "methods"
    methods.mkdir()
    with pytest.raises(UsageError, match="no page in"):
        write_pages(tmp_path, tmp_path)
    (methods / "a.md").write_text("<!-- results:feddisco -->\nnever closed\n")
    with pytest.raises(UsageError, match=r"a\.md: a marker"):
        write_pages(tmp_path, tmp_path)
    (methods / "a.md").write_text("<!-- results:nothing -->\n<!-- /results -->\n")
    with pytest.raises(UsageError, match="no study 'nothing'"):
        write_pages(tmp_path, tmp_path)


def test_anchors_compare_best_with_best():
    study = find_study("feddisco")
    found = record("dirichlet", "fedavg", 0, 0.5)
    found["endpoints"] |= {"accuracy.best": 0.88, "accuracy.last": 0.87}
    content = results.collect(study, "anchor", [found], 1)
    text = feddisco_pages.render(content, {})
    assert "50 rounds | 88.00 | 88.09 ± 0.29 | 87.00 | 50.00 | 1 |" in text
    assert "two labels" not in text


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], False, "-"),
        ([0.5], True, "50.00"),
        ([0.5, 0.7], True, "60.00 ± 14.14"),
        ([1e-5, 1e-5], False, "1e-05 ± 0.000"),
    ],
)
def test_mean_sd(values, percent, expected):
    assert tables.mean_sd(values, percent) == expected


def test_reference_arms_exist():
    study = find_study("fedprox")
    pairs = {(setting.name, arm.name) for setting, arm in study.pairs("full")}
    for setting, arms in fedprox_pages.REFERENCE["settings"].items():
        assert {(setting, arm) for arm in arms} <= pairs
