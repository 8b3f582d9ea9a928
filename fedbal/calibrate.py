"""Measures what training clients one by one, at once and compiled costs on a machine, and makes a table of it."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from flwr.app import ConfigRecord, RecordDict

from clients.cohort import train_cohort
from clients.data import ClientData, Pool, Split
from clients.engine import Engine, Kind
from clients.jobs import TrainJob, prepare
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.records import encode
from clients.standard import Standard
from clients.trainer import Trainer
from clients.training import LocalPlan
from fedbal import protocol
from fedbal.costs import Cost, Layers
from fedbal.engine import compiler, layers_of
from fedbal.errors import RunError
from fedbal.models.build import build
from fedbal.params import CustomParams
from fedbal.seeding import stream

SAMPLES = 100
BATCH = 10
CLASSES = 10
LOOPED = 4
"""Clients of a measurement one by one."""
GAIN = 0.95
"""Training at once must take at most this share of the loop's time to be chosen."""


@dataclass(frozen=True)
class Case:
    """A class of models.

    Attributes
    ----------
    name : str
        How the table calls it.
    model : str
        Name of the model.
    shape : tuple of int
        Shape of one input.
    chunks : tuple of int
        Clients at once to try, ascending.
    options : dict
        The model's arguments.
    compiled : bool
        Whether a compiled step is worth its compilation.
    """

    name: str
    model: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    options: dict[str, list[int]] = field(default_factory=dict)
    compiled: bool = False


CASES = (
    Case("logistic 60-10", "logistic", (60,), (4, 10, 25, 50, 100), compiled=True),
    Case("mlp 64-64-10", "mlp", (64,), (4, 10, 25, 50, 100), {"hidden": [64]}, compiled=True),
    Case("mlp 784-64-10", "mlp", (784,), (4, 10, 25, 50), {"hidden": [64]}),
    Case("mlp 784-200-10", "mlp", (784,), (4, 10, 25), {"hidden": [200]}),
    Case("cnn 28 x 28", "cnn", (1, 28, 28), (4, 10, 25)),
)
ON_A_CARD = (Case("resnet-18-gn 32 x 32", "resnet18_gn", (3, 32, 32), (2, 4, 8)),)
"""Too slow on a CPU, where training at once does not pay for convolutions anyway."""


@dataclass(frozen=True)
class Timing:
    """One measurement.

    Attributes
    ----------
    case : str
        Name of the model class.
    layers : {"dense", "convolutional", "other"}
        What the model is made of.
    parameters : int
        Trainable numbers.
    kind : {"loop", "vectorized", "compiled"}
        How clients were trained.
    chunk : int
        Clients at once.
    milliseconds : float
        Wall time of one client's update: one epoch of 100 samples in batches of 10, SGD.
    """

    case: str
    layers: Layers
    parameters: int
    kind: Kind
    chunk: int
    milliseconds: float


def calibrate(
    device: str,
    report: Callable[[Timing], None],
    *,
    cases: Sequence[Case] | None = None,
    repeats: int = 3,
    compiled: bool = True,
) -> list[Timing]:
    """Measure every case on a device.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``.
    report : callable
        Is told of every measurement.
    cases : sequence of Case
        What to measure; None: the shipped cases, on a card with a larger model.
    repeats : int
        Measurements whose median counts, >= 1, after one that does not.
    compiled : bool
        Whether to measure compiled steps too, which are made in 10 to 20 seconds each.
    """
    if cases is None:
        cases = CASES if device == "cpu" else (*CASES, *ON_A_CARD)
    timings = []
    for case in cases:
        for timing in _case(case, device, repeats, compiled):
            report(timing)
            timings.append(timing)
    return timings


def rows_of(timings: Sequence[Timing], device: str) -> tuple[Cost, ...]:
    """Return the table that the measurements come to.

    A class of models is taken to reach half way, by the ratio of their parameters, to the next larger one of its
    kind; beyond the largest one by as much as from the one before. Where training at once did not pay the row says
    one client at once, which is the loop.

    Parameters
    ----------
    timings : sequence of Timing
        What was measured, the loop of every case among it.
    device : {"cpu", "cuda"}
        Where.
    """
    rows = []
    for layers in dict.fromkeys(one.layers for one in timings):
        of_kind = [one for one in timings if one.layers == layers]
        sizes = sorted({one.parameters for one in of_kind})
        bounds = [math.isqrt(low * high) for low, high in itertools.pairwise(sizes)]
        last = sizes[-1] * sizes[-1] // bounds[-1] if bounds else 2 * sizes[-1]
        for size, bound in zip(sizes, [*bounds, last], strict=True):
            chunk, fewest = _choice([one for one in of_kind if one.parameters == size])
            rows.append(Cost(device, (layers,), bound, chunk, fewest))
    return tuple(rows)


def _choice(timings: Sequence[Timing]) -> tuple[int, int]:
    """Return clients at once, and the fewest with which it pays."""
    loop = min(one.milliseconds for one in timings if one.kind == "loop")
    good = [one for one in timings if one.kind == "vectorized" and one.milliseconds <= GAIN * loop]
    if not good:
        return 1, 2
    best = min(good, key=lambda one: one.milliseconds)
    return best.chunk, max(2, min(one.chunk for one in good))


def _case(case: Case, device: str, repeats: int, compiled: bool) -> Iterator[Timing]:
    model = build(CustomParams(name=case.model, **case.options), case.shape, CLASSES, 0)
    layers, parameters = layers_of(model), sum(one.numel() for one in model.parameters())
    plan = LocalPlan(BATCH, epochs=1)
    trainer = Trainer(model.to(device), Standard(CrossEntropy()), SGD(0.05), plan, CLASSES, 0)
    data = _data(case, device)

    def timed(kind: Kind, chunk: int) -> Timing:
        clients = LOOPED if kind == "loop" else chunk
        seconds = _seconds(trainer, data, Engine(kind, chunk), clients, repeats)
        return Timing(case.name, layers, parameters, kind, chunk, 1e3 * seconds / clients)

    yield timed("loop", 1)
    found = []
    for chunk in case.chunks:
        try:
            found.append(timed("vectorized", chunk))
        except torch.OutOfMemoryError:
            break
        yield found[-1]
    if compiled and case.compiled and found and (device != "cpu" or compiler() is not None):
        best = min(found, key=lambda one: one.milliseconds)
        try:
            yield timed("compiled", best.chunk)
        except RunError:
            return


def _seconds(trainer: Trainer, data: ClientData, engine: Engine, clients: int, repeats: int) -> float:
    """Return the median wall time of training so many clients; the first time warms up."""
    content = _message(trainer)
    taken = []
    for _ in range(repeats + 1):
        jobs = [_job(trainer, data, content) for _ in range(clients)]
        _wait()
        started = time.perf_counter()
        for result in train_cohort(trainer, jobs, engine):
            if isinstance(result, Exception):
                raise result
        _wait()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _job(trainer: Trainer, data: ClientData, content: RecordDict) -> TrainJob:
    return prepare(trainer, data, content, RecordDict())


def _message(trainer: Trainer) -> RecordDict:
    state = trainer.model.state_dict()
    arrays = encode({name: state[name].detach() for name in trainer.shared})
    return RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: ConfigRecord({protocol.SERVER_ROUND: 1})})


def _data(case: Case, device: str) -> ClientData:
    draw = stream(0, "calibrate", case.name)
    x = draw.standard_normal((SAMPLES, *case.shape)).astype(np.float32)
    split = Split(Pool(x, draw.integers(0, CLASSES, SAMPLES), device=device), np.arange(SAMPLES))
    return ClientData(case.name, split, split, split)
