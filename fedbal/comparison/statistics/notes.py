"""What a reader of verdicts must know beside them, and how p values and levels are written."""

from __future__ import annotations

from collections.abc import Sequence

from fedbal.comparison.records import Look
from fedbal.comparison.statistics.power import least_seeds, smallest_p
from fedbal.comparison.statistics.spending import Levels


def plain(p: float | None) -> str:
    """Write a p value as journals do: ``.012``, ``< .001``, ``1``; a dash if there is none.

    Parameters
    ----------
    p : float or None
        In [0, 1].
    """
    if p is None:
        return "-"
    if p < 0.001:
        return "< .001"
    return "1" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def level_text(p: float) -> str:
    """Write a level or an exactly known p value: ``.0625``, ``.05``, ``.0056``.

    Parameters
    ----------
    p : float
        In [0, 1].
    """
    text = f"{p:.2g}" if 0.0 < p < 0.01 else f"{p:.4f}".rstrip("0").rstrip(".")
    return text.removeprefix("0") or "0"


def look_note(spend: Levels, seeds: int, planned: int | None, alpha: float, looks: Sequence[Look]) -> str:
    """Say what this look may spend, if that is not all of alpha.

    Parameters
    ----------
    spend : Levels
        Of this look.
    seeds, planned : int
        Seeds that it sees, and that were planned.
    alpha : float
        Of all looks.
    looks : sequence of Look
        The looks before.
    """
    if spend.difference == spend.equivalence == alpha:
        return ""
    if spend.again:
        return f"An earlier look had seen these {seeds} seeds; this one spends nothing and keeps its level."
    before = "".join(
        f", after {'a look' if not at else 'one'} at {look.seeds}" for at, look in enumerate(looks)
    )
    text = (
        f"This is a look at {seeds} seeds of {planned or seeds} planned{before}: of the error of "
        f"{level_text(alpha)} it may spend {level_text(spend.difference)} on differences and "
        f"{level_text(spend.equivalence)} on equivalence."
    )
    if not spend.difference or not spend.equivalence:
        what = "differences" if spend.equivalence else "equivalence" if spend.difference else "verdicts"
        text += f" Nothing is left for new {what}: for those plan a comparison on other seeds."
    return text


def family_note(seeds: int, family: int, level: float) -> str:
    """Say that no difference can be shown, if so few seeds cannot.

    Parameters
    ----------
    seeds : int
        Pairs.
    family : int
        Methods that are compared with the baseline.
    level : float
        Of this look.
    """
    least = smallest_p(seeds, max(1, family))
    if not family or not seeds or not level or least <= level:
        return ""
    return (
        f"W{cannot(seeds, family, level)[1:]}: no method can be called better or worse; "
        f"{least_seeds(level, family)} seeds could."
    )


def missing_note(dataset: str, method: str, baseline: str, pairs: int, missing: Sequence[int]) -> str:
    """Say that seeds have no pair, if some have none.

    Parameters
    ----------
    dataset, method, baseline : str
        What is compared.
    pairs : int
        Seeds that both have.
    missing : sequence of int
        Seeds that others have.
    """
    where = f" on {dataset}" if dataset else ""
    if not pairs:
        return f"{method} and {baseline} have no seed in common{where}; they are not compared."
    if not missing:
        return ""
    listed = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    return (
        f"{method} against {baseline}{where}: {len(missing)} of {pairs + len(missing)} seeds lack a value and do "
        f"not count (seeds {listed})."
    )


def cannot(seeds: int, family: int, level: float) -> str:
    """Say that so few seeds cannot reach a level.

    Parameters
    ----------
    seeds, family : int
        Pairs, and methods that are compared with the baseline.
    level : float
        Of the family.
    """
    count, least = f"{seeds} seed{'s' if seeds != 1 else ''}", level_text(smallest_p(seeds))
    single = f"with {count} a sign-flip test cannot go below {least}"
    over = f" ({level_text(smallest_p(seeds, family))} adjusted for {family} methods)" if family > 1 else ""
    return f"{single}{over} and so cannot reach {level_text(level)}"
