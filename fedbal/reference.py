"""The centralised reference: one more client that holds the training data of all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedbal.data.federation import Federation, Shards
from fedbal.errors import UsageError
from fedbal.scenario import Scenario
from fedbal.scenario_blocks import CohortBlock, SystemsBlock
from strategies.cohort import CohortSampler

POOLED = "pooled"


def pools_clients(scenario: Scenario) -> bool:
    """Tell whether a scenario trains on pooled data."""
    return bool(getattr(scenario.strategy, "pools", False))


def pooled(federation: Federation) -> Federation:
    """Return a federation in which one further, last client holds all training and validation rows.

    The clients keep their test rows: they evaluate as in the federated run. The fingerprint stays: every row is in
    the same split, so a run on it is paired with one on the given federation by partition and initial model, and
    not by cohorts and minibatches, which are the pooled client's own.
    """
    name = POOLED
    while name in federation.names:
        name += "_"
    return replace(
        federation,
        train=_moved(federation.train),
        validation=_moved(federation.validation),
        client_test=replace(
            federation.client_test,
            offsets=np.append(federation.client_test.offsets, federation.client_test.offsets[-1]),
        ),
        names=[*federation.names, name],
        origin=federation.fingerprint(),
    )


def centralised(scenario: Scenario, federation: Federation) -> Scenario:
    """Return a scenario with a cohort of the pooled client alone, which does the work of the given one.

    Parameters
    ----------
    scenario : Scenario
        What a federated rule would run.
    federation : Federation
        Its clients, before pooling.
    """
    client, cohort = scenario.client, scenario.cohort
    sizes = federation.train.sizes
    clients = int((sizes > 0).sum())
    try:
        asked = CohortSampler(0, cohort.fraction, cohort.size).count(clients)
    except ValueError as error:
        raise UsageError(f"cohort.size: {error}; lower it, or make more clients.") from error
    if client.local_epochs is not None:
        batches = -(-int(sizes.sum()) // client.batch_size)
        steps = round(asked / max(clients, 1) * client.local_epochs * batches)
    else:
        steps = asked * (client.local_steps or 1)
    return scenario.model_copy(
        update={
            "client": client.model_copy(update={"local_epochs": None, "local_steps": max(1, steps)}),
            "cohort": CohortBlock(),
            "systems": SystemsBlock(speed=scenario.systems.speed),
            "evaluation": scenario.evaluation.model_copy(
                update={"clients": "all"} if scenario.evaluation.clients == "cohort" else {}
            ),
        }
    )


def _moved(shards: Shards) -> Shards:
    """Give every row to one more client, in ascending order."""
    offsets = np.zeros(len(shards.offsets) + 1, np.int64)
    offsets[-1] = len(shards.indices)
    return Shards(np.sort(shards.indices), offsets)
