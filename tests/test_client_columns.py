"""Global, personal and unseen columns: from whole runs, and from replies that contradict themselves."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from clients.standard import Standard
from fedbal.evaluation import client_columns, evaluate_on_clients
from fedbal.fairness import ClientScore
from fedbal.measures.base import Evaluated
from fedbal.measures.classification import Classification
from fedbal.protocol import CONFUSION, to_record
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

SPREAD = {
    "model_round",
    "clients",
    "samples",
    "mean",
    "weighted_mean",
    "mean_balanced_accuracy",
    "std",
    "worst_10_percent",
    "best_10_percent",
    "tenth",
    "range",
    "pooled_clients",
    "pooled_n",
    "pooled_accuracy",
    "pooled_balanced_accuracy",
    "pooled_macro_f1",
    "pooled_loss",
    "note",
}

UPDATE = '''
import torch
from clients.standard import Standard
from fedbal.protocol import to_arrays, to_record


class Own(Standard):
    """Keeps what it trained last as its personal model."""

    def after(self, local, trained):
        local.state["personal"] = to_record({name: value.cpu().numpy() for name, value in trained.items()})
        return {}

    def personal(self, local):
        if "personal" not in local.state:
            return None
        return {name: torch.from_numpy(value) for name, value in to_arrays(local.state["personal"]).items()}
'''


def execute(tmp_path, *overrides, name="run"):
    return RunReader(run(digits(*overrides), tmp_path / name).directory)


def untimed(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_update.py"
    path.write_text(UPDATE)
    return f"client.update={path}:Own"


def test_global_and_personal_models_stand_in_separate_columns_of_one_shape(tmp_path, own):
    reader = execute(tmp_path, own)
    first, *others, last = reader.rounds()
    assert first["personal"] is None
    assert set(first["fairness"]) == SPREAD
    trained = set()
    cohorts = itertools.groupby(reader.clients(), key=lambda row: row["round"])
    for row, (_, asked) in zip([first, *others, last], cohorts, strict=True):
        if row["personal"] is not None:
            assert set(row["personal"]) - {"final"} == SPREAD
            assert row["personal"]["pooled_clients"] == len(trained)
            assert row["personal"]["model_round"] == row["fairness"]["model_round"]
        trained |= {client["client"] for client in asked if client["status"] == "ok"}
    final = last["personal"]["final"]
    assert final["model_round"] == 4
    assert final["pooled_accuracy"] != last["fairness"]["final"]["pooled_accuracy"]


def test_keeping_a_personal_model_changes_nothing_else_and_survives_resume(tmp_path, own):
    plain, personal = execute(tmp_path, name="plain"), execute(tmp_path, own, name="own")
    assert sha256(plain.path / "model.safetensors") == sha256(personal.path / "model.safetensors")

    class Stop(Exception):
        pass

    class StopAfterTwo:
        def started(self, *_):
            pass

        def round_finished(self, row):
            if row["round"] == 2:
                raise Stop

    with pytest.raises(Stop):
        run(digits(own), tmp_path / "part", observer=StopAfterTwo())
    resumed = RunReader(resume(tmp_path / "part").directory)
    assert untimed(resumed.rounds()) == untimed(personal.rounds())


def test_a_personal_model_fits_its_own_client_better(tmp_path, own):
    reader = execute(
        tmp_path,
        own,
        "data.partition.alpha=0.1",
        "data.client_test=0.3",
        "cohort={fraction: 1.0}",
        "rounds=2",
    )
    final = reader.rounds()[-1]
    assert final["personal"]["final"]["pooled_accuracy"] > final["fairness"]["final"]["pooled_accuracy"] + 0.1


def test_unseen_clients_never_train_and_report_on_all_their_data(tmp_path):
    reader = execute(tmp_path, 'data.holdout_clients=["3", "5"]', "cohort={fraction: 1.0}")
    assert not {"3", "5"} & {row["client"] for row in reader.clients()}
    table = [line.split(",") for line in (reader.path / "clients.csv").read_text().splitlines()[1:]]
    held = {row[0]: [int(value) for value in row[1:4]] for row in table if row[0] in ("3", "5")}
    assert all(train == validation == 0 for train, validation, _ in held.values())
    total = sum(test for _, _, test in held.values())
    for row in reader.rounds():
        assert set(row["unseen"]) - {"final"} == SPREAD
        assert (row["unseen"]["pooled_clients"], row["unseen"]["pooled_n"]) == (2, total)
        assert row["fairness"]["pooled_clients"] <= 6
    assert reader.rounds()[-1]["unseen"]["final"]["model_round"] == 4


def test_leaving_one_client_out_names_it(tmp_path):
    reader = execute(tmp_path, "data.holdout_clients=[2]", "evaluation.clients=0", "rounds=1")
    (row,) = reader.rounds()
    assert row["fairness"] is None
    assert row["unseen"]["pooled_clients"] == 1
    assert execute(tmp_path, "rounds=1", name="plain").rounds()[0]["unseen"] is None


def test_unseen_clients_are_evaluated_at_evaluated_rounds_by_cohort_runs_too(tmp_path):
    reader = execute(
        tmp_path, "data.holdout_clients=0.25", "evaluation={clients: cohort, every: 2, min_client_samples: 5}"
    )
    assert [row["unseen"] is not None for row in reader.rounds()] == [False, True, False, True]


def score(n, correct):
    return ClientScore(n, correct, 1.0)


def test_columns_of_no_answers():
    columns = client_columns([2, 3], {}, frozenset({3}), 30, 1, Classification(3))
    assert columns["fairness"]["pooled_n"] == columns["unseen"]["pooled_n"] == 0
    assert columns["personal"] is None
    assert client_columns([], {}, frozenset(), 30, 1, Classification(3)) == dict.fromkeys(
        ("fairness", "personal", "unseen")
    )


def test_personal_models_of_some_clients_only():
    scores = {2: Evaluated(score(40, 20), score(40, 36)), 3: Evaluated(score(60, 30), None)}
    columns = client_columns([2, 3], scores, frozenset(), 30, 7, Classification(3))
    assert (columns["fairness"]["clients"], columns["fairness"]["mean"]) == (2, 0.5)
    assert (columns["personal"]["clients"], columns["personal"]["mean"]) == (1, 0.9)
    assert columns["personal"]["model_round"] == 7


class Canned:
    """A grid whose clients answer what they are told to."""

    def __init__(self, extras):
        self.extras = extras

    def send_and_receive(self, messages, timeout=None):
        for message in messages:
            metrics = MetricRecord({"num-examples": 4, "correct": 3, "loss": 0.5})
            content = RecordDict({"metrics": metrics})
            if self.extras is not None:
                content["extras"] = ConfigRecord(self.extras)
            object.__setattr__(message.metadata, "_message_id", "1")
            yield Message(content, reply_to=message)


def evaluated(extras):
    scores, _ = evaluate_on_clients(Canned(extras), [2], ArrayRecord(), 1, Classification(3), None)
    return scores.get(2)


def test_confusion_counts_travel_as_pairs():
    found = evaluated({CONFUSION: [0, 2, 1, 1, 8, 1]})
    assert found.received.confusion.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert found.personal is None
    own = evaluated({CONFUSION: [0, 3, 1, 1], "personal-confusion": [0, 4], "personal-loss": 0.25})
    assert own.personal[:3] == (4, 4, 0.25)
    assert evaluated(None).received[:3] == (4, 3, 0.5)
    assert evaluated(None).received.confusion is None


@pytest.mark.parametrize(
    "pairs",
    [[0, 3], [0, 2, 1, 2], [9, 4], [-1, 4], [0, 5, 1, -1], [0, 3, 1], ["a", "b"], "ab", [0.5, 4.0]],
    ids=[
        "too few",
        "other diagonal",
        "no such cell",
        "negative cell",
        "negative count",
        "odd",
        "text",
        "no list",
        "floats",
    ],
)
def test_a_reply_that_contradicts_itself_does_not_count(pairs):
    assert evaluated({CONFUSION: pairs}) is None


def test_the_confusion_counts_are_declared():
    assert [item.name for item in Classification.discloses] == [CONFUSION, "personal-confusion"]


def test_the_reply_is_as_small_as_the_samples(tmp_path):
    from fedbal.assembly import assemble

    class Context:
        node_config = {"partition-id": 1}
        state = RecordDict()

    assembly = assemble(digits(), "cpu")
    app = assembly.clients()
    message = Message(RecordDict({"arrays": to_record(assembly.initial)}), 3, "evaluate")
    object.__setattr__(message.metadata, "_message_id", "1")
    reply = app(message, Context())
    pairs = reply.content["extras"][CONFUSION]
    samples = int(assembly.federation.client_test.sizes[1])
    assert sum(pairs[1::2]) == samples > 0
    assert len(pairs) <= 2 * samples
    assert json.dumps(pairs)
    matrix = np.zeros(100, np.int64)
    matrix[pairs[::2]] = pairs[1::2]
    assert matrix.reshape(10, 10).trace() == reply.content["metrics"]["correct"]


def test_standard_clients_have_no_personal_model():
    assert Standard(None).personal(None) is None
