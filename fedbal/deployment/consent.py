"""What a site has agreed to: manifests whose hashes are pinned in its state folder.

The worker meets a run's manifest first. It goes on if the hash is pinned or given by ``--accept``; otherwise it
tells the coordinator that it cannot take part and leaves the manifest for its supervisor, which asks on a terminal,
once, or stops the site.
"""

from __future__ import annotations

import json
import re
import select
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fedbal.errors import FedbalError, RunError, UsageError
from fedbal.results import disk_errors, write_atomically

ANY = "any"
"""``--accept any``: whatever the installed fedbal can send."""
KEPT = 50
"""Manifests that are remembered."""
TELL = 5.0
"""Seconds in which the coordinator still hears why a site leaves."""
_HASH = re.compile(r"[0-9a-f]{12,64}")


class NotAgreed(FedbalError):
    """A site was asked for what its owner has not agreed to."""

    exit_code = 3


def require_hashes(given: Sequence[str]) -> tuple[str, ...]:
    """Check what ``--accept`` was given: hashes, their first 12 digits or more, or ``any``."""
    for one in given:
        if one != ANY and not _HASH.fullmatch(one):
            raise UsageError(
                f"--accept {one!r}: the hash of a manifest is needed (`fedbal manifest` prints it), 12 hexadecimal "
                "digits or more, or any."
            )
    return tuple(given)


@dataclass(frozen=True)
class Offer:
    """A manifest that nobody has agreed to yet.

    Attributes
    ----------
    hash : str
        Of the manifest.
    lines : tuple of str
        The manifest as a person reads it.
    changes : tuple of str
        What differs from what was agreed to last; empty: nothing was.
    """

    hash: str
    lines: tuple[str, ...]
    changes: tuple[str, ...]

    @property
    def problem(self) -> str:
        """What the coordinator is told."""
        if self.changes:
            return f"what it is asked to send is not what it agreed to (manifest {self.hash[:16]})"
        return f"its owner has not agreed yet to what it is asked to send (manifest {self.hash[:16]})"

    def refusal(self) -> NotAgreed:
        """Return the error that stops the site."""
        again = f"Start the site again with --accept {self.hash} to agree."
        if not self.changes:
            told = "\n".join(self.lines)
            return NotAgreed(f"{told}\nNobody has agreed to this manifest. {again}")
        return NotAgreed(
            f"this run is not what this site agreed to: {'; '.join(self.changes)}. {again} `fedbal manifest "
            "SCENARIO` prints the whole of it."
        )


class Consent:
    """The agreements of a site.

    Parameters
    ----------
    folder : Path
        Its state folder.
    accepted : sequence of str
        Hashes, beginnings of hashes, or ``any``.
    """

    def __init__(self, folder: Path, accepted: Sequence[str] = ()) -> None:
        self._agreements = folder / "consent.json"
        self._offered = folder / "offered.json"
        self._accepted = tuple(accepted)

    def agreed(self) -> list[dict[str, Any]]:
        """Return what was agreed to, oldest first: time, hash and manifest of each."""
        try:
            found = json.loads(self._agreements.read_text(encoding="utf-8"))
            return [{key: one[key] for key in ("time", "hash", "manifest")} for one in found["agreed"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self._agreements} is damaged ({error}); remove it to be asked again."
            ) from error

    def holds(self, found: str) -> bool:
        """Tell whether a manifest's hash is pinned, or accepted on the command line."""
        return any(one["hash"] == found for one in self.agreed()) or self._takes(found)

    def pin(self, found: str, manifest: Any) -> None:
        """Remember an agreement."""
        agreed = [one for one in self.agreed() if one["hash"] != found][-KEPT + 1 :]
        when = datetime.now(UTC).isoformat(timespec="seconds")
        agreed.append({"time": when, "hash": found, "manifest": manifest})
        with disk_errors(self._agreements, "free some"):
            write_atomically(self._agreements, (json.dumps({"agreed": agreed}, indent=1) + "\n").encode())
            self._offered.unlink(missing_ok=True)

    def offer(self, offer: Offer, manifest: Any) -> None:
        """Leave a manifest for the supervisor."""
        values = {**vars(offer), "manifest": manifest}
        with disk_errors(self._offered, "free some"):
            write_atomically(self._offered, json.dumps(values).encode())

    def offered(self) -> tuple[Offer, Any] | None:
        """Return the manifest that waits, None if none does."""
        try:
            values = json.loads(self._offered.read_text(encoding="utf-8"))
            offer = Offer(str(values["hash"]), tuple(values["lines"]), tuple(values["changes"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return offer, values["manifest"]

    def forget_offer(self) -> None:
        """Remove what an earlier start was offered."""
        self._offered.unlink(missing_ok=True)

    def _takes(self, found: str) -> bool:
        return any(one == ANY or found.startswith(one) for one in self._accepted)


class Asking:
    """The supervisor's side: shows what waits and asks once, or stops the site.

    Parameters
    ----------
    consent : Consent
        The site's agreements.
    say : callable
        Prints a line.
    answer : callable, optional
        Returns a line that the person has typed since the last call, None if there is none yet; left out: reads the
        terminal, if there is one.
    """

    def __init__(
        self, consent: Consent, say: Callable[[str], None], answer: Callable[[], str | None] | None = None
    ) -> None:
        self._consent = consent
        self._say = say
        self._answer = answer or (_typed if sys.stdin is not None and sys.stdin.isatty() else None)
        self._shown = ""
        self._since = 0.0
        consent.forget_offer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consent.forget_offer()

    def step(self) -> None:
        """Look whether somebody must be asked.

        Raises
        ------
        NotAgreed
            Nobody can be, the answer is no, or what was agreed to has changed.
        """
        waiting = self._consent.offered()
        if waiting is None:
            return
        offer, manifest = waiting
        first = offer.hash != self._shown
        if first:
            self._shown, self._since = offer.hash, time.monotonic()
        if offer.changes or self._answer is None:
            if time.monotonic() - self._since >= TELL:
                raise offer.refusal()
            return
        if first:
            for line in (*offer.lines, "Agree to this, now and in later runs of the same manifest? [y/N] "):
                self._say(line)
        said = self._answer()
        if said is None:
            return
        if said.strip().lower() not in ("y", "yes"):
            raise NotAgreed("not agreed; nothing but this site's name has left it.")
        self._consent.pin(offer.hash, manifest)
        self._say(f"agreed to manifest {offer.hash[:16]}")


def _typed() -> str | None:
    ready, _, _ = select.select([sys.stdin], [], [], 0.0)
    return sys.stdin.readline() if ready else None
