"""``fedbal doctor``: whether a machine can be a site of a deployment, and what to mend if not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedbal.deployment import checks, keys
from fedbal.deployment.address import parse
from fedbal.deployment.checks import Check, Status
from fedbal.deployment.checks_server import Place, server_checks
from fedbal.deployment.trial import training
from fedbal.errors import FedbalError, UsageError
from fedbal.scenario import Scenario, load


@dataclass(frozen=True)
class Subject:
    """What the check is about; everything may be left out.

    Attributes
    ----------
    server : str, optional
        ``HOST:PORT`` of the coordinator.
    ca, key : Path, optional
        Certificate of the authority, private key of the site.
    data : Path, optional
        The site's data.
    scenario : str, optional
        The scenario that it will take part in.
    state : Path
        Where the site will keep its state.
    train : bool
        Whether to train a little.
    """

    server: str | None = None
    ca: Path | None = None
    key: Path | None = None
    data: Path | None = None
    scenario: str | None = None
    state: Path = Path()
    train: bool = True


def examine(subject: Subject) -> Iterator[Check]:
    """Make every check, the quick ones first.

    Raises
    ------
    UsageError
        ``server`` is no address, or ``ca`` was given without it.
    """
    place = None
    if subject.server is not None:
        place = Place(*parse(subject.server), subject.ca)
    elif subject.ca is not None:
        raise UsageError("--ca says whom to trust at --server HOST:PORT; give that too.")
    return _checks(subject, place)


def _checks(subject: Subject, place: Place | None) -> Iterator[Check]:
    yield checks.python()
    yield checks.architecture()
    yield checks.libc()
    yield checks.versions()
    yield checks.helpers()
    yield checks.torch_build()
    yield checks.memory()
    yield checks.disk(subject.state)
    if subject.key is not None:
        yield key_check(subject.key)
    if subject.scenario is not None:
        yield scenario_check(subject.scenario)
    if subject.data is not None:
        yield data_check(subject.data, subject.scenario)
    if place is not None:
        yield from server_checks(place)
    if subject.train:
        yield training()


def key_check(path: Path) -> Check:
    """Look for a private key of the right kind that nobody else can read."""
    try:
        key = keys.read_private(path)
    except UsageError as error:
        return Check("key", Status.fail, str(error), "take the key from this site's bundle")
    found = f"{key.curve.name}, {keys.fingerprint(key.public_key())}"
    if keys.others_can_read(path):
        return Check("key", Status.fail, f"{found}; others on this machine can read it", f"chmod 600 {path}")
    return Check("key", Status.ok, found)


def scenario_check(name: str) -> Check:
    """Load a scenario."""
    try:
        scenario = load(name)
    except UsageError as error:
        return Check("scenario", Status.fail, str(error), "see the message")
    return Check(
        "scenario", Status.ok, f"{scenario.name}: {scenario.strategy.name}, {scenario.model.name}, valid here"
    )


def data_check(path: Path, scenario: str | None = None) -> Check:
    """Look for data of a kind that scenarios take, and count them; with a scenario, read them as it says.

    Parameters
    ----------
    path : Path
        The site's data.
    scenario : str, optional
        The scenario; one that is itself wrong is left to ``scenario_check``.
    """
    if path.exists() and not os.access(path, os.R_OK):
        return Check("data", Status.fail, f"{path} cannot be read", "give this user the right to read it")
    try:
        loaded = None if scenario is None else load(scenario)
    except UsageError:
        loaded = None
    try:
        found = _counted(path) if loaded is None else _read(path, loaded)
    except FedbalError as error:
        return Check("data", Status.fail, str(error), "see the message")
    return Check("data", Status.ok, f"{path}: {found}")


def _counted(path: Path) -> str:
    from fedbal.sources import read_source

    source = read_source(path)
    rows = len(next(iter(source.columns.values())))
    return f"{rows} {'images' if source.folder else 'rows'}"


def _read(path: Path, scenario: Scenario) -> str:
    from fedbal.deployment.own_data import OwnData

    found = OwnData(scenario, path).described()
    return f"{found['samples']} samples of {', '.join(found['classes'])}, as {scenario.name} reads them"
