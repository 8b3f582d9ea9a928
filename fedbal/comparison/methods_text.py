"""The protocol of a comparison in prose, as a paper's methods section states it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fedbal.comparison.compared import Compared
from fedbal.comparison.records import Protocol

SOURCES = (
    "Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979; "
    "Schuirmann, A comparison of the two one-sided tests procedure and the power approach, "
    "J. Pharmacokinet. Biopharm. 15, 1987"
)
SPENDING = "Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70, 1983"


def methods_text(compared: Compared) -> list[str]:
    """Return paragraphs on what was compared, how runs were paired and measured, and how verdicts were made.

    Parameters
    ----------
    compared : Compared
        The comparison.
    """
    protocol = compared.protocol
    parts = [
        _what(protocol),
        _outcome(protocol),
        compared.pairing.sentence,
        _tests(compared),
        _runs(compared),
    ]
    if compared.tuning is not None:
        parts.append(tuning_text(compared))
    sources = f"{SOURCES}; {SPENDING}" if len(protocol.looks) > 1 else SOURCES
    return [*parts, f"Sources: {sources}."]


def tuning_text(compared: Compared) -> str:
    """Return one paragraph on how methods were tuned; empty if they were not."""
    tuning = compared.tuning
    if tuning is None:
        return ""
    tuned = ", ".join(tuning["methods"])
    return (
        f"Each of {tuned} was tuned with the same budget: {_count(tuning['trials'], 'trial')} of "
        f"{_count(tuning['rounds'], 'round')} each, the first with the values as declared and the others by "
        f"{tuning['sampler']}, scored by {words(tuning['metric'])} on the clients' {tuning['samples']} pooled "
        f"validation rows with training seed {tuning['training_seed']}, which no run of the comparison uses. "
        "The test rows were not read."
    )


def declared_text(protocol: Protocol) -> str:
    """Return the declared primary outcome, margin and level in one or two sentences."""
    return (
        f"Declared before the runs: primary outcome {protocol.primary.label} ({window_text(protocol)}), baseline "
        f"{protocol.baseline}, margin {margin_text(protocol)}, family-wise error {protocol.alpha:g}, "
        f"{_count(protocol.planned_seeds or len(protocol.seeds), 'seed')}. Everything else is exploratory."
    )


def window_text(protocol: Protocol) -> str:
    """Return over which rounds the primary outcome is averaged."""
    if protocol.primary.share == 0.0:
        return "last evaluated round"
    return f"mean over the evaluated rounds in the last {100 * protocol.primary.share:g} % of all rounds"


def margin_text(protocol: Protocol) -> str:
    """Return the margin in the outcome's unit."""
    if protocol.primary.percent:
        return f"{100 * protocol.margin:g} percentage points"
    return f"{protocol.margin:g}"


def words(name: str) -> str:
    """Return a metric's name as it is read: ``balanced accuracy``."""
    return name.rpartition(".")[2].replace("_", " ")


def _what(protocol: Protocol) -> str:
    rules = [method.label for method in protocol.methods if not method.reference]
    references = [method.label for method in protocol.methods if method.reference]
    others = [label for label in rules if label != protocol.baseline]
    text = (
        f"We compared {_list(others)} with {protocol.baseline} as the baseline, each with "
        f"{_count(len(protocol.seeds), 'seed')}"
    )
    if len(protocol.datasets) > 1:
        text += f" on {len(protocol.datasets)} variations of the data ({_list(protocol.datasets)})"
    text += "."
    if references:
        text += f" For reference we also ran {_list(references)}."
    if protocol.budget is not None:
        unit, amount = protocol.budget
        text += f" Every run was read up to a budget of {amount:g} {unit.replace('_', '-')}."
    return text


def _outcome(protocol: Protocol) -> str:
    direction = "higher" if protocol.primary.higher else "lower"
    return (
        f"The one primary outcome was {protocol.primary.label}, {window_text(protocol)}; {direction} is better. "
        "All other outcomes are exploratory and were not tested."
    )


def _tests(compared: Compared) -> str:
    protocol, analysis = compared.protocol, compared.analysis
    family = len({contrast.method for contrast in analysis.contrasts})
    text = (
        "Differences from the baseline were taken seed by seed. We report their mean with Student's 95 % interval "
        "and an exact two-sided sign-flip test, adjusted by Holm's procedure over the "
        f"{_count(family, 'rule')} of a data set. A rule is called better or worse if its adjusted p is at most "
        "the level of the look, equivalent if two one-sided tests place the difference within "
        f"{margin_text(protocol)} of zero at that level, and undecided otherwise. The family-wise error was set "
        f"to {protocol.alpha:g}."
    )
    if len(protocol.looks) > 1:
        looks = _list([f"{look.seeds} (level {look.alpha:.2g})" for look in protocol.looks])
        text += (
            f" {_count(protocol.planned_seeds, 'seed')} were planned; results were looked at after {looks} seeds, "
            "with the error spent by an O'Brien-Fleming-like spending function."
        )
    if analysis.smallest_p is not None:
        text += f" The smallest adjusted p that this design can reach is {analysis.smallest_p:.2g}."
    return text


def _runs(compared: Compared) -> str:
    count = Counter(record.status for record in compared.records)
    text = f"There were {_count(len(compared.records), 'run')}."
    if count["diverged"]:
        text += f" {count['diverged']} diverged and count at chance level."
    if count["failed"]:
        text += f" {count['failed']} failed and have no value."
    if count["open"]:
        text += f" {count['open']} have not been run to their end."
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _list(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items) or "nothing"
    return f"{', '.join(items[:-1])} and {items[-1]}"
