"""q-FedAvg: worked numbers, Flower's own where they are equal, and losses that clients answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp.strategy.qfedavg import compute_delta_and_h

from fedbal import protocol
from fedbal.assembly import assemble
from fedbal.contract.rules import SHIFTS, RuleSubject
from fedbal.protocol import to_record
from fedbal.results import RunReader
from fedbal.simulation import run
from strategies.qfedavg import QFedAvg, fair_weights, qfedavg, step_share
from strategies.weighting import BySamples
from tests.scenarios import digits
from tests.strategies.replies import MODEL, ask, model, reply_to

START, MODELS, LOSSES = np.array([1.0, -1.0]), np.array([[0.8, -0.9], [0.9, -1.2]]), [2.0, 0.5]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (0.0, [0.85, -1.05]),
        (0.1, [0.85521323, -1.03738016]),
        (1.0, [0.87142857, -0.97142857]),
        (5.0, [0.9112987, -0.95575758]),
    ],
)
def test_worked_numbers_agree_with_flowers(q, expected):
    found = qfedavg(START, MODELS, LOSSES, q, lr=0.1)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    pairs = [
        compute_delta_and_h([START], [row.copy()], q, 10.0, F) for row, F in zip(MODELS, LOSSES, strict=False)
    ]
    theirs = START - sum(delta[0] for delta, _ in pairs) / sum(h for _, h in pairs)
    np.testing.assert_allclose(found, theirs, atol=1e-12)


@pytest.mark.parametrize(("q", "h"), [(1.0, (25.0, 10.0)), (5.0, (720.0, 1.875))])
def test_share_is_the_ratio_of_the_worked_sums(q, h):
    norms = np.square(MODELS - START).sum(axis=1)
    weights = fair_weights(LOSSES, q)
    assert step_share(weights, LOSSES, norms, q, 0.1) == pytest.approx(
        10 * np.power(LOSSES, q).sum() / sum(h), rel=1e-8
    )


def test_a_common_factor_on_the_losses_leaves_the_direction_and_large_q_follows_the_worst():
    for q in (0.5, 3.0):
        np.testing.assert_allclose(fair_weights(LOSSES, q), fair_weights(np.multiply(LOSSES, 7), q))
    np.testing.assert_allclose(fair_weights([2.0, 0.5, 1.9], 2000.0), [1.0, 0.0, 0.0], atol=1e-12)
    assert np.isfinite(fair_weights([0.0, 0.0], 5.0)).all()


def aggregate(rule, losses):
    """Return one round's model when clients of equal size answer with these losses."""
    rule.context = None
    messages = ask(rule)
    replies = [
        reply_to(message, model(shift), 10, **{protocol.RECEIVED_LOSS: [loss]})
        for message, shift, loss in zip(messages, SHIFTS, losses, strict=False)
    ]
    return protocol.to_arrays(rule.aggregate_train(1, replies)[0])


def test_class_agrees_with_the_pure_function():
    losses = [0.3, 2.0, 1.1]
    flat = np.stack([model(shift)["w"].ravel() for shift in SHIFTS])
    expected = qfedavg(MODEL["w"].ravel(), flat, losses, 0.7, 0.5)
    found = aggregate(QFedAvg(q=0.7, lr=0.5), losses)
    np.testing.assert_allclose(found["w"].ravel(), expected, rtol=1e-6)
    assert found["steps"] == MODEL["steps"]


def test_q_zero_is_the_uniform_mean_and_by_samples_it_is_fedavg():
    from strategies.fedavg import FedAvg
    from strategies.uniform import UniformMean

    for mine, other in (({"q": 0.0}, UniformMean), ({"q": 0.0, "weighting": BySamples()}, FedAvg)):
        left, right = RuleSubject(QFedAvg, mine), RuleSubject(other)
        assert left.aggregate(left.make())["w"].tobytes() == right.aggregate(right.make())["w"].tobytes()


@pytest.mark.parametrize("bad", [[-1.0], [float("nan")], [1.0, 2.0], "1.0"])
def test_a_reply_without_a_usable_loss_is_dropped(bad):
    rule = QFedAvg(lr=0.1)
    first, *others = ask(rule)
    replies = [reply_to(first, model(1.0), 10, **{protocol.RECEIVED_LOSS: bad})]
    rule.aggregate_train(1, replies + [reply_to(message, model(2.0), 10) for message in others])
    assert list(rule.report.dropped) == [2]
    assert "received-loss must be one number >= 0" in rule.report.dropped[2]


@pytest.mark.parametrize("parameters", [{"q": -0.1}, {"lr": 0.0}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValueError, match="must be"):
        QFedAvg(**parameters)


def test_a_rate_is_needed():
    with pytest.raises(ValueError, match="give lr"):
        aggregate(QFedAvg(), [1.0, 1.0, 1.0])


def test_clients_answer_with_the_loss_of_the_received_model_on_their_training_data(tmp_path):
    scenario = digits("strategy={name: qfedavg, q: 1.0}", "rounds=1", "cohort.fraction=1.0")
    run(scenario, tmp_path / "run")
    assembly = assemble(scenario, "cpu")
    assert assembly.strategy.context.learning_rate == 0.1
    network = assembly.clients.network()
    federation = assembly.federation
    for row in RunReader(tmp_path / "run").clients():
        own = federation.train.of(int(row["client"]))
        data = assembly.test.split.pool
        x = torch.from_numpy(federation.dataset.x[own]).float() / data._divide
        loss = torch.nn.functional.cross_entropy(network(x), torch.from_numpy(federation.dataset.y[own]))
        assert row["received_loss"] == pytest.approx(float(loss.detach()), rel=1e-5)


def test_a_query_for_the_loss_says_that_a_model_is_needed():
    assembly = assemble(digits(), "cpu")
    from fedbal.grid.inprocess import InProcessGrid

    grid = InProcessGrid(assembly.clients(), assembly.directory, assembly.population.nodes)
    config = ConfigRecord({protocol.REQUESTS: [protocol.RECEIVED_LOSS]})
    content = RecordDict({protocol.CONFIG: config, protocol.ARRAYS: to_record({})})
    (reply,) = grid.send_and_receive([Message(content, assembly.population.nodes[0], MessageType.QUERY)])
    assert reply.has_error()
    assert "no model came along" in reply.error.reason
