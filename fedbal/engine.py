"""Chooses how the clients of a scenario are trained: a pure function of the scenario and the shipped costs."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from clients.engine import Engine
from clients.trainer import Trainer
from clients.vectorizable import obstacle, tried
from fedbal.backend import Load
from fedbal.cost_file import HASH, digest, read_costs
from fedbal.costs import COSTS, SMALL, STEPS_THAT_PAY_COMPILATION, Cost, Layers, best
from fedbal.errors import UsageError
from fedbal.params import CustomParams
from fedbal.scenario import Scenario

BLOCKS = 32
"""A loop's clients are added up in blocks, this many at most or one client each."""


@dataclass(frozen=True)
class EngineChoice:
    """The engine of a run.

    Attributes
    ----------
    engine : Engine
        How clients are trained.
    notes : tuple of str
        What a user should know about it.
    """

    engine: Engine
    notes: tuple[str, ...] = ()


def choose_engine(
    scenario: Scenario, trainer: Trainer, input_shape: tuple[int, ...], load: Load, device: str
) -> EngineChoice:
    """Return how to train the clients of a scenario.

    The same for every rule of a comparison, unless the rule's client update cannot be trained at once.

    Parameters
    ----------
    scenario : Scenario
        What to run; ``runtime.vectorize``, ``runtime.chunk`` and ``runtime.compile`` are read.
    trainer : Trainer
        How clients train; its model is on the CPU.
    input_shape : tuple of int
        Shape of one input.
    load : Load
        The work of the run.
    device : str
        Where models are trained.
    """
    runtime, loop = scenario.runtime, Engine("loop", max(1, load.cohort // BLOCKS))
    if runtime.vectorize is False:
        ignored = (
            "runtime.compile has no effect with runtime.vectorize: false; clients are trained one by one"
        )
        return EngineChoice(loop, (ignored,) if runtime.compile else ())
    kind = device.split(":")[0]
    parameters = sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)
    chunk = best(kind, layers_of(trainer.model), parameters, load.cohort, _costs(scenario), batch=load.batch)
    if chunk is None and runtime.vectorize == "auto" and not runtime.compile:
        return EngineChoice(loop)
    reason = obstacle(trainer)
    if reason is None and _has_users_parts(scenario):
        reason = tried(trainer, input_shape)
    if reason is not None:
        return EngineChoice(loop, (f"clients are trained one by one: {reason}",))
    if runtime.chunk != "auto":
        chunk = runtime.chunk
    elif chunk is None:
        chunk = max(1, min(10, math.ceil(load.cohort / 2)))
    if not runtime.compile:
        return EngineChoice(Engine("vectorized", chunk), _hint(kind, parameters, load, runtime.workers))
    if kind == "cpu" and compiler() is None:
        missing = (
            "runtime.compile needs a C++ compiler and finds none (g++ or clang++ on the PATH, or CXX); "
            "clients are trained at once without it"
        )
        return EngineChoice(Engine("vectorized", chunk), (missing,))
    return EngineChoice(Engine("compiled", chunk))


def recorded(scenario: Scenario, engine: Engine) -> Scenario:
    """Return the scenario with its engine written into it, so that resuming and repeating choose the same."""
    chosen: dict[str, Any] = {"vectorize": engine.together, "compile": engine.kind == "compiled"}
    if engine.together:
        chosen["chunk"] = engine.chunk
    if scenario.runtime.costs is not None:
        chosen["costs"] = digest(scenario.runtime.costs)
    return scenario.model_copy(update={"runtime": scenario.runtime.model_copy(update=chosen)})


def _costs(scenario: Scenario) -> Sequence[Cost]:
    runtime = scenario.runtime
    if runtime.costs is None:
        return COSTS
    if runtime.costs.startswith(HASH) and "auto" in (runtime.vectorize, runtime.chunk):
        raise UsageError(
            f"runtime.costs is {runtime.costs}, the hash of a file that has chosen an engine; give the file "
            "itself, or runtime.vectorize and runtime.chunk."
        )
    return read_costs(runtime.costs)


def layers_of(model: nn.Module) -> Layers:
    """Return what the parameters of a model belong to."""
    holders = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    if any(isinstance(module, _ConvNd) for module in holders):
        known = (_ConvNd, nn.Linear, nn.GroupNorm, nn.LayerNorm)
        return "convolutional" if all(isinstance(module, known) for module in holders) else "other"
    return "dense" if all(isinstance(module, nn.Linear | nn.LayerNorm) for module in holders) else "other"


def compiler() -> str | None:
    """Return the C++ compiler that torch would use, or None."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    return None


def _has_users_parts(scenario: Scenario) -> bool:
    """Tell whether a component is not of fedbal, whose own are tested to train at once."""
    client = scenario.client
    parts = (scenario.model, client.update, client.loss, client.optimizer)
    return any(isinstance(part, CustomParams) for part in parts)


def _hint(device: str, parameters: int, load: Load, workers: int | str) -> tuple[str, ...]:
    """Say that compiling pays: for one worker's long run of a small model; recorded steps share cores better."""
    steps = load.rounds * load.cohort * load.steps
    if (
        device != "cpu"
        or workers != 1
        or parameters > SMALL
        or steps < STEPS_THAT_PAY_COMPILATION
        or compiler() is None
    ):
        return ()
    return ("runtime.compile: true is probably faster for a run of this length with one worker",)
