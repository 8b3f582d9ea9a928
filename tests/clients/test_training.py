"""Local training against torch's own optimizer, the proximal example, minibatch streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from clients.base import Batch, LocalRound
from clients.data import ClientData, Pool, Split
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.proximal import Proximal
from clients.standard import Standard
from clients.training import LocalPlan, evaluate, train
from fedbal.measures.classification import Classification
from fedbal.seeding import stream


def make_data(n=37, features=5, classes=3):
    generator = stream(0, "test-data")
    x = generator.standard_normal((n, features)).astype(np.float32)
    y = generator.integers(0, classes, n)
    pool = Pool(x, y)
    rows = np.arange(n)
    return ClientData("7", Split(pool, rows), Split(pool, rows[:0]), Split(pool, rows[:10]))


def make_model():
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5, generator=generator)
    return model


def run(update, plan, optimizer, data, model, server_round=4):
    received = {name: value.detach().clone() for name, value in model.state_dict().items()}
    local = LocalRound(round=server_round, received=received, data=data, num_classes=3)
    batches = plan.minibatches(0, data.key, server_round, len(data.train))
    return train(model, update, optimizer, local, update.before(local), batches)


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.01)])
def test_training_equals_torch_sgd(momentum, decay):
    data, model, plan = make_data(), make_model(), LocalPlan(batch_size=8, epochs=3)
    trained, _ = run(Standard(CrossEntropy()), plan, SGD(0.1, momentum, decay), data, model)
    reference = make_model()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=momentum, weight_decay=decay)
    for positions in plan.minibatches(0, "7", 4, len(data.train)):
        x, y = data.train.batch(positions)
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(x), y).backward()
        optimizer.step()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-6)


def test_received_model_is_not_written_to():
    data, model = make_data(), make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(Standard(CrossEntropy()), LocalPlan(8, epochs=2), SGD(0.5), data, model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_mu_zero_is_the_standard_update_bit_for_bit():
    data, model, plan = make_data(), make_model(), LocalPlan(8, epochs=2)
    plain, _ = run(Standard(CrossEntropy()), plan, SGD(0.1), data, model)
    proximal, _ = run(Proximal(CrossEntropy(), mu=0.0), plan, SGD(0.1), data, model)
    assert all(torch.equal(plain[name], proximal[name]) for name in plain)


def test_first_step_does_not_feel_mu_and_distance_falls_with_mu():
    data, model = make_data(), make_model()
    one = LocalPlan(8, steps=1)
    plain, _ = run(Standard(CrossEntropy()), one, SGD(0.1), data, model)
    pulled, _ = run(Proximal(CrossEntropy(), mu=5.0), one, SGD(0.1), data, model)
    for name in plain:
        torch.testing.assert_close(plain[name], pulled[name], rtol=0, atol=1e-7)
    distances = []
    for mu in (0.0, 0.1, 1.0, 5.0):
        trained, _ = run(Proximal(CrossEntropy(), mu=mu), LocalPlan(8, epochs=10), SGD(0.1), data, model)
        anchor = model.state_dict()
        distances.append(sum(float((trained[n] - anchor[n]).square().sum()) for n in trained))
    assert distances == sorted(distances, reverse=True)


class Quadratic(nn.Module):
    """F(w) = h/2 (w - c)^2 as a model whose output is its loss."""

    def __init__(self, start):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, x):
        return 0.5 * x[:, 0] * (self.w - x[:, 1]) ** 2


def quadratic(mu, h, c, steps, start=0.0):
    class Value:
        def __call__(self, logits, batch):
            return logits.mean()

    model = Quadratic(start)
    pool = Pool(np.array([[h, c]], np.float32), np.zeros(1, np.int64))
    split = Split(pool, np.arange(1))
    data = ClientData("0", split, split, split)
    trained, _ = run(Proximal(Value(), mu=mu), LocalPlan(1, steps=steps), SGD(0.1), data, model)
    return float(trained["w"])


@pytest.mark.parametrize(
    ("mu", "first", "second"),
    [(0.0, 0.40951, -0.3), (1.0, 0.33616, -0.3)],
)
def test_worked_example_of_two_clients(mu, first, second):
    assert quadratic(mu, 1, 1, 5) == pytest.approx(first, abs=1e-6)
    assert quadratic(mu, 3, -1, 1) == pytest.approx(second, abs=1e-6)


def test_worked_example_of_one_step():
    """w=[1,2], anchor [.5,1], gradient [.2,-.4], lr .1: mu 1 gives [.93,1.94], mu 0 gives [.98,2.04]."""

    class Linear:
        def __call__(self, logits, batch):
            return logits.mean()

    params = {"w": torch.tensor([1.0, 2.0], requires_grad=True)}
    batch = Batch(torch.tensor([[0.2, -0.4]]), torch.zeros(1, dtype=torch.int64))
    for mu, expected in ((1.0, [0.93, 1.94]), (0.0, [0.98, 2.04])):
        update = Proximal(Linear(), mu=mu)
        frozen = {"anchor": {"w": torch.tensor([0.5, 1.0])}, "mu": torch.tensor(mu)} if mu else {}
        loss = update.loss(lambda p, x: x @ p["w"], params, batch, frozen)
        gradient = torch.autograd.grad(loss, [params["w"]])[0]
        torch.testing.assert_close(params["w"].detach() - 0.1 * gradient, torch.tensor(expected))


def test_minibatches_cover_each_epoch_once_and_stragglers_see_the_beginning():
    plan = LocalPlan(batch_size=4, epochs=3)
    full = list(plan.minibatches(1, "c", 2, 10))
    assert [len(batch) for batch in full] == [4, 4, 2] * 3
    for epoch in range(3):
        assert sorted(np.concatenate(full[3 * epoch : 3 * epoch + 3])) == list(range(10))
    short = list(plan.minibatches(1, "c", 2, 10, units=2))
    assert all(np.array_equal(a, b) for a, b in zip(short, full, strict=False))
    assert len(short) == 6
    assert not np.array_equal(plan.minibatches(1, "c", 3, 10)[0], full[0])


def test_steps_run_over_epochs():
    batches = list(LocalPlan(batch_size=4, steps=7).minibatches(0, "c", 1, 10))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2, 4]


def test_padding_of_weight_zero_counts_for_nothing():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2, 0])
    loss = CrossEntropy()
    padded = loss(logits, Batch(logits, y, torch.tensor([1.0, 1.0, 0.0, 0.0])))
    torch.testing.assert_close(padded, loss(logits[:2], Batch(logits[:2], y[:2])))


def test_evaluation_counts_every_sample():
    data, model = make_data(), make_model()
    found = evaluate(model, model.state_dict(), data.train, Classification(3), batch_size=7)
    assert found.n == 37
    assert np.isfinite(found.loss_sum)
    x, y = data.train.batch(np.arange(37))
    assert found.correct == int((model(x).argmax(1) == y).sum())


def test_pool_scales_uint8_batches():
    pool = Pool(
        np.full((2, 1, 2, 2), 128, np.uint8), np.zeros(2, np.int64), divide=255, mean=(0.5,), std=(0.25,)
    )
    x, _ = pool.batch(torch.tensor([1]))
    assert pool.x.dtype == torch.uint8
    torch.testing.assert_close(x, torch.full((1, 1, 2, 2), (128 / 255 - 0.5) / 0.25))


@pytest.mark.parametrize("arguments", [{}, {"epochs": 1, "steps": 1}])
def test_exactly_one_unit_of_work(arguments):
    with pytest.raises(ValueError, match="exactly one"):
        LocalPlan(8, **arguments)
