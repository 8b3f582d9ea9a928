"""ServerApp and ClientApp for Flower's own command line: ``flwr run .``.

The run-config names the scenario (``scenario``), overrides separated by semicolons (``set``) and the run
directory (``out``). The rounds are fedbal's own loop; messages and processes are Flower's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedbal.assembly import assemble, virtual_clients
from fedbal.backend import choose_device
from fedbal.data.federation import load_federation
from fedbal.determinism import pin
from fedbal.driver import drive
from fedbal.errors import UsageError
from fedbal.grid.named import NamedGrid, discover
from fedbal.interrupts import Signals
from fedbal.progress import Lines
from fedbal.protocol import STATISTICS
from fedbal.reference import pools_clients
from fedbal.results import RunDirectory, default_directory
from fedbal.scenario import load, one_by_one

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario named in the run-config on Flower's grid."""
    scenario = one_by_one(load(*_chosen(context)))
    out = str(context.run_config.get("out", ""))
    if pools_clients(scenario):
        raise UsageError(
            f"strategy: {scenario.strategy.name} trains on the pooled data of all clients, which only a simulation "
            "holds; run it with `fedbal run`."
        )
    pin(scenario.runtime.threads)
    assembly = assemble(scenario, choose_device(scenario.runtime))
    keys = [assembly.federation.names[client] for client in range(assembly.federation.num_clients)]
    named: NamedGrid = discover(grid, keys)
    directory = RunDirectory(Path(out) if out else default_directory(scenario.name).absolute())
    try:
        with Signals() as signals:
            drive(scenario, assembly, named, directory, signals, Lines())
    finally:
        directory.close()


@client_app.train()
def _train(message: Message, context: Context) -> Message:
    return _client(context)(message, context)


@client_app.evaluate()
def _evaluate(message: Message, context: Context) -> Message:
    return _client(context)(message, context)


@client_app.query()
def _query(message: Message, context: Context) -> Message:
    return _client(context)(message, context)


@client_app.query(STATISTICS)
def _statistics(message: Message, context: Context) -> Message:
    return _client(context)(message, context)


def _chosen(context: Context) -> tuple[str, tuple[str, ...]]:
    config = context.run_config
    overrides = (item.strip() for item in str(config.get("set", "")).split(";"))
    return str(config["scenario"]), tuple(item for item in overrides if item)


def _client(context: Context) -> ClientApp:
    return _client_app(*_chosen(context))


@lru_cache(maxsize=1)
def _client_app(source: str, overrides: tuple[str, ...]) -> ClientApp:
    """Build the clients once a process; Flower calls its ClientApp anew for every message."""
    scenario = one_by_one(load(source, overrides))
    pin(scenario.runtime.threads)
    federation = load_federation(scenario.data, scenario.seed.partition)
    return virtual_clients(scenario, federation, choose_device(scenario.runtime))()
