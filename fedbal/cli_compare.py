"""``fedbal compare`` and ``fedbal merge``: rules on the same seeds, with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedbal.errors import UsageError
from fedbal.terminal import duration, say, warn

if TYPE_CHECKING:
    from fedbal.comparison.compare import Prepared
    from fedbal.comparison.compared import Compared

LONG_SECONDS = 600.0
"""Estimates beyond this are asked about on a terminal."""

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the scenario for all sides. Repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("compare")(compare)
    app.command("merge")(merge)


def compare(
    scenario: Annotated[str | None, typer.Argument(metavar="[SCENARIO]", show_default=False)] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            metavar="A,B,...",
            help="What is compared: shipped rules, blocks such as {name: fedprox, mu: 1}, your own rules as "
            "./file.py:Class, or {label: ..., set: {key: value}}.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="0-9", help="Seeds of every rule: 0-9, or 0-4,7.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=A,B",
            help="Values of a key; every combination is a data set of its own. Repeatable. A key of strategy "
            "makes further rules.",
        ),
    ] = None,
    changes: SetOption = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="NAME", help="What all others are compared with.")
    ] = None,
    primary: Annotated[
        str | None,
        typer.Option(
            "--primary", metavar="PLACE", help="The outcome of the verdicts: test.balanced_accuracy."
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", metavar="X", help="Largest difference that counts as equivalent."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="B",
            help="Time limit of all runs (10m), or an equal budget of each: rounds=50, bytes=200MB, "
            "client_seconds=600.",
        ),
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option(
            "--tune", metavar="N", help="Trials of each rule on validation rows before the comparison."
        ),
    ] = None,
    references: Annotated[
        bool, typer.Option("--references/--no-references", help="Reference rows beside the rules.")
    ] = True,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes; default: one a CPU.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="A", help="Run on this Ray cluster instead; auto finds one."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Run one of N shares only; join them with fedbal merge."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The comparison's directory; default runs/compare-<name>."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Go on with a comparison; with --seeds, add seeds."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and leave.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin long comparisons without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict in words only.")] = False,
) -> None:
    """Run rules on the same seeds and say which differ, with a report.

    SCENARIO is a YAML file or a shipped name: fedbal list scenarios. Its compare: section, if it has one, says
    what is compared; flags replace what it says. Runs that are there already are never run again.

    Examples
    --------
        fedbal compare quickstart
        fedbal compare quickstart --strategies fedavg,fedprox,feddisco --seeds 0-4
        fedbal compare quickstart --strategies fedavg,./my_rule.py:MyRule --budget 10m
        fedbal compare quickstart --vary data.partition.alpha=0.1,0.5,5
        fedbal compare my.yaml --tune 12 --margin 0.01 --out runs/mine
        fedbal compare --resume runs/mine --seeds 0-19
    """
    flags = {
        "strategies": None if strategies is None else _list("--strategies", strategies),
        "seeds": seeds,
        "vary": _axes(vary) if vary else None,
        "baseline": baseline,
        "primary": primary,
        "margin": margin,
        "budget": budget,
        "tune": tune,
        "references": None if references else False,
        "workers": workers,
    }
    if resume is not None:
        prepared = _again(scenario, resume, flags, refused={"--set": changes, "--out": out, "--shard": shard})
    else:
        prepared = _fresh(scenario, changes or (), flags, out, shard or "")
    _show_plan(prepared, quiet=quiet or as_json)
    if dry_run:
        if as_json:
            _print_json(_plan_json(prepared))
        return
    _ask(prepared, asked=not (yes or quiet or as_json))
    from fedbal.comparison import compare as comparing
    from fedbal.comparison.watch import watcher

    left = comparing.run(prepared, cluster=address, watch=watcher(quiet=quiet or as_json))
    path = prepared.store.path
    if prepared.shard:
        _print_shard(prepared, as_json=as_json)
        return
    _print_compared(comparing.judge(path, left=left), as_json=as_json, quiet=quiet)


def merge(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Directory of the whole comparison.", show_default=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict in words only.")] = False,
) -> None:
    """Join the shards of a comparison and say which rules differ.

    DIR... are the directories that fedbal compare --shard left.

    Example:

        fedbal merge runs/compare-quickstart-shard-* --out runs/compare-quickstart
    """
    from fedbal.comparison import compare as comparing
    from fedbal.comparison.shards import join

    missing = join(directories, out)
    if missing:
        warn(f"note: {missing} runs are in no shard yet; fedbal compare --resume {out} runs them.")
    _print_compared(comparing.judge(out), as_json=as_json, quiet=quiet)


def _fresh(
    scenario: str | None, changes: Sequence[str], flags: dict[str, Any], out: Path | None, shard: str
) -> Prepared:
    if scenario is None:
        raise UsageError(
            "give a scenario (a YAML file or a shipped name, see `fedbal list scenarios`), or --resume DIR."
        )
    from fedbal.comparison.base import open_base
    from fedbal.comparison.declaration import declare

    declaration = declare(open_base(scenario, changes), flags)
    from fedbal.comparison.compare import prepare

    return prepare(declaration, out, shard=shard)


def _again(scenario: str | None, directory: Path, flags: dict[str, Any], refused: dict[str, Any]) -> Prepared:
    from fedbal.comparison.block import parse_budget, parse_seeds

    fixed = {key: value for key, value in flags.items() if key not in ("seeds", "workers", "budget")}
    given = [f"--{key.replace('references', 'no-references')}" for key in fixed if fixed[key] is not None]
    given += [name for name, value in refused.items() if value]
    if scenario is not None or given:
        what = given[0] if given else f"the scenario {scenario}"
        raise UsageError(
            f"--resume goes on with what was declared and takes no {what.removeprefix('the ')}; it takes --seeds, "
            "--workers and a time limit as --budget."
        )
    try:
        found = None if flags["seeds"] is None else parse_seeds(flags["seeds"])
        unit, amount = parse_budget(flags["budget"]) if flags["budget"] else ("seconds", None)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if unit != "seconds":
        raise UsageError("--budget: with --resume it can be a time limit only, such as 10m.")
    from fedbal.comparison.compare import prepare_again

    return prepare_again(directory, {"seeds": found, "workers": flags["workers"], "seconds": amount})


def _list(flag: str, text: str) -> list[Any]:
    """Read ``a,{name: b, mu: 1}`` as a list in YAML's flow style."""
    from fedbal.yaml_source import parse

    document = parse(f"[{text}]", flag, lines=False)
    if document.problems:
        raise UsageError("\n".join(str(problem) for problem in document.problems))
    if not isinstance(document.value, list) or not document.value:
        raise UsageError(f"{flag} {text}: write values with commas between them.")
    return document.value


def _axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    axes: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not key.strip() or not values.strip():
            raise UsageError(
                f"--vary {text}: write key=value,value, as in --vary data.partition.alpha=0.1,0.5."
            )
        if key.strip() in axes:
            raise UsageError(f"--vary {text}: {key.strip()} is varied twice; name all its values at once.")
        axes[key.strip()] = _list(f"--vary {key.strip()}", values)
    return axes


def _show_plan(prepared: Prepared, *, quiet: bool) -> None:
    from fedbal.comparison.outlook import lines, warnings

    if not quiet:
        say(f"{prepared.plan.protocol.name} -> {prepared.store.path}")
        for line in lines(prepared.plan, prepared.outlook, shard=prepared.shard):
            say(line)
    for note in (*prepared.plan.declaration.notes, *warnings(prepared.plan, prepared.outlook)):
        warn(f"note: {note}")


def _ask(prepared: Prepared, *, asked: bool) -> None:
    """Ask before a long comparison, on a terminal only."""
    import sys

    seconds = prepared.outlook.seconds
    limit = prepared.plan.declaration.seconds
    if not asked or seconds is None or min(seconds, limit or seconds) < LONG_SECONDS:
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(f"This takes about {duration(round(seconds))}. Begin?", abort=True)


def _print_shard(prepared: Prepared, *, as_json: bool) -> None:
    if as_json:
        _print_json(_plan_json(prepared))
        return
    say(f"shard {prepared.shard} is done: {prepared.store.path}; join all shards with fedbal merge.")


def _print_compared(compared: Compared, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        _print_json(compared.to_mapping())
    elif quiet:
        from fedbal.comparison.said import everything

        for sentence in everything(compared):
            say(sentence)
    else:
        from fedbal.comparison.tables import print_ranked

        say()
        print_ranked(compared)
        say(f"report: {compared.directory / 'report.html'}")


def _plan_json(prepared: Prepared) -> dict[str, Any]:
    from dataclasses import asdict

    from fedbal.comparison.outlook import warnings
    from fedbal.comparison.store import to_mapping

    return {
        "directory": str(prepared.store.path),
        "outlook": asdict(prepared.outlook),
        "warnings": warnings(prepared.plan, prepared.outlook),
        **to_mapping(prepared.plan, prepared.shard),
    }


def _print_json(content: dict[str, Any]) -> None:
    from fedbal.results import to_json

    say(to_json(content))
