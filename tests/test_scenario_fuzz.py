"""Whatever stands in a scenario, the answer is a scenario or a message, never another exception."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbal.errors import UsageError
from fedbal.scenario import from_mapping, load
from fedbal.yaml_source import parse

RESOLVED = [load(name).resolved() for name in ("quickstart", "fedprox-synthetic", "natural-clients")]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, 10**400, -(10**400)]),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["auto", "fedprox", "iid", "table", "x.py:Y", "cuda:1", ".", ":", "a.b"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(
        st.sampled_from(["name", "dataset", "alpha", "a.b", ""]), st.text(max_size=4), max_size=2
    ),
)


def blocks(value: Any) -> list[dict[str, Any]]:
    """Return a block and all blocks inside it."""
    if not isinstance(value, dict):
        return []
    return [value, *(inner for item in value.values() for inner in blocks(item))]


def attempt(make: Callable[[], Any]) -> tuple[Any, str]:
    """Return what was made and no message, or nothing and the message."""
    try:
        return make(), ""
    except UsageError as error:
        return None, str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_scenario_is_a_scenario_or_a_message(data: st.DataObject) -> None:
    raw = copy.deepcopy(data.draw(st.sampled_from(RESOLVED)))
    for _ in range(data.draw(st.integers(1, 3))):
        block = data.draw(st.sampled_from(blocks(raw)))
        key = data.draw(st.sampled_from([*block, "extra"]))
        if data.draw(st.booleans()):
            block[key] = data.draw(VALUES)
        else:
            block.pop(key, None)
    scenario, message = attempt(lambda: from_mapping(raw))
    if scenario is None:
        assert all(line.startswith("scenario: ") for line in message.splitlines())
    else:
        assert from_mapping(scenario.resolved()) == scenario


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["strategy", "data.partition", "seed", "rounds", "a.b.c"]), st.text()),
        max_size=3,
    )
)
def test_any_override_is_taken_or_refused_with_a_message(changes: list[tuple[str, str]]) -> None:
    texts = [f"{key}={text}" for key, text in changes]
    scenario, message = attempt(lambda: from_mapping(RESOLVED[0], overrides=texts))
    assert (scenario is None) == ("--set " in message)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,?~\n \t0.e\\", max_size=40))
def test_any_text_is_read_or_refused_with_a_message(text: str) -> None:
    document, message = attempt(lambda: parse(text, "f"))
    assert (document is None) == message.startswith("f")
