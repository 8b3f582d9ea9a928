"""FedBR's local steps: a worked example to six digits, and what must hold whatever the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, RecordDict
from torch import nn

from clients.base import Batch, LocalRound
from clients.data import ClientData, Pool, Split
from clients.fedbr import FedBR, balance, contrast
from clients.functional import ModelFunction
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.projection import HEAD, project
from clients.standard import Standard
from clients.training import LocalPlan, train
from fedbal.models.auxiliary import attach
from fedbal.models.build import build
from fedbal.models.params import MLPParams
from fedbal.protocol import AUXILIARY, PSEUDO, PSEUDO_SAMPLES, to_record

PHI, OMEGA = [[1.0, 0.2], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]
HEAD_WEIGHT = [[1.0, 0.0], [0.5, 1.0]]
X, Y, U = [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [0, 1, 0], [[0.5, 0.5], [0.2, -0.4], [-0.3, 0.6]]
ONE = f"{HEAD}0.weight"
LN2 = math.log(2.0)


class Linear(nn.Module):
    """Linear features and a linear classifier, with a linear head beside them."""

    def __init__(self):
        super().__init__()
        self.features, self.classifier = _linear(PHI), _linear(OMEGA)
        self.add_module(AUXILIARY, nn.ModuleDict({"projection": nn.Sequential(_linear(HEAD_WEIGHT))}))

    def forward(self, x):
        return self.classifier(self.features(x))


def _linear(weight):
    layer = nn.Linear(2, len(weight), bias=False, dtype=torch.float64)
    layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    return layer


class Tiny:
    """The worked example, one step at a time, in float64."""

    def __init__(self, lr=0.1, **parameters):
        self.update = FedBR(CrossEntropy(), **parameters)
        self.model = Linear()
        self.forward = ModelFunction(self.model)
        self.params = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        received = {name: value.clone() for name, value in self.params.items()}
        self.frozen = {"received": received, "pseudo": torch.tensor(U, dtype=torch.float64)}
        self.batch = Batch(torch.tensor(X, dtype=torch.float64), torch.tensor(Y))
        self.lr = lr
        self.moves = []

    def descend(self, objective, params, names=None, *, ascend=False):
        before = {name: value.clone() for name, value in params.items()}
        gradients, value = torch.func.grad_and_value(lambda moving: objective({**params, **moving}))(
            {name: params[name] for name in names or params}
        )
        sign = 1.0 if ascend else -1.0
        after = {**params, **{name: params[name] + sign * self.lr * g for name, g in gradients.items()}}
        self.moves.append((before, after, float(value), float(objective(after))))
        return after, value

    def step(self):
        self.moves = []
        self.params, loss = self.update.step(self.forward, self.params, self.batch, self.frozen, self.descend)
        return float(loss)

    def projected(self):
        u, x = self.frozen["pseudo"], self.batch.x
        pairs = ((self.params, u), (self.frozen["received"], u), (self.params, x))
        return [project(self.params, self.forward.features(params, rows)[0]) for params, rows in pairs]


def test_the_worked_example():
    tiny = Tiny()
    expected = [
        (0.320192, 0.325368, 1.792815, 0.405997, 1.224134),
        (0.316817, 0.322027, 1.763273, 0.381139, 1.221121),
    ]
    a, b, c = tiny.projected()
    cosine = torch.nn.functional.cosine_similarity
    np.testing.assert_allclose(cosine(a, b).numpy(), [1.0, 1.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(cosine(a, c).numpy(), [0.894427, -0.868243, 0.554700], atol=1e-6)
    for before, after, total, entropy, balanced in expected:
        logits = tiny.forward(tiny.params, tiny.batch.x)
        guesses = tiny.forward(tiny.params, tiny.frozen["pseudo"])
        assert float(CrossEntropy()(logits, tiny.batch)) == pytest.approx(entropy, abs=1e-6)
        uniform = torch.full_like(guesses, 1 / 3)
        assert float(balance(guesses, uniform).mean()) == pytest.approx(balanced, abs=1e-6)
        assert tiny.step() == pytest.approx(total, abs=1e-6)
        (_, _, first, second), _ = tiny.moves
        assert (first, second) == (pytest.approx(before, abs=1e-6), pytest.approx(after, abs=1e-6))
        if before == expected[0][0]:
            _same(tiny, [[1.029677, 0.187650], [-0.024434, 0.979451]], "features.weight")
            _same(
                tiny,
                [[1.023831, 0.003821], [-0.023717, 0.989447], [-1.000113, -0.993268]],
                "classifier.weight",
            )
            _same(tiny, [[0.988631, 0.015637], [0.509953, 1.006393]], ONE)
    _same(tiny, [[1.057695, 0.174578], [-0.046564, 0.961441]], "features.weight")
    _same(tiny, [[1.045880, 0.005363], [-0.045597, 0.981628], [-1.000283, -0.986990]], "classifier.weight")
    _same(tiny, [[0.976972, 0.031284], [0.519768, 1.012629]], ONE)


def _same(tiny, expected, name):
    np.testing.assert_allclose(tiny.params[name].numpy(), expected, atol=1e-6)


def test_the_max_step_moves_the_head_alone_and_the_min_step_all_else():
    tiny = Tiny(lr=0.01)
    tiny.step()
    (start, raised, low, high), (_, end, _, _) = tiny.moves
    assert high >= low
    for name in start:
        moved_up, moved_down = (
            not torch.equal(old[name], new[name]) for old, new in ((start, raised), (raised, end))
        )
        assert (moved_up, moved_down) == (name == ONE, name != ONE)


def test_the_received_features_stay_for_the_whole_round():
    tiny = Tiny()
    kept = {name: value.clone() for name, value in tiny.frozen["received"].items()}
    for _ in range(3):
        tiny.step()
    assert all(torch.equal(kept[name], value) for name, value in tiny.frozen["received"].items())
    a, b, _ = tiny.projected()
    assert not torch.allclose(a, b)


def test_without_temperature_the_contrast_is_ln_2_and_flat():
    tiny = Tiny(tau1=0.0, tau2=0.0)
    tiny.step()
    (start, raised, low, high), _ = tiny.moves
    assert low == high == pytest.approx(LN2)
    assert torch.equal(start[ONE], raised[ONE])


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_the_contrast_stays_between_its_limits(tau):
    a, b, c = torch.randn(3, 2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = contrast(a, b, c, tau, tau)
    low, high = math.log1p(math.exp(-2 * tau)), math.log1p(math.exp(2 * tau))
    assert low <= float(rows.min()) < float(rows.max()) <= high
    assert float(contrast(a, a, -a, tau, tau)[0]) == pytest.approx(low)
    assert float(contrast(a, -a, a, tau, tau)[0]) == pytest.approx(high)
    if tau == 2.0:
        assert (low, high) == (pytest.approx(0.01815, abs=1e-5), pytest.approx(4.01815, abs=1e-5))
    assert float(contrast(a, b, c.flip(0), tau, tau).mean()) != pytest.approx(float(rows.mean()), abs=1e-9)


def test_balance_is_least_for_a_uniform_output():
    logits = torch.randn(500, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = balance(logits, torch.full_like(logits, 0.2))
    assert float(rows.min()) > math.log(5)
    even = torch.full((1, 5), 3.0, dtype=torch.float64)
    assert float(balance(even, torch.full_like(even, 0.2))) == pytest.approx(math.log(5))


def test_mixture_halves_the_next_image_and_its_label():
    tiny = Tiny(pseudo="mixture", mu=0.0)
    u, labels = tiny.update._pseudo(tiny.batch, tiny.frozen)
    np.testing.assert_allclose(u.numpy(), [[0.25, 1.25], [0.6, 0.3], [0.35, 0.3]])
    assert labels.tolist() == [1, 0, 0]
    target = torch.full((3, 3), 1 / 6, dtype=torch.float64)
    target[range(3), labels] += 0.5
    logits, guesses = (tiny.forward(tiny.params, rows) for rows in (tiny.batch.x, u))
    expected = CrossEntropy()(logits, tiny.batch) + balance(guesses, target).mean()
    found = tiny.update.loss(tiny.forward, tiny.params, tiny.batch, tiny.frozen)
    assert float(found) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(("mu", "lam"), [(0.0, 1.0), (0.5, 0.0)])
def test_single_components(mu, lam):
    tiny = Tiny(mu=mu, lam=lam)
    total = 0.405997 + mu * 0.325368 + lam * 1.224134
    assert tiny.step() == pytest.approx(total, abs=1e-6)


def client(n=20, size=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, (n, size)).astype(np.float32)
    split = Split(Pool(x, rng.integers(0, 3, n)), np.arange(n))
    return x, ClientData("7", split, split, split)


def answered(data, count, seed=0, **parameters):
    query = ConfigRecord({PSEUDO_SAMPLES: count})
    local = LocalRound(0, {}, data, 3, query, seed=seed)
    return FedBR(CrossEntropy(), **parameters).answer(local)[PSEUDO]["x"].numpy()


def test_without_weights_everything_but_the_head_follows_plain_sgd():
    _, data = client()
    results = {}
    for update in (Standard(CrossEntropy()), FedBR(CrossEntropy(), mu=0.0, lam=0.0)):
        model = build(MLPParams(hidden=[6]), (5,), 3, 0)
        attach(model, update, (5,), 0)
        received = {name: value.detach().clone() for name, value in model.state_dict().items()}
        records = RecordDict({PSEUDO: to_record({"x": answered(data, 8)})})
        local = LocalRound(1, received, data, 3, records=records)
        batches = LocalPlan(8, epochs=2).minibatches(0, "7", 1, 20)
        trained, _ = train(model, update, SGD(0.1, momentum=0.9), local, update.before(local), batches)
        results[type(update).__name__] = (received, trained)
    (first, plain), (received, ours) = results["Standard"], results["FedBR"]
    assert set(ours) > set(plain)
    for name, value in plain.items():
        assert torch.equal(first[name], received[name])
        assert torch.equal(value, ours[name])
    assert all(not torch.equal(received[name], ours[name]) for name in ours if name.endswith("4.weight"))


def test_the_head_has_two_wide_layers_and_the_published_size():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.classifier = nn.Linear(4, 512), nn.Linear(512, 10)

    model = Wide()
    attach(model, FedBR(CrossEntropy()), (4,), 0)
    assert (
        sum(value.numel() for name, value in model.named_parameters() if name.startswith(HEAD)) == 2_099_712
    )


def test_means_are_seeded_blurred_and_within_the_range_of_the_images():
    x, data = client()
    means = answered(data, 50, images=4)
    assert means.shape == (50, 5)
    assert means.dtype == np.float32
    assert means.min() >= x.min()
    assert means.max() <= x.max()
    np.testing.assert_array_equal(means, answered(data, 50, images=4))
    assert not np.array_equal(means, answered(data, 50, seed=1, images=4))
    distance = np.abs(means[:, None] - x[None]).max(axis=2)
    assert distance.min() > 1e-6


def test_no_image_leaves_as_it_is():
    x, data = client(n=2)
    means = answered(data, 40, images=2)
    np.testing.assert_allclose(means, np.broadcast_to(x.mean(axis=0), means.shape), atol=1e-6)
    with pytest.raises(ValueError, match="at least two"):
        answered(client(n=1)[1], 1)
    with pytest.raises(ValueError, match="the mean of one image is the image"):
        FedBR(CrossEntropy(), images=1)


def test_a_message_without_samples_says_which_rule_sends_them():
    _, data = client()
    with pytest.raises(ValueError, match="choose strategy: fedbr"):
        FedBR(CrossEntropy()).before(LocalRound(1, {}, data, 3))


def test_a_batch_larger_than_the_samples_is_refused():
    tiny = Tiny()
    tiny.frozen["pseudo"] = tiny.frozen["pseudo"][:2]
    with pytest.raises(ValueError, match=r"raise strategy\.samples"):
        tiny.step()
