"""Ranges of the models' parameters, and that reading them costs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from fedbal.models import MODELS
from fedbal.models.params import MLPParams, ResNet18GNParams


@pytest.mark.parametrize("hidden", [[], [0], [-1], [True], [1.5], ["8"], 8])
def test_hidden_units_are_positive_integers(hidden: object) -> None:
    with pytest.raises(ValidationError):
        MLPParams.model_validate({"hidden": hidden})


@pytest.mark.parametrize("width", [0, 1, 3, -2, True])
def test_width_is_even_and_positive(width: object) -> None:
    with pytest.raises(ValidationError):
        ResNet18GNParams.model_validate({"width": width})


def test_names_in_the_table_are_those_of_the_parameter_models() -> None:
    assert [MODELS.params_model(name)().model_dump()["name"] for name in MODELS] == list(MODELS)


def test_the_table_and_the_parameters_import_no_torch() -> None:
    code = (
        "import sys, fedbal.models, fedbal.models.params; "
        "[fedbal.models.MODELS.params_model(name).model_json_schema() for name in fedbal.models.MODELS]; "
        "print(sorted({'torch', 'flwr', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
