"""Tests of template_name: numbers worked out by hand, and the contract of every rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedbal.contract import Verdict, check
from fedbal.registry import load_reference

FILE = Path(__file__).with_name("template_name.py")
TemplateName = load_reference(f"{FILE}:TemplateName")
template_name_weights = load_reference(f"{FILE}:template_name_weights")


def test_a_worked_number() -> None:
    """With q = 0.5, clients of 1, 4 and 25 samples weigh 1/8, 2/8 and 5/8."""
    np.testing.assert_allclose(template_name_weights([1, 4, 25], 0.5), [0.125, 0.25, 0.625])


def test_the_value_that_is_fedavg() -> None:
    """With q = 1 the weights are the shares of the samples."""
    np.testing.assert_allclose(template_name_weights([1, 4, 5], 1.0), [0.1, 0.4, 0.5])


def test_a_bad_parameter_is_refused() -> None:
    """The message holds the offending value."""
    with pytest.raises(ValueError, match="got 2"):
        TemplateName(power=2.0)


@pytest.mark.parametrize("verdict", check(f"{FILE}:TemplateName"), ids=lambda verdict: verdict.title)
def test_contract(verdict: Verdict) -> None:
    """What every rule promises; a failure says what was seen and how to fix it."""
    assert verdict.status != "failed", f"{verdict.seen}\nfix: {verdict.fix}"
