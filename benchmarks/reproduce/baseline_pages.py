"""Pages and figures of the baselines: one method against its control, as curves and seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.reproduce.figures import COLOURS, DASHES
from benchmarks.reproduce.tables import (
    counted,
    footer,
    mean_sd,
    number,
    sentence,
    stem,
    values,
    window_text,
)
from benchmarks.reproduce.verdicts import Paired, paired
from fedbal.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = "last10"
JUDGED_BY = {"tail": "balanced", "uneven": "spread"}
"""Metric of a setting that figures show and differences are taken of; the others: accuracy."""
TUNING = (
    "Local rate, batches and budget are the same for all; server rates and coefficients were chosen before, from "
    "the grid of `--size tune`, on seeds 100 to 102."
)
BESIDE = {"tail": ("posthoc",), "uneven": ("client_mean",), "reference": ("client_mean", "personal")}
"""Metrics of a setting that tables show as well."""


@dataclass(frozen=True)
class Method:
    """What a page shows: arms, and what they are held against."""

    arms: tuple[str, ...]
    control: str = "fedavg"


METHODS = {
    "fedavg": Method(("fedavg-5",)),
    "qfedavg": Method(("qfedavg", "fedavg"), "qfedavg-0"),
    "reference": Method(("centralised", "local_only")),
    "balanced_softmax": Method(("balanced_softmax", "balanced_softmax-local")),
    **{
        name: Method((name,))
        for name in (
            *(
                "uniform",
                "fedavgm",
                "fedadam",
                "fedyogi",
                "fedadagrad",
                "fednova",
                "scaffold",
                "feddyn",
                "moon",
            ),
            *("focal", "class_balanced", "logit_adjustment", "fedlc", "fedrs"),
        )
    },
}


def render(content: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    """Return the part of a page about one method.

    Parameters
    ----------
    content : mapping
        The results file.
    arguments : mapping
        ``method``: a key of :data:`METHODS`.

    Raises
    ------
    UsageError
        There is no such method.
    """
    name = arguments.get("method", "")
    if name not in METHODS:
        raise UsageError(
            f"<!-- results:baselines method={name} -->: the method must be one of {', '.join(METHODS)}."
        )
    method = METHODS[name]
    claims = [
        f"- {sentence(claim, content)}"
        for claim in content["claims"]
        if claim["a"] in method.arms and claim["b"] in (method.control, "fedavg")
    ]
    parts = [
        _picture(content, name, method),
        "\n".join(claims) or "No claim is judged here: the rows are a control.",
        *(_table(content, setting, method) for setting in settings(content, method)),
        f"{footer(content)} {TUNING}",
    ]
    return "\n\n".join(parts)


def settings(content: Mapping[str, Any], method: Method) -> list[str]:
    """Return the settings in which the method and its control both ran."""
    return [
        name
        for name, block in content["settings"].items()
        if method.control in block["arms"] and method.arms[0] in block["arms"]
    ]


def differences(content: Mapping[str, Any], setting: str, arm: str, control: str) -> dict[str, float]:
    """Return arm minus control for each seed that both finished, of the setting's metric, last ten rounds."""
    arms, endpoint = content["settings"][setting]["arms"], f"{_judged(setting)}.{WINDOW}"
    first, second = arms[arm]["seeds"], arms[control]["seeds"]
    found = {}
    for seed in first:
        if seed in second and first[seed]["status"] == second[seed]["status"] == "finished":
            a, b = first[seed]["endpoints"].get(endpoint), second[seed]["endpoints"].get(endpoint)
            if a is not None and b is not None:
                found[seed] = a - b
    return found


def draw(content: Mapping[str, Any]) -> dict[str, Figure]:
    """Return a figure for each method that ran: curves above, differences of the seeds below."""
    return {
        f"-{name}": _figure(content, method) for name, method in METHODS.items() if settings(content, method)
    }


def _picture(content: Mapping[str, Any], name: str, method: Method) -> str:
    arms = next(iter(content["settings"][setting]["arms"] for setting in settings(content, method)))
    names = " and ".join(arms[arm]["label"] for arm in method.arms if arm in arms)
    what = f"{names} against {arms[method.control]['label']}: means over seeds, and differences seed by seed"
    return f"![{what}](../images/methods/{stem(content)}-{name}.png)"


def _judged(setting: str) -> str:
    return JUDGED_BY.get(setting, "accuracy")


def _metric(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(metric for metric in content["metrics"] if metric["name"] == name)
    return found


def _table(content: Mapping[str, Any], setting: str, method: Method) -> str:
    block, judged = content["settings"][setting], _metric(content, _judged(setting))
    columns = [(judged, window) for window in ("last", WINDOW, "best")]
    columns += [(_metric(content, name), WINDOW) for name in BESIDE.get(setting, ())]
    control = block["arms"][method.control]["label"]
    heads = [f"{metric['label']}: {window_text(window)}" for metric, window in columns]
    heads.insert(3, f"minus {control}, {window_text(WINDOW)}")
    lines = [
        f"**{block['title']}**, mean ± sd over seeds",
        "",
        "| | " + " | ".join([*heads, "seeds"]) + " |",
        "|---|" + "---|" * (len(heads) + 1),
    ]
    for name in (method.control, *(arm for arm in method.arms if arm in block["arms"])):
        arm = block["arms"][name]
        cells = [
            mean_sd(values(arm, f"{metric['name']}.{window}"), metric["percent"])
            for metric, window in columns
        ]
        cells.insert(3, "" if name == method.control else _difference(content, setting, name, method.control))
        lines.append(f"| {arm['label']} | " + " | ".join([*cells, counted(arm)]) + " |")
    return "\n".join(lines)


def _difference(content: Mapping[str, Any], setting: str, arm: str, control: str) -> str:
    found = list(differences(content, setting, arm, control).values())
    if len(found) < 2:
        return "-"
    pairs: Paired = paired(found, [0.0] * len(found))
    mean, low, high = (number(value, True, sign=True) for value in (pairs.mean, pairs.low, pairs.high))
    return f"{mean} [{low}, {high}], {pairs.positive} of {pairs.seeds} above 0"


def _figure(content: Mapping[str, Any], method: Method) -> Figure:
    from matplotlib.figure import Figure

    chosen = settings(content, method)
    figure = Figure(figsize=(3.0 * len(chosen) + 0.8, 4.4), layout="constrained")
    panels = figure.subplots(2, len(chosen), squeeze=False, height_ratios=(3, 2))
    lines: dict[str, Any] = {}
    for column, setting in enumerate(chosen):
        block, metric = content["settings"][setting], _metric(content, _judged(setting))
        curve, dots = panels[0][column], panels[1][column]
        for name, style in _styles(method):
            if name in block["arms"]:
                _draw_curve(curve, block["arms"][name], metric, style, lines)
                if name != method.control:
                    _draw_differences(dots, differences(content, setting, name, method.control), style)
        # The first comma ends what the setting is; the rest is in the table.
        curve.set_title(block["title"].partition(",")[0], fontsize=10)
        curve.set(xlabel="round", ylabel=metric["label"])
        dots.axhline(0.0, color="black", linewidth=0.8)
        dots.set_xlabel("seed")
        dots.set_ylabel(f"minus {block['arms'][method.control]['label']}, points", fontsize=8)
        for panel in (curve, dots):
            panel.grid(alpha=0.25, linewidth=0.6)
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _styles(method: Method) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield every arm with its colour and dash; the control is grey in all figures."""
    yield method.control, ("#7F7F7F", "--")
    for at, arm in enumerate(method.arms):
        yield arm, (COLOURS[at], DASHES[0])


def _draw_curve(
    panel: Any,
    arm: Mapping[str, Any],
    metric: Mapping[str, Any],
    style: tuple[str, str],
    lines: dict[str, Any],
) -> None:
    curve = arm["curve"].get(metric["name"])
    if curve is None:
        return
    known = [
        (at, 100.0 * mean, 100.0 * (sd or 0.0))
        for at, mean, sd in zip(arm["curve"]["round"], curve["mean"], curve["sd"], strict=True)
        if mean is not None
    ]
    if not known:
        return
    rounds, means, spreads = zip(*known, strict=True)
    (line,) = panel.plot(rounds, means, color=style[0], linestyle=style[1], linewidth=1.6)
    low = [mean - sd for mean, sd in zip(means, spreads, strict=True)]
    high = [mean + sd for mean, sd in zip(means, spreads, strict=True)]
    panel.fill_between(rounds, low, high, color=style[0], alpha=0.13, linewidth=0)
    lines.setdefault(arm["label"], line)


def _draw_differences(panel: Any, found: Mapping[str, float], style: tuple[str, str]) -> None:
    if not found:
        return
    points = [100.0 * value for value in found.values()]
    panel.plot(list(found), points, "o", color=style[0], markersize=5)
    panel.axhline(sum(points) / len(points), color=style[0], linewidth=1.2, alpha=0.7)
