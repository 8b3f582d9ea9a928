"""Cohort sampling is seeded, exact and does not list a large population."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.errors import RunError, UsageError
from fedbal.results import RunReader
from fedbal.seeding import stream
from fedbal.simulation import run
from strategies.cohort import CohortSampler, LabelCorrelated, SizeProportional, weighted_sample
from strategies.fedavg import FedAvg
from tests.scenarios import digits, sha256
from tests.strategies.replies import ask


def test_the_same_seed_and_round_give_the_same_cohort():
    population = range(2, 102)
    sampler = CohortSampler(seed=3, fraction=0.1)
    assert sampler.sample(5, population) == CohortSampler(seed=3, fraction=0.1).sample(5, population)
    assert sampler.sample(5, population) != sampler.sample(6, population)
    assert sampler.sample(5, population) != CohortSampler(seed=4, fraction=0.1).sample(5, population)


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 10), (0.01, 1), (1.0, 20)])
def test_fraction(fraction, expected):
    cohort = CohortSampler(0, fraction).sample(1, range(20))
    assert len(cohort) == len(set(cohort)) == expected
    assert cohort == sorted(cohort)


def test_a_million_clients_and_a_size():
    cohort = CohortSampler(0, None, 100).sample(1, range(10**6))
    assert len(set(cohort)) == 100
    assert max(cohort) > 500_000


def test_every_client_is_asked_equally_often():
    sampler = CohortSampler(0, 0.5)
    asked = [client for server_round in range(400) for client in sampler.sample(server_round, range(10))]
    counts = [asked.count(client) for client in range(10)]
    assert sum(counts) == 2000
    assert min(counts) > 150
    assert max(counts) < 250


def test_too_few_clients_is_an_error():
    with pytest.raises(ValueError, match="30 clients was asked of 20"):
        CohortSampler(0, None, 30).sample(1, range(20))
    with pytest.raises(ValueError, match="exactly one"):
        CohortSampler(0, 0.5, 3)


def test_a_rule_of_its_own_samples_with_its_sampler():
    rule = FedAvg()
    rule.sampler = CohortSampler(0, None, 4)
    asked = [message.metadata.dst_node_id for message in ask(rule, nodes=range(2, 22))]
    assert asked == CohortSampler(0, None, 4).sample(1, list(range(2, 22)))


def test_uniform_cohorts_are_those_of_floyds_algorithm():
    expected = sorted(stream(0, "cohort", 3).choice(100, 10, replace=False, shuffle=False).tolist())
    assert CohortSampler(0, None, 10).sample(3, range(100)) == expected


def test_the_first_draw_is_proportional_to_the_weight():
    weights = np.array([1.0, 2.0, 3.0, 0.0, 4.0])
    counts = np.bincount([weighted_sample(weights, 1, stream(i, "t"))[0] for i in range(4000)], minlength=5)
    # Standard deviations are below 31.
    assert counts == pytest.approx(400 * weights, abs=125)
    assert counts[3] == 0


def test_without_replacement_is_one_draw_after_the_other():
    """Of weights 1, 2, 3, two are drawn: client 0 is left out with 2/6 * 3/4 + 3/6 * 2/3 = 7/12."""
    drawn = [weighted_sample(np.array([1.0, 2.0, 3.0]), 2, stream(i, "t")) for i in range(4000)]
    assert all(len(set(pair.tolist())) == 2 for pair in drawn)
    left_out = 4000 - np.bincount(np.concatenate(drawn), minlength=3)
    expected = [7 / 12, 1 / 6 * 3 / 5 + 3 / 6 * 1 / 3, 1 / 6 * 2 / 5 + 2 / 6 * 1 / 4]
    assert sum(expected) == pytest.approx(1.0)
    assert left_out / 4000 == pytest.approx(expected, abs=0.033)


def test_larger_clients_are_asked_more_often():
    sizes = np.array([10] * 10 + [90] * 10)
    sampler = CohortSampler(0, None, 2, SizeProportional(), sizes=sizes)
    asked = np.concatenate([sampler.sample(server_round, range(20)) for server_round in range(1, 1001)])
    assert sampler.sample(5, range(20)) == sampler.sample(5, range(20))
    assert 0.86 < (asked >= 10).mean() < 0.92
    assert all(len(set(pair)) == 2 for pair in asked.reshape(-1, 2).tolist())


def test_availability_follows_the_dominant_class():
    classes = np.repeat(np.arange(4), 50)
    rule = LabelCorrelated(period=8.0, strength=0.9)
    # Class 1 of 4 has its peak a quarter of the period after class 0, its trough half a period later.
    assert rule.probabilities(8, classes)[[0, 50, 100, 150]] == pytest.approx([1.0, 0.55, 0.1, 0.55])
    assert rule.probabilities(2, classes)[[0, 50, 100, 150]] == pytest.approx([0.55, 1.0, 0.55, 0.1])
    assert rule.probabilities(10, classes) == pytest.approx(rule.probabilities(2, classes))
    available = np.mean(
        [rule.weights(2, stream(i, "t"), classes, classes).reshape(4, 50).mean(1) for i in range(100)], axis=0
    )
    assert available == pytest.approx([0.55, 1.0, 0.55, 0.1], abs=0.03)


def test_a_cohort_holds_more_of_the_class_at_its_peak():
    classes = np.repeat(np.arange(4), 25)
    sampler = CohortSampler(1, None, 20, LabelCorrelated(4.0, 1.0), sizes=classes, classes=classes)
    peak, trough = [], []
    for server_round in range(1, 201):
        share = np.bincount(classes[sampler.sample(server_round, range(100))], minlength=4) / 20
        peak.append(share[server_round % 4])
        trough.append(share[(server_round + 2) % 4])
    assert max(trough) == 0.0
    assert 0.45 < np.mean(peak) < 0.55


def test_no_strength_makes_everyone_available_and_everyone_equal():
    sampler = CohortSampler(0, 0.5, None, LabelCorrelated(5.0, 0.0), classes=np.arange(10))
    cohorts = [sampler.sample(server_round, range(10)) for server_round in range(400)]
    assert {len(cohort) for cohort in cohorts} == {5}
    counts = np.bincount(np.concatenate(cohorts))
    assert 150 < counts.min() <= counts.max() < 250


def test_fewer_available_clients_make_a_smaller_cohort():
    weights = np.array([0.0, 3.0, 0.0, 1.0])
    assert sorted(weighted_sample(weights, 3, stream(0, "t"))) == [1, 3]
    assert len(weighted_sample(np.zeros(4), 2, stream(0, "t"))) == 0
    everyone = CohortSampler(0, 1.0, None, SizeProportional(), sizes=np.array([5, 1, 2]))
    assert everyone.sample(1, [2, 3, 4]) == [2, 3, 4]


def test_a_million_weighted_clients():
    sizes = stream(0, "t").integers(0, 100, 10**6)
    cohort = CohortSampler(0, None, 1000, SizeProportional(), sizes=sizes).sample(1, range(10**6))
    assert len(set(cohort)) == 1000
    assert sizes[cohort].min() > 0
    # Drawn by size, the mean size is E[n^2] / E[n] = 66.3.
    assert sizes[cohort].mean() == pytest.approx(66.3, abs=3.0)


def test_weights_that_cannot_be_are_errors():
    class Wrong:
        def __init__(self, *values):
            self.values = np.array(values)

        def weights(self, *_):
            return self.values

    for values, message in [
        ((1.0, 2.0), "shape"),
        ((1.0, -1.0, 1.0), "negative"),
        ((1.0, np.nan, 1.0), "finite"),
    ]:
        with pytest.raises(ValueError, match=f"Wrong gives weights.*{message}"):
            CohortSampler(0, None, 1, Wrong(*values)).sample(1, range(3))
    with pytest.raises(ValueError, match="period > 0"):
        LabelCorrelated(0.0)


def test_a_run_with_size_proportional_cohorts(tmp_path):
    change = "cohort={size: 3, availability: size_proportional}"
    run(digits(change), tmp_path / "a")
    run(digits(change, "strategy=feddisco"), tmp_path / "b")
    run(digits("cohort={size: 3}"), tmp_path / "uniform")
    prints = {name: RunReader(tmp_path / name).fingerprints["cohorts"] for name in ("a", "b", "uniform")}
    assert prints["a"] == prints["b"] != prints["uniform"]
    assert all(row["sampled"] == 3 for row in RunReader(tmp_path / "a").rounds())


@pytest.mark.parametrize("strategy", ["fedavg", "{name: 'flwr.serverapp.strategy:FedAdam', eta: 0.01}"])
def test_a_run_in_which_nobody_is_available_for_a_round(tmp_path, strategy):
    (tmp_path / "night.py").write_text(NIGHT)
    own = f"cohort={{fraction: 0.5, availability: {{name: '{tmp_path}/night.py:Night', hours: [2, 3]}}}}"
    run(digits(own, f"strategy={strategy}"), tmp_path / "run")
    rounds = RunReader(tmp_path / "run").rounds()
    assert [row["sampled"] for row in rounds] == [4, 0, 0, 4]
    assert [row["replied"] for row in rounds] == [4, 0, 0, 4]
    assert rounds[0]["test"] == rounds[1]["test"] == rounds[2]["test"] != rounds[3]["test"]
    assert RunReader(tmp_path / "run").status == "finished"


def test_nobody_available_when_the_cohort_evaluates_and_straggles(tmp_path):
    (tmp_path / "night.py").write_text(NIGHT)
    own = f"cohort.availability={{name: '{tmp_path}/night.py:Night', hours: [2, 4]}}"
    systems = "systems={stragglers: {fraction: 0.5, policy: partial}, client_dropout: 0.2}"
    run(digits(own, systems, "evaluation.clients=cohort"), tmp_path / "run")
    assert [row["sampled"] for row in RunReader(tmp_path / "run").rounds()] == [4, 0, 4, 0]


def test_an_availability_that_fails_is_one_message(tmp_path):
    (tmp_path / "night.py").write_text(NIGHT)
    own = f"cohort.availability={{name: '{tmp_path}/night.py:Night', hours: 3}}"
    with pytest.raises(RunError, match=r"cohort\.availability: Night failed in round 1: TypeError"):
        run(digits(own), tmp_path / "run")


NIGHT = '''
import numpy as np

class Night:
    """Nobody is available in some rounds."""

    def __init__(self, hours):
        self.hours = hours

    def weights(self, server_round, generator, sizes, classes):
        return np.zeros(len(sizes)) if server_round in self.hours else np.ones(len(sizes))
'''


def test_label_correlated_runs_are_recorded_and_seeded(tmp_path):
    change = "cohort={fraction: 1.0, availability: {name: label_correlated, period: 4, strength: 1.0}}"
    run(digits(change, "rounds=6"), tmp_path / "a")
    run(digits(change, "rounds=6"), tmp_path / "b")
    sampled = [row["sampled"] for row in RunReader(tmp_path / "a").rounds()]
    assert min(sampled) < 8
    assert len(set(sampled)) > 1
    assert sha256(tmp_path / "a" / "model.safetensors") == sha256(tmp_path / "b" / "model.safetensors")


@pytest.mark.parametrize(
    "block", ["unifrom", "{name: label_correlated, period: 0}", "{name: label_correlated, strength: 1.5}"]
)
def test_unusable_availability_is_refused(block):
    with pytest.raises(UsageError, match=r"cohort\.availability"):
        digits(f"cohort.availability={block}")
