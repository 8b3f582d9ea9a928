"""The model of a finished run, ready to be used: network, weights, and what its inputs and outputs mean."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fedbal.errors import RunError, UsageError
from fedbal.models.build import build
from fedbal.protocol import AUXILIARY
from fedbal.results import MODEL, SCENARIO, RunReader
from fedbal.scenario import Scenario, load
from fedbal.task import Task

BATCH = 512


class Deployable(nn.Module):
    """A network with everything that is done to its inputs in front: stored values in, logits out.

    Parameters
    ----------
    network : nn.Module
        What was trained.
    task : Task
        What turned stored values into its inputs.
    """

    divide: Tensor
    mean: Tensor
    std: Tensor
    fill: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network
        self.prepares = task.preparation is not None
        self.imputes = task.preparation is not None and bool(task.preparation.fill)
        scaling = task.scaling
        channels = (-1, *([1] * (len(task.input_shape) - 1)))
        self.register_buffer("divide", torch.tensor(scaling.divide))
        self.register_buffer("mean", torch.tensor(scaling.mean or (0.0,)).view(channels))
        self.register_buffer("std", torch.tensor(scaling.std or (1.0,)).view(channels))
        if task.preparation is not None:
            for name, values in vars(task.preparation).items():
                if values:
                    self.register_buffer(name, torch.tensor(values).view(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, classes) of raw inputs (b, *input_shape)."""
        x = (x.to(torch.float32) / self.divide - self.mean) / self.std
        if self.imputes:
            x = torch.where(x.isnan(), self.fill, x)
        if self.prepares:
            x = (x - self.shift) / self.scale
        logits: Tensor = self.network(x)
        return logits


@dataclass(frozen=True)
class Trained:
    """A finished run's model.

    Attributes
    ----------
    reader : RunReader
        Its run directory.
    scenario : Scenario
        Its resolved scenario.
    task : Task
        Classes, inputs, scaling.
    network : nn.Module
        The trained network in evaluation mode; takes scaled inputs.
    """

    reader: RunReader
    scenario: Scenario
    task: Task
    network: nn.Module

    def deployable(self) -> Deployable:
        """Return a copy of the network with its scaling in front, for use only: without gradients."""
        network = copy.deepcopy(self.network).requires_grad_(False)
        return Deployable(network, self.task).eval()

    @torch.no_grad()
    def logits(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits of raw rows.

        Parameters
        ----------
        x : numpy.ndarray
            ``(n, *input_shape)``, as stored: not scaled.

        Returns
        -------
        numpy.ndarray
            ``(n, classes)`` float32, for masks ``(n, classes, height, width)``.
        """
        module = self.deployable()
        parts = [
            module(torch.from_numpy(np.ascontiguousarray(x[start : start + BATCH]))).numpy()
            for start in range(0, len(x), BATCH)
        ]
        empty = (0, len(self.task.classes), *self.task.target_shape)
        return np.concatenate(parts) if parts else np.empty(empty, np.float32)


def open_trained(directory: str | Path) -> Trained:
    """Open the model of a run directory.

    Parameters
    ----------
    directory : str or Path
        A run directory of a finished run.

    Raises
    ------
    UsageError
        It is no run directory, or the run is not finished.
    RunError
        Its files do not fit together.
    """
    reader = RunReader(directory)
    path = reader.path / MODEL
    if not path.is_file():
        raise UsageError(
            f"{reader.path} has no model yet (the run is {reader.status}); go on with: "
            f"fedbal run --resume {reader.path}."
        )
    described = reader.fingerprints.get("task")
    if not isinstance(described, dict):
        raise RunError(
            f"{reader.path}: fingerprints.json says nothing of the task (classes, inputs); the run was made by an "
            "older fedbal: run its scenario.yaml again."
        )
    task = Task.from_dict(described)
    scenario = load(reader.path / SCENARIO)
    chosen = getattr(scenario.data, "preprocess", None)
    if task.preparation is not None and chosen is not None and chosen.impute == "none":
        task = replace(task, preparation=replace(task.preparation, fill=()))
    network = build(
        scenario.model, task.input_shape, len(task.classes), scenario.seed.init, task.target_shape
    )
    try:
        network.load_state_dict(_without_auxiliary(load_file(path), network))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise RunError(f"{path} does not fit the model of {SCENARIO}: {error}.") from error
    return Trained(reader, scenario, task, network.eval())


def require_classes(trained: Trained, why: str) -> None:
    """Refuse a model whose outputs are masks."""
    if trained.task.target_shape:
        raise UsageError(
            f"{why}, and the model of {trained.reader.path} gives masks (segmentation); use it in Python: "
            "fedbal.trained.open_trained(DIR).logits(images)."
        )


def _without_auxiliary(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Leave out what only a local objective used."""
    own = network.state_dict()
    return {
        name: value for name, value in tensors.items() if name in own or not name.startswith(f"{AUXILIARY}.")
    }
