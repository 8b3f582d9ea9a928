"""What a provisioned folder holds, how long it lasts, and what is wrong with it."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedbal.deployment import certificates, keys, provision

SOON = datetime.timedelta(days=30)
"""What ends within this time is worth a warning."""


@dataclass(frozen=True)
class Item:
    """One line of the inventory.

    Attributes
    ----------
    what : str
        ``authority``, ``server`` or ``client``.
    name : str
        Certificate: the names that it covers. Client: its name.
    fingerprint : str
        SHA-256 of the certificate or key.
    expires : str, optional
        Day, ISO 8601; None for keys, which do not expire.
    days_left : int, optional
        Whole days until then, negative once it is over.
    warning : str
        What to do something about; empty if nothing.
    """

    what: str
    name: str
    fingerprint: str
    expires: str | None
    days_left: int | None
    warning: str

    def as_dict(self) -> dict[str, Any]:
        """Return the item as plain values."""
        return asdict(self)


def inventory(directory: Path, now: datetime.datetime | None = None) -> list[Item]:
    """List authority, server and clients of a provisioned folder.

    Parameters
    ----------
    directory : Path
        Made by ``provision.init``.
    now : datetime, optional
        Against which expiry is judged; default the present.

    Raises
    ------
    UsageError
        It is not such a folder.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    items = []
    for what, file, secret in (
        ("authority", provision.CA, provision.CA_KEY),
        ("server", provision.SERVER, provision.SERVER_KEY),
    ):
        certificate = provision.read_certificate(directory / file, directory)
        end = certificate.not_valid_after_utc
        name = ", ".join(certificates.hosts_of(certificate)) or str(certificate.subject.rfc4514_string())
        warnings = [_expiry(what, end, now, directory), _mode(directory / secret)]
        items.append(
            Item(
                what,
                name,
                certificates.fingerprint(certificate),
                f"{end:%Y-%m-%d}",
                (end - now).days,
                " ".join(filter(None, warnings)),
            )
        )
    for name, key in provision.clients_of(directory).items():
        secret_key = directory / provision.CLIENTS / name / f"{name}.key"
        items.append(Item("client", name, keys.fingerprint(key), None, None, _mode(secret_key)))
    return items


def _expiry(what: str, end: datetime.datetime, now: datetime.datetime, directory: Path) -> str:
    if end - now > SOON:
        return ""
    when = "has expired" if end <= now else "expires soon"
    if what == "server":
        return f"{when}: fedbal provision renew {directory}"
    return f"{when}: make a new folder and carry new bundles to all sites"


def _mode(path: Path) -> str:
    if path.exists() and keys.others_can_read(path):
        return f"others can read it: chmod 600 {path}"
    return ""
