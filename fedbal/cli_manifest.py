"""``fedbal manifest``: what a run asks of its sites, with the hash that they agree to."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fedbal.terminal import say, table

ScenarioArgument = Annotated[str, typer.Argument(metavar="SCENARIO", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the scenario; VALUE is YAML. Repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(manifest)


def manifest(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    clients: Annotated[
        int | None,
        typer.Option("--clients", metavar="N", min=1, help="As given to `fedbal server`."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON, its hash beside it.", show_default=False)
    ] = False,
) -> None:
    """Print everything that a run of a scenario lets leave a site, and the hash that sites agree to.

    Give it the scenario, --set and --clients of `fedbal server`, and the same version of fedbal: another scenario
    or other code has another hash.

    Examples
    --------
        fedbal manifest quickstart --clients 3
        fedbal manifest my.yaml --set strategy=feddisco --json
    """
    from fedbal.deployment.manifest import Manifest
    from fedbal.deployment.server import with_clients
    from fedbal.scenario import load, one_by_one

    loaded = load(scenario, changes or ())
    found = Manifest.of(one_by_one(loaded if clients is None else with_clients(loaded, clients)))
    if as_json:
        say(json.dumps({"hash": found.hash, "manifest": found.to_plain()}, indent=2))
        return
    say(f"scenario {found.scenario}, rule {found.rule}, fedbal {found.version}, code {found.code[:16]}")
    rows = [
        [item.name, item.size, item.frequency, "yes" if item.summed else "no", item.privacy]
        for item in found.items
    ]
    table(["leaves a site", "size", "when", "a sum would do", "a reader learns"], rows)
    say(
        f"The rule {'could' if found.summed else 'could not'} live with secure aggregation; there is none here."
    )
    say(f"manifest {found.hash}")
