"""Virtual clients: from plain parameters and partitioned data to the ClientApp that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.clientapp import ClientApp
from torch import nn

from clients import LOSSES, OPTIMIZERS, SCHEDULES, UPDATES
from clients.app import make_app
from clients.base import ClientUpdate
from clients.data import ByClient, ClientData, Pool, Split
from clients.engine import LOOP, Engine
from clients.params import ConstantParams
from clients.preprocess import Preprocess
from clients.shift import FeatureShift, MixedRotation, Rotation, shift_of
from clients.trainer import Trainer
from clients.training import LocalPlan, StepOptions
from fedbal.data.federation import Federation
from fedbal.determinism import prepare
from fedbal.errors import UsageError
from fedbal.models.auxiliary import attach
from fedbal.models.build import ModelChoice, build
from fedbal.pretrained import Pretrained
from fedbal.protocol import FP32
from fedbal.registry import Table
from fedbal.seeding import stream


@dataclass(frozen=True)
class VirtualClients:
    """Makes the ClientApp of a simulated population; picklable, called once in every process.

    Attributes
    ----------
    federation : Federation
        Dataset and index lists.
    model, update, loss, optimizer : ModelChoice
        Names and constructor arguments.
    plan : LocalPlan
        Local work and batch size.
    init_seed, training_seed : int
        Seeds of initial values and of minibatch streams.
    device : str
        ``cpu`` or ``cuda``.
    rounds : int
        Rounds of the run.
    schedule : ModelChoice
        Learning rate over the rounds.
    options : StepOptions
        Gradient clipping and augmentation.
    pretrained : Pretrained, optional
        Initial tensors from a file, and what is frozen.
    preprocess : Preprocess, optional
        Imputation and scaling.
    engine : Engine
        How clients that share a process are trained.
    codec : str
        How a trained model travels, see :mod:`fedbal.codec`.
    """

    federation: Federation
    model: ModelChoice
    update: ModelChoice
    loss: ModelChoice
    optimizer: ModelChoice
    plan: LocalPlan
    init_seed: int
    training_seed: int
    device: str = "cpu"
    rounds: int = 1
    schedule: ModelChoice = field(default_factory=ConstantParams)
    options: StepOptions = field(default_factory=StepOptions)
    pretrained: Pretrained | None = None
    preprocess: Preprocess | None = None
    engine: Engine = LOOP
    codec: str = FP32

    def __call__(self) -> ClientApp:
        """Build model and data on the device and return the app."""
        prepare(self.device, self.options.precision)
        return make_app(self.trainer(), self.data_of(), self.engine)

    def trainer(self) -> Trainer:
        """Return how the clients train."""
        dataset = self.federation.dataset
        return Trainer(
            model=self.network().to(self.device),
            update=self._update(),
            optimizer=create(OPTIMIZERS, self.optimizer),
            plan=self.plan,
            num_classes=dataset.num_classes,
            seed=self.training_seed,
            rounds=self.rounds,
            schedule=create(SCHEDULES, self.schedule),
            options=self.options,
            preprocess=self.preprocess,
            task=dataset.task,
            codec=self.codec,
        )

    def network(self) -> nn.Module:
        """Return the model with its initial tensors, on the CPU."""
        dataset = self.federation.dataset
        network = build(
            self.model, dataset.input_shape, dataset.num_classes, self.init_seed, dataset.target_shape
        )
        if self.pretrained is not None:
            self.pretrained.apply(network)
        attach(network, self._update(), dataset.input_shape, self.init_seed)
        return network

    def _update(self) -> ClientUpdate:
        update: ClientUpdate = create(UPDATES, self.update, create(LOSSES, self.loss))
        return update

    def data_of(self) -> _DataOf:
        """Return the function from a client's context to its data."""
        return _DataOf(self.federation, self.device)


class _DataOf:
    """Cuts a client's data out of the one pool of this process."""

    def __init__(self, federation: Federation, device: str) -> None:
        self._federation = federation
        self._pool = training_pool(federation, device)

    def __call__(self, context: Context) -> ClientData:
        return self.client(int(context.node_config["partition-id"]))

    def client(self, client: int) -> ClientData:
        """Return the data of a client index."""
        if not 0 <= client < self._federation.num_clients:
            raise ValueError(f"no client {client}; there are {self._federation.num_clients}")
        shift = client_shift(self._federation, client)
        parts = (self._federation.train, self._federation.validation, self._federation.client_test)
        train, validation, test = (Split(self._pool, part.of(client), shift) for part in parts)
        return ClientData(self._federation.names[client], train, validation, test)


def client_shift(federation: Federation, client: int, *, test: bool = False) -> FeatureShift | None:
    """Return a client's feature shift, or None; rows of the global test set have noise of their own."""
    shift = federation.shift
    if shift is None:
        return None
    key = f"test of {federation.names[client]}" if test else federation.names[client]
    if shift.shares is not None:
        return MixedRotation(shift.choices, tuple(shift.shares[client].tolist()), shift.seed, key)
    return shift_of(shift.name, float(shift.strengths[client]), shift.seed, key)


def training_pool(federation: Federation, device: str) -> Pool:
    """Return the rows that clients hold."""
    dataset = federation.dataset
    return _pool(federation, dataset.x, dataset.y, device)


def test_split(federation: Federation, device: str) -> Split:
    """Return the global test set."""
    dataset = federation.dataset
    pool, rows = _pool(federation, dataset.x_test, dataset.y_test, device), np.arange(len(dataset.y_test))
    return Split(pool, rows, _test_shift(federation))


def _test_shift(federation: Federation) -> ByClient | None:
    """Let each test row look like those of a client drawn by its training rows, or have one angle in turn."""
    shift, sizes = federation.shift, federation.train.sizes
    if shift is None or shift.global_test == "none":
        return None
    if shift.global_test == "angles":
        turns = np.arange(len(federation.dataset.y_test)) % len(shift.choices)
        return ByClient(
            {position: Rotation(degrees) for position, degrees in enumerate(shift.choices)}, turns
        )
    draw = stream(shift.seed, "feature-shift", "global-test")
    clients = draw.choice(len(sizes), len(federation.dataset.y_test), p=sizes / sizes.sum())
    found = {int(client): client_shift(federation, int(client), test=True) for client in np.unique(clients)}
    return ByClient({client: each for client, each in found.items() if each is not None}, clients)


def _pool(federation: Federation, x: Any, y: Any, device: str) -> Pool:
    scaling = federation.dataset.scaling
    return Pool(x, y, divide=scaling.divide, mean=scaling.mean, std=scaling.std, device=device)


def create(table: Table, choice: ModelChoice, *arguments: Any) -> Any:
    """Construct a component; a constructor that refuses its parameters becomes one clear message.

    Parameters that are themselves components (a strategy's weighting) are constructed first.
    """
    component = table.load(choice.name)
    parts: dict[str, Table] = getattr(choice, "parts", dict)()
    options = choice.kwargs()
    for key, nested in parts.items():
        if options.get(key) is not None:
            options[key] = create(nested, options[key])
    try:
        return component(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{table.kind} {choice.name!r} refuses {choice.kwargs()}: {error}.") from error
