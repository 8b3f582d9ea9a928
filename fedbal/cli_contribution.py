"""``fedbal contribution``: what each client adds to the model, by retraining without it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbal.terminal import MISSING, duration, number, say, table, warn


class Metric(StrEnum):
    """Utility of a model."""

    auto = "auto"
    accuracy = "accuracy"
    balanced_accuracy = "balanced_accuracy"
    dice = "dice"
    iou = "iou"


class Rows(StrEnum):
    """Where the utility is measured."""

    test = "test"
    validation = "validation"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("contribution")(contribution)


def contribution(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", show_default=False)],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the scenario; VALUE is YAML, as in run. Repeatable."
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", min=1, help="Rounds of each training.")
    ] = None,
    metric: Annotated[
        Metric,
        typer.Option("--metric", help="Utility of a model; auto: Dice for masks, accuracy for classes."),
    ] = Metric.auto,
    rows: Annotated[
        Rows,
        typer.Option(
            "--on", help="Rows that it is measured on: the global test set, or all validation rows."
        ),
    ] = Rows.test,
    orders: Annotated[
        int | None,
        typer.Option(
            "--orders",
            metavar="M",
            min=1,
            help="Truncated Monte-Carlo over M random orders instead of exact values; needed above 8 clients.",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="K", min=1, help="Training seeds of the noise floor.")
    ] = 3,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where results are kept; the same command goes on there. Default runs/<name>-contribution-<time>.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what each client adds: Shapley values and leave-one-out, by retraining on every coalition.

    SCENARIO is a YAML file or a shipped name. All trainings share initial weights, rule and random streams.
    FedCE runs once on everyone; its weights are compared with the values. Nothing is trained twice.

    Examples
    --------
        fedbal contribution quickstart --set data.partition.clients=4 --rounds 10
        fedbal contribution hospitals.yaml --metric balanced_accuracy --out runs/worth
        fedbal contribution quickstart --set data.partition.clients=12 --orders 20 --json
    """
    from fedbal.contribution.compute import Options, contribution
    from fedbal.results import default_directory, to_json
    from fedbal.scenario import load

    loaded = load(scenario, [*(changes or ()), *([] if rounds is None else [f"rounds={rounds}"])])
    directory = out or default_directory(f"{loaded.name}-contribution")
    options = Options(metric.value, rows.value, orders, repeats)
    found = contribution(loaded, options, directory, _report)
    if as_json:
        say(json.dumps(json.loads(to_json(found)), indent=2))
    else:
        _print(found, directory)


def _report(title: str, value: float, seconds: float) -> None:
    measured = MISSING if math.isnan(value) else number(value)
    warn(f"trained {title}: {measured}, {duration(seconds)}")


def _print(found: Mapping[str, Any], directory: Path) -> None:
    metric = found["metric"].replace("_", " ")
    say(
        f"{found['scenario']}: {found['strategy']}, {found['rounds']} rounds; {metric} on {found['rows']} rows "
        f"{number(found['nobody'])} of the initial model, {number(found['everyone'])} of everyone"
    )
    errors, fedce = found["standard_errors"], found["fedce"]
    weights = fedce["weights"] or {}
    headers = ["client", "n", "Shapley", *(["+-"] if errors else []), "leave-one-out", "FedCE weight"]
    cells = [
        [
            name,
            str(found["samples"][client]),
            number(found["shapley"][client]),
            *([_error(errors[client])] if errors else []),
            number(found["leave_one_out"][client]),
            number(weights.get(name)),
        ]
        for client, name in enumerate(found["clients"])
    ]
    how = found["method"] if not found["orders"] else f"{found['method']}, {found['orders']} orders"
    table(headers, cells, title=f"contributions ({how})")
    noise = found["noise"]
    if noise["std"] is not None:
        say(
            f"noise floor: retraining everyone with {noise['training_seeds']} training seeds gives a standard "
            f"deviation of {number(noise['std'])}; leave-one-out values within "
            f"{number(math.sqrt(2) * noise['std'])} of 0 may be noise"
        )
    if fedce["reason"]:
        say(f"no comparison with FedCE: {fedce['reason']}")
    else:
        rank, linear = fedce["spearman"], fedce["pearson"]
        say(
            f"FedCE's weights: rank correlation {number(rank['shapley'])} with Shapley, "
            f"{number(rank['leave_one_out'])} with leave-one-out; linear {number(linear['shapley'])} and "
            f"{number(linear['leave_one_out'])}"
        )
    for note in found["notes"]:
        say(f"note: {note}")
    say(f"directory: {directory}")


def _error(value: float) -> str:
    return MISSING if math.isnan(value) else number(value)
