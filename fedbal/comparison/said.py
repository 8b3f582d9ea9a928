"""What a comparison says in words: the verdicts, and what a reader must know beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedbal.comparison.compared import Compared
from fedbal.comparison.ranked import ranked
from fedbal.comparison.scope import scope
from fedbal.comparison.statistics.results import Contrast
from fedbal.comparison.statistics.words import sentence


def everything(compared: Compared) -> list[str]:
    """Return all sentences below the tables: verdicts of the rules, notes, pairing, scope.

    Parameters
    ----------
    compared : Compared
        The comparison.
    """
    found = (
        verdicts(compared, dataset, compared.analysis.contrasts) for dataset in compared.protocol.datasets
    )
    return [
        headline(compared),
        *(text for part in found for _, text in part),
        *notes(compared),
        compared.pairing.sentence,
        *compared.pairing.notes,
        scope(compared.scenario, compared.protocol),
    ]


def notes(compared: Compared) -> list[str]:
    """Return what a reader of the verdicts must know: pairs that lack, runs without a result, choices made."""
    own = [f"{one.method}: {note}" for one in compared.analysis.contrasts for note in one.notes]
    return [*own, *compared.analysis.notes, *troubles(compared), *compared.notes]


def verdicts(compared: Compared, dataset: str, contrasts: Iterable[Contrast]) -> list[tuple[str, str]]:
    """Return (verdict, sentence) of every contrast on a data set, in the order of the ranked table.

    Parameters
    ----------
    compared : Compared
        The comparison.
    dataset : str
        Label of the data set.
    contrasts : iterable of Contrast
        Contrasts or reference rows of the analysis.
    """
    primary = compared.protocol.primary
    order = {row.label: at for at, row in enumerate(ranked(compared, dataset))}
    return [
        (found.verdict, sentence(found, compared.analysis, label=primary.label, percent=primary.percent))
        for found in sorted(contrasts, key=lambda found: order[found.method])
        if found.dataset == dataset
    ]


def headline(compared: Compared) -> str:
    """Return the outcome in one sentence, of all data sets together."""
    analysis = compared.analysis
    if not analysis.contrasts:
        return f"Nothing can be compared with {analysis.baseline} yet."
    several = len({found.dataset for found in analysis.contrasts}) > 1
    better = [found for found in analysis.contrasts if found.verdict == "better"]
    if better:
        names = _list(list(dict.fromkeys(_where(found, several) for found in better)))
        return f"Better than {analysis.baseline}: {names}."
    others = ", ".join(
        f"{sum(found.verdict == verdict for found in analysis.contrasts)} {verdict}"
        for verdict in ("worse", "equivalent", "undecided")
        if any(found.verdict == verdict for found in analysis.contrasts)
    )
    return f"No rule was shown to be better than {analysis.baseline}: {others}."


def troubles(compared: Compared) -> list[str]:
    """Return a sentence for each method with runs that diverged, failed or have not ended."""
    found = []
    for dataset in compared.protocol.datasets:
        where = f" on {dataset}" if dataset else ""
        for row in ranked(compared, dataset):
            parts = []
            if row.diverged:
                parts.append(f"diverged with {_seeds(row.diverged)} and counts at chance level there")
            if row.failed:
                parts.append(f"failed with {_seeds(row.failed)}")
            if row.unfinished:
                parts.append(f"has not ended with {_seeds(row.unfinished)}")
            if parts:
                found.append(f"{row.label}{where} {_list(parts)}.")
    return found


def _where(contrast: Contrast, several: bool) -> str:
    return f"{contrast.method} on {contrast.dataset}" if several else contrast.method


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
