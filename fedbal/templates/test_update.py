"""Tests of template_name: numbers worked out by hand, and the contract of every client update."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from clients.losses import CrossEntropy
from fedbal.contract import Verdict, check
from fedbal.registry import load_reference

FILE = Path(__file__).with_name("template_name.py")
TemplateName = load_reference(f"{FILE}:TemplateName")
template_name_entropy = load_reference(f"{FILE}:template_name_entropy")


def test_a_worked_number() -> None:
    """Equal logits over four classes have entropy ln 4; shares 3/4 and 1/4 have 2 ln 2 - 3/4 ln 3."""
    equal = template_name_entropy(torch.zeros(1, 4))
    skewed = template_name_entropy(torch.tensor([[math.log(3.0), 0.0]]))
    assert float(equal) == pytest.approx(math.log(4.0), rel=1e-6)
    assert float(skewed) == pytest.approx(2.0 * math.log(2.0) - 0.75 * math.log(3.0), rel=1e-6)


def test_a_bad_parameter_is_refused() -> None:
    """The message holds the offending value."""
    with pytest.raises(ValueError, match="got -1"):
        TemplateName(CrossEntropy(), beta=-1.0)


@pytest.mark.parametrize("verdict", check(f"{FILE}:TemplateName"), ids=lambda verdict: verdict.title)
def test_contract(verdict: Verdict) -> None:
    """What every update promises; a failure says what was seen and how to fix it."""
    assert verdict.status != "failed", f"{verdict.seen}\nfix: {verdict.fix}"
