"""Whether a coordinator can be reached and is the right one, and whether the clocks agree."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from fedbal.deployment.checks import Check, Status

SECONDS = 5.0
"""How long to wait for a connection or an answer."""
AHEAD, BEHIND = 5.0, 305.0
"""How far a site's clock may be from the coordinator's before Flower refuses its signatures, in seconds."""
NEAR_AHEAD, NEAR_BEHIND = 2.0, 60.0
"""From where on a clock is worth a warning, in seconds."""
EXPIRES_SOON = 30
"""Days."""


@dataclass(frozen=True)
class Place:
    """Where a coordinator is and how to know it.

    Attributes
    ----------
    host, port : str, int
        Its address.
    ca : Path, optional
        Certificate of the authority that signed it; None: the connection is not encrypted.
    """

    host: str
    port: int
    ca: Path | None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def server_checks(place: Place) -> Iterator[Check]:
    """Look at name, port, certificate, answer and clock of a coordinator, as far as one gets."""
    reached = reach(place)
    yield reached
    if reached.status is Status.fail:
        yield from (Check(name, Status.skip, "not reached") for name in ("tls", "answer", "clock"))
        return
    encrypted = tls(place)
    yield encrypted
    if encrypted.status is Status.fail:
        yield from (Check(name, Status.skip, "not trusted") for name in ("answer", "clock"))
        return
    yield from answer_and_clock(place)


def reach(place: Place) -> Check:
    """Look up the name and connect to the port."""
    started = time.perf_counter()
    try:
        with socket.create_connection((place.host, place.port), SECONDS) as connection:
            found = connection.getpeername()[0]
    except socket.gaierror:
        fix = f"no such name: check the spelling, or give the IP address; is {place.host} in the DNS or /etc/hosts?"
        return Check("reach", Status.fail, f"{place}: unknown host", fix)
    except ConnectionRefusedError:
        fix = "nothing listens there: is the coordinator running, with this port and not on 127.0.0.1 only?"
        return Check("reach", Status.fail, f"{place}: connection refused", fix)
    except TimeoutError:
        fix = "no answer: check the address, and that the coordinator's firewall lets this machine in"
        return Check("reach", Status.fail, f"{place}: no answer within {SECONDS:.0f} s", fix)
    except OSError as error:
        return Check(
            "reach", Status.fail, f"{place}: {error.strerror or error}", "check the network and the address"
        )
    took = 1000.0 * (time.perf_counter() - started)
    return Check("reach", Status.ok, f"{place} ({found}) in {took:.0f} ms")


def tls(place: Place) -> Check:
    """Verify the certificate of a coordinator against the authority, the name and the date."""
    if place.ca is None:
        fix = "give the authority's certificate, --ca FILE; without it everybody on the way reads and changes all"
        return Check("tls", Status.warn, "not asked for", fix)
    try:
        context = _context(place.ca)
    except (OSError, ssl.SSLError) as error:
        fix = "take ca.crt from the bundle of this site"
        return Check("tls", Status.fail, f"{place.ca} holds no certificate ({error.strerror or error})", fix)
    try:
        with (
            socket.create_connection((place.host, place.port), SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=place.host) as encrypted,
        ):
            certificate = encrypted.getpeercert() or {}
            version = encrypted.version()
    except ssl.SSLCertVerificationError as error:
        return _distrusted(place, error)
    except (ssl.SSLError, OSError) as error:
        fix = "does the coordinator run with --tls, or without (--insecure)? is this its port?"
        return Check("tls", Status.fail, f"no TLS on this port ({_reason(error)})", fix)
    end = datetime.datetime.fromtimestamp(
        ssl.cert_time_to_seconds(str(certificate["notAfter"])), datetime.UTC
    )
    days = (end - datetime.datetime.now(datetime.UTC)).days
    found = f"{version}, trusted, until {end:%Y-%m-%d} ({days} days)"
    if days < EXPIRES_SOON:
        return Check(
            "tls", Status.warn, found, "on the coordinator: fedbal provision renew DIR, then restart it"
        )
    return Check("tls", Status.ok, found)


def answer_and_clock(place: Place) -> Iterator[Check]:
    """Ask for the health page of a coordinator and compare its clock with this one."""
    before = time.time()
    try:
        status, date = _health(place)
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        fix = "what listens there is no coordinator, or speaks TLS and --ca is missing"
        yield Check("answer", Status.fail, f"no HTTP answer ({_reason(error)})", fix)
        yield Check("clock", Status.skip, "no answer")
        return
    after = time.time()
    if status == 200:
        yield Check("answer", Status.ok, "the coordinator is up")
    else:
        fix = "is there another service, or a proxy, on this port?"
        yield Check("answer", Status.fail, f"HTTP {status} for /health", fix)
    if date is None:
        yield Check("clock", Status.skip, "the answer has no date")
        return
    # The date has whole seconds: on average half a second has passed since.
    yield clock((before + after) / 2.0 - (date.timestamp() + 0.5), 0.5 + (after - before) / 2.0)


def clock(ahead: float, uncertain: float) -> Check:
    """Judge the difference of two clocks.

    Parameters
    ----------
    ahead : float
        Seconds by which this clock is ahead of the coordinator's; negative: behind.
    uncertain : float
        Seconds by which that may be wrong.
    """
    way = "ahead of" if ahead >= 0.0 else "behind"
    found = f"{abs(ahead):.1f} s {way} the coordinator (+- {uncertain:.1f} s)"
    fix = "set the clock: sudo timedatectl set-ntp true"
    if ahead - uncertain > AHEAD or -ahead - uncertain > BEHIND:
        why = f"Flower refuses signatures from {AHEAD:.0f} s ahead to {BEHIND:.0f} s behind"
        return Check("clock", Status.fail, found, f"{why}; {fix}")
    if ahead - uncertain > NEAR_AHEAD or -ahead - uncertain > NEAR_BEHIND:
        return Check("clock", Status.warn, found, fix)
    return Check("clock", Status.ok, found)


def _health(place: Place) -> tuple[int, datetime.datetime | None]:
    connection = (
        http.client.HTTPConnection(place.host, place.port, timeout=SECONDS)
        if place.ca is None
        else http.client.HTTPSConnection(place.host, place.port, timeout=SECONDS, context=_context(place.ca))
    )
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        written = answer.getheader("Date")
    try:
        return answer.status, None if written is None else parsedate_to_datetime(written)
    except ValueError:
        return answer.status, None


def _context(ca: Path) -> ssl.SSLContext:
    """Trust one authority and no other, as Flower does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=ca)
    return context


def _distrusted(place: Place, error: ssl.SSLCertVerificationError) -> Check:
    reason = error.verify_message
    if "expired" in reason:
        fix = "on the coordinator: fedbal provision renew DIR, then restart it; or is the clock here wrong?"
    elif "not yet valid" in reason:
        fix = "the clock here is behind: sudo timedatectl set-ntp true"
    elif "mismatch" in reason or "not valid for" in reason:
        fix = f"use a name that it covers, or on the coordinator: fedbal provision renew DIR --host {place.host}"
    else:
        fix = "this is another coordinator, or --ca is of another deployment: take ca.crt from this site's bundle"
    return Check("tls", Status.fail, f"not trusted: {reason}", fix)


def _reason(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return str(error) or type(error).__name__
