"""The server optimizer axis: how the global model moves along the average update ``D = sum_k p_k (w_k - w)``.

Momentum: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification", arXiv 1909.06335. Adaptive: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan,
"Adaptive Federated Optimization", ICLR 2021, arXiv 2003.00295, Algorithm 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedbal.protocol import Arrays

Slots = dict[str, NDArray[np.float64]]


class ServerOptimizer(ABC):
    """Moves the global model; its state lives on the server and in checkpoints."""

    def __init__(self) -> None:
        self._slots: dict[str, Slots] = {}

    @abstractmethod
    def move(self, name: str, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the step for one array, of the shape of its average update ``delta``, and advance its state."""

    def step(self, current: Arrays, combined: Arrays) -> Arrays:
        """Return the next model; integer and boolean buffers are taken from the average as they are."""
        self.begin()
        following: Arrays = {}
        for name, before in current.items():
            if not np.issubdtype(before.dtype, np.inexact):
                following[name] = combined[name]
                continue
            start = before.astype(np.float64)
            delta = combined[name].astype(np.float64) - start
            following[name] = (start + self.move(name, delta)).astype(before.dtype)
        return following

    def begin(self) -> None:
        """Prepare for the arrays of a new round."""
        return

    def slot(
        self, kind: str, name: str, like: NDArray[np.float64], start: float = 0.0
    ) -> NDArray[np.float64]:
        """Return a state array, made on first use."""
        return self._slots.setdefault(kind, {}).setdefault(name, np.full(like.shape, start))

    def put(self, kind: str, name: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Replace a state array."""
        self._slots.setdefault(kind, {})[name] = value
        return value

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the state as arrays by name."""
        return {
            f"{kind}/{name}": value for kind, slots in self._slots.items() for name, value in slots.items()
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._slots = {}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            self.put(kind, name, np.asarray(value, np.float64))


class Momentum(ServerOptimizer):
    """``v <- beta v + D``, ``w <- w + lr v``; damped: ``v <- beta v + (1 - beta) D``.

    Parameters
    ----------
    beta : float (default: 0.9)
        Momentum, in [0, 1). With 0 and ``lr`` 1 it is FedAvg.
    lr : float (default: 1.0)
        Server learning rate, > 0.
    damped : bool (default: False)
        The form of FedDisco's official code; its first step is ``1 - beta`` times FedAvg's.
    """

    def __init__(self, beta: float = 0.9, lr: float = 1.0, damped: bool = False) -> None:
        super().__init__()
        if not 0.0 <= beta < 1.0 or lr <= 0.0:
            raise ValueError(f"need 0 <= beta < 1 and lr > 0, got beta={beta}, lr={lr}")
        self.beta = beta
        self.lr = lr
        self.damped = damped

    def move(self, name: str, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Advance the velocity and return ``lr`` times it."""
        gain = 1.0 - self.beta if self.damped else 1.0
        return self.lr * self.put("v", name, self.beta * self.slot("v", name, delta) + gain * delta)


class Adaptive(ServerOptimizer):
    """``m <- b1 m + (1 - b1) D``; v by ``kind``; ``w <- w + lr m / (sqrt(v) + tau)``, elementwise.

    adam: ``v <- b2 v + (1 - b2) D^2``; yogi: ``v <- v - (1 - b2) D^2 sign(v - D^2)``; adagrad: ``v <- v + D^2``.

    Parameters
    ----------
    kind : {"adam", "yogi", "adagrad"}
        How v advances.
    lr : float (default: 0.1)
        Server learning rate, > 0.
    beta1, beta2 : float (default: 0.9, 0.99)
        Decay of m and v, in [0, 1); adagrad has no use for ``beta2``.
    tau : float (default: 1e-3)
        Degree of adaptivity, > 0.
    initial : {"tau_squared", "zero"}
        What v starts from: ``tau^2`` as the paper asks, or 0 as Flower does.
    bias_correction : bool (default: False)
        Multiply ``lr`` by ``sqrt(1 - b2^(t+1)) / (1 - b1^(t+1))``, t = 1, 2, .., as Flower's FedAdam does; the
        paper has no such factor.
    """

    def __init__(
        self,
        kind: Literal["adam", "yogi", "adagrad"] = "adam",
        lr: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.99,
        tau: float = 1e-3,
        initial: Literal["tau_squared", "zero"] = "tau_squared",
        bias_correction: bool = False,
    ) -> None:
        super().__init__()
        if kind not in ("adam", "yogi", "adagrad"):
            raise ValueError(f"kind must be adam, yogi or adagrad, got {kind!r}")
        if lr <= 0.0 or tau <= 0.0 or not 0.0 <= beta1 < 1.0 or not 0.0 <= beta2 < 1.0:
            raise ValueError(
                f"need lr > 0, tau > 0, beta1 and beta2 in [0, 1); got {lr}, {tau}, {beta1}, {beta2}"
            )
        self.kind = kind
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.tau = tau
        self.initial = initial
        self.bias_correction = bias_correction

    def begin(self) -> None:
        """Count the round."""
        count = self.slot("t", "round", np.zeros(()))
        self.put("t", "round", count + 1.0)

    def move(self, name: str, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Advance both moments and return the adaptive step."""
        m = self.put("m", name, self.beta1 * self.slot("m", name, delta) + (1.0 - self.beta1) * delta)
        before = self.slot("v", name, delta, self.tau**2 if self.initial == "tau_squared" else 0.0)
        v = self.put("v", name, self._second_moment(before, delta * delta))
        lr = self.lr
        if self.bias_correction:
            t = float(self._slots["t"]["round"]) + 1.0
            lr *= float(np.sqrt(1.0 - self.beta2**t) / (1.0 - self.beta1**t))
        step: NDArray[np.float64] = lr * m / (np.sqrt(v) + self.tau)
        return step

    def _second_moment(self, v: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "adam":
            return self.beta2 * v + (1.0 - self.beta2) * square
        if self.kind == "yogi":
            moved: NDArray[np.float64] = v - (1.0 - self.beta2) * square * np.sign(v - square)
            return moved
        return v + square
