"""``fedbal doctor``: the device check, as a table with a remedy for everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedbal.terminal import say, table, warn


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("doctor")(doctor)


def doctor(
    server: Annotated[
        str | None, typer.Option("--server", metavar="HOST:PORT", help="The coordinator to reach.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Certificate of the authority that signed it.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Private key of this site.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="PATH", help="Data of this site: CSV, Parquet, NPZ or images."),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", metavar="SCENARIO", help="The scenario to take part in.")
    ] = None,
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="Where the site will keep its state.")
    ] = Path(),
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train a small model for a moment.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check whether this machine can be a site, and say how to mend what is wrong.

    Every option adds checks; without any only the machine is looked at. Exits with 1 if something fails.

    Examples
    --------
        fedbal doctor
        fedbal doctor --server coordinator.local:8000 --ca ca.crt --key site-1.key --data patients.csv
    """
    from fedbal.deployment.checks import Status, names
    from fedbal.deployment.doctor import Subject, examine

    found = list(examine(Subject(server, ca, key, data, scenario, state, train)))
    failed, warned = names(found, Status.fail), names(found, Status.warn)
    if as_json:
        say(json.dumps({"fit": not failed, "checks": [check.as_dict() for check in found]}, indent=2))
    else:
        table(
            ["check", "status", "found"], [[check.name, check.status.value, check.found] for check in found]
        )
        for check in found:
            if check.fix:
                warn(f"{check.name}: {check.fix}")
        say(_verdict(failed, warned))
    if failed:
        raise typer.Exit(1)


def _verdict(failed: list[str], warned: list[str]) -> str:
    if failed:
        return f"not fit yet: {', '.join(failed)}"
    return f"fit, with a look at: {', '.join(warned)}" if warned else "fit"
