"""The card of an exported model: what it was trained on, how good it is for whom, its limits, how to load it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np

from fedbal import __version__
from fedbal.data.heterogeneity import measure
from fedbal.groups import ClassGroups
from fedbal.results import CLIENTS_TABLE
from fedbal.task import Task
from fedbal.terminal import number
from fedbal.trained import Trained

_LOADING = {
    "onnx": """import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
logits = session.run(["logits"], {{"input": x}})[0]      # x: {dtype}, shape (n, {shape}), as in the data""",
    "torchscript": """import torch

model = torch.jit.load("{file}").eval()
logits = model(x)      # x: torch.{dtype}, shape (n, {shape}), as in the data""",
    "safetensors": """from safetensors.torch import load_file

tensors = load_file("{file}")      # network.* are the weights; divide, mean, std the scaling
# inputs are {dtype}, shape (n, {shape}), as in the data; the network's inputs are (x / divide - mean) / std""",
}


def model_card(trained: Trained, form: str, file: str) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    trained : Trained
        The run's model.
    form : str
        ``onnx``, ``torchscript`` or ``safetensors``.
    file : str
        Name of the exported file.
    """
    summary = trained.reader.summary() or {}
    parts = [
        f"# {trained.scenario.name}: {trained.scenario.model.name} trained with {trained.scenario.strategy.name}",
        _what(trained, summary),
        "## Load it\n\n" + _loading(trained, form, file),
        "## Data\n\n" + _data(trained),
        "## Heterogeneity of the clients\n\n" + _heterogeneity(trained),
        "## How good it is\n\n" + _metrics(trained, summary),
        "## Limits\n\n" + _limits(trained, summary),
        "## Where it comes from\n\n" + _origin(trained),
    ]
    return "\n\n".join(parts) + "\n"


def _what(trained: Trained, summary: dict[str, Any]) -> str:
    task = trained.task
    return (
        f"A classifier of {len(task.classes)} classes, trained by federated learning for "
        f"{summary.get('rounds')} rounds (strategy `{trained.scenario.strategy.name}`, client update "
        f"`{trained.scenario.client.update.name}`). Status of the run: {summary.get('status')}."
    )


def _loading(trained: Trained, form: str, file: str) -> str:
    task, scaling = trained.task, trained.task.scaling
    code = _LOADING[form].format(file=file, dtype=task.dtype, shape=", ".join(map(str, task.input_shape)))
    lines = [f"```python\n{code}\n```", ""]
    lines.append(
        f"Outputs are logits of the classes {_listed(task.classes)}, in this order; softmax gives shares."
    )
    if task.features:
        lines.append(f"Inputs are the columns {_listed(task.features)}, in this order.")
    used = "applies" if form != "safetensors" else "does not apply by itself"
    mean, std = _short(scaling.mean or (0.0,)), _short(scaling.std or (1.0,))
    lines.append(
        f"Raw values go in: the file {used} the scaling `(x / {scaling.divide:g} - mean) / std` with mean {mean} "
        f"and std {std}."
    )
    if task.preparation is not None:
        lines.append(_prepared(task, form))
    return "\n".join(lines)


def _prepared(task: Task, form: str) -> str:
    """Say what is done after the scaling, value by value where columns have names."""
    assert task.preparation is not None
    prepared = task.preparation
    done = "The file then" if form != "safetensors" else "Whoever loads it then"
    imputes = " replaces missing values (NaN) by `fill` and" if prepared.fill else ""
    head = f"{done}{imputes} computes `(x - shift) / scale`:"
    columns = {name: values for name, values in vars(prepared).items() if values}
    names = task.features or [f"channel {index}" for index in range(len(prepared.shift))]
    cells = zip(names, *columns.values(), strict=True)
    rows = [[name, *(f"{value:.6g}" for value in found)] for name, *found in cells]
    return f"\n{head}\n\n{_table(['input', *columns], rows)}\n"


def _data(trained: Trained) -> str:
    task, data = trained.task, trained.scenario.resolved()["data"]
    counts = _groups(task).counts
    rows = [
        [name, count, f"{100.0 * count / max(sum(counts), 1):.1f} %"]
        for name, count in zip(task.classes, counts, strict=True)
    ]
    where = f" from `{data['path']}`" if "path" in data else ""
    by = data["partition"]["name"]
    head = f"Data set `{data['dataset']}`{where}, divided by `{by}`; {sum(counts)} training rows."
    return f"{head}\n\n{_table(['class', 'training rows', 'share'], rows)}"


def _groups(task: Task) -> ClassGroups:
    assert task.groups is not None, "models of masks are not exported"
    return task.groups


def _heterogeneity(trained: Trained) -> str:
    with (trained.reader.path / CLIENTS_TABLE).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    names = [f"class_{name}" for name in trained.task.classes]
    counts = np.array([[int(row[name]) for name in names] for row in rows], dtype=np.int64)
    found = measure(counts)
    held = found.sizes > 0
    factor = f"{found.imbalance_factor:.1f}" if np.isfinite(found.imbalance_factor) else "infinite"
    return _table(
        ["measure", "value"],
        [
            ["clients", len(rows)],
            ["training rows of a client, smallest to largest", f"{found.sizes.min()} to {found.sizes.max()}"],
            ["Gini of the sizes", f"{found.gini:.3f}"],
            ["imbalance factor", factor],
            ["client to global, total variation, median", f"{np.median(found.total_variation[held]):.3f}"],
            ["global to uniform, total variation", f"{found.global_total_variation:.3f}"],
            ["effective classes of a client, median", f"{np.median(found.effective_classes[held]):.1f}"],
        ],
    )


def _metrics(trained: Trained, summary: dict[str, Any]) -> str:
    final = summary.get("final") or {}
    wanted = ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall", "loss")
    shown = [[key.replace("_", " "), number(final.get(key))] for key in wanted]
    shown += [[key, number(final[key])] for key in ("nll", "brier", "ece") if key in final]
    recalls = final.get("per_class_recall") or []
    precisions = final.get("per_class_precision") or [None] * len(recalls)
    classes = [
        [name, count, number(recall), number(precision)]
        for name, count, recall, precision in zip(
            trained.task.classes, _groups(trained.task).counts, recalls, precisions, strict=False
        )
    ]
    return "\n\n".join(
        [
            "On the global test set, after the last round:",
            _table(["measure", "value"], shown),
            _table(["class", "training rows", "recall", "precision"], classes),
            *_fairness(trained),
        ]
    )


def _fairness(trained: Trained) -> list[str]:
    """Show the last spread over clients, where one was measured."""
    rounds = trained.reader.rounds()
    last = (rounds[-1].get("fairness") or {}) if rounds else {}
    spread = last.get("final") or last
    numbers = [
        [key.replace("_", " "), number(value)]
        for key, value in spread.items()
        if isinstance(value, int | float) and key != "model_round"
    ]
    return ["Over the clients' own test data:", _table(["measure", "value"], numbers)] if numbers else []


def _limits(trained: Trained, summary: dict[str, Any]) -> str:
    task = trained.task
    few = [task.classes[label] for label in _groups(task).members["few"]]
    lines = [
        "- It knows these classes only and answers with one of them for any input.",
        "- The numbers hold for data like the test set; with other class shares accuracy and calibration change, "
        "recalls do not.",
        "- They were measured in one run with one seed: how far they move with the seed is not in them.",
    ]
    if few:
        lines.append(f"- Few training rows stand behind {_listed(few)}; their recalls are uncertain.")
    recalls = (summary.get("final") or {}).get("per_class_recall") or []
    never = [name for name, recall in zip(task.classes, recalls, strict=False) if recall == 0.0]
    if never:
        lines.append(f"- It never recognised {_listed(never)} in the test set.")
    if summary.get("status") == "diverged":
        lines.append("- **The run diverged: do not use this model.**")
    lines += [f"- {note}" for note in summary.get("notes") or []]
    return "\n".join(lines)


def _origin(trained: Trained) -> str:
    found = trained.reader.fingerprints
    hashes = [
        [key, f"`{found[key]}`"]
        for key in ("partition", "initial", "cohorts", "batches", "code")
        if found.get(key)
    ]
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("packages") or {}).items())
    return (
        f"{_table(['fingerprint', 'SHA-256'], hashes)}\n\n"
        f"Trained with {versions}; exported with fedbal {__version__}.\n\n"
        f"The scenario, every default filled in:\n\n```yaml\n{trained.scenario.to_yaml().rstrip()}\n```"
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _short(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
