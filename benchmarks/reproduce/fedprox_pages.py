"""FedProx's page: the general tables, and ours beside an independent reproduction at the same number of rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.reproduce import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Numbers = dict[str, tuple[float, float | None]]


def _numbers(loss: float, accuracy: float, variance: float, loss_sd: Any = None, sd: Any = None) -> Numbers:
    return {"train_loss": (loss, loss_sd), "accuracy": (accuracy, sd), "variance": (variance, None)}


REFERENCE: dict[str, Any] = {
    "text": "an independent implementation in NumPy, data of the official generators, seeds 0 to 4, 200 rounds",
    "rounds": 200,
    "window": "last20",
    "settings": {
        "iid-0": {
            "partial-mu0": _numbers(0.266, 0.915, 0.006, 0.070, 0.025),
            "partial-mu1": _numbers(0.819, 0.734, 0.017, 0.127, 0.045),
        },
        "00-0": {
            "partial-mu0": _numbers(1.094, 0.744, 27.3, 0.514, 0.095),
            "partial-mu1": _numbers(0.529, 0.808, 6.0, 0.196, 0.082),
        },
        "0505-0": {
            "partial-mu0": _numbers(0.982, 0.781, 40.4, 0.438, 0.095),
            "partial-mu1": _numbers(0.411, 0.845, 13.3, 0.150, 0.064),
        },
        "11-0": {
            "partial-mu0": _numbers(1.080, 0.819, 81.9, 0.502, 0.047),
            "partial-mu1": _numbers(0.392, 0.861, 43.8, 0.099, 0.038),
        },
        "11-50": {
            "drop-mu0": _numbers(0.795, 0.829, 72.0),
            "partial-mu0": _numbers(0.972, 0.823, 79.0),
            "partial-mu1": _numbers(0.392, 0.862, 44.0),
        },
        "11-90": {
            "drop-mu0": _numbers(0.802, 0.787, 51.0),
            "partial-mu0": _numbers(0.867, 0.828, 76.0),
            "partial-mu1": _numbers(0.393, 0.862, 44.0),
        },
        "iid-90": {
            "drop-mu0": _numbers(0.449, 0.854, 0.010),
            "partial-mu0": _numbers(0.315, 0.898, 0.007),
            "partial-mu1": _numbers(0.834, 0.728, 0.017),
        },
    },
}
"""Loss, accuracy and unweighted gradient variance: mean and, where it is known, sd over seeds."""


def render(content: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    """Return the page part; ``part=reference`` is the comparison alone."""
    if arguments.get("part") == "reference":
        return reference(content)
    text = tables.render(content, arguments)
    return text if "part" in arguments else f"{text}\n\n{reference(content)}"


def reference(content: Mapping[str, Any]) -> str:
    """Return the table of ours beside the reference, for settings that ran as many rounds."""
    known = content["reference"]
    window = known["window"]
    rows = [
        (block["title"], block["arms"][arm], numbers)
        for setting, arms in known["settings"].items()
        for block in [content["settings"].get(setting)]
        if block is not None and block["rounds"] == known["rounds"]
        for arm, numbers in arms.items()
        if arm in block["arms"]
    ]
    if not rows:
        return f"No setting ran the {known['rounds']} rounds that the reference has."
    names = ("train_loss", "accuracy", "variance")
    heads = [text for name in names for text in (f"{name.replace('_', ' ')}, ours", "reference")]
    lines = [
        f"Means of the last 20 rounds beside {known['text']}; other seeds, so the two differ by chance too:",
        "",
        "| | " + " | ".join(heads) + " |",
        "|---|" + "---|" * len(heads),
    ]
    for title, arm, numbers in rows:
        cells = []
        for name in names:
            cells.append(tables.mean_sd(tables.values(arm, f"{name}.{window}"), name == "accuracy"))
            mean, sd = numbers[name]
            text = tables.number(mean, name == "accuracy")
            cells.append(text if sd is None else f"{text} ± {tables.number(sd, name == 'accuracy')}")
        lines.append(f"| {title}: {arm['label']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(content: Mapping[str, Any]) -> Mapping[str, Figure]:
    """Draw accuracy, training loss and gradient variance over rounds."""
    from benchmarks.reproduce.figures import curves

    return {"": curves(content, metrics=["accuracy", "train_loss", "variance"])}
