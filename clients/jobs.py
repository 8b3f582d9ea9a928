"""One client's round in three parts: what is prepared, trained (alone or with others at once) and answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor
from torch.utils import _pytree as pytree

from clients.base import Frozen, LocalRound, Tensors
from clients.data import ClientData
from clients.losses import class_prior
from clients.normalised import normalised_steps
from clients.optimizers import Optimizer
from clients.proximal import Proximal
from clients.records import encode, to_host
from clients.schedules import scheduled
from clients.trainer import Trainer
from clients.training import Minibatches
from clients.whole import inexactness, mean_loss
from fedbal import codec, protocol
from fedbal.protocol import to_arrays, to_record

CODEC_ERROR = "codec-error"
"""Record of a client's state: what its codec has lost so far, for its next update."""


@dataclass(frozen=True)
class TrainJob:
    """The local training of one client, ready to be done.

    Attributes
    ----------
    local : LocalRound
        What the client knows at its start.
    start : Tensors
        The model from which training starts; never written to.
    batches : Minibatches
        Positions in the client's training data.
    frozen : Frozen
        What stays fixed.
    optimizer : Optimizer
        With the round's learning rate.
    prior : Tensor, optional
        What the loss needs of the class counts.
    """

    local: LocalRound
    start: Tensors
    batches: Minibatches
    frozen: Frozen
    optimizer: Optimizer
    prior: Tensor | None

    @property
    def steps(self) -> int:
        """Minibatch steps."""
        return len(self.batches)

    @cached_property
    def flat_frozen(self) -> tuple[list[Any], pytree.TreeSpec]:
        """What stays fixed as a list of leaves, and how they hang together."""
        return pytree.tree_flatten(self.frozen) if self.frozen else _NOTHING


_NOTHING: tuple[list[Any], pytree.TreeSpec] = pytree.tree_flatten({})


@dataclass(frozen=True)
class TrainReply:
    """What a client answers to a training message.

    Attributes
    ----------
    tensors : Tensors
        Its model.
    num_examples : int
        Its training samples.
    loss : float
        Mean training loss over the samples seen.
    server_round : int
        Round of the model that it started from.
    records : dict
        Further array records, by name.
    extras : dict
        Numbers that the update or the rule asks for, by name.
    encoded : Encoded, optional
        The model as it travels, if it does not as it is; ``tensors`` is then what the server makes of it.
    """

    tensors: Tensors
    num_examples: int
    loss: float
    server_round: int
    records: dict[str, Tensors] = field(default_factory=dict)
    extras: dict[str, list[float]] = field(default_factory=dict)
    encoded: codec.Encoded | None = None

    @property
    def config(self) -> ConfigRecord:
        """The reply's record that says how to read it."""
        return (self.encoded or codec.Encoded(protocol.FP32, {}, [])).config(self.server_round)


@dataclass(frozen=True)
class Told:
    """What a training message says, worked out once for all clients that are told the same.

    Attributes
    ----------
    content : RecordDict
        The message.
    config : ConfigRecord
        What the server sent along.
    server_round : int
        Round, from 1.
    units : int, optional
        Local work; None: as planned.
    received : Tensors
        The model.
    optimizer : Optimizer
        With the round's learning rate.
    """

    content: RecordDict
    config: ConfigRecord
    server_round: int
    units: int | None
    received: Tensors
    optimizer: Optimizer

    @classmethod
    def of(
        cls, trainer: Trainer, content: RecordDict, device: torch.device, received: Tensors | None = None
    ) -> Told:
        """Read a message, or only what is said beside the model if somebody has decoded that already.

        Raises
        ------
        ValueError
            The message does not fit the model.
        """
        config = protocol.config_of(content)
        server_round = int(config.get(protocol.SERVER_ROUND, 0))  # type: ignore[arg-type]
        if received is None:
            received = trainer.received(protocol.arrays_of(content), device)
        work = config.get(protocol.LOCAL_WORK)
        optimizer = scheduled(trainer.optimizer, trainer.schedule, server_round, trainer.rounds)
        return cls(content, config, server_round, None if work is None else int(work), received, optimizer)  # type: ignore[arg-type]


def prepare(
    trainer: Trainer,
    data: ClientData,
    content: RecordDict,
    state: RecordDict,
    received: Tensors | None = None,
) -> TrainJob:
    """Make everything that a client's local training needs.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    data : ClientData
        The client's samples, prepared.
    content : RecordDict
        The training message.
    state : RecordDict
        The client's own state; written to by :func:`finish` only.
    received : Tensors, optional
        The message's model, if somebody has decoded it already.

    Raises
    ------
    ValueError
        The client has no training samples, or the message does not fit the model.
    """
    return prepare_told(trainer, data, Told.of(trainer, content, data.train.pool.device, received), state)


def prepare_told(trainer: Trainer, data: ClientData, told: Told, state: RecordDict) -> TrainJob:
    """Make everything that a client's local training needs, as :func:`prepare`, of a message that has been read."""
    local = LocalRound(
        round=told.server_round,
        received=told.received,
        data=data,
        num_classes=trainer.num_classes,
        config=told.config,
        state=state,
        records=told.content,
        forward=trainer.forward,
        seed=trainer.seed,
        rounds=trainer.rounds,
        task=trainer.task,
    )
    if not len(data.train):
        raise ValueError(f"client {data.key} has no training samples")
    plan, update, optimizer = trainer.plan, trainer.update, told.optimizer
    batches = plan.minibatches(trainer.seed, data.key, told.server_round, len(data.train), told.units)
    frozen = update.before(local)
    local.progress.learning_rate = float(getattr(optimizer, "lr", 0.0))
    local.progress.momentum = float(getattr(optimizer, "momentum", 0.0))
    start = update.start(local)
    return TrainJob(local, start, batches, frozen, optimizer, class_prior(update.criterion, local))


def finish(trainer: Trainer, job: TrainJob, trained: Tensors, loss: float) -> TrainReply:
    """Return the answer of a client that has trained; writes the state that its update keeps.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    job : TrainJob
        Its training; ``job.local.progress`` says how many steps were done.
    trained : Tensors
        All tensors that travel, after training.
    loss : float
        Mean training loss over the samples seen.
    """
    local, update = job.local, trainer.update
    records = update.records(local, trained)
    extras = {name: list(values) for name, values in update.after(local, trained).items()}
    extras.update(requested(local, trainer, trained))
    outgoing = update.outgoing(local, trained)
    encoded = None if trainer.codec == protocol.FP32 else shortened(trainer.codec, local, outgoing)
    if encoded is not None:
        received = to_host(local.received)
        sent = codec.decode(encoded.codec, received, encoded.arrays, encoded.scales)
        outgoing = {name: torch.from_numpy(value) for name, value in sent.items()}
    return TrainReply(
        tensors=outgoing,
        num_examples=len(local.data.train),
        loss=loss,
        server_round=local.round,
        records=dict(records),
        extras=extras,
        encoded=encoded,
    )


def shortened(name: str, local: LocalRound, outgoing: Tensors) -> codec.Encoded:
    """Return a model as it travels; keeps in the client's state what that loses."""
    kept = to_arrays(local.state.array_records.get(CODEC_ERROR, ArrayRecord()))
    encoded, error = codec.encode(name, to_host(local.received), to_host(outgoing), kept)
    if name == protocol.INT8:
        local.state[CODEC_ERROR] = to_record(error)
    return encoded


def to_content(reply: TrainReply) -> RecordDict:
    """Return the content of the reply message."""
    content = RecordDict(
        {
            protocol.ARRAYS: encode(reply.tensors)
            if reply.encoded is None
            else to_record(reply.encoded.arrays),
            protocol.METRICS: MetricRecord(
                {protocol.NUM_EXAMPLES: reply.num_examples, protocol.TRAIN_LOSS: reply.loss}
            ),
            protocol.REPLY: reply.config,
        }
    )
    for name, tensors in reply.records.items():
        content[name] = encode(tensors)
    if reply.extras:
        content[protocol.EXTRAS] = ConfigRecord({name: list(values) for name, values in reply.extras.items()})
    return content


def requested(local: LocalRound, trainer: Trainer, trained: Tensors | None = None) -> dict[str, list[float]]:
    """Answer what the rule asks for beyond the update's own extras.

    Raises
    ------
    ValueError
        Something is asked for that no client of this update can answer.
    """
    update = trainer.update
    requests = local.config.get(protocol.REQUESTS, [])
    if not requests:
        return {}
    mu = update.coefficient(local) if isinstance(update, Proximal) else 0.0
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
