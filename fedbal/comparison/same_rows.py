"""Personal models against the baseline on the same rows: the clients' own test rows, not the global ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedbal.comparison.outcomes import on_clients, values_of
from fedbal.comparison.records import Method, Protocol, RunRecord
from fedbal.comparison.statistics.analysis import analyse
from fedbal.comparison.statistics.results import Analysis, Contrast


def on_the_same_rows(analysis: Analysis, protocol: Protocol, records: Sequence[RunRecord]) -> Analysis:
    """Replace the contrasts of reference rows that have no common model.

    Such a row is measured on the clients' own test rows, which hold the classes that the client has and are easier
    than the global test set. So it is compared with the baseline's common model on these rows, not with the
    baseline's primary outcome.

    Parameters
    ----------
    analysis : Analysis
        All verdicts.
    protocol : Protocol
        What was declared.
    records : sequence of RunRecord
        The runs.

    Returns
    -------
    Analysis
        With such contrasts among ``references``, and a note; without any where the baseline's model was not
        evaluated on clients. Nothing else is changed.
    """
    own = [method for method in protocol.methods if method.reference and method.tests.startswith("personal.")]
    if not own:
        return analysis
    made = [contrast for method in own for contrast in _against(method, analysis, protocol, records)]
    labels = [method.label for method in own]
    kept = [contrast for contrast in analysis.references if contrast.method not in labels]
    order = {method.label: place for place, method in enumerate(protocol.methods)}
    references = sorted(
        [*kept, *made],
        key=lambda one: (protocol.datasets.index(one.dataset), order[one.method]),
    )
    note = (
        f"{' and '.join(labels)}: means are of the clients' own models on their own test rows, and differences are "
        f"from {protocol.baseline}'s common model on the same rows."
    )
    return replace(analysis, references=tuple(references), notes=(*analysis.notes, note))


def _against(
    method: Method, analysis: Analysis, protocol: Protocol, records: Sequence[RunRecord]
) -> tuple[Contrast, ...]:
    personal, common = values_of(records, method.tests), values_of(records, on_clients(method.tests))
    values = {
        dataset: {
            protocol.baseline: common.get(dataset, {}).get(protocol.baseline, {}),
            method.label: personal.get(dataset, {}).get(method.label, {}),
        }
        for dataset in protocol.datasets
    }
    paired = {
        dataset: found
        for dataset, found in values.items()
        if set(found[protocol.baseline]) & set(found[method.label])
    }
    if not paired:
        return ()
    return analyse(
        paired,
        methods=[protocol.baseline],
        baseline=protocol.baseline,
        references=[method.label],
        higher=protocol.primary.higher,
        margin=protocol.margin,
        alpha=protocol.alpha,
    ).references
