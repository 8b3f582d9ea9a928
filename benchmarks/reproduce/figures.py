"""Figures of a study: mean curves of every arm with a band of one standard deviation over seeds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.reproduce.study import Study
from benchmarks.reproduce.verdicts import known_pairs, paired

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito, "Color universal design" (2008): told apart with every common colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
DASHES = ("-", "--", ":", "-.")


def save_figures(study: Study, content: Mapping[str, Any], name: str, folder: Path) -> list[Path]:
    """Draw and save ``<name>.png`` and what the study adds; return the paths.

    Parameters
    ----------
    study : Study
        Whose results these are.
    content : mapping
        A results file.
    name : str
        Stem of the file names.
    folder : Path
        Where they go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = study.draw(content) if study.draw else {"": curves(content)}
    paths = []
    for suffix, figure in figures.items():
        path = folder / f"{name}{suffix}.png"
        _save(figure, path)
        paths.append(path)
    return paths


def _save(figure: Figure, path: Path) -> None:
    """Write a figure in 256 colours, a third of the bytes; the same numbers give the same file."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(path, optimize=True)


def curves(
    content: Mapping[str, Any],
    settings: list[str] | None = None,
    metrics: list[str] | None = None,
    arms: list[str] | None = None,
) -> Figure:
    """Draw a panel for each setting (columns) and metric (rows).

    Parameters
    ----------
    content : mapping
        A results file.
    settings, metrics : list of str, optional
        Which ones; left out: all settings, and the first metric.
    arms : list of str, optional
        Which arms; left out: all.
    """
    from matplotlib.figure import Figure

    chosen = settings or list(content["settings"])
    names = metrics or [content["metrics"][0]["name"]]
    rows = [next(item for item in content["metrics"] if item["name"] == name) for name in names]
    figure = Figure(figsize=(4.2 * len(chosen) + 0.4, 3.0 * len(rows) + 0.9), layout="constrained")
    panels = figure.subplots(len(rows), len(chosen), squeeze=False)
    styles = _styles(content)
    lines: dict[str, Any] = {}
    for column, setting in enumerate(chosen):
        block = content["settings"][setting]
        for row, metric in enumerate(rows):
            panel = panels[row][column]
            for name, arm in block["arms"].items():
                if arms is not None and name not in arms:
                    continue
                line = _draw(panel, arm, metric, styles[arm["label"]])
                if line is not None:
                    lines.setdefault(arm["label"], line)
            panel.grid(alpha=0.25, linewidth=0.6)
            if metric["log"]:
                panel.set_yscale("log")
            if row == 0:
                panel.set_title(block["title"], fontsize=10)
            if row == len(rows) - 1:
                panel.set_xlabel("round")
            if column == 0:
                panel.set_ylabel(metric["label"])
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside lower center",
        ncols=min(len(lines), 2 * len(chosen), 5),
        fontsize=8,
        frameon=False,
    )
    return figure


def _styles(content: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Give every arm one colour and dash in all panels."""
    labels = dict.fromkeys(
        arm["label"] for block in content["settings"].values() for arm in block["arms"].values()
    )
    return {
        label: (COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)])
        for at, label in enumerate(labels)
    }


def _draw(panel: Any, arm: Mapping[str, Any], metric: Mapping[str, Any], style: tuple[str, str]) -> Any:
    curve = arm["curve"].get(metric["name"])
    if curve is None:
        return None
    scale = 100.0 if metric["percent"] else 1.0
    points = [
        (at, scale * mean, scale * (sd or 0.0))
        for at, mean, sd in zip(arm["curve"]["round"], curve["mean"], curve["sd"], strict=True)
        if mean is not None
    ]
    if not points:
        return None
    rounds, means, spreads = zip(*points, strict=True)
    (line,) = panel.plot(rounds, means, color=style[0], linestyle=style[1], linewidth=1.6)
    low = [mean - sd for mean, sd in zip(means, spreads, strict=True)]
    high = [mean + sd for mean, sd in zip(means, spreads, strict=True)]
    if metric["log"]:
        low = [max(value, mean / 10.0) for value, mean in zip(low, means, strict=True)]
    panel.fill_between(rounds, low, high, color=style[0], alpha=0.13, linewidth=0)
    return line


def differences(content: Mapping[str, Any], pairs: Sequence[tuple[str, str, str]], endpoint: str) -> Figure:
    """Draw paired differences: a dot a seed, the mean and its 95 % interval.

    Parameters
    ----------
    content : mapping
        A results file.
    pairs : sequence of (setting, arm, arm)
        What is compared: the first arm minus the second.
    endpoint : str
        The number, such as ``accuracy.last10``.
    """
    from matplotlib.figure import Figure

    metric = next(item for item in content["metrics"] if item["name"] == endpoint.partition(".")[0])
    scale = 100.0 if metric["percent"] else 1.0
    rows = []
    for setting, first, second in pairs:
        arms = content["settings"].get(setting, {}).get("arms", {})
        if first in arms and second in arms:
            a, b = known_pairs(arms[first]["seeds"], arms[second]["seeds"], endpoint)
            label = f"{setting}: {arms[first]['label']} - {arms[second]['label']}"
            rows.append((label, [scale * (x - y) for x, y in zip(a, b, strict=True)]))
    figure = Figure(figsize=(8.0, 0.34 * len(rows) + 1.1), layout="constrained")
    panel = figure.subplots()
    panel.axvline(0.0, color="#7F7F7F", linewidth=1.0)
    for at, (_, found) in enumerate(rows):
        panel.plot(found, [at] * len(found), "o", color=COLOURS[0], markersize=4, alpha=0.5, linewidth=0)
        if len(found) > 1:
            summary = paired(found, [0.0] * len(found))
            panel.plot([summary.low, summary.high], [at, at], color=COLOURS[1], linewidth=2.0)
            panel.plot([summary.mean], [at], "D", color=COLOURS[1], markersize=5)
    panel.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    panel.invert_yaxis()
    panel.grid(alpha=0.25, linewidth=0.6, axis="x")
    unit = "points" if metric["percent"] else metric["label"]
    panel.set_xlabel(
        f"difference in {metric['label'].removesuffix(', %')}, {unit}: seeds, mean, 95 % interval"
    )
    return figure
