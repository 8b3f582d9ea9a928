"""The private authority of a deployment and the certificate of its coordinator, by X.509 (RFC 5280)."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedbal.errors import UsageError

AUTHORITY_DAYS = 3650
"""How long an authority lives, in days; a server certificate never outlives it."""
BACKDATED = datetime.timedelta(days=1)
"""A board without a clock battery may wake up with yesterday's time; it must still accept the certificate."""
ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Names that every server certificate covers: Flower's helpers on the coordinator connect to the loopback."""
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LONGEST_COMMON_NAME = 64
"""Characters that X.509 allows for a common name."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """Draw a private key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_bytes(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def general_name(host: str) -> x509.GeneralName:
    """Return a host name or IP address as a certificate carries it.

    Raises
    ------
    UsageError
        ``host`` is neither: a wildcard, a URL, a name with a port, a letter outside ASCII.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        labels = host.split(".")
        if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
            raise UsageError(
                f"--host {host!r}: a host name (coordinator.example.org) or an IP address (192.168.1.10) is "
                "needed, without https://, port or wildcard."
            ) from None
        return x509.DNSName(host.lower())


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that a certificate covers, in its order."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def new_authority(key: ec.EllipticCurvePrivateKey, name: str, now: datetime.datetime) -> x509.Certificate:
    """Make the self-signed certificate of an authority that may sign servers and nothing below them.

    Parameters
    ----------
    key : EllipticCurvePrivateKey
        The authority's private key.
    name : str
        What it is for; cut to 64 characters.
    now : datetime
        When, with a time zone.

    Returns
    -------
    x509.Certificate
        Valid for ``AUTHORITY_DAYS`` days.
    """
    subject = _subject(f"fedbal authority of {name}")
    public = key.public_key()
    builder = _builder(subject, subject, public, now, now + datetime.timedelta(days=AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.sign(key, hashes.SHA256())


def new_server(
    public: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    """Make the certificate of a coordinator.

    Parameters
    ----------
    public : EllipticCurvePublicKey
        The coordinator's key.
    authority, authority_key : x509.Certificate, EllipticCurvePrivateKey
        Who signs.
    hosts : sequence of str
        Names and addresses under which clients reach it, the most usual one first; ``ALWAYS`` is added.
    now : datetime
        When, with a time zone.
    days : int
        How long it is to live; cut to the life of the authority.

    Returns
    -------
    x509.Certificate
        For servers only; strict readers (Python 3.13) accept it, for it names the key that signed it.
    """
    names = list(dict.fromkeys(general_name(host) for host in (*hosts, *ALWAYS)))
    end = min(now + datetime.timedelta(days=days), authority.not_valid_after_utc)
    builder = _builder(_subject(hosts[0]), authority.subject, public, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
    )
    return builder.sign(authority_key, hashes.SHA256())


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate as people compare it: ``AB:CD:...``."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_LONGEST_COMMON_NAME])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
