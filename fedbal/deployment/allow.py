"""What a site allows to leave it: narrower than the run's manifest, if its owner says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fedbal.deployment.items import (
    CLASS_COUNTS,
    CONFUSION,
    JOIN,
    LABEL_COUNTS,
    MODEL,
    PSEUDO,
    SAMPLES,
    TRAIN_LOSS,
    TRAINING,
)
from fedbal.errors import UsageError

if TYPE_CHECKING:
    from fedbal.deployment.manifest import Manifest

SMALL_COUNTS = "small-counts"
SMALLEST = 10
"""Class counts below it are suppressed unless the site allows them: few rows may be told apart."""
GROUPS = {
    "label-histograms": (LABEL_COUNTS, CLASS_COUNTS, CONFUSION),
    "pseudo-images": (PSEUDO,),
    "statistics": ("moments", "histogram", "transform"),
}
"""Names for what belongs together."""
_ALWAYS = (MODEL, SAMPLES, TRAIN_LOSS, JOIN)
_FALSE, _TRUE = ("no", "false", "off"), ("yes", "true", "on")


@dataclass(frozen=True)
class Allowed:
    """What a site allows.

    Attributes
    ----------
    refused : frozenset of str
        Names of items that do not leave it.
    small_counts : bool
        Whether class counts below 10 do.
    """

    refused: frozenset[str] = frozenset()
    small_counts: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read ``--allow NAME=yes|no``; later ones win.

        Raises
        ------
        UsageError
            Another form, or an item without which there is no run.
        """
        refused: set[str] = set()
        small = False
        for text in texts:
            name, _, value = text.partition("=")
            if not name or value not in (*_FALSE, *_TRUE):
                raise UsageError(
                    f"--allow {text!r}: NAME=yes or NAME=no is needed, as in label-histograms=no."
                )
            if name in _ALWAYS:
                raise UsageError(
                    f"--allow {text!r}: without {name} there is no run; do not start the site instead."
                )
            if name == SMALL_COUNTS:
                small = value in _TRUE
            elif value in _FALSE:
                refused |= {name, *GROUPS.get(name, ())}
            else:
                refused -= {name, *GROUPS.get(name, ())}
        return cls(frozenset(refused), small)

    def permits(self, name: str) -> bool:
        """Tell whether an item may leave."""
        return name not in self.refused

    def missing(self, manifest: Manifest) -> list[str]:
        """Return what training needs and this site does not allow."""
        return [item.name for item in manifest.items if item.why == TRAINING and not self.permits(item.name)]

    def unknown(self, manifest: Manifest) -> list[str]:
        """Return what was refused by a name that no item of the manifest has."""
        groups = {name for members in GROUPS.values() for name in members} | set(GROUPS)
        return sorted(self.refused - manifest.names - groups)

    def told(self, counts: Sequence[int]) -> tuple[int | None, ...]:
        """Return class counts as they may be told: None for one that is too small to."""
        if self.small_counts:
            return tuple(counts)
        return tuple(None if count < SMALLEST else count for count in counts)

    def counted(self, counts: Sequence[float]) -> list[float]:
        """Return class counts that a rule calculates with: 0 for one that is too small to be told."""
        if self.small_counts:
            return list(counts)
        return [type(count)(0) if count < SMALLEST else count for count in counts]
