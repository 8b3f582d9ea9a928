"""``fedbal partition``: how a scenario divides its data, as tables and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedbal.data.federation import Federation, load_federation
from fedbal.data.heterogeneity import describe
from fedbal.terminal import say, table

if TYPE_CHECKING:
    from fedbal.scenario import Scenario

MOST_CLIENTS = 40
MOST_CLASSES = 20


def show_partition(scenario: Scenario, plot: Path | None = None) -> None:
    """Print sizes and classes of every client, and draw them if asked to.

    Parameters
    ----------
    scenario : Scenario
        Whose data are loaded and divided; nothing is trained.
    plot : Path, optional
        Picture to write; its suffix names the format.
    """
    federation = load_federation(scenario.data, scenario.seed.partition)
    _print_summary(scenario, federation)
    _print_clients(federation)
    if plot is not None:
        from fedbal.partition_plot import draw

        draw(federation, plot)
        say(f"picture: {plot}")


def _print_summary(scenario: Scenario, federation: Federation) -> None:
    found = describe(federation)
    partition = scenario.resolved()["data"]["partition"]["name"]
    say(f"{federation.dataset.name} over {federation.num_clients} clients by {partition}")
    if not federation.counted_classes:
        sizes = [
            ("training rows", f"{found.sizes.sum()}"),
            ("rows of a client", _spread(found.sizes, 0)),
            ("Gini of the sizes", f"{found.gini:.3f}"),
        ]
        table(["measure", "value"], sizes)
        return
    share = found.counts.sum(axis=0) / found.counts.sum()
    rarest, commonest = (federation.dataset.classes[int(index)] for index in (share.argmin(), share.argmax()))
    if np.isfinite(found.imbalance_factor):
        imbalance = f"{found.imbalance_factor:.1f} (class {commonest} over class {rarest})"
    else:
        imbalance = f"infinite (class {rarest} has no training row)"
    rows = [
        ("training rows", f"{found.sizes.sum()}"),
        ("rows of a client", _spread(found.sizes, 0)),
        ("Gini of the sizes", f"{found.gini:.3f}"),
        ("imbalance factor", imbalance),
        ("effective classes of a client", _spread(found.effective_classes, 1)),
        ("client to global, total variation", _spread(found.total_variation, 3)),
        ("client to global, Jensen-Shannon", _spread(found.jensen_shannon, 3)),
        ("global to uniform, total variation", f"{found.global_total_variation:.3f}"),
        ("global to uniform, Jensen-Shannon", f"{found.global_jensen_shannon:.3f}"),
    ]
    if (grouping := federation.grouping) is not None:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in grouping.realised.items())
        text = f"{grouping.groups}, largest {grouping.largest} rows; realised {shares}"
        rows.append((f"groups by {grouping.column}", text))
    table(["measure", "value"], rows)


def _spread(values: NDArray[Any], digits: int) -> str:
    """Write median and range over the clients that have data."""
    known = values[np.isfinite(values)]
    low, middle, high = (f"{value:.{digits}f}" for value in (known.min(), np.median(known), known.max()))
    return f"median {middle}, from {low} to {high}"


def _print_clients(federation: Federation) -> None:
    counts = federation.label_counts()
    clients, classes = counts.shape
    shown = min(clients, MOST_CLIENTS)
    foreground = federation.foreground()
    headers = ["client", "train", "validation", "test", "classes" if foreground is None else "foreground"]
    wide = classes <= MOST_CLASSES
    if wide:
        headers.extend(federation.counted_classes)
    rows = []
    for client in range(shown):
        sizes = [
            part.sizes[client] for part in (federation.train, federation.validation, federation.client_test)
        ]
        held = int((counts[client] > 0).sum()) if foreground is None else f"{foreground[client]:.1%}"
        cells = [*sizes, held, *(counts[client] if wide else ())]
        rows.append([federation.names[client], *(str(cell) for cell in cells)])
    say()
    table(
        headers,
        rows,
        title="training rows of each class" if foreground is None else "rows, and share of foreground pixels",
    )
    if clients > shown:
        say(f"... and {clients - shown} more clients.")
