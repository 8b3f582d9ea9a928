"""Writes a case's task folder: data, index lists, initial weights and the scenario, the same for every row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.speed.cases import Case
from benchmarks.speed.population import POPULATION, repeated_rows
from fedbal.assembly import assemble
from fedbal.data.federation import Federation
from fedbal.errors import FedbalError
from fedbal.scenario import Scenario, from_mapping
from fedbal.seeding import stream

FEATURES, CLASSES, TEST_ROWS, POOL = 64, 10, 2000, 1_000_000


def prepare(case: Case, folder: Path, *, device: str = "cpu") -> Path:
    """Write the task of a case.

    Parameters
    ----------
    case : Case
        What to write.
    folder : Path
        A new folder.
    device : str
        Where models are trained.
    """
    folder.mkdir(parents=True)
    content = {**case.scenario, "rounds": case.rounds}
    content["runtime"] = {**content["runtime"], "device": device}
    content["data"] = _data(case, dict(content["data"]), folder)
    scenario = from_mapping(content)
    (folder / "scenario.yaml").write_text(yaml.safe_dump(content))
    if any(row.reads_arrays for row in case.rows):
        _save_arrays(case, scenario, folder)
    return folder


def _save_arrays(case: Case, scenario: Scenario, folder: Path) -> None:
    """Write what programs without fedbal start from: rows, index lists, cohorts, weights, local work."""
    with repeated_rows(folder):
        assembly = assemble(scenario, "cpu")
    federation, population = assembly.federation, assembly.population
    if case.data != "population":
        _save_rows(federation, folder)
    np.save(folder / "rows.npy", federation.train.indices)
    np.save(folder / "offsets.npy", federation.train.offsets)
    nodes = [assembly.sampler.sample(number, population.nodes) for number in range(1, scenario.rounds + 1)]
    np.save(folder / "cohorts.npy", np.array([[population.client(node) for node in one] for one in nodes]))
    weights: dict[str, Any] = {f"w{number}": value for number, value in enumerate(assembly.complete.values())}
    np.savez(folder / "initial.npz", **weights)
    client = scenario.client
    plan = {
        "model": scenario.model.name,
        "batch_size": client.batch_size,
        "epochs": client.local_epochs,
        "lr": client.optimizer.kwargs()["lr"],
        "mu": getattr(scenario.strategy, "mu", 0.0),
        "cohort": scenario.cohort.size,
        "seed": scenario.seed.training,
    }
    (folder / "task.json").write_text(json.dumps(plan))


def vectors(rows: int, features: int = FEATURES) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return rows ``(rows, features)`` float32 and labels that a linear model with noise gave them."""
    draw = stream(0, "speed", "vectors")
    weights = draw.normal(size=(features, CLASSES))
    x = draw.standard_normal((rows, features), dtype=np.float32)
    scores = x @ weights.astype(np.float32) + 0.5 * draw.gumbel(size=(rows, CLASSES)).astype(np.float32)
    return x, scores.argmax(1).astype(np.int64)


def images(
    rows: int, shape: tuple[int, int, int] = (1, 28, 28)
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return uint8 images ``(rows, *shape)``, a noisy pattern of 4 x 4 patches for each class, and their labels."""
    draw = stream(0, "speed", "images")
    y = draw.integers(0, CLASSES, rows)
    channels, *sides = shape
    patches = draw.uniform(0, 255, (CLASSES, channels, *(-(-side // 4) for side in sides))).astype(np.float32)
    patterns = patches.repeat(4, axis=2).repeat(4, axis=3)[:, :, : sides[0], : sides[1]]
    x = draw.standard_normal((rows, *shape), dtype=np.float32)
    x *= 48.0
    x += patterns[y]
    return np.clip(x, 0, 255).astype(np.uint8), y.astype(np.int64)


def _data(case: Case, data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the data block, with files that it names written."""
    if case.data == "own":
        return data
    clients = data["partition"]["clients"]
    test = min(TEST_ROWS, clients * case.samples)
    if case.data == "images" and _has_fashion(clients * case.samples):
        return {**data, "dataset": "fashion-mnist"}
    if case.data == "population":
        pool = min(POOL, clients * case.samples)
        x, y = vectors(pool + test)
        for name, value in (("x", x[test:]), ("y", y[test:]), ("x_test", x[:test]), ("y_test", y[:test])):
            np.save(folder / f"{name}.npy", value)
        plan = {"clients": clients, "samples": case.samples, "classes": CLASSES}
        (folder / POPULATION).write_text(json.dumps(plan))
    else:
        rows = clients * case.samples + test
        x, y = images(rows, case.shape) if case.data == "images" else vectors(rows)
        np.savez(folder / "rows.npz", x=x[test:], y=y[test:], x_test=x[:test], y_test=y[:test])
    return {**data, "dataset": "table", "path": str((folder / "rows.npz").resolve())}


def _has_fashion(rows: int) -> bool:
    """Tell whether Fashion-MNIST is at hand, of the size that the case asks for."""
    import os

    if not os.environ.get("FEDBAL_DATA") or rows != 60_000:
        return False
    from fedbal.data.dataset import Request
    from fedbal.data.mnist import load_fashion_mnist

    try:
        load_fashion_mnist(Request(0), path=None)
    except FedbalError:
        return False
    return True


def _save_rows(federation: Federation, folder: Path) -> None:
    """Write the rows as models read them: scaled float32, so that no peer scales."""
    dataset = federation.dataset
    for name, value in (("x", dataset.x), ("x_test", dataset.x_test)):
        scaling, rows = dataset.scaling, value.astype(np.float32)
        if scaling.divide != 1.0:
            rows /= np.float32(scaling.divide)
        if scaling.mean:
            shape = (-1, *([1] * (rows.ndim - 2)))
            rows -= np.array(scaling.mean, np.float32).reshape(shape)
            rows /= np.array(scaling.std, np.float32).reshape(shape)
        np.save(folder / f"{name}.npy", rows)
    np.save(folder / "y.npy", dataset.y)
    np.save(folder / "y_test.npy", dataset.y_test)
