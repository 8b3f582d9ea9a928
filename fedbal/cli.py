"""The commands; no logic of their own. Importing this module imports neither torch nor flwr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from fedbal import (
    __version__,
    cli_calibrate,
    cli_compare,
    cli_contribution,
    cli_deploy,
    cli_doctor,
    cli_manifest,
    cli_provision,
    cli_replay,
    cli_stats,
    cli_tools,
)
from fedbal.errors import FedbalError, UsageError
from fedbal.terminal import say, warn

INTERRUPTED = 130


class _Group(TyperGroup):
    """Reports every error a user can cause as one message with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FedbalError as error:
            warn(f"{'' if error.exit_code > INTERRUPTED - 1 else 'error: '}{error}")
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            warn(f"error: {error}.")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            warn("stopped.")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ScenarioArgument = Annotated[str, typer.Argument(metavar="SCENARIO", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change the scenario; VALUE is YAML. A block replaces the block, a key changes the key. Repeatable.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        say(f"fedbal {__version__}")
        raise typer.Exit


@app.callback()
def _fedbal(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Federated learning on non-IID, class-imbalanced clients: simulate, compare, deploy.

    Start here:

        fedbal run quickstart                   simulate; seconds on a laptop
        fedbal run quickstart --set rounds=5    the same, shorter
        fedbal list strategies                  what there is to choose from
    """


@app.command()
def run(
    scenario: Annotated[str | None, typer.Argument(metavar="[SCENARIO]", show_default=False)] = None,
    changes: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="New or empty run directory; default runs/<name>-<time>."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one final line only.")] = False,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Go on with a stopped run; takes no scenario."),
    ] = None,
) -> None:
    """Simulate a scenario and leave a run directory.

    SCENARIO is a YAML file or a shipped name: fedbal list scenarios

    Examples
    --------
        fedbal run quickstart
        fedbal run my.yaml --set seed=1 --set rounds=50 --out runs/mine
        fedbal run quickstart --set 'strategy={name: fedprox, mu: 1}'
        fedbal run quickstart --set strategy.a=0.3 --set data.partition.alpha=0.1
        fedbal run --resume runs/mine
    """
    if resume is not None and (scenario is not None or changes or out is not None):
        raise UsageError(
            "--resume takes no scenario, no --set and no --out: the run directory knows what was started."
        )
    if resume is None and scenario is None:
        raise UsageError(
            "give a scenario (a YAML file or a shipped name, see `fedbal list scenarios`), or --resume DIR."
        )
    from fedbal.cli_run import print_result
    from fedbal.progress import watcher
    from fedbal.scenario import load

    loaded = None if scenario is None else load(scenario, changes or ())
    with watcher(quiet=quiet) as observer:
        from fedbal import simulation

        if resume is not None:
            result = simulation.resume(resume, observer=observer)
        else:
            assert loaded is not None
            result = simulation.run(loaded, out, observer=observer)
    print_result(result.summary, result.directory, quiet=quiet)


@app.command()
def validate(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the scenario with every default filled in.")
    ] = False,
) -> None:
    """Check a scenario; every problem is named with file, line, key, value and what is allowed.

    SCENARIO is a YAML file or a shipped name: fedbal list scenarios

    Examples
    --------
        fedbal validate my.yaml
        fedbal validate quickstart --set strategy=fedavg --resolved
    """
    from fedbal.scenario import load

    loaded = load(scenario, changes or ())
    if resolved:
        say(loaded.to_yaml().rstrip())
        return
    data = loaded.resolved()["data"]
    say(
        f"{scenario} is valid: {loaded.strategy.name} with {loaded.client.update.name} clients, "
        f"{loaded.model.name} on {data['dataset']} ({data['partition']['name']}), {loaded.rounds} rounds."
    )


@app.command()
def partition(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the classes of every client (.png, .svg, .pdf)."),
    ] = None,
) -> None:
    """Show how a scenario divides its data over clients, without training.

    SCENARIO is a YAML file or a shipped name: fedbal list scenarios

    Examples
    --------
        fedbal partition quickstart
        fedbal partition quickstart --set data.partition.alpha=0.1 --plot clients.png
    """
    from fedbal.cli_partition import show_partition
    from fedbal.scenario import load

    show_partition(load(scenario, changes or ()), plot)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="KIND", show_default=False)],
) -> None:
    """List what scenarios can choose from, one line each, with the paper.

    KIND is one of strategies, updates, losses, optimizers, datasets, partitions,
    quantities, models, scenarios.

    Examples
    --------
        fedbal list strategies
        fedbal list scenarios
    """
    from fedbal.cli_list import print_list

    print_list(kind)


@app.command()
def show(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
) -> None:
    """Show where a run stands: status, last rounds, recall of each class.

    DIR is a run directory, finished or still running.

    Example:

        fedbal show runs/quickstart-20250101-120000
    """
    from fedbal.cli_run import show_run

    show_run(directory)


@app.command()
def explain(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    round_: Annotated[
        int | None,
        typer.Option("--round", metavar="N", help="Which round; the latest finished one if left out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Explain a round: what each client holds, the weight it got and would get from FedAvg, and why.

    DIR is a run directory, finished or still running.

    Examples
    --------
        fedbal explain runs/quickstart-20250101-120000
        fedbal explain runs/quickstart-20250101-120000 --round 12 --json
    """
    from fedbal.cli_explain import print_explanation

    print_explanation(directory, round_, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON schema of scenario files, for editors.

    Example:

        fedbal schema > scenario.schema.json

    A scenario that begins with the line `# yaml-language-server: $schema=scenario.schema.json` is then
    completed and checked while you type.
    """
    import json

    from fedbal.scenario import json_schema

    say(json.dumps(json_schema(), indent=2))


cli_calibrate.register(app)
cli_compare.register(app)
cli_contribution.register(app)
cli_replay.register(app)
cli_stats.register(app)
cli_tools.register(app)
cli_deploy.register(app)
cli_manifest.register(app)
cli_provision.register(app)
cli_doctor.register(app)


def main() -> None:
    """Run the command line."""
    app(prog_name="fedbal")
