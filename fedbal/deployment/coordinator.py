"""The rounds of a deployed run, in the process that Flower starts for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid
from safetensors.numpy import save

from fedbal.assembly import assemble
from fedbal.backend import choose_device
from fedbal.data.federation import Federation, load_federation
from fedbal.deployment.bundle import JOB
from fedbal.deployment.grid import Deadlines, DeployedGrid
from fedbal.deployment.job import JOBS, EventLog, Job, JobFolder
from fedbal.deployment.order import Report, Seat
from fedbal.deployment.reported import reported_federation, seats_for
from fedbal.deployment.sites import Sites
from fedbal.determinism import pin
from fedbal.driver import drive, quiet, require_same
from fedbal.errors import FedbalError, RunError
from fedbal.grid.work import node_of
from fedbal.interrupts import Interrupted, Signals
from fedbal.protocol import Arrays
from fedbal.results import CHECKPOINT, CLIENTS, SITES, RunDirectory, RunReader, read_rows, write_atomically
from fedbal.scenario import Scenario, load
from fedbal.scenario_blocks import DeploymentBlock

REJOIN = 120.0
"""Seconds in which the sites of a run that goes on find its coordinator again; a lost one holds it no longer."""


def coordinate(grid: Grid, context: Context) -> None:
    """Run the job that the run-config names; says in the job's folder how it ended."""
    folder = JobFolder(Path(os.environ[JOBS]) / str(context.run_config[JOB]))
    folder.write_pid(os.getpid())
    log = EventLog(folder.path)
    try:
        with Signals() as signals, quiet():
            _run(grid, folder, log, signals)
    except Interrupted as stop:
        folder.finish("interrupted", str(stop), stop.exit_code)
        raise
    except FedbalError as error:
        folder.finish("failed", str(error), error.exit_code)
        raise
    except BaseException as error:
        folder.finish("failed", f"{type(error).__name__}: {error}", 1)
        raise
    folder.finish("finished")


def _run(grid: Grid, folder: JobFolder, log: EventLog, signals: Signals) -> None:
    job = folder.job()
    scenario = load(folder.path / "scenario.yaml")
    pin(scenario.runtime.threads)
    limits = scenario.deployment or DeploymentBlock()
    sites = Sites(grid, job.key, limits.round_timeout, log.note)
    out = Path(job.out)
    table = _resumed(out, sites) if job.resuming else _gathered(scenario, job, sites, limits.round_timeout)
    assembly = assemble(scenario, choose_device(scenario.runtime), table.federation(scenario))
    if job.resuming:
        require_same(RunReader(out).fingerprints, assembly)
    directory = RunDirectory(out, resume=job.resuming)
    try:
        if not job.resuming:
            directory.write(SITES, table.to_json())
        names = table.names(assembly.federation)
        sites.seat(names)
        if job.resuming:
            _rejoined(sites, len(names), min(job.wait, REJOIN), log)
        deployed = DeployedGrid(
            grid,
            sites,
            dict(names.values()),
            job.key,
            Deadlines(limits.round_timeout, limits.min_clients, limits.wait, limits.reconnect),
            versions=_Versions(
                out / CLIENTS, {key: node_of(i) for i, key in enumerate(assembly.federation.names)}
            ),
            saved=lambda: _newest_checkpoint(out),
            say=log.note,
        )
        keep = _Keep(folder) if job.models else None
        drive(scenario, assembly, deployed, directory, signals, log, resuming=job.resuming, after_round=keep)
    finally:
        directory.close()


@dataclass(frozen=True)
class Table:
    """Who sits where: what ``sites.json`` holds.

    Attributes
    ----------
    seats : mapping
        Site name to seat.
    reports : mapping
        Site name to what it said.
    """

    seats: Mapping[str, Seat]
    reports: Mapping[str, Report]

    @property
    def own(self) -> bool:
        """Whether the sites have data of their own."""
        return any(report.own for report in self.reports.values())

    def federation(self, scenario: Scenario) -> Federation:
        """Return the federation of these sites."""
        if self.own:
            return reported_federation(self.reports, scenario)
        return load_federation(scenario.data, scenario.seed.partition)

    def names(self, federation: Federation) -> dict[str, tuple[int, Seat]]:
        """Return for every site our node id and its seat."""
        if self.own:
            return {name: (node_of(federation.names.index(name)), seat) for name, seat in self.seats.items()}
        return {name: (node_of(seat.partition), seat) for name, seat in self.seats.items()}

    def to_json(self) -> str:
        """Return the content of ``sites.json``."""
        values = {
            name: {"seat": asdict(seat), "report": asdict(self.reports[name])}
            for name, seat in self.seats.items()
        }
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Table:
        """Read what :meth:`to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        seats = {
            name: Seat(
                int(one["seat"]["partition"]),
                *(tuple(one["seat"][key]) for key in ("classes", "features", "shape")),
            )
            for name, one in values.items()
        }
        return cls(seats, {name: Report.from_plain(one["report"]) for name, one in values.items()})


def _gathered(scenario: Scenario, job: Job, sites: Sites, patience: float) -> Table:
    reports = sites.gather(job.clients, job.wait)
    if len({report.own for report in reports.values()}) > 1:
        with_data = ", ".join(name for name, report in reports.items() if report.own)
        raise RunError(
            f"{with_data} came with --data and the others play clients of the scenario's partition; give --data to "
            "all sites or to none."
        )
    if not next(iter(reports.values())).own:
        return Table(_partitions(scenario, reports), reports)
    seats = seats_for(reports, scenario)
    sites.seat({name: (node_of(place), seat) for place, (name, seat) in enumerate(sorted(seats.items()))})
    return Table(seats, sites.confirm(patience))


def _rejoined(sites: Sites, count: int, wait: float, log: EventLog) -> None:
    """Wait for the sites of a run that goes on: they find the coordinator again one after the other."""
    try:
        sites.gather(count, wait)
    except RunError as error:
        log.note(f"{error} The run goes on without the others.")


def _resumed(out: Path, sites: Sites) -> Table:
    try:
        return Table.from_json((out / SITES).read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{out / SITES} is missing or damaged ({error}); the run cannot go on.") from error


def _partitions(scenario: Scenario, reports: Mapping[str, Report]) -> dict[str, Seat]:
    """Return which client each site plays: the one it asks for, else the free ones in the order of names."""
    clients = load_federation(scenario.data, scenario.seed.partition).num_clients
    chosen: dict[int, str] = {}
    for name, report in sorted(reports.items()):
        if report.partition < 0:
            continue
        if report.partition >= clients:
            raise RunError(
                f"{name} asks for partition {report.partition}, the scenario has 0 to {clients - 1}."
            )
        if report.partition in chosen:
            raise RunError(
                f"{name} and {chosen[report.partition]} ask for the same partition {report.partition}."
            )
        chosen[report.partition] = name
    free = iter([number for number in range(clients) if number not in chosen])
    for name, report in sorted(reports.items()):
        if report.partition < 0:
            number = next(free, None)
            if number is None:
                raise RunError(
                    f"there are {len(reports)} sites for {clients} clients of the scenario; start fewer."
                )
            chosen[number] = name
    return {name: Seat(number) for number, name in sorted(chosen.items())}


class _Versions:
    """Returns the last round in which a client's training counted, by the rows of ``clients.jsonl``."""

    def __init__(self, path: Path, nodes: Mapping[str, int]) -> None:
        self._path = path
        self._nodes = nodes
        self._size = -1
        self._latest: dict[int, int] = {}

    def __call__(self, node: int) -> int:
        size = self._path.stat().st_size if self._path.exists() else 0
        if size != self._size:
            rows = [row for row in read_rows(self._path) if row["status"] == "ok"]
            self._latest = {self._nodes[str(row["client"])]: int(row["round"]) for row in rows}
            self._size = size
        return self._latest.get(node, 0)


@dataclass(frozen=True)
class _Keep:
    """Keeps the model of every round."""

    folder: JobFolder

    def __call__(self, number: int, arrays: Arrays) -> None:
        path = self.folder.model(number)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, save({name: np.asarray(value, order="C") for name, value in arrays.items()}))


def _newest_checkpoint(out: Path) -> int:
    found = [int(path.name.removeprefix("round-")) for path in (out / CHECKPOINT).glob("round-*")]
    return max(found, default=0)
