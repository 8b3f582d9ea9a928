"""What verdicts hold for, in words."""

from __future__ import annotations

import pytest

from fedbal.comparison.scope import scope
from fedbal.scenario import load
from tests.comparison.runs import protocol
from tests.scenarios import blobs, digits


def test_the_sentence_names_data_skew_model_clients_and_what_the_seed_varied():
    found = scope(load("quickstart").resolved(), protocol("fedavg"))
    assert found.startswith(
        "This holds for the digits data, divided over 20 clients by dirichlet (alpha 0.3), a long tail "
        "(exponential, factor 10), model mlp (hidden 64), about 10 of 20 clients a round, 20 rounds of 5 local "
        "epochs; over seeds, the division of the data, the initial model, cohorts and minibatches varied."
    )


def test_only_what_the_seed_sets_was_varied():
    found = scope(digits().resolved(), protocol("fedavg", seed_axes=("training",)))
    assert "over seeds, cohorts and minibatches varied" in found


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (digits("systems.stragglers.fraction=0.5", "client={local_steps: 1}"), "50 % stragglers (drop)"),
        (digits("client={local_steps: 1}"), "4 rounds of 1 local step;"),
        (digits("systems.client_dropout=0.25"), "25 % dropouts"),
        (digits("cohort={size: 3}"), "3 clients a round"),
        (digits("cohort.fraction=1.0"), "all clients in every round"),
        (
            digits("data.partition={name: pathological, clients: 8, classes_per_client: 2}"),
            "pathological (classes per client 2)",
        ),
        (digits("data.label_noise={rate: 0.2}"), "label noise"),
        (blobs(), "one client a site"),
        (blobs(), "noisy sites 3"),
    ],
)
def test_what_is_special_is_named(scenario, words):
    assert words in scope(scenario.resolved(), protocol("fedavg"))


def test_variations_are_named():
    declared = protocol("fedavg", datasets=("data.partition.alpha=0.1", "data.partition.alpha=5"))
    found = scope(digits().resolved(), declared)
    assert "each with data.partition.alpha=0.1; data.partition.alpha=5" in found
