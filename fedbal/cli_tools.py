"""Commands around a run: from a table to a scenario, from an idea to a rule, from a run to a model in use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedbal.terminal import number, say, table

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]
RunArgument = Annotated[Path, typer.Argument(metavar="DIR", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for name, command in (
        ("init", init),
        ("new", new),
        ("check", check),
        ("evaluate", evaluate),
        ("predict", predict),
        ("export", export),
    ):
        app.command(name)(command)


def init(
    file: FileArgument,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="Column with the class of each row.")
    ] = None,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="COLUMN", help="Column that names the client of each row."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="YAML", help="Scenario to write; default: the file's name, here."),
    ] = None,
) -> None:
    """Look at your own data and write a commented scenario for them.

    FILE is a CSV, Parquet or NPZ table, or a folder with one directory of images for each class.
    Says how the classes are divided, what is missing, which clients are too small to judge, which
    rows repeat, and which columns give the label away.

    Examples
    --------
        fedbal init patients.csv --label diagnosis --client hospital
        fedbal init patients.csv --label diagnosis --out hospitals.yaml
        fedbal init photos/
    """
    from fedbal.cli_init import initialise

    initialise(file, label, client, out)


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", show_default=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to write.")] = Path("."),
) -> None:
    """Start a rule or a client update of your own: a commented file that works, and its test.

    KIND is strategy (what the server does) or update (what a client does); NAME is the class, as in MyRule.

    Examples
    --------
        fedbal new strategy MyRule
        fedbal new update my_update --dir methods
    """
    from fedbal.scaffold import create

    file, test, title = create(kind, name, folder)
    shown = file if file.is_absolute() or str(file).startswith(".") else f"./{file}"
    key = "strategy" if kind == "strategy" else "client.update"
    say(f"wrote {file} and {test}. Next:")
    say(f"  fedbal check {shown}:{title}")
    say(f"  fedbal run quickstart --set {key}={shown}:{title}")
    say(f"  pytest {test}")


def check(
    reference: Annotated[str, typer.Argument(metavar="FILE:CLASS", show_default=False)],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Constructor argument; VALUE is YAML. Repeatable."),
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Also compare the bytes of a run on Ray.")] = False,
) -> None:
    """Check a rule or client update against the contract: what holds, what was seen, how to fix the rest.

    FILE:CLASS is your own class, or any Flower strategy, or a shipped name. Leaves with 1 if an item fails.

    Examples
    --------
        fedbal check ./my_rule.py:MyRule
        fedbal check ./my_rule.py:MyRule --set power=0.7 --ray
        fedbal check flwr.serverapp.strategy:FedMedian
    """
    from fedbal.cli_check import print_check

    if not print_check(reference, parameters or [], ray=ray):
        raise typer.Exit(1)


def evaluate(
    directory: RunArgument,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="FILE|BLOCK", help="A table, or a data block as YAML; default: the run's own."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="Label column of the table; default: the run's."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change the scenario whose test set is taken. Repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every number as one JSON object.")] = False,
) -> None:
    """Evaluate a run's model on another table or test set, with the metrics of the run.

    DIR is the directory of a finished run. Every row of a table counts; of an NPZ file with x_test, its test rows.

    Examples
    --------
        fedbal evaluate runs/hospitals --data new_patients.csv
        fedbal evaluate runs/hospitals --data '{dataset: table, path: later.csv, label: diagnosis}'
        fedbal evaluate runs/hospitals --set data.path=later.csv --json
    """
    from fedbal import predict as prediction
    from fedbal.results import to_json
    from fedbal.trained import open_trained

    found = prediction.evaluate(directory, data, label=label, overrides=changes or ())
    if as_json:
        say(to_json(found))
        return
    rows = [
        [key.replace("_", " "), number(value)]
        for key, value in found.items()
        if value is None or isinstance(value, int | float)
    ]
    table(["measure", "value"], rows, title=f"{directory} on {found['samples']} rows")
    recalls = found.get("per_class_recall")
    if not recalls:
        return
    classes = open_trained(directory).task.classes
    say()
    shown = [[name, number(recall)] for name, recall in zip(classes, recalls, strict=True)]
    table(["class", "recall"], shown, title="recall of each class")


def predict(
    directory: RunArgument,
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="CSV, Parquet or NPZ; no labels needed.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="CSV", help="File to write.")],
) -> None:
    """Write the class and the probabilities that a run's model gives to every row of a table.

    DIR is the directory of a finished run; the table has the columns that the model was trained on.

    Example:

        fedbal predict runs/hospitals --data new_patients.csv --out predictions.csv
    """
    from fedbal import predict as prediction

    rows = prediction.predict(directory, data, out)
    say(f"wrote {rows} predictions to {out}")


def export(
    directory: RunArgument,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="onnx, torchscript or safetensors.", show_default=True
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write; default DIR/export/model.<suffix>."),
    ] = None,
) -> None:
    """Write a run's model for other programs, its input scaling included, with a model card beside it.

    DIR is the directory of a finished run. The file is loaded again and compared with the model before it counts.

    Examples
    --------
        fedbal export runs/hospitals --format onnx
        fedbal export runs/hospitals --format torchscript --out ward.pt
    """
    from fedbal import export as exporting

    path, card = exporting.export(directory, form, out)
    say(f"wrote {path} and its card {card}")
