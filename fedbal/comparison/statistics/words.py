"""Verdicts in words: one sentence a contrast, and what a reader must know beside it."""

from __future__ import annotations

from fedbal.comparison.statistics.notes import cannot, plain
from fedbal.comparison.statistics.power import smallest_p
from fedbal.comparison.statistics.results import Across, Analysis, Contrast


def sentence(contrast: Contrast, analysis: Analysis, *, label: str = "", percent: bool = False) -> str:
    """Say in one sentence how a method stands to the baseline.

    Parameters
    ----------
    contrast : Contrast
        One of the analysis, or of its reference rows.
    analysis : Analysis
        What it belongs to.
    label : str
        The outcome's name: ``balanced accuracy``.
    percent : bool
        Whether the outcome is a share, told in percentage points.

    Examples
    --------
    ``fedprox is better than fedavg by 3.1 points of balanced accuracy [1.0, 5.2], adjusted p .012, 10 seeds.``
    """
    reference = contrast not in analysis.contrasts
    start = f"On {contrast.dataset}, " if contrast.dataset else ""
    unit = (" points" if percent else "") + (f" of {label}" if label and percent else "")
    method, baseline = contrast.method, contrast.baseline
    p = f"p {plain(contrast.p)}" if reference else f"adjusted p {plain(contrast.p_adjusted)}"
    seeds = f"{contrast.seeds} seed{'s' if contrast.seeds != 1 else ''}"
    outcome = f" in {label}" if label and not percent else ""
    if contrast.verdict in ("better", "worse"):
        gain = 1.0 if contrast.difference >= 0.0 else -1.0
        amount = _amount(contrast, gain, percent, sign=False)
        text = (
            f"{method} is {contrast.verdict} than {baseline}{outcome} by {amount.replace(' ', unit + ' ', 1)}"
        )
        text = f"{text}, {p}, {seeds}"
    elif contrast.verdict == "equivalent":
        amount = _amount(contrast, 1.0, percent, sign=True).replace(" ", unit + " ", 1)
        within = f"{_number(analysis.margin, percent)}{' points' if percent else ''}"
        value = contrast.p_equivalence if reference else contrast.p_equivalence_adjusted
        adjusted = "" if reference else "adjusted "
        text = f"{method} and {baseline} are equivalent{outcome} within {within}: difference {amount}"
        text = f"{text}, {adjusted}p of equivalence {plain(value)}, {seeds}"
    else:
        amount = _amount(contrast, 1.0, percent, sign=True).replace(" ", unit + " ", 1)
        text = f"{method} against {baseline}{outcome} is undecided: difference {amount}, {p}, {seeds}"
        text += _why(
            contrast, 1 if reference else analysis.family, analysis.alpha if reference else analysis.level
        )
    if contrast.decided_at is not None:
        text += f" (decided at the look at {contrast.decided_at} seeds)"
    return start + text + "."


def sentences(analysis: Analysis, *, label: str = "", percent: bool = False) -> tuple[str, ...]:
    """Say every verdict, those of reference rows after the others, then pairs over data sets, then the notes.

    Parameters
    ----------
    analysis : Analysis
        All verdicts.
    label, percent
        As for :func:`sentence`.
    """
    found = [sentence(one, analysis, label=label, percent=percent) for one in analysis.contrasts]
    found += [
        f"Reference: {sentence(one, analysis, label=label, percent=percent)}" for one in analysis.references
    ]
    notes = [
        f"{one.method} against {one.baseline}{f' on {one.dataset}' if one.dataset else ''}: {note}"
        for one in (*analysis.contrasts, *analysis.references)
        for note in one.notes
    ]
    return (*found, *(across_sentence(pair) for pair in analysis.across), *notes, *analysis.notes)


def across_sentence(pair: Across) -> str:
    """Say how two methods stand to each other over data sets.

    Parameters
    ----------
    pair : Across
        Two methods.
    """
    even = pair.datasets - pair.wins - pair.losses
    ties = f", {even} even" if even else ""
    return (
        f"Over {pair.datasets} data sets {pair.first} is ahead of {pair.second} on {pair.wins} and behind on "
        f"{pair.losses}{ties}: adjusted p {plain(pair.p_adjusted)}."
    )


def _why(contrast: Contrast, family: int, level: float) -> str:
    least = smallest_p(contrast.seeds, family)
    parts = []
    if level and least > level:
        parts.append(cannot(contrast.seeds, family, level))
    if contrast.seeds_needed is not None:
        parts.append(f"about {contrast.seeds_needed} seeds would decide")
    return "".join(f"; {part}" for part in parts)


def _amount(contrast: Contrast, gain: float, percent: bool, *, sign: bool) -> str:
    text = _number(gain * contrast.difference, percent, sign=sign)
    if contrast.low is None or contrast.high is None:
        return f"{text} (no interval)"
    ends = sorted((gain * contrast.low, gain * contrast.high))
    return f"{text} [{_number(ends[0], percent)}, {_number(ends[1], percent)}]"


def _number(value: float, percent: bool, *, sign: bool = False) -> str:
    digits = ".1f" if percent else ".3g"
    text = f"{100.0 * value if percent else value:{'+' if sign else ''}{digits}}"
    return text.replace("-0.0", "0.0").replace("+0.0", "0.0") if float(text) == 0.0 else text
