"""The score of a trial: its final model on the validation rows of all clients together.

Every client that trained is asked to evaluate the model as in a run, with its validation rows where its test rows
would be: its own feature shift and scaling apply, and a client's own model is measured where the update keeps one.
The clients' test rows are taken out before, and the global test set is not evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedbal import checkpoint
from fedbal.assembly import assemble
from fedbal.backend import HERE, choose_device, make_grid
from fedbal.data.federation import Federation, Shards
from fedbal.determinism import pinned
from fedbal.driver import quiet
from fedbal.errors import RunError, UsageError
from fedbal.evaluation import evaluation_content
from fedbal.grid.exchange import evaluate_cohort
from fedbal.preprocess import Fitted
from fedbal.protocol import to_record
from fedbal.results import PREPROCESS, SCENARIO, disk_errors, to_json, write_atomically
from fedbal.scenario import Scenario, load
from fedbal.sweep_worker import Federations

VALIDATION = "validation.json"
POOLED = "pooled_"

METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("balanced_accuracy", "accuracy", "macro_f1", "loss"),
    "segmentation": ("dice", "iou", "loss"),
}
"""Scores by task, the default one first."""
LOWER = ("loss",)
"""Scores of which less is better."""


def validation_numbers(directory: Path, federations: Federations) -> dict[str, Any]:
    """Return the scores of a finished run on validation rows; measured once, then kept beside the run.

    Parameters
    ----------
    directory : Path
        Its run directory.
    federations : Federations
        Divided data that runs share.

    Returns
    -------
    dict
        ``samples``: validation rows; ``classes``: C; ``received``: scores of the global model by name;
        ``personal``: of the clients' own models, None where there are none.

    Raises
    ------
    UsageError
        No client has validation rows.
    RunError
        The run's checkpoint is missing or damaged.
    """
    path = directory / VALIDATION
    if path.is_file():
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}; delete it.") from error
        return kept
    found = _measure(directory, federations)
    with disk_errors(directory):
        write_atomically(path, to_json(found).encode())
    return found


def _measure(directory: Path, federations: Federations) -> dict[str, Any]:
    scenario = load(directory / SCENARIO)
    federation = on_validation_rows(federations.of(scenario))
    everyone = scenario.model_copy(
        update={"evaluation": scenario.evaluation.model_copy(update={"clients": "all"})}
    )
    end = checkpoint.load(directory)
    if end is None:
        raise RunError(f"{directory} has no checkpoint; delete it and tune again.")
    with quiet(), pinned(scenario.runtime.threads):
        assembly = assemble(everyone, choose_device(scenario.runtime), federation)
        measures, nodes = assembly.test.measures, list(assembly.population.testers)
        with make_grid(
            HERE,
            scenario.runtime,
            assembly.clients,
            assembly.directory,
            assembly.population.nodes,
            assembly.systems.work.tolist(),
            assembly.cohort,
        ) as grid:
            try:
                grid.states.restore(end.clients)
                counts = (end.progress.get("class_counts") or ()) if assembly.asks_counts else ()
                prepared = _preparation(directory, scenario)
                content = evaluation_content(to_record(end.arrays), end.round, prepared, counts)
                scores = evaluate_cohort(grid, nodes, content, end.round, measures)
            finally:
                grid.states.close()
    if not scores:
        raise RunError(
            f"{directory}: no client answered when it was asked to score the model on validation rows."
        )
    own = [score.personal for score in scores.values() if score.personal is not None]
    return {
        "samples": len(federation.client_test.indices),
        "classes": measures.num_classes,
        "received": _pooled(measures.spread([score.received for score in scores.values()], 1)),
        "personal": _pooled(measures.spread(own, 1)) if own else None,
    }


def on_validation_rows(federation: Federation) -> Federation:
    """Return a federation whose clients are evaluated on their validation rows and have no test rows.

    Raises
    ------
    UsageError
        No client has validation rows.
    """
    if not len(federation.validation.indices):
        raise UsageError(
            "tuning scores models on validation rows and no client has any; raise data.validation."
        )
    nothing = Shards(np.zeros(0, np.int64), np.zeros_like(federation.validation.offsets))
    return replace(federation, client_test=federation.validation, validation=nothing)


def _preparation(directory: Path, scenario: Scenario) -> Any:
    if scenario.data.preprocess is None or not (directory / PREPROCESS).is_file():
        return None
    return Fitted.from_json((directory / PREPROCESS).read_text()).record()


def _pooled(spread: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what a client view says of the rows of all clients together."""
    return {key.removeprefix(POOLED): value for key, value in spread.items() if key.startswith(POOLED)}
