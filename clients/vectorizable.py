"""Whether the clients of a scenario can be trained at once, and if not, why."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from clients.cohort import train_alone
from clients.data import ClientData, Pool, Split
from clients.jobs import TrainJob, finish, prepare
from clients.purity import model_obstacle
from clients.records import encode
from clients.trainer import Trainer
from clients.vectorized import train_together
from fedbal.protocol import ARRAYS, CLASS_COUNTS, CONFIG, SERVER_ROUND

ROWS = 8
"""Samples of each made-up client."""


def obstacle(trainer: Trainer) -> str | None:
    """Return in words what forbids to train many clients at once; None: nothing that can be told beforehand."""
    update, optimizer = trainer.update, trainer.optimizer
    if not update.steps_along_loss:
        return f"the client update {type(update).__name__} has local steps of its own"
    if not getattr(optimizer, "elementwise", False):
        return f"the optimizer {type(optimizer).__name__} does not declare `elementwise = True`"
    return model_obstacle(trainer.model)


def tried(trainer: Trainer, input_shape: tuple[int, ...]) -> str | None:
    """Train two made-up clients at once for two rounds and return in words what went wrong; None: nothing did.

    For components that nobody has tested: what ``vmap`` refuses shows at the first step. What fails for one client
    alone too is no obstacle but an error of its own, which the run will show.

    Parameters
    ----------
    trainer : Trainer
        How clients train; its model is on the CPU.
    input_shape : tuple of int
        Shape of one input.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * ROWS, *input_shape)).astype(np.float32)
    pool = Pool(x, np.arange(2 * ROWS) % trainer.num_classes)
    state = trainer.model.state_dict()
    model = encode({name: state[name] for name in trainer.shared})
    states = [RecordDict(), RecordDict()]
    for server_round in (1, 2):
        try:
            jobs = [_job(trainer, pool, model, states[client], client, server_round) for client in (0, 1)]
            for job in jobs:
                train_alone(trainer, job)
        except Exception:
            return None
        try:
            trained = train_together(trainer, jobs)
        except Exception as error:
            return (str(error).splitlines() or [type(error).__name__])[0][:200]
        try:
            for job, result in zip(jobs, trained, strict=True):
                finish(trainer, job, *result)
        except Exception:
            return None
    return None


def _job(
    trainer: Trainer, pool: Pool, model: ArrayRecord, state: RecordDict, client: int, server_round: int
) -> TrainJob:
    split = Split(pool, np.arange(client, ROWS + 2 * client))
    config = ConfigRecord({SERVER_ROUND: server_round, CLASS_COUNTS: [ROWS] * trainer.num_classes})
    content = RecordDict({ARRAYS: model, CONFIG: config})
    return prepare(trainer, ClientData(str(client), split, split, split), content, state)
