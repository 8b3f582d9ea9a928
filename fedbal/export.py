"""``fedbal export``: a run's model for other programs, its input scaling included, and a card beside it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from fedbal.errors import RunError, UsageError
from fedbal.model_card import model_card
from fedbal.registry import unknown_name
from fedbal.results import disk_errors, write_atomically
from fedbal.seeding import stream
from fedbal.trained import Deployable, Trained, open_trained, require_classes

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest one, between the model and its export."""
SAMPLES = 5


def export(directory: str | Path, form: str, out: str | Path | None = None) -> tuple[Path, Path]:
    """Write a run's model in another format, check it against the original, and write its card.

    Parameters
    ----------
    directory : str or Path
        A finished run.
    form : str
        ``onnx``, ``torchscript`` or ``safetensors``. All take raw inputs ``(b, *input_shape)``, as they stand in
        the data, and give logits ``(b, classes)``.
    out : str or Path, optional
        File to write; default ``model.<suffix>`` in the run directory's ``export`` folder.

    Returns
    -------
    tuple of (Path, Path)
        The model and its card.

    Raises
    ------
    UsageError
        The format is unknown, its packages are missing, the run's outputs are masks, or the file exists.
    RunError
        The export cannot be made, or does not give the model's numbers.
    """
    if form not in SUFFIXES:
        raise UsageError(unknown_name("format", form, SUFFIXES))
    trained = open_trained(directory)
    require_classes(trained, "fedbal export writes a model and a card for classes")
    path = Path(out) if out is not None else trained.reader.path / "export" / f"model{SUFFIXES[form]}"
    card = path.with_name(f"{path.name}.md")
    for each in (path, card):
        if each.exists():
            raise UsageError(f"{each} exists; choose another --out, nothing is overwritten.")
    if path.suffix != SUFFIXES[form]:
        raise UsageError(f"--out {path}: {form} is written to a {SUFFIXES[form]} file.")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    example = _example(trained)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with disk_errors(path):
            run = _WRITERS[form](trained, temporary, example)
        _require_equal(trained, run, example, form)
        with disk_errors(path):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    with disk_errors(card):
        write_atomically(card, model_card(trained, form, path.name).encode())
    return path, card


Run = Callable[[NDArray[Any]], NDArray[np.float32]] | None
"""Runs an export on raw inputs; None where no program to run it is installed."""


def _torchscript(trained: Trained, path: Path, example: NDArray[Any]) -> Run:
    module = trained.deployable()
    with torch.no_grad(), _quiet():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            module, torch.from_numpy(example)
        )
        torch.jit.save(traced, str(path), _extra_files={"task.json": json.dumps(trained.task.to_dict())})
        loaded = torch.jit.load(str(path))  # type: ignore[no-untyped-call]

    def run(x: NDArray[Any]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: Tensor = loaded(torch.from_numpy(x))
        return logits.numpy()

    return run


def _onnx(trained: Trained, path: Path, example: NDArray[Any]) -> Run:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"ONNX needs {error.name}: pip install 'fedbal[export]'; or choose --format torchscript."
        ) from error
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                trained.deployable(),
                (torch.from_numpy(example),),
                input_names=["input"],
                output_names=["logits"],
                dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        raise RunError(
            f"torch cannot write model {trained.scenario.model.name!r} as ONNX: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}; choose --format torchscript."
        ) from error
    assert program is not None
    proto = program.model_proto
    for key, values in (("classes", trained.task.classes), ("features", trained.task.features)):
        proto.metadata_props.add(key=key, value=json.dumps(list(values)))
    path.write_bytes(proto.SerializeToString())
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(x: NDArray[Any]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(["logits"], {"input": x})[0]
        return logits

    return run


def _safetensors(trained: Trained, path: Path, example: NDArray[Any]) -> Run:
    module = trained.deployable()
    metadata = {
        "task": json.dumps(trained.task.to_dict()),
        "model": json.dumps(trained.scenario.resolved()["model"]),
    }
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path, metadata)
    from safetensors.torch import load_file

    other = Deployable(module.network, trained.task).eval()
    other.load_state_dict(load_file(path))

    def run(x: NDArray[Any]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: Tensor = other(torch.from_numpy(x))
        return logits.numpy()

    return run


_WRITERS: dict[str, Callable[[Trained, Path, NDArray[Any]], Run]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "safetensors": _safetensors,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's notes on the way; whether the export is right is checked afterwards."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _example(trained: Trained) -> NDArray[Any]:
    """Draw raw inputs of the range that the model was trained on, near enough."""
    task = trained.task
    rng = stream(0, "export")
    shape = (SAMPLES, *task.input_shape)
    if task.dtype == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    scale = np.asarray(task.scaling.std or (1.0,)).reshape(-1, *([1] * (len(task.input_shape) - 1)))
    middle = np.asarray(task.scaling.mean or (0.0,)).reshape(scale.shape)
    raw = (rng.normal(size=shape) * scale + middle) * task.scaling.divide
    example: NDArray[Any] = raw.astype(np.float32)
    return example


def _require_equal(trained: Trained, run: Run, example: NDArray[Any], form: str) -> None:
    """Compare on another number of rows than the export was made with."""
    if run is None:
        return
    rows = np.concatenate([example, example[:2]])
    expected, found = trained.logits(rows), run(rows)
    distance = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1.0))
    if not distance <= TOLERANCE:
        raise RunError(
            f"the {form} export differs from the model by {distance:.2g} relative; it was not written."
        )
