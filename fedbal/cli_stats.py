"""``fedbal stats``: the verdicts of a comparison on anyone's results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedbal.errors import UsageError
from fedbal.terminal import MISSING, say, table

if TYPE_CHECKING:
    from fedbal.comparison.given import Given, Outcomes
    from fedbal.comparison.statistics.results import Analysis, Contrast

BASELINE = "fedavg"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("stats")(stats)


def stats(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What verdicts are about. Repeatable: the others are exploratory; default: all others are.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline", metavar="METHOD", help="What all others are compared with; default fedavg."
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="METHOD", help="Shown beside, outside the tests. Repeatable."),
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", metavar="X", min=0.0, help="Largest difference that is equivalent.")
    ] = 0.005,
    alpha: Annotated[
        float, typer.Option("--alpha", metavar="A", help="Chance of any wrong verdict on a data set.")
    ] = 0.05,
    lower: Annotated[bool, typer.Option("--lower-is-better", help="As for a loss or a time.")] = False,
    planned: Annotated[
        int | None,
        typer.Option("--planned", metavar="N", min=1, help="Seeds that were planned, if more are to come."),
    ] = None,
    chance: Annotated[
        float | None,
        typer.Option("--chance", metavar="X", help="What a diverged run counts as (column status)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare methods from a table of results: paired tests, effect sizes, verdicts in words.

    FILE is a CSV file with one row a run and the columns method, seed, value; dataset and metric if there are
    several. Runs of one seed are pairs. A column round (a row for each round) and a column status are understood.

    Examples
    --------
        fedbal stats results.csv
        fedbal stats results.csv --metric accuracy --baseline erm --margin 0.01
        fedbal stats results.csv --metric loss --lower-is-better --json
    """
    from fedbal.comparison import given, statistics
    from fedbal.comparison.statistics.analysis import analyse

    if not 0.0 < alpha < 1.0:
        raise UsageError(f"--alpha is {alpha}; give a number between 0 and 1, such as 0.05.")
    statistics.require()
    found = given.read(file)
    names = _metrics(found, metric or [], file)
    against, beside = _sides(found, names[0], baseline, reference or [], file)
    if found.diverged and chance is None:
        dataset, method, seed = min(found.diverged)
        where = f" on {dataset}" if dataset else ""
        raise UsageError(
            f"seed {seed} of {method}{where} diverged; say with --chance what a diverged run counts as, such as "
            "0.1 for the accuracy of guessing one of 10 classes."
        )
    outcomes = {name: found.outcomes(name, chance if name == names[0] else None) for name in names}
    notes = list(found.notes)
    if found.diverged:
        notes.append(f"Runs that diverged: {len(found.diverged)}; each counts with {chance:g}.")
    results = {
        name: analyse(
            outcomes[name],
            methods=found.methods,
            baseline=against,
            references=beside,
            higher=not lower,
            margin=margin,
            alpha=alpha,
            planned_seeds=planned,
            independent=True,
        )
        for name in names
    }
    primary, *others = names
    if as_json:
        _print_json(results, primary, notes)
        return
    _print_primary(results[primary], outcomes[primary], primary, notes)
    for name in others:
        _print_exploratory(results[name], name)


def _metrics(found: Given, wanted: Sequence[str], file: Path) -> list[str]:
    """Return the primary metric, then those to explore."""
    there = list(found.metrics)
    if not there:
        raise UsageError(f"{file} has no run that came to an end.")
    unknown = [name for name in wanted if name not in there]
    if unknown:
        shown = ", ".join(there) if there != [""] else "no column metric"
        raise UsageError(f"--metric {unknown[0]}: {file} has {shown}.")
    if not wanted and len(there) > 1:
        raise UsageError(
            f"{file} has several metrics ({', '.join(there)}); say with --metric which one verdicts are about. "
            "The others are shown as exploratory."
        )
    first = list(dict.fromkeys(wanted)) or there
    return first if len(first) > 1 else [*first, *(name for name in there if name not in first)]


def _sides(
    found: Given, metric: str, baseline: str | None, references: Sequence[str], file: Path
) -> tuple[str, list[str]]:
    """Return baseline and reference rows, checked."""
    there = found.methods
    listed = ", ".join(there)
    for option, name in (("--baseline", baseline), *(("--reference", one) for one in references)):
        if name is not None and name not in there:
            raise UsageError(f"{option} {name}: {file} has the methods {listed}.")
    if baseline is None and BASELINE not in there:
        raise UsageError(f"say with --baseline what to compare with; {file} has the methods {listed}.")
    against = baseline or BASELINE
    if len(there) < 2:
        raise UsageError(f"{file} has one method only ({listed}); a comparison needs two.")
    if against in references:
        raise UsageError(f"{against} is both --baseline and --reference; name it once.")
    if not any(against in found.metrics[metric][dataset] for dataset in found.metrics[metric]):
        raise UsageError(f"{file} has no value of {against}, the baseline, for the metric {metric}.")
    return against, list(references)


def _print_primary(analysis: Analysis, outcomes: Outcomes, metric: str, notes: Sequence[str]) -> None:
    from fedbal.comparison.statistics.words import sentences

    for dataset, found in outcomes.items():
        contrasts = {
            one.method: one for one in (*analysis.contrasts, *analysis.references) if one.dataset == dataset
        }
        references = {one.method for one in analysis.references}
        means = {method: sum(own.values()) / len(own) for method, own in found.items()}
        order = sorted(
            means, key=lambda one: (one in references, -means[one] if analysis.higher else means[one])
        )
        rows = [
            _row(
                method,
                means[method],
                len(found[method]),
                contrasts.get(method),
                method in references,
                analysis,
            )
            for method in order
        ]
        title = " on ".join(part for part in (metric or "value", dataset) if part)
        headers = ["method", "mean", f"difference from {analysis.baseline} [95 %]", "adjusted p", "d_z"]
        table([*headers, "rank-biserial", "pairs", "verdict"], rows, title=title)
        say()
    if analysis.ranks:
        ranked = sorted(analysis.ranks.items(), key=lambda item: item[1])
        say("mean ranks: " + ", ".join(f"{method} {rank:.2f}" for method, rank in ranked))
    if analysis.critical_difference is not None:
        say(f"critical difference of mean ranks (Nemenyi): {analysis.critical_difference:.2f}")
    for text in (*sentences(analysis, label=metric), *notes):
        say(text)


def _row(
    method: str, mean: float, seeds: int, contrast: Contrast | None, reference: bool, analysis: Analysis
) -> list[str]:
    from fedbal.comparison.statistics.notes import plain

    name = f"{method} (reference)" if reference else method
    if contrast is None:
        verdict = "baseline" if method == analysis.baseline else MISSING
        return [name, f"{mean:#.4g}", MISSING, MISSING, MISSING, MISSING, f"{seeds}", verdict]
    p = f"({plain(contrast.p)})" if reference else plain(contrast.p_adjusted)
    effects = [MISSING if one is None else f"{one:.2f}" for one in (contrast.d_z, contrast.rank_biserial)]
    return [name, f"{mean:#.4g}", _difference(contrast), p, *effects, f"{contrast.seeds}", contrast.verdict]


def _difference(contrast: Contrast) -> str:
    text = f"{contrast.difference:+.3g}"
    return text if contrast.low is None else f"{text} [{contrast.low:.3g}, {contrast.high:.3g}]"


def _print_exploratory(analysis: Analysis, metric: str) -> None:
    from fedbal.comparison.statistics.notes import plain

    say()
    rows = [
        [
            one.dataset or MISSING,
            one.method,
            f"{one.mean:#.4g}",
            _difference(one),
            plain(one.p),
            f"{one.seeds}",
        ]
        for one in (*analysis.contrasts, *analysis.references)
    ]
    headers = ["data set", "method", "mean", f"difference from {analysis.baseline} [95 %]", "p, unadjusted"]
    table([*headers, "pairs"], rows, title=f"{metric}: exploratory, no verdicts")


def _print_json(results: Mapping[str, Analysis], primary: str, notes: Sequence[str]) -> None:
    from fedbal.comparison.statistics.words import sentences

    analysis = results[primary]
    content: dict[str, Any] = {
        "metric": primary,
        "analysis": asdict(analysis),
        "sentences": [*sentences(analysis, label=primary), *notes],
        "exploratory": {
            name: [asdict(one) for one in (*other.contrasts, *other.references)]
            for name, other in results.items()
            if name != primary
        },
    }
    for contrasts in content["exploratory"].values():
        for contrast in contrasts:
            for judgement in (
                "verdict",
                "seeds_needed",
                "p_adjusted",
                "p_equivalence_adjusted",
                "decided_at",
            ):
                del contrast[judgement]
    say(json.dumps(content, indent=2, allow_nan=False))
