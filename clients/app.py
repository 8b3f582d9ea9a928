"""The Flower ClientApp: the same for virtual clients and for devices, made from plain parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from clients.base import ClientUpdate, LocalRound, Tensors
from clients.data import ClientData
from clients.functional import ModelFunction
from clients.groups import shared_names
from clients.normalised import normalised_steps
from clients.optimizers import Optimizer
from clients.preprocess import Preprocess, prepared
from clients.proximal import Proximal
from clients.records import encode
from clients.schedules import Constant, LearningRateSchedule, scheduled
from clients.training import LocalPlan, StepOptions, evaluate, train
from clients.whole import inexactness, mean_loss
from fedbal import protocol
from fedbal.measures import measures_for
from fedbal.measures.base import Measures
from fedbal.measures.names import TaskName
from fedbal.protocol import to_arrays, to_record

CLIENT_RAISED = 2
"""Flower's error code for a ClientApp that raised."""

DataOf = Callable[[Context], ClientData]
Handler = Callable[[Message, Context], RecordDict]


@dataclass(frozen=True)
class Trainer:
    """How every client of a scenario trains.

    Attributes
    ----------
    model : nn.Module
        One resident model; only its structure and its frozen tensors are used, the others come in messages.
    update : ClientUpdate
        What is minimised locally.
    optimizer : Optimizer
        Local optimizer.
    plan : LocalPlan
        Local work and batch size.
    num_classes : int
        Classes of the task.
    seed : int
        Training seed of the minibatch streams.
    rounds : int
        Rounds of the run, which a learning-rate schedule may depend on.
    schedule : LearningRateSchedule
        Learning rate over the rounds.
    options : StepOptions
        Gradient clipping and augmentation.
    preprocess : Preprocess, optional
        Imputation and scaling of every client's rows.
    task : {"classification", "segmentation"}
        What the labels are.
    """

    model: nn.Module
    update: ClientUpdate
    optimizer: Optimizer
    plan: LocalPlan
    num_classes: int
    seed: int
    rounds: int = 1
    schedule: LearningRateSchedule = field(default_factory=Constant)
    options: StepOptions = field(default_factory=StepOptions)
    preprocess: Preprocess | None = None
    task: TaskName = "classification"

    @property
    def measures(self) -> Measures[Any]:
        """What is measured of a model on this task."""
        return measures_for(self.task, self.num_classes)

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """Names of the tensors that messages carry."""
        return shared_names(self.model)


def make_app(trainer: Trainer, data_of: DataOf) -> ClientApp:
    """Return the ClientApp that trains, evaluates and answers queries.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    data_of : callable
        Returns a client's data from its Flower ``Context``.
    """
    app = ClientApp()

    def rows_of(message: Message, context: Context) -> ClientData:
        return prepared(trainer.preprocess, data_of(context), message.content)

    @app.train()
    def _train(message: Message, context: Context) -> Message:
        return _answer(message, context, lambda m, c: _train_reply(trainer, rows_of(m, c), m, c))

    @app.evaluate()
    def _evaluate(message: Message, context: Context) -> Message:
        return _answer(message, context, lambda m, c: _evaluate_reply(trainer, rows_of(m, c), m, c))

    @app.query()
    def _query(message: Message, context: Context) -> Message:
        # Counts and names need no prepared rows; what is made of the rows themselves does, and brings the record.
        rows = rows_of if protocol.PREPROCESS in message.content else (lambda m, c: data_of(c))
        return _answer(message, context, lambda m, c: _query_reply(trainer, rows(m, c), m))

    @app.query(protocol.STATISTICS)
    def _statistics(message: Message, context: Context) -> Message:
        return _answer(message, context, lambda m, c: _statistics_reply(trainer, data_of(c), m))

    return app


def _answer(message: Message, context: Context, handler: Handler) -> Message:
    """Reply with the handler's content, or with an error: a client that does not reply blocks its node."""
    try:
        return Message(handler(message, context), reply_to=message)
    except Exception as error:
        return Message(Error(CLIENT_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)


def _train_reply(trainer: Trainer, data: ClientData, message: Message, context: Context) -> RecordDict:
    config = protocol.config_of(message.content)
    server_round = int(config.get(protocol.SERVER_ROUND, 0))  # type: ignore[arg-type]
    local = LocalRound(
        round=server_round,
        received=_received(trainer, message, data),
        data=data,
        num_classes=trainer.num_classes,
        config=config,
        state=context.state,
        records=message.content,
        forward=ModelFunction(trainer.model),
        seed=trainer.seed,
        task=trainer.task,
    )
    if not len(data.train):
        raise ValueError(f"client {data.key} has no training samples")
    work = config.get(protocol.LOCAL_WORK)
    batches = trainer.plan.minibatches(
        trainer.seed,
        data.key,
        server_round,
        len(data.train),
        None if work is None else int(work),  # type: ignore[arg-type]
    )
    frozen = trainer.update.before(local)
    optimizer = scheduled(trainer.optimizer, trainer.schedule, server_round, trainer.rounds)
    local.progress.learning_rate = float(getattr(optimizer, "lr", 0.0))
    local.progress.momentum = float(getattr(optimizer, "momentum", 0.0))
    trained, loss = train(trainer.model, trainer.update, optimizer, local, frozen, batches, trainer.options)
    records = trainer.update.records(local, trained)
    extras = dict(trainer.update.after(local, trained))
    extras.update(_requested(config, local, trainer, trained))
    outgoing = trainer.update.outgoing(local, trained)
    content = RecordDict(
        {
            protocol.ARRAYS: encode(outgoing),
            protocol.METRICS: MetricRecord(
                {protocol.NUM_EXAMPLES: len(data.train), protocol.TRAIN_LOSS: loss}
            ),
            protocol.REPLY: ConfigRecord(
                {protocol.BASE_VERSION: server_round, protocol.CODEC: protocol.FP32}
            ),
        }
    )
    for name, tensors in records.items():
        content[name] = encode(tensors)
    if extras:
        content[protocol.EXTRAS] = ConfigRecord({name: list(values) for name, values in extras.items()})
    return content


def _evaluate_reply(trainer: Trainer, data: ClientData, message: Message, context: Context) -> RecordDict:
    config = protocol.config_of(message.content)
    received, measures = _received(trainer, message, data), trainer.measures
    local = LocalRound(
        round=int(config.get(protocol.SERVER_ROUND, 0)),  # type: ignore[arg-type]
        received=received,
        data=data,
        num_classes=trainer.num_classes,
        config=config,
        state=context.state,
        task=trainer.task,
    )
    own = trainer.update.personal(local)
    personal = None if own is None else evaluate(trainer.model, own, data.test, measures)
    return measures.reply(evaluate(trainer.model, received, data.test, measures), personal)


def _query_reply(trainer: Trainer, data: ClientData, message: Message) -> RecordDict:
    config = protocol.config_of(message.content)
    answer = ConfigRecord({protocol.CLIENT_KEY: data.key, protocol.NUM_EXAMPLES: len(data.train)})
    content = RecordDict({protocol.REPLY: answer})
    local = LocalRound(0, {}, data, trainer.num_classes, config, seed=trainer.seed)
    for name, tensors in trainer.update.answer(local).items():
        content[name] = encode(tensors)
    if extras := _requested(config, local, trainer):
        content[protocol.EXTRAS] = ConfigRecord({name: list(values) for name, values in extras.items()})
    return content


def _statistics_reply(trainer: Trainer, data: ClientData, message: Message) -> RecordDict:
    if trainer.preprocess is None:
        raise ValueError("statistics are asked for and this client prepares no rows: data.preprocess is off")
    asked = message.content.array_records.get(protocol.STATISTICS, ArrayRecord())
    what = str(protocol.config_of(message.content).get(protocol.STATISTICS))
    answer = trainer.preprocess.answer(data.train, what, to_arrays(asked))
    own = ConfigRecord({protocol.CLIENT_KEY: data.key, protocol.NUM_EXAMPLES: len(data.train)})
    return RecordDict({protocol.STATISTICS: to_record(answer), protocol.REPLY: own})


def _received(trainer: Trainer, message: Message, data: ClientData) -> Tensors:
    """Return the model of a message in the names, order and dtypes of the client's own shared tensors.

    Stock Flower strategies may number the arrays, sort them by name or send float64.
    """
    arrays = to_arrays(protocol.arrays_of(message.content))
    own_state = trainer.model.state_dict()
    expected = {name: own_state[name] for name in trainer.shared}
    if len(arrays) != len(expected):
        raise ValueError(f"the model has {len(expected)} arrays, the message {len(arrays)}")
    if set(arrays) != set(expected):
        arrays = dict(zip(expected, arrays.values(), strict=True))
    device = data.train.pool.device
    received = {}
    for name, own in expected.items():
        if tuple(arrays[name].shape) != tuple(own.shape):
            raise ValueError(f"array {name!r} has shape {arrays[name].shape}, the model {tuple(own.shape)}")
        received[name] = torch.from_numpy(arrays[name]).to(device=device, dtype=own.dtype)
    return received


def _requested(
    config: ConfigRecord, local: LocalRound, trainer: Trainer, trained: Tensors | None = None
) -> dict[str, list[float]]:
    """Answer what the rule asks for beyond the update's own extras."""
    update = trainer.update
    mu = update.coefficient(local) if isinstance(update, Proximal) else 0.0
    requests = config.get(protocol.REQUESTS, [])
    answers: dict[str, list[float]] = {}
    for request in requests if isinstance(requests, list) else []:
        if request == protocol.LABEL_COUNTS:
            answers[protocol.LABEL_COUNTS] = local.data.train.label_counts(local.num_classes).tolist()
        elif request == protocol.NORMALISED_STEPS:
            progress = local.progress
            pull = progress.learning_rate * mu
            answers[protocol.NORMALISED_STEPS] = [normalised_steps(progress.steps, progress.momentum, pull)]
        elif request == protocol.RECEIVED_LOSS:
            answers[protocol.RECEIVED_LOSS] = [mean_loss(trainer.model, update.criterion, local)]
        elif request == protocol.INEXACTNESS and trained is not None:
            gamma = inexactness(trainer.model, update.criterion, local, trained, mu)
            answers[protocol.INEXACTNESS] = [gamma]
        elif request not in update.answers:
            known = (
                *(protocol.LABEL_COUNTS, protocol.NORMALISED_STEPS, protocol.RECEIVED_LOSS),
                *(protocol.INEXACTNESS, *update.answers),
            )
            raise ValueError(f"the rule asks for {request!r}, this client can answer {', '.join(known)}")
    return answers
