"""What leaves a site under each rule of a comparison, as rules, updates, losses and measures declare it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fedbal.comparison.history import scenario_of
from fedbal.comparison.records import Method, RunRecord
from fedbal.comparison.tables import Sheet
from fedbal.errors import FedbalError
from fedbal.protocol import PERSONAL, Disclosure
from fedbal.scenario import from_mapping

EVERY = "every rule"
POOLED = Disclosure(
    "training samples",
    "all of them",
    "once, before the first round",
    "everything: the row shows what pooled data would give",
)


def leaving(methods: Iterable[Method], records: Iterable[RunRecord]) -> Sheet:
    """Return what each method sends beyond weights and the sample count.

    Parameters
    ----------
    methods : iterable of Method
        As declared.
    records : iterable of RunRecord
        Their runs; a method without a run directory is left out.
    """
    directories = {record.method: record.directory for record in records if record.directory is not None}
    found: dict[str, tuple[Disclosure, ...] | str] = {}
    for method in methods:
        if (directory := directories.get(method.label)) is not None:
            try:
                found[method.label] = disclosures(scenario_of(directory))
            except (FedbalError, OSError) as error:
                # A rule of one's own whose file has moved since.
                found[method.label] = f"unknown: {error}"
    known = [entries for entries in found.values() if not isinstance(entries, str) and POOLED not in entries]
    common = [entry for entry in (known[0] if known else ()) if all(entry in entries for entries in known)]
    rows = [(EVERY, *_cells(entry)) for entry in common] if len(known) > 1 else []
    for label, entries in found.items():
        if isinstance(entries, str):
            rows.append((label, entries, "", "", ""))
            continue
        own = [entry for entry in entries if entry not in common or len(known) == 1]
        rows += [(label, *_cells(entry)) for entry in own] or [(label, "nothing more", "", "", "")]
    return Sheet(
        "What leaves a site beyond weights and the sample count",
        ("rule", "what", "size", "when", "what its reader learns"),
        tuple(rows),
    )


def disclosures(resolved: Mapping[str, Any]) -> tuple[Disclosure, ...]:
    """Return everything that clients of a run send beyond weights and the sample count.

    Parameters
    ----------
    resolved : mapping
        The run's scenario, every default filled in.
    """
    from clients import LOSSES, UPDATES
    from clients.base import ClientUpdate
    from clients.preprocess import DISCLOSURES
    from fedbal.measures import measures_for
    from fedbal.virtual import create
    from strategies import STRATEGIES
    from strategies.base import AggregationRule

    scenario = from_mapping(resolved)
    if scenario.strategy.name == "centralised":
        return (POOLED,)
    # Stock strategies of Flower ask for nothing of their own.
    kind = STRATEGIES.load(scenario.strategy.name)
    rule = isinstance(kind, type) and issubclass(kind, AggregationRule)
    manifest = create(STRATEGIES, scenario.strategy).manifest if rule else ()
    loss = create(LOSSES, scenario.client.loss)
    update = create(UPDATES, scenario.client.update, loss)
    measured = measures_for(scenario.data.task, 2).discloses
    if type(update).personal is ClientUpdate.personal:
        measured = tuple(entry for entry in measured if not entry.name.startswith(PERSONAL))
    prepared = DISCLOSURES if scenario.data.preprocess is not None else ()
    sent = (*manifest, *update.discloses, *getattr(loss, "discloses", ()), *measured, *prepared)
    return tuple(dict.fromkeys(sent))


def _cells(entry: Disclosure) -> tuple[str, str, str, str]:
    return entry.name, entry.size, entry.frequency, entry.privacy
