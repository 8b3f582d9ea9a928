"""FedCE's page part: beside claims and scores, how the weights of every arm rank the sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reproduce import tables

COLUMNS = tuple(
    (value, ranking) for value in ("leave-one-out", "shapley") for ranking in ("spearman", "kendall")
)
HEAD = "| weights of | leave-one-out, Spearman | Kendall | Shapley, Spearman | Kendall |"


def render(content: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    """Return the general page part, with a table of rank correlations for each setting."""
    if "part" in arguments:
        return tables.render(content, arguments)
    settings = [arguments["setting"]] if "setting" in arguments else list(content["settings"])
    parts = [tables.figure_link(content), tables.claims(content, settings)]
    for name in settings:
        parts += [tables.table(_of_metrics(content), name), correlations(content["settings"][name])]
    return "\n\n".join([*parts, tables.footer(content)])


def correlations(setting: Mapping[str, Any]) -> str:
    """Return a table of the rank correlations of weights with retrained contributions, mean and spread over draws.

    Parameters
    ----------
    setting : mapping
        A setting of the results file.
    """
    arms = list(setting["arms"].values())
    rows = [_row(arm["label"], arm, "") for arm in arms]
    floor = _row("*one retraining with another*", arms[0], "floor.")
    sizes = ", ".join(
        f"{value} {_mean(arms[0], f'range.{value}')} (noise {_mean(arms[0], f'noise.{value}')})"
        for value in ("leave-one-out", "shapley")
    )
    note = (
        f"Range of the contributions over sites, mean over draws: {sizes}, as fractions of the score. Equal "
        "weights rank nobody, which counts as 0."
    )
    return "\n".join([HEAD, "|---|---|---|---|---|", *rows, floor]) + f"\n\n{note}"


def _of_metrics(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the endpoints that have a table of their own."""
    known = {metric["name"] for metric in content["metrics"]}

    def kept(seed: Mapping[str, Any]) -> dict[str, Any]:
        chosen = {name: at for name, at in seed["endpoints"].items() if name.partition(".")[0] in known}
        return {**seed, "endpoints": chosen}

    def arms(setting: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {**arm, "seeds": {seed: kept(found) for seed, found in arm["seeds"].items()}}
            for name, arm in setting["arms"].items()
        }

    settings = {name: {**setting, "arms": arms(setting)} for name, setting in content["settings"].items()}
    return {**content, "settings": settings}


def _row(label: str, arm: Mapping[str, Any], prefix: str) -> str:
    cells = [tables.values(arm, f"{prefix}{value}.{ranking}") for value, ranking in COLUMNS]
    return "| " + " | ".join([label, *(_cell(found) for found in cells)]) + " |"


def _cell(found: Sequence[float]) -> str:
    return tables.mean_sd(found, percent=False) if found else "-"


def _mean(arm: Mapping[str, Any], endpoint: str) -> str:
    found = tables.values(arm, endpoint)
    return f"{sum(found) / len(found):.3f}" if found else "-"
