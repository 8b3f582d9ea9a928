"""Every shipped rule and loss has a page: from the code what comes from the code, a scenario, what was measured."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from clients import LOSSES
from fedbal.scenario import Scenario, load
from strategies import STRATEGIES
from tests.documents import DOCS, blocks

FOLDER = DOCS / "methods"
METHODS = [("rule", name) for name in STRATEGIES] + [
    ("loss", name) for name in LOSSES if name != "cross_entropy"
]
"""Cross-entropy is what the other losses are compared with."""


def page_of(kind: str, name: str) -> Path:
    """Return the one page with the part about a rule or loss."""
    marker = re.compile(rf"<!-- {kind}:(\w+,)*{name}(,\w+)* -->")
    found = [page for page in sorted(FOLDER.glob("*.md")) if marker.search(page.read_text(encoding="utf-8"))]
    assert len(found) == 1, f"{kind} {name} is on {len(found)} pages of docs/methods"
    return found[0]


def shown(page: Path) -> list[Scenario]:
    """Return what the commands of a page run: shipped scenarios with the changes that the commands make."""
    found = []
    for block in blocks(page):
        for line in block.code.splitlines() if block.language == "bash" else ():
            words = shlex.split(line)
            if words[:2] == ["fedbal", "run"]:
                changes = [word for before, word in pairwise(words) if before == "--set"]
                found.append(load(words[2], changes))
    return found


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_page_has_a_shipped_scenario_for_its_method(kind: str, name: str) -> None:
    scenarios = shown(page_of(kind, name))
    used = [scenario.strategy if kind == "rule" else scenario.client.loss for scenario in scenarios]
    assert name in {choice.name for choice in used}


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_runs_a_command_and_shows_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert any(block.kind == "run" for block in blocks(page))
    assert text.count("<!-- results:") == text.count("<!-- /results -->") > 0
    assert "**Back to " in text or page.stem == "reference-rows"


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_the_page_says_what_leaves_a_site(kind: str, name: str) -> None:
    assert "**What leaves a site**" in page_of(kind, name).read_text(encoding="utf-8")


def test_label_counts_and_pseudo_samples_are_named_where_they_leave() -> None:
    assert "| `label-counts` |" in (FOLDER / "feddisco.md").read_text(encoding="utf-8")
    fedbr = (FOLDER / "fedbr.md").read_text(encoding="utf-8")
    assert "| `pseudo` |" in fedbr
    assert "raw images leave the site" in fedbr
    assert "| `control-delta` |" in (FOLDER / "scaffold.md").read_text(encoding="utf-8")
    assert "nothing else" in (FOLDER / "fedavg.md").read_text(encoding="utf-8")
