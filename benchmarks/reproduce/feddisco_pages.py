"""FedDisco's page: the general tables, and for the anchors FedAvg's best round beside the published one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.reproduce import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTINGS = ["fedavg", "uniform", "disco", "a0", "l2", "raw"]
BASES = ("prox", "moon", "scaffold")

ANCHORS: dict[str, Any] = {
    "text": "Flower's rerun of NIID-Bench (Li et al., ICDE 2022): best round, number of seeds not stated",
    "endpoint": "accuracy.best",
    "arm": "fedavg",
    "settings": {"dirichlet": (0.8809, 0.0029), "labels": (0.7810, 0.0251)},
}
"""Test accuracy of FedAvg, mean and sd: 10 clients, small CNN, 50 rounds of 10 local epochs."""


def render(content: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    """Return the page part; results of an anchor size have one table of their own."""
    if any(setting in content["settings"] for setting in content["reference"]["settings"]):
        return anchors(content)
    text = tables.render(content, arguments)
    if arguments.get("part", "figure") == "figure":
        text = text.replace("\n\n", f"\n\n{tables.figure_link(content, '-differences')}\n\n", 1)
    return text


def anchors(content: Mapping[str, Any]) -> str:
    """Return our FedAvg beside the published one, best round against best round."""
    known = content["reference"]
    lines = [
        f"FedAvg beside {known['text']}.",
        "",
        "| | best round, ours | best round, published | last round, ours | mean of the last 10, ours | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for setting, (mean, sd) in known["settings"].items():
        block = content["settings"].get(setting)
        if block is None:
            continue
        arm = block["arms"][known["arm"]]
        best, last, tail = (
            tables.mean_sd(tables.values(arm, f"accuracy.{window}"), True)
            for window in ("best", "last", "last10")
        )
        published = f"{tables.number(mean, True)} ± {tables.number(sd, True)}"
        lines.append(f"| {block['title']} | {best} | {published} | {last} | {tail} | {tables.counted(arm)} |")
    return "\n".join([*lines, "", tables.footer(content)])


def draw(content: Mapping[str, Any]) -> Mapping[str, Figure]:
    """Draw the curves of the weightings, and paired differences of every arm; of an anchor its curve alone."""
    from benchmarks.reproduce.figures import curves, differences

    pairs = [(setting, arm, "fedavg") for setting in content["settings"] for arm in WEIGHTINGS[1:]]
    pairs += [("niid1", f"{base}-disco", base) for base in BASES]
    figures = {"": curves(content, arms=WEIGHTINGS)}
    if len(next(iter(content["settings"].values()))["arms"]) > 1:
        figures["-differences"] = differences(content, pairs, "accuracy.last10")
    return figures
