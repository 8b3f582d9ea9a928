"""``fedbal evaluate`` and ``fedbal predict``: a run's model on rows that it was not trained on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from clients.data import Pool, Split
from fedbal.data.dataset import Dataset
from fedbal.data.federation import load_federation
from fedbal.data.labels import encode
from fedbal.data.rows import Rows, read_rows
from fedbal.errors import UsageError
from fedbal.evaluation import GlobalTest
from fedbal.results import disk_errors, write_atomically
from fedbal.scenario import Scenario, from_mapping
from fedbal.task import Task
from fedbal.trained import Trained, open_trained, require_classes


def evaluate(
    directory: str | Path, data: str | None = None, *, label: str | None = None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Evaluate a run's model on a test set.

    Parameters
    ----------
    directory : str or Path
        A finished run.
    data : str, optional
        A file or image folder, all of whose rows are the test set; or a ``data`` block of a scenario as YAML
        (``{dataset: digits}``), whose test set is taken; left out: the run's own test set.
    label : str, optional
        Label column of the file; left out: the scenario's.
    overrides : sequence of str
        Changes of the scenario whose test set is taken; none together with a file.

    Returns
    -------
    dict
        The ``test`` object of a round.

    Raises
    ------
    UsageError
        Classes, features or shapes are not those of the run.
    """
    trained = open_trained(directory)
    block = None if data is None else _block(data)
    if data is not None and block is None:
        if overrides:
            raise UsageError(
                f"--set changes the scenario, but --data {data} is a file; give the one or the other."
            )
        x, y = _labelled(trained, Path(data), label)
    else:
        if label is not None:
            raise UsageError("--label names the label column of a file; give --data FILE.")
        x, y = _test_set(trained, block, overrides)
    module = trained.deployable()
    arrays = {name: value.numpy() for name, value in module.state_dict().items()}
    task = trained.task
    test = GlobalTest(module, Split(Pool(x, y), np.arange(len(y))), task.measures, task.groups)
    return test(arrays)


def predict(directory: str | Path, data: str | Path, out: str | Path) -> int:
    """Write class and probabilities of every row of a file.

    Parameters
    ----------
    directory : str or Path
        A finished run.
    data : str or Path
        A file or image folder with the run's features; labels are not needed.
    out : str or Path
        CSV to write: ``row`` (from 0, or the image's path), ``class``, ``p_<class>`` for every class.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    UsageError
        Features or shapes are not those of the run, the run's outputs are masks, or ``out`` exists.
    """
    path = Path(out)
    if path.exists():
        raise UsageError(f"{path} exists; choose another --out, nothing is overwritten.")
    trained = open_trained(directory)
    require_classes(trained, "fedbal predict writes a class a row")
    rows = _rows(trained.task, Path(data), None)
    shares = probabilities(trained.logits(rows.x))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = trained.task.classes
    writer.writerow(["row", "class", *(f"p_{name}" for name in classes)])
    for name, row in zip(rows.names, shares, strict=True):
        writer.writerow([name, classes[int(row.argmax())], *(f"{value:.6g}" for value in row)])
    with disk_errors(path):
        write_atomically(path, text.getvalue().encode())
    return len(rows.x)


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the softmax of each row, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True, initial=-np.inf)
    raised = np.exp(shifted)
    result: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return result


def _block(data: str) -> dict[str, Any] | None:
    """Return a scenario's data block if the text is one, None for a path."""
    if not data.lstrip().startswith("{"):
        return None
    try:
        block = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise UsageError(f"--data {data}: this is neither a file nor a YAML block ({error}).") from error
    if not isinstance(block, dict):
        raise UsageError(f"--data {data}: a block such as {{dataset: digits}} is needed.")
    return block


def _labelled(trained: Trained, path: Path, label: str | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    require_classes(trained, "a file of --data holds a class a row")
    column = label or getattr(trained.scenario.data, "label", "y")
    rows = _rows(trained.task, path, column)
    assert rows.y is not None
    y, _, _ = encode(rows.y, None, trained.task.classes, f"{path}: {column}")
    return rows.x, y


def _rows(task: Task, path: Path, label: str | None) -> Rows:
    imputes = task.preparation is not None and bool(task.preparation.fill)
    return read_rows(path, task.features, task.input_shape, task.dtype, label, allow_missing=imputes)


def _test_set(
    trained: Trained, block: dict[str, Any] | None, overrides: Sequence[str]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    mapping = trained.scenario.resolved()
    if block is not None:
        mapping["data"] = block
    scenario = from_mapping(mapping, overrides=overrides)
    dataset = load_federation(scenario.data, scenario.seed.partition).dataset
    _require_unseen(trained, scenario, dataset)
    _require_same("classes", dataset.classes, trained.task.classes)
    _require_same("shape of an input", dataset.input_shape, trained.task.input_shape)
    _require_same("shape of a label", dataset.target_shape, trained.task.target_shape)
    _require_same("features", dataset.features, trained.task.features)
    if not len(dataset.y_test):
        raise UsageError(f"{dataset.name} has no test rows.")
    return dataset.x_test, dataset.y_test


def _require_unseen(trained: Trained, scenario: Scenario, dataset: Dataset) -> None:
    """Refuse another split of the run's own data: its test set would hold rows that were trained on."""
    here, there = trained.scenario.data, scenario.data
    same = all(getattr(here, key, None) == getattr(there, key, None) for key in ("dataset", "path"))
    changed = here != there or trained.scenario.seed.partition != scenario.seed.partition
    if not same or not changed:
        return
    own = load_federation(here, trained.scenario.seed.partition).dataset
    if not np.array_equal(own.y_test, dataset.y_test) or not np.array_equal(own.x_test, dataset.x_test):
        raise UsageError(
            "these are the data of the run divided in another way, so the test set would hold rows that the model "
            "was trained on; give other data, or leave --data and --set out for the run's own test set."
        )


def _require_same(what: str, found: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
    if found != wanted:
        raise UsageError(
            f"the {what} of the data and of the run differ: {', '.join(map(str, found))} against "
            f"{', '.join(map(str, wanted))}; evaluate on data of the same task."
        )
