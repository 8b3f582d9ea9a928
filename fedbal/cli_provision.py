"""``fedbal provision``: keys and certificates of a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbal.terminal import MISSING, say, table, warn

if TYPE_CHECKING:
    from cryptography import x509

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", show_default=False)]
HostOption = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="NAME|IP", help="Under which sites reach the coordinator. Repeatable."),
]
DaysOption = Annotated[
    int, typer.Option("--days", metavar="N", help="Life of the coordinator's certificate.")
]

provision_app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(provision_app, name="provision")


@provision_app.callback()
def _provision() -> None:
    """Make keys and certificates for a coordinator and its sites.

    Examples
    --------
        fedbal provision init secrets --host coordinator.local --host 192.168.1.10
        fedbal provision client secrets site-1
        fedbal provision show secrets
    """


@provision_app.command()
def init(directory: DirectoryArgument, host: HostOption = None, days: DaysOption = 365) -> None:
    """Make an authority and the coordinator's certificate in a new folder.

    The certificate covers every --host, and localhost. The first --host is what the bundles of sites name.

    Example:

        fedbal provision init secrets --host coordinator.local --host 192.168.1.10
    """
    from fedbal.deployment import provision

    server = provision.init(directory, host or [], days)
    authority = provision.read_certificate(directory / provision.CA, directory)
    say(f"wrote {directory}")
    _print_certificate("authority", authority)
    _print_certificate("server", server)
    say(f"next: fedbal provision client {directory} NAME, once for each site")


@provision_app.command()
def client(
    directory: DirectoryArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    server: Annotated[
        str | None,
        typer.Option(
            "--server", metavar="HOST:PORT", help="Coordinator; default: its first --host, port 8000."
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            metavar="FILE",
            help="Take the public key that the site made; the bundle has no key then.",
        ),
    ] = None,
) -> None:
    """Make the key pair of a site, and the bundle to carry there.

    Examples
    --------
        fedbal provision client secrets site-1
        fedbal provision client secrets site-2 --server coordinator.local:8443
        fedbal provision client secrets site-3 --public-key site-3.pub
    """
    from fedbal.deployment import provision
    from fedbal.deployment.address import parse

    if server is not None:
        parse(server)
    bundle, fingerprint = provision.add_client(directory, name, server, public_key)
    say(f"wrote {bundle}")
    say(f"key: {fingerprint}")
    if public_key is None:
        warn(f"{bundle} holds the private key of {name}: carry it over a trusted way, then delete it here.")


@provision_app.command()
def show(
    directory: DirectoryArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Show what a folder holds, and what expires within 30 days.

    Example:

        fedbal provision show secrets
    """
    from fedbal.deployment.inventory import inventory

    items = inventory(directory)
    if as_json:
        say(json.dumps([item.as_dict() for item in items], indent=2))
        return
    table(
        ["what", "name", "expires", "days left", "SHA-256"],
        [
            [
                item.what,
                item.name,
                item.expires or MISSING,
                MISSING if item.days_left is None else f"{item.days_left}",
                _short(item.fingerprint),
            ]
            for item in items
        ],
    )
    for item in items:
        if item.warning:
            warn(f"{item.what} {item.name}: {item.warning}")


@provision_app.command()
def renew(directory: DirectoryArgument, host: HostOption = None, days: DaysOption = 365) -> None:
    """Replace the coordinator's certificate; sites need nothing new.

    With --host it covers these names instead of the old ones. A running coordinator must be started again.

    Example:

        fedbal provision renew secrets
    """
    from fedbal.deployment import provision

    _print_certificate("server", provision.renew(directory, days, host or []))
    say("restart the coordinator to use it; sites reconnect by themselves")


def _print_certificate(what: str, certificate: x509.Certificate) -> None:
    from fedbal.deployment.certificates import fingerprint, hosts_of

    hosts = hosts_of(certificate)
    say(
        f"{what}: until {certificate.not_valid_after_utc:%Y-%m-%d}"
        + (f", for {', '.join(hosts)}" if hosts else "")
    )
    say(f"  SHA-256 {fingerprint(certificate)}")


def _short(fingerprint: str) -> str:
    """Leave out the middle of a certificate's fingerprint; ``--json`` has all of it."""
    return fingerprint if fingerprint.startswith("SHA256:") else f"{fingerprint[:23]}..."
