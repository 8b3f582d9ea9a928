"""The picture of a partition: one bar a client, stacked by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedbal.data.federation import Federation
from fedbal.errors import RunError, UsageError

MOST_NAMED_CLIENTS = 40
MOST_NAMED_CLASSES = 20


def draw(federation: Federation, path: Path) -> None:
    """Draw the training rows of each client as a bar, stacked by class.

    Raises
    ------
    UsageError
        Rows are masks, matplotlib is not installed, or it does not know the suffix of ``path``.
    RunError
        The file cannot be written.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--plot needs matplotlib: pip install 'fedbal[report]'.") from error
    counts = federation.label_counts()
    if not counts.shape[1]:
        raise UsageError(
            f"--plot draws the classes of each client, and {federation.dataset.name} has masks (segmentation); "
            "leave --plot out."
        )
    clients, classes = counts.shape
    figure = Figure(figsize=(min(16.0, 4.0 + 0.25 * clients), 4.5), layout="constrained")
    axes = figure.add_subplot()
    palette = colormaps["tab10" if classes <= 10 else "tab20" if classes <= 20 else "viridis"]
    bottom = np.zeros(clients)
    for label in range(classes):
        colour = palette(label) if classes <= 20 else palette(label / (classes - 1))
        name = federation.dataset.classes[label] if classes <= MOST_NAMED_CLASSES else None
        axes.bar(np.arange(clients), counts[:, label], bottom=bottom, width=0.9, color=colour, label=name)
        bottom += counts[:, label]
    axes.set(
        xlabel="client", ylabel="training rows", title=f"{federation.dataset.name}, classes of each client"
    )
    if clients <= MOST_NAMED_CLIENTS:
        axes.set_xticks(range(clients), list(federation.names), rotation=90 if clients > 12 else 0)
    if classes <= MOST_NAMED_CLASSES:
        figure.legend(loc="outside right upper", title="class")
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise UsageError(f"--plot {path}: {error}") from error
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}.") from error
