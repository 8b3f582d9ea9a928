"""Where parameters are searched: ranges, choices, and what every shipped component declares."""

from __future__ import annotations

import types
import typing

import pytest

from clients import LOSSES, OPTIMIZERS, UPDATES
from fedbal.comparison.tuning.space import TABLES, declared
from fedbal.search_space import OneOf, Range
from strategies import STRATEGIES

FIXED = {
    # Decays and constants that their papers leave as they are.
    *("beta1", "beta2", "eps"),
    # Client momentum and weight decay are the same for all rules; the rate is what interacts with them.
    *("momentum", "weight_decay"),
    # What a method costs or sends, not how well it learns.
    *("projection", "images", "samples", "share"),
    # FedBR's temperatures and Dice's smoothing: the papers have one value.
    *("tau1", "tau2", "smooth"),
}
"""Numbers that are not searched."""
WITHOUT = {"fedavg", "uniform", "fednova", "local_only", "centralised", "fedavg_finetuned"}
"""Rules without knobs of their own; their learning rate is tuned."""

EVERY = [(table, name) for table in TABLES.values() for name in table]


def model_of(entry):
    table, name = entry
    return table.params_model(name)


def is_number(annotation):
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(is_number(part) for part in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Annotated:
        return is_number(typing.get_args(annotation)[0])
    return annotation in (int, float)


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: f"{entry[0].kind}-{entry[1]}")
def test_default_and_both_ends_of_every_space_are_allowed(entry):
    model, name = model_of(entry), entry[1]
    for field, space in declared(model).items():
        default = model.model_fields[field].default
        assert space.share(default) is not None
        assert space.including(default) == space, f"{field}: the default {default} lies outside {space}"
        for value in (default, space.at(0.0), space.at(0.37), space.at(1.0)):
            assert getattr(model.model_validate({"name": name, field: value}), field) == value


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: f"{entry[0].kind}-{entry[1]}")
def test_every_number_is_searched_or_fixed_for_a_reason(entry):
    model = model_of(entry)
    numbers = {name for name, field in model.model_fields.items() if is_number(field.annotation)}
    if entry == (STRATEGIES, "qfedavg"):
        numbers -= {"lr"}  # 1 / L is the local rate, which is searched.
    assert numbers - set(declared(model)) <= FIXED


def test_every_rule_has_knobs_but_those_that_have_nothing_to_set():
    assert {name for name in STRATEGIES if not declared(STRATEGIES.params_model(name))} == WITHOUT
    assert all("lr" in declared(OPTIMIZERS.params_model(name)) for name in OPTIMIZERS)
    assert {name for name in LOSSES if not declared(LOSSES.params_model(name))} == {
        "cross_entropy",
        "balanced_softmax",
    }


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in WITHOUT])
def test_rule_and_update_that_share_a_parameter_search_the_same(name):
    rule = STRATEGIES.params_model(name)
    asked = rule().client_update()
    ours, theirs = declared(rule), declared(UPDATES.params_model(asked["name"]))
    assert theirs == {key: ours[key] for key in theirs}
    assert set(theirs) <= set(asked)


def test_a_range_runs_from_end_to_end():
    plain, log = Range(0.0, 2.0), Range(0.01, 100.0, log=True)
    assert [plain.at(share) for share in (0.0, 0.25, 1.0)] == [0.0, 0.5, 2.0]
    assert [log.at(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.01, 0.1, 1.0, 100.0]
    assert log.at(0.123) == 0.031  # Three digits of 0.03104...
    assert [log.share(value) for value in (0.01, 1.0, 1e9)] == [0.0, 0.5, 1.0]
    assert log.share(True) is None
    assert log.share(None) is None
    assert str(log) == "0.01 to 100, log"


def test_rounding_stays_between_the_ends():
    space = Range(1.2345, 9.8765)
    assert (space.at(0.0), space.at(1.0)) == (1.2345, 9.8765)


def test_a_choice_gives_each_value_an_equal_part():
    space = OneOf((0.0, 0.5, 0.9))
    assert [space.at(share) for share in (0.0, 0.3, 0.34, 0.66, 0.67, 1.0)] == [0.0, 0.0, 0.5, 0.5, 0.9, 0.9]
    assert [space.share(value) for value in (0.0, 0.5, 0.9, 0.7)] == [0.0, 0.5, 1.0, None]
    assert space.ends == (0.0, 0.9)
    assert OneOf(("plus", "times")).ends == (None, None)


def test_a_value_beyond_widens_the_space():
    assert Range(0.1, 1.0, log=True).including(7.0) == Range(0.1, 7.0, log=True)
    assert Range(0.1, 1.0, log=True).including(0) == Range(0.1, 1.0, log=True)
    assert Range(0.1, 1.0).including(None) == Range(0.1, 1.0)
    assert OneOf((0.0, 0.9)).including(0.5) == OneOf((0.0, 0.5, 0.9))
    assert OneOf(("plus", "times")).including("max") == OneOf(("plus", "times", "max"))


@pytest.mark.parametrize(
    "make", [lambda: Range(1.0, 1.0), lambda: Range(0.0, 1.0, log=True), lambda: OneOf((1, 1))]
)
def test_what_spans_nothing_is_refused(make):
    with pytest.raises(ValueError, match=r"no range|no choice"):
        make()
