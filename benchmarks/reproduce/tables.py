"""Results as markdown: a sentence a claim, a table a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WORDS = {"shown": "Shown", "not shown": "Not shown", "opposite": "Opposite", "not run": "Not run"}


def render(content: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    """Return the general page part: figure, claims, tables, where it ran.

    Parameters
    ----------
    content : mapping
        A results file.
    arguments : mapping
        Of the marker: ``setting=NAME`` shows one setting only, ``part=claims|tables|figure`` one part only.
    """
    settings = [arguments["setting"]] if "setting" in arguments else list(content["settings"])
    parts = {
        "figure": figure_link(content),
        "claims": claims(content, settings),
        "tables": "\n\n".join(table(content, name) for name in settings),
    }
    wanted = [arguments["part"]] if "part" in arguments else list(parts)
    return "\n\n".join([*(parts[name] for name in wanted if parts[name]), footer(content)])


def figure_link(content: Mapping[str, Any], suffix: str = "") -> str:
    """Return the link to a figure of the study, as seen from docs/methods."""
    name = stem(content)
    return f"![{content['title']}](../images/methods/{name}{suffix}.png)"


def stem(content: Mapping[str, Any]) -> str:
    """Return what files of these results are called."""
    return str(content["study"]) + ("" if content["size"] == "cpu" else f"-{content['size']}")


def claims(content: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Return one list item for each claim in the settings, with its numbers."""
    chosen = [claim for claim in content["claims"] if claim["setting"] in settings]
    return "\n".join(f"- {sentence(claim, content)}" for claim in chosen)


def sentence(claim: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Say in one line what was claimed, by whom, and what the paired differences are."""
    head = f"**{WORDS[claim['verdict']]}.** {claim['text']} ({claim['source']})"
    if claim["verdict"] == "not run":
        return f"{head}: no two seeds have both arms."
    name, _, window = claim["endpoint"].partition(".")
    metric = next((item for item in content["metrics"] if item["name"] == name), None)
    percent = metric is not None and metric["percent"]
    unit = " points" if percent else ""
    mean, low, high = (number(claim[key], percent, sign=True) for key in ("mean", "low", "high"))
    label = (metric["label"] if metric else name).removesuffix(", %")
    what = f"{label}, {window_text(window)}" if window else label
    margin = f", margin {number(claim['margin'], percent)}{unit}" if claim["margin"] else ""
    missing = f"; {claim['missing']} seeds are missing" if claim["missing"] else ""
    return (
        f"{head} Difference {mean}{unit} [{low}, {high}] in {what}; "
        f"{claim['positive']} of {claim['seeds']} seeds above 0, {claim['negative']} below{margin}{missing}."
    )


def window_text(window: str) -> str:
    """Say what a window is."""
    if window == "last":
        return "last round"
    if window == "best":
        return "best round"
    if window.startswith("last"):
        return f"mean of the last {window[4:]} rounds"
    return window


def table(content: Mapping[str, Any], setting: str) -> str:
    """Return the table of a setting: a row an arm, mean ± sd over seeds of each endpoint."""
    block = content["settings"][setting]
    columns = [
        (metric, window)
        for at, metric in enumerate(content["metrics"])
        for window in (
            ["last", *(f"last{n}" for n in content["windows"]), "best"] if at == 0 else _some(content)
        )
    ]
    heads = [f"{metric['label']}: {window_text(window)}" for metric, window in columns]
    extra = _extra(block, content)
    lines = [
        f"**{block['title']}**, mean ± sd over seeds",
        "",
        "| | " + " | ".join([*heads, *extra, "seeds"]) + " |",
        "|---|" + "---|" * (len(heads) + len(extra) + 1),
    ]
    for arm in block["arms"].values():
        cells = [
            mean_sd(values(arm, f"{metric['name']}.{window}"), metric["percent"])
            for metric, window in columns
        ]
        cells += [mean_sd(values(arm, name), False) for name in extra]
        lines.append(f"| {arm['label']} | " + " | ".join([*cells, counted(arm)]) + " |")
    return "\n".join(lines)


def values(arm: Mapping[str, Any], endpoint: str) -> list[float]:
    """Return an endpoint of every finished seed that has it."""
    found = [
        seed["endpoints"].get(endpoint) for seed in arm["seeds"].values() if seed["status"] == "finished"
    ]
    return [value for value in found if value is not None]


def counted(arm: Mapping[str, Any]) -> str:
    """Say how many seeds finished, and what became of the others."""
    states = [seed["status"] for seed in arm["seeds"].values()]
    others = [f"{states.count(state)} {state}" for state in ("diverged", "failed") if state in states]
    return ", ".join([str(states.count("finished")), *others])


def mean_sd(found: Sequence[float], percent: bool) -> str:
    """Return ``mean ± sd`` in three or four digits."""
    if not found:
        return "-"
    mean = math.fsum(found) / len(found)
    if len(found) < 2:
        return number(mean, percent)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (len(found) - 1))
    return f"{number(mean, percent)} ± {number(sd, percent)}"


def number(value: float, percent: bool, *, sign: bool = False) -> str:
    """Write a number: percent with two decimals, others with three digits."""
    plus = "+" if sign else ""
    if percent:
        return f"{value * 100:{plus}.2f}"
    return f"{value:{plus}.3f}" if 0.001 <= abs(value) < 100 or value == 0.0 else f"{value:{plus}.3g}"


def footer(content: Mapping[str, Any]) -> str:
    """Say where and how it was measured, and how to do it again."""
    there, size = content["environment"], content["size"]
    option = "" if size == "cpu" else f" --size {size}"
    packages = ", ".join(f"{name} {there['packages'][name]}" for name in ("flwr", "torch", "numpy"))
    return (
        f"`python -m benchmarks.reproduce {content['study']}{option}`: {there['runs']} runs, "
        f"{there['run_seconds'] / 60:.0f} minutes of one core in all ({there['machine']}; {packages}). "
        "Differences are paired by seed; in brackets Student's 95 % interval of their mean, not corrected for the "
        "number of claims. *Best round* was chosen on the test set."
    )


def _some(content: Mapping[str, Any]) -> list[str]:
    return [f"last{content['windows'][-1]}"] if content["windows"] else ["last"]


def _extra(block: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    """Return endpoints that a study measured beside the curves."""
    known = {metric["name"] for metric in content["metrics"]}
    names = {
        name for arm in block["arms"].values() for seed in arm["seeds"].values() for name in seed["endpoints"]
    }
    return sorted(name for name in names if name.partition(".")[0] not in known)
