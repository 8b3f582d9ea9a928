"""The folder of a deployment's secrets: authority, coordinator, sites.

::

    DIR/ca.crt, ca.key              the authority; ca.key signs and is needed nowhere else
    DIR/server.pem, server.key      the coordinator
    DIR/clients/NAME/NAME.pub       a site: the public key, which the coordinator registers
    DIR/clients/NAME/NAME.key       its private key, unless the site made it itself
    DIR/clients/NAME/NAME.tar       what to carry to the site

Folders are 0700, files 0600, certificates and public keys 0644. Everything appears at once or not at all.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedbal.deployment import certificates, keys
from fedbal.deployment.site_bundle import bundle
from fedbal.errors import RunError, UsageError

CA, CA_KEY = "ca.crt", "ca.key"
SERVER, SERVER_KEY = "server.pem", "server.key"
CLIENTS = "clients"
DAYS = 365
PORT = 8000
"""Flower's own default."""
OPEN, SECRET = 0o644, 0o600
MODES = {CA: OPEN, CA_KEY: SECRET, SERVER: OPEN, SERVER_KEY: SECRET}


def init(directory: Path, hosts: Sequence[str], days: int = DAYS) -> x509.Certificate:
    """Make an authority and the certificate of a coordinator.

    Parameters
    ----------
    directory : Path
        New or empty.
    hosts : sequence of str
        Names and IP addresses under which sites reach the coordinator, the one they are to use first.
    days : int
        Life of the coordinator's certificate, 1 to ``AUTHORITY_DAYS``.

    Returns
    -------
    x509.Certificate
        The coordinator's.

    Raises
    ------
    UsageError
        ``directory`` holds something, or a name is not one.
    """
    _require_days(days)
    if not hosts:
        raise UsageError("give the name or address under which sites reach the coordinator: --host NAME.")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            f"{directory} is there already and nothing is overwritten; name a new folder, or see what is in "
            f"this one: `fedbal provision show {directory}`."
        )
    now = _now()
    authority_key, server_key = certificates.new_key(), certificates.new_key()
    authority = certificates.new_authority(authority_key, hosts[0], now)
    server = certificates.new_server(server_key.public_key(), authority, authority_key, hosts, now, days)
    with _appears(directory) as folder:
        for name, data in (
            (CA, certificates.certificate_bytes(authority)),
            (CA_KEY, certificates.key_bytes(authority_key)),
            (SERVER, certificates.certificate_bytes(server)),
            (SERVER_KEY, certificates.key_bytes(server_key)),
        ):
            _write(folder / name, data, MODES[name])
        (folder / CLIENTS).mkdir(mode=0o700)
    return server


def add_client(
    directory: Path, name: str, server: str | None = None, public_key: Path | None = None
) -> tuple[Path, str]:
    """Make the key pair of a site and the bundle that is carried there.

    Parameters
    ----------
    directory : Path
        Made by ``init``.
    name : str
        The site's name in all records.
    server : str, optional
        ``HOST:PORT`` of the coordinator; default the first name of its certificate, port ``PORT``.
    public_key : Path, optional
        A public key that the site made itself; then its private key never leaves it, and the bundle has none.

    Returns
    -------
    tuple of (Path, str)
        The bundle and the fingerprint of the key.

    Raises
    ------
    UsageError
        The name cannot be one or is taken, the key is of another kind or another site's, or ``directory`` was not
        made by ``init``.
    """
    keys.require_name(name)
    certificate = read_certificate(directory / SERVER, directory)
    folder = directory / CLIENTS / name
    if folder.exists():
        raise UsageError(
            f"there is a client {name!r} already ({folder}), and nothing is overwritten; choose another name, or "
            "remove that folder to shut the site out."
        )
    private: bytes | None = None
    if public_key is None:
        private, public = keys.new_pair(name)
    else:
        public = keys.public_line(keys.read_public(public_key), name)
    loaded = serialization.load_ssh_public_key(public)
    assert isinstance(loaded, ec.EllipticCurvePublicKey)
    shown = keys.fingerprint(loaded)
    for other, known in clients_of(directory).items():
        if keys.fingerprint(known) == shown:
            raise UsageError(f"this is the key of client {other!r}; every site needs its own.")
    address = server or address_of(certificate)
    with _appears(folder) as fresh:
        _write(fresh / f"{name}.pub", public, OPEN)
        if private is not None:
            _write(fresh / f"{name}.key", private, SECRET)
        authority = _content(directory / CA, directory)
        _write(fresh / f"{name}.tar", bundle(name, address, authority, private), SECRET)
    return folder / f"{name}.tar", shown


def renew(directory: Path, days: int = DAYS, hosts: Sequence[str] = ()) -> x509.Certificate:
    """Replace the coordinator's certificate; its key, the authority and all sites stay as they are.

    Parameters
    ----------
    directory : Path
        Made by ``init``.
    days : int
        Life of the new certificate, from now.
    hosts : sequence of str
        Names and addresses that it covers; default those of the old one.

    Returns
    -------
    x509.Certificate
        The new one; it ends with the authority, if that ends earlier.

    Raises
    ------
    UsageError
        ``directory`` is not one, its authority is over, or a key is not the certificate's.
    """
    _require_days(days)
    authority = read_certificate(directory / CA, directory)
    old = read_certificate(directory / SERVER, directory)
    if authority.not_valid_after_utc <= _now():
        raise UsageError(
            f"the authority {directory / CA} ended on {authority.not_valid_after_utc:%Y-%m-%d}; make a new folder "
            "with `fedbal provision init` and carry new bundles to all sites."
        )
    authority_key = _private(directory / CA_KEY, authority, directory)
    server_key = _private(directory / SERVER_KEY, old, directory)
    new = certificates.new_server(
        server_key.public_key(),
        authority,
        authority_key,
        hosts or certificates.hosts_of(old),
        _now(),
        days,
    )
    _replace(directory / SERVER, certificates.certificate_bytes(new), OPEN)
    return new


def read_certificate(path: Path, directory: Path) -> x509.Certificate:
    """Read a certificate of a provisioned folder.

    Raises
    ------
    UsageError
        It is not there or not one.
    """
    try:
        return x509.load_pem_x509_certificate(_content(path, directory))
    except ValueError as error:
        raise UsageError(f"{path} holds no certificate (PEM): {error}.") from error


def clients_of(directory: Path) -> Mapping[str, ec.EllipticCurvePublicKey]:
    """Return the public key of every site of a provisioned folder, by name, in alphabetical order."""
    found = sorted((directory / CLIENTS).glob("[!.]*/*.pub"))
    return {path.stem: keys.read_public(path) for path in found if path.stem == path.parent.name}


def address_of(certificate: x509.Certificate, port: int = PORT) -> str:
    """Return ``HOST:PORT`` under which clients reach a coordinator: the first name of its certificate."""
    host = next(iter(certificates.hosts_of(certificate)), "localhost")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _private(path: Path, certificate: x509.Certificate, directory: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_content(path, directory), None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds no private key that can be read: {error}.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise UsageError(f"{path} is not the key of the certificate beside it; one of the two was replaced.")
    return key


def _content(path: Path, directory: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"{directory} is no folder of a deployment: {path} is missing; make one with "
            f"`fedbal provision init {directory} --host NAME`."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}).") from error


@contextmanager
def _appears(folder: Path) -> Iterator[Path]:
    """Fill a hidden folder beside the wanted one, and rename it when all is written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".provision-", dir=folder.parent))
        try:
            yield hidden
            hidden.rename(folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror or error}); nothing was made.") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a new file that is never open to more than ``mode`` says, and flush it to disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


def _replace(path: Path, data: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        _write(beside, data, mode)
        beside.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror or error}); the old one is still there."
        ) from error


def _require_days(days: int) -> None:
    if not 1 <= days <= certificates.AUTHORITY_DAYS:
        raise UsageError(f"--days {days}: between 1 and {certificates.AUTHORITY_DAYS} is needed.")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
