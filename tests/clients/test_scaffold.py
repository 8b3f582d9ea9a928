"""SCAFFOLD's control: the mean gradient of a client's steps, with momentum too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clients.base import LocalRound, Progress
from clients.data import ClientData, Pool, Split
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.scaffold import Scaffold
from fedbal.protocol import CONTROL_DELTA


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_control_of_a_constant_gradient_is_that_gradient(momentum):
    optimizer, gradient = SGD(0.1, momentum), {"w": torch.tensor([1.0, -2.0])}
    trained = {"w": torch.zeros(2)}
    state = optimizer.init(trained)
    for _ in range(7):
        optimizer.step(trained, gradient, state)
    split = Split(Pool(np.zeros((1, 1), np.float32), np.zeros(1, np.int64)), np.zeros(1, np.int64))
    local = LocalRound(
        round=1,
        received={"w": torch.zeros(2)},
        data=ClientData("0", split, split, split),
        num_classes=2,
        progress=Progress(steps=7, learning_rate=0.1, momentum=momentum),
    )
    change = Scaffold(CrossEntropy()).records(local, trained)[CONTROL_DELTA]
    torch.testing.assert_close(change["w"], gradient["w"])
