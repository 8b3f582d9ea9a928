"""The JSON schema for editors: it accepts what the loader accepts and refuses what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from fedbal.errors import UsageError
from fedbal.scenario import from_mapping, json_schema

jsonschema = pytest.importorskip("jsonschema")

GOOD: dict[str, Any] = {"name": "x", "rounds": 1, "data": "digits", "model": "logistic", "strategy": "fedavg"}

ACCEPTED: list[dict[str, Any]] = [
    {},
    {"seed": 3},
    {"seed": {"init": 1}},
    {"data": {"validation": 0.0}},
    {"data": {"dataset": "synthetic", "alpha": 0, "beta": 0.5}},
    {"data": {"dataset": "table", "path": "x.npz", "features": ["a"], "classes": ["n", "y"]}},
    {"data": {"dataset": "digits", "partition": "shards", "long_tail": {"imbalance_factor": 10}}},
    {"data": {"dataset": "digits", "partition": {"name": "dirichlet", "alpha": 1}, "quantity": "lognormal"}},
    {"model": {"name": "mlp", "hidden": [3, 4]}},
    {"strategy": {"name": "feddisco", "a": 1, "target": [0.5, 0.5]}},
    {"strategy": "package.module:Rule"},
    {"strategy": {"name": "package.module:Rule", "anything": [1, {"x": 2}]}},
    {"client": {"update": "auto", "local_steps": 3, "optimizer": {"lr": 1}}},
    {"client": {"update": {"name": "proximal", "mu": 0}}},
    {"cohort": {"size": 3}},
    {"cohort": {"availability": {"name": "label_correlated", "period": 5}}},
    {"client": {"optimizer": {"name": "adamw", "schedule": {"name": "warmup_cosine", "warmup_rounds": 2}}}},
    {"client": {"clip_norm": 1, "augment": {"crop_padding": 1, "horizontal_flip": True}}},
    {"pretrained": {"path": "x.safetensors", "freeze": ["features"], "only": "features", "strict": True}},
    {"evaluation": {"clients": 5}},
    {"evaluation": {"clients": "cohort"}},
    {"runtime": {"workers": 2, "device": "cuda:0"}},
]

REFUSED: list[dict[str, Any]] = [
    {"rounds": 0},
    {"rounds": "1"},
    {"rounds": True},
    {"rounds": None},
    {"seed": -1},
    {"nonsense": 1},
    {"data": "digit"},
    {"data": {"dataset": "digit"}},
    {"data": {"dataset": "table"}},
    {"data": {"dataset": "digits", "alpha": 1}},
    {"data": {"dataset": "digits", "partition": {"alpha": 1}}},
    {"data": {"dataset": "digits", "partition": {"name": "dirichlet", "alpha": 0}}},
    {"data": {"dataset": "digits", "long_tail": {"imbalance_factor": 0.1}}},
    {"data": {"dataset": "digits", "long_tail": None}},
    {"strategy": "fedavgg"},
    {"strategy": {"a": 1}},
    {"strategy": {"name": "feddisco", "a": -1}},
    {"strategy": {"name": "fedavg", "a": 1}},
    {"client": {"local_epochs": 1, "local_steps": 1}},
    {"client": {"optimizer": {"lr": 0}}},
    {"cohort": {"fraction": 0.5, "size": 3}},
    {"cohort": {"availability": "sometimes"}},
    {"client": {"optimizer": {"schedule": "cosin"}}},
    {"client": {"clip_norm": 0}},
    {"client": {"augment": {"crop_padding": -1}}},
    {"pretrained": {"freeze": "features"}},
    {"evaluation": {"clients": "few"}},
    {"runtime": {"device": "gpu"}},
]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("changes", ACCEPTED)
def test_schema_and_loader_accept(validator: Any, changes: dict[str, Any]) -> None:
    scenario = from_mapping({**GOOD, **changes})
    validator.validate({**GOOD, **changes})
    validator.validate(scenario.resolved())


@pytest.mark.parametrize("changes", REFUSED)
def test_schema_and_loader_refuse(validator: Any, changes: dict[str, Any]) -> None:
    assert not validator.is_valid({**GOOD, **changes})
    with pytest.raises(UsageError):
        from_mapping({**GOOD, **changes})


def test_every_key_says_what_it_is_for() -> None:
    schema = json_schema()
    silent = [
        f"{name}.{key}"
        for name, block in schema["$defs"].items()
        for key, value in block.get("properties", {}).items()
        if key not in ("name", "dataset") and "description" not in value
    ]
    assert silent == []
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_null_is_nowhere_allowed() -> None:
    def nulls(node: Any) -> int:
        if isinstance(node, dict):
            return (
                (node.get("type") == "null")
                + ("default" in node and node["default"] is None)
                + sum(nulls(value) for value in node.values())
            )
        return sum(nulls(value) for value in node) if isinstance(node, list) else 0

    assert nulls(json_schema()) == 0
