"""The key pair of a site: what its SuperNode signs with and the coordinator knows it by."""

from __future__ import annotations

import base64
import hashlib
import re
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedbal.errors import UsageError

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Curves of NIST that Flower accepts and OpenSSH can write."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def require_name(name: str) -> str:
    """Return the name of a site if it can be one: it is part of file names and of every record of a run.

    Raises
    ------
    UsageError
        It is empty, longer than 63 characters, a path, or holds anything but letters, digits, ``-`` and ``_``.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name of a client is {name!r}; up to 63 letters, digits, - and _ are allowed, beginning with a "
            "letter or digit, as in site-7."
        )
    return name


def new_pair(name: str) -> tuple[bytes, bytes]:
    """Draw a key pair on the curve P-384 for a site.

    Returns
    -------
    tuple of (bytes, bytes)
        Private key (OpenSSH format, not encrypted) and public key (one line, with the name as its comment).
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return private, public_line(key.public_key(), name)


def public_line(key: ec.EllipticCurvePublicKey, name: str) -> bytes:
    """Return a public key as the line of a ``.pub`` file."""
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return line + f" {name}\n".encode()


def read_public(path: Path) -> ec.EllipticCurvePublicKey:
    """Read a site's public key.

    Raises
    ------
    UsageError
        There is no such file, or it holds no public key of a NIST curve in OpenSSH format.
    """
    try:
        key = serialization.load_ssh_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no public key in OpenSSH format ({error}). {_HOW}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError(f"{path} holds a key of another kind than ECDSA. {_HOW}")
    return key


def read_private(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a site's private key.

    Raises
    ------
    UsageError
        There is no such file, or it holds no private key of a NIST curve in OpenSSH format, or an encrypted one.
    """
    data = _content(path)
    if data.startswith((b"ecdsa-", b"ssh-")):
        raise UsageError(f"{path} holds the public key; --key takes the private one, without .pub.")
    try:
        key = serialization.load_ssh_private_key(data, None)
    except TypeError as error:
        raise UsageError(
            f"{path} is locked with a passphrase, which a service cannot enter; take it off with "
            f"`ssh-keygen -p -f {path}`."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no private key in OpenSSH format. {_HOW}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise UsageError(f"{path} holds a key of another kind than ECDSA on a NIST curve. {_HOW}")
    return key


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the fingerprint of a key as ``ssh-keygen -l`` prints it: ``SHA256:...``."""
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def others_can_read(path: Path) -> bool:
    """Tell whether a file is open to anyone but its owner."""
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"there is no key {path}.") from error
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read ({error.strerror or error}).") from error


_HOW = "Make one with `fedbal provision client DIR NAME`, or with `ssh-keygen -t ecdsa -b 384 -N '' -f FILE`."
