"""``fedbal server``, ``client``, ``status`` and ``parity``: a scenario on real machines."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbal.errors import RunError, UsageError
from fedbal.terminal import number, say, table

if TYPE_CHECKING:
    from fedbal.deployment.parity import RoundParity
    from fedbal.deployment.site import SiteCommand
    from fedbal.deployment.superlink import Listening
    from fedbal.scenario import Scenario

ScenarioArgument = Annotated[str, typer.Argument(metavar="SCENARIO", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the scenario; VALUE is YAML. Repeatable."),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Without TLS and keys; on this machine only.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(server)
    app.command()(client)
    app.command()(parity)
    app.command()(status)


def server(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    host: Annotated[str, typer.Option("--host", metavar="H", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="P", min=1, max=65535, help="Port to listen on.")
    ] = 8000,
    tls: Annotated[
        Path | None,
        typer.Option(
            "--tls", metavar="DIR", help="What `fedbal provision` made: certificates and client keys."
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="What outlives the process; default runs/<name>-server.",
        ),
    ] = None,
    clients: Annotated[
        int | None,
        typer.Option(
            "--clients", metavar="N", min=1, help="Sites to wait for; default the scenario's clients."
        ),
    ] = None,
    wait: Annotated[str, typer.Option("--wait", metavar="TIME", help="How long: 90s, 10m, 2h.")] = "10m",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="New or empty run directory; default runs/<name>-<time>."),
    ] = None,
    insecure: InsecureOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Allow --insecure beyond this machine.", show_default=False)
    ] = False,
    demo: Annotated[
        int | None,
        typer.Option(
            "--demo",
            metavar="N",
            min=1,
            max=32,
            help="Start N sites here too, kill and revive one, compare with the simulation.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print one final line only.")] = False,
) -> None:
    """Coordinate a scenario on sites that connect, and leave a run directory.

    Without data of their own the sites play the clients of the scenario's partition. Stopped or killed, the same
    command with the same --state goes on from the newest checkpoint, to the same bytes.

    Examples
    --------
        fedbal server quickstart --clients 3 --insecure
        fedbal server my.yaml --host 0.0.0.0 --tls secrets --state state --clients 3 --wait 1h
        fedbal server quickstart --demo 3
    """
    from fedbal import durations
    from fedbal.cli_run import print_result
    from fedbal.deployment.server import serve, with_clients
    from fedbal.progress import watcher
    from fedbal.results import default_directory
    from fedbal.scenario import load

    if demo is not None:
        if insecure or tls is not None or state is not None or clients is not None:
            raise UsageError(
                "--demo makes its own keys, state and sites: leave out --insecure, --tls, --state, --clients."
            )
        _demo(with_clients(load(scenario, changes or ()), demo), demo, out, quiet=quiet)
        return
    try:
        seconds = durations.parse(wait)
    except ValueError as error:
        raise UsageError(f"--wait: {error}.") from error
    loaded = load(scenario, changes or ())
    partition = loaded.data.partition
    count = clients or getattr(partition, "clients", None)
    if count is None:
        raise UsageError(
            f"--clients: say how many sites to wait for; the partition {partition.name} does not fix their number."
        )
    listening = _listening(host, port, tls, insecure=insecure, force=force)
    chosen = with_clients(loaded, count)
    with watcher(quiet=quiet) as observer:
        directory, summary = serve(
            chosen,
            listening,
            (state or Path("runs") / f"{loaded.name}-server").absolute(),
            clients=count,
            wait=seconds,
            out=out or default_directory(loaded.name),
            observer=observer,
        )
    print_result(summary, directory, quiet=quiet)


def client(
    server: Annotated[
        str, typer.Option("--server", metavar="H:P", help="The coordinator.", show_default=False)
    ],
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Certificate of the coordinator's authority.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="This site's private key.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="PATH", help="Its own data: image folder, CSV, Parquet or NPZ."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Its name; default the key's, else the host's."),
    ] = None,
    partition: Annotated[
        int | None,
        typer.Option("--partition", metavar="K", min=0, help="Without --data: which client it plays."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Logs and client state; default ~/.fedbal/<name>."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="HASH",
            help="Agree to the manifest with this hash (`fedbal manifest`), or to any. Repeatable.",
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="NAME=yes|no",
            help="Keep an item of the manifest here, or let class counts below 10 leave (small-counts=yes). "
            "Repeatable.",
        ),
    ] = None,
    component: Annotated[
        list[str] | None,
        typer.Option(
            "--component",
            metavar="MODULE:CLASS",
            help="Code that is not fedbal's, installed here, and that a scenario may name; or any. Repeatable.",
        ),
    ] = None,
    insecure: InsecureOption = False,
) -> None:
    """Be a site: connect to a coordinator, train on the data of this machine, reconnect for ever.

    Ctrl-C or SIGTERM stops it. Before the first answer it shows what the run would send from here and asks once;
    without a terminal it takes --accept. If that changes later, the site stops with exit code 3. What left is in
    sent.jsonl of its state folder. The code that runs is the installed fedbal, and what --component names.

    Examples
    --------
        fedbal client --server 127.0.0.1:8000 --insecure --name site-1
        fedbal client --server coordinator.local:8000 --ca ca.crt --key site-7 --data /data/pictures
    """
    from fedbal.deployment.allow import Allowed
    from fedbal.deployment.consent import require_hashes
    from fedbal.deployment.site import Site

    allowed = tuple(allow or ())
    Allowed.parse(allowed)
    command = replace(
        _site(server, ca, key, data, name, partition, device, state, insecure=insecure),
        accept=require_hashes(accept or ()),
        allow=allowed,
        components=tuple(component or ()),
    )
    _check_device(command)
    say(f"{command.name}: connecting to {command.server}; logs and state in {command.state}")
    Site(command, lambda text: say(f"{command.name}: {text}")).run()


def _check_device(command: SiteCommand) -> None:
    """Say what the quick checks of ``fedbal doctor`` find; stop if the machine cannot be a site."""
    from fedbal.deployment.checks import Status
    from fedbal.deployment.doctor import Subject, examine

    found = list(examine(Subject(key=command.key, state=command.state, train=False)))
    for check in found:
        if check.status is Status.warn:
            say(f"{command.name}: {check.name}: {check.found}; {check.fix}")
    failed = [f"{check.name}: {check.found}; {check.fix}" for check in found if check.status is Status.fail]
    if failed:
        raise RunError(f"this machine cannot be a site: {' '.join(failed)} `fedbal doctor` says more.")


def parity(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    clients: Annotated[int, typer.Option("--clients", metavar="N", min=1, max=32, help="Sites.")] = 3,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Rounds to compare.")] = 3,
) -> None:
    """Check that a deployment computes what the simulation computes.

    Runs some rounds in simulation, and with TLS and keys on sites of this machine, and compares the global model
    after each. Exit code 1 if they differ.

    Examples
    --------
        fedbal parity quickstart
        fedbal parity my.yaml --set strategy=scaffold --clients 4 --rounds 5
    """
    from fedbal.deployment.server import with_clients
    from fedbal.progress import watcher
    from fedbal.scenario import load

    loaded = with_clients(load(scenario, [*(changes or ()), f"rounds={rounds}"]), clients)
    with watcher(quiet=True) as observer:
        from fedbal.deployment.parity import alone

        compared = alone(loaded, clients, observer)
    rows = [
        [str(one.round), "equal" if one.equal else "different", number(one.difference, 8)] for one in compared
    ]
    table(["round", "model", "largest difference"], rows)
    if not print_parity(compared):
        raise typer.Exit(1)


def status(
    server: Annotated[
        str, typer.Option("--server", metavar="H:P", help="The coordinator.", show_default=False)
    ],
    tls: Annotated[
        Path | None,
        typer.Option("--tls", metavar="DIR", help="What `fedbal provision` made; on the coordinator."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Certificate of the authority, instead of --tls."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a coordinator is doing: its run, the latest rounds, its sites and who is missing.

    Without --tls and --ca the connection is not encrypted, which a coordinator accepts with --insecure only.

    Examples
    --------
        fedbal status --server 127.0.0.1:8000 --tls secrets
        fedbal status --server coordinator.local:8000 --ca ca.crt --json
    """
    import json

    from fedbal.deployment import address
    from fedbal.deployment.status import print_status, read_status

    address.parse(server)
    if tls is not None and ca is not None:
        raise UsageError("--tls and --ca say the same; give one of them.")
    authority = ca if tls is None else tls / "ca.crt"
    if authority is not None and not authority.is_file():
        raise UsageError(f"there is no certificate {authority}.")
    found = read_status(server, None if authority is None else authority.absolute())
    if as_json:
        say(json.dumps(found, indent=2))
    else:
        print_status(found)


def _demo(scenario: Scenario, sites: int, out: Path | None, *, quiet: bool) -> None:
    from fedbal.cli_run import print_result
    from fedbal.progress import watcher
    from fedbal.results import default_directory

    directory = out or default_directory(f"{scenario.name}-demo")
    with watcher(quiet=quiet) as observer:
        from fedbal.deployment.demo import demo

        tell = (lambda text: None) if quiet else observer.note
        summary, rounds = demo(scenario, sites, directory, observer, tell)
    print_result(summary, directory, quiet=quiet)
    if not print_parity(rounds):
        raise typer.Exit(1)


def print_parity(compared: Sequence[RoundParity]) -> bool:
    """Print in one line whether all rounds are equal, and return it."""
    from fedbal.deployment.parity import largest

    count = f"{len(compared)} round{'s' if len(compared) > 1 else ''}"
    if all(one.equal for one in compared):
        say(f"parity: simulation and deployment are equal, bit for bit, in {count}")
        return True
    differ = [str(one.round) for one in compared if not one.equal]
    say(f"parity: they differ in round {', '.join(differ)} of {count}, by at most {largest(compared):.3g}")
    return False


def _listening(host: str, port: int, tls: Path | None, *, insecure: bool, force: bool) -> Listening:
    from fedbal.deployment.superlink import Listening

    if insecure and tls is not None:
        raise UsageError("--insecure and --tls exclude each other; take one of them.")
    if insecure:
        if not force and not _is_loopback(host):
            raise UsageError(
                f"--insecure on {host}: everybody who reaches it could read and change the run; use --tls (see "
                "`fedbal provision`), or add --force on a network that you trust."
            )
        return Listening(host, port)
    if tls is None:
        raise UsageError("--tls DIR is needed (`fedbal provision init DIR` makes it), or --insecure here.")
    missing = [name for name in ("ca.crt", "server.pem", "server.key") if not (tls / name).is_file()]
    if missing:
        raise UsageError(f"--tls {tls}: no {', '.join(missing)}; `fedbal provision init {tls}` makes them.")
    if not list((tls / "clients").glob("*/*.pub")):
        raise UsageError(
            f"--tls {tls}: no client has a key; make one with `fedbal provision client {tls} NAME`."
        )
    return Listening(host, port, tls.absolute())


def _site(
    server: str,
    ca: Path | None,
    key: Path | None,
    data: Path | None,
    name: str | None,
    partition: int | None,
    device: str,
    state: Path | None,
    *,
    insecure: bool,
) -> SiteCommand:
    import re
    import socket

    from fedbal.deployment import address, keys
    from fedbal.deployment.site import SiteCommand

    host, _ = address.parse(server)
    if insecure and (ca is not None or key is not None):
        raise UsageError("--insecure takes neither --ca nor --key.")
    if insecure and not _is_loopback(host):
        raise UsageError(f"--insecure with {host}: only on this machine; give --ca and --key.")
    if not insecure:
        if ca is None or key is None:
            raise UsageError(
                "--ca and --key are needed, both in the site's bundle (`fedbal provision client`)."
            )
        if not ca.is_file():
            raise UsageError(f"--ca: there is no file {ca}.")
        keys.read_private(key)
    if data is not None and partition is not None:
        raise UsageError("--data and --partition exclude each other: own data, or a client to play.")
    if data is not None and not data.exists():
        raise UsageError(f"--data: there is no {data}.")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        raise UsageError(f"--device {device!r}: auto, cpu, cuda or cuda:N.")
    usual = key.stem if key is not None else re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:63]
    chosen = keys.require_name(name if name is not None else usual)
    folder = (state or Path("~/.fedbal").expanduser() / chosen).absolute()
    return SiteCommand(
        server=server,
        name=chosen,
        state=folder,
        authority=None if ca is None else ca.absolute(),
        key=None if key is None else key.absolute(),
        data=None if data is None else data.absolute(),
        partition=-1 if partition is None else partition,
        device=device,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
