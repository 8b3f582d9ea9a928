"""What clients answer to an evaluation: how the received model, and their own, do on their own test rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from flwr.app import RecordDict
from torch import nn
from torch.func import functional_call

from clients.base import LocalRound, Tensors
from clients.cohort import train_alone
from clients.data import ClientData, Split
from clients.jobs import prepare
from clients.trainer import Trainer
from clients.training import EVALUATED_ROWS, evaluate
from fedbal import protocol
from fedbal.measures.base import Measures


class Scored(NamedTuple):
    """One client's additive statistics, of the kind of the task's measures."""

    received: Any
    personal: Any
    """Of the client's own model; None: it has none."""


Answer = Scored | Exception | SystemExit


def score_clients(
    trainer: Trainer, content: RecordDict, clients: Sequence[tuple[ClientData, RecordDict]]
) -> list[Answer]:
    """Evaluate the model of one message on the test rows of many clients.

    The model takes its tensors once; each client's rows go through it in batches of their own, so that a client's
    numbers do not depend on who else is asked.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    content : RecordDict
        The evaluation message.
    clients : sequence of (ClientData, RecordDict)
        Each client's prepared data and its state, which is read only; all data in one pool.

    Returns
    -------
    list of Scored, Exception or SystemExit
        In the given order; what a client raises is its own answer.

    Raises
    ------
    torch.OutOfMemoryError
        The device has no memory for a batch.
    """
    if not clients:
        return []
    received = _answer(trainer.received, protocol.arrays_of(content), clients[0][0].train.pool.device)
    if _raised(received):
        return [received] * len(clients)
    measures = trainer.measures
    personal = [
        _answer(_personal, trainer, content, received, data, state, measures) for data, state in clients
    ]

    def everybody(model: nn.Module) -> list[Any]:
        return [
            own if _raised(own) else _answer(_score, model, data.test, measures)
            for own, (data, _) in zip(personal, clients, strict=True)
        ]

    trainer.model.eval()
    with torch.no_grad():
        tensors = {f"model.{name}": value for name, value in received.items()}
        scores = functional_call(_Holding(trainer.model), tensors, (everybody,))
    return [
        score if _raised(score) else Scored(score, own) for score, own in zip(scores, personal, strict=True)
    ]


class _Holding(nn.Module):
    """Lets any work be done while the model holds the tensors of one functional call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[nn.Module], Any]) -> Any:
        return work(self.model)


def _score(model: nn.Module, split: Split, measures: Measures[Any]) -> Any:
    total = measures.empty()
    for x, y in split.batches(EVALUATED_ROWS):
        total = total + measures.score(model(x), y)
    return total


def _personal(
    trainer: Trainer,
    content: RecordDict,
    received: Tensors,
    data: ClientData,
    state: RecordDict,
    measures: Measures[Any],
) -> Any:
    """Return the statistics of a client's own model, None if its update makes none."""
    config = protocol.config_of(content)
    local = LocalRound(
        round=int(config.get(protocol.SERVER_ROUND, 0)),  # type: ignore[arg-type]
        received=received,
        data=data,
        num_classes=trainer.num_classes,
        config=config,
        state=state,
        forward=trainer.forward,
        seed=trainer.seed,
        rounds=trainer.rounds,
        train=partial(_trained, trainer, content, received, data, state),
        task=trainer.task,
    )
    own = trainer.update.personal(local)
    return None if own is None else evaluate(trainer.model, own, data.test, measures)


def _trained(
    trainer: Trainer, content: RecordDict, received: Tensors, data: ClientData, state: RecordDict
) -> Tensors:
    """Return the received model after a round of local training, which leaves nothing behind."""
    # One by one, also where cohorts are trained at once: who is evaluated together depends on the machine.
    trained, _ = train_alone(trainer, prepare(trainer, data, content, state, received))
    return trained


def _answer(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the work returns or raises; a full device is everybody's concern."""
    try:
        return work(*arguments)
    except torch.OutOfMemoryError:
        raise
    except (Exception, SystemExit) as error:
        return error


def _raised(answer: Any) -> bool:
    return isinstance(answer, Exception | SystemExit)
