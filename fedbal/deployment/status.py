"""What a coordinator is doing, asked over its Control API from anywhere that may reach it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbal.cli_columns import columns_of
from fedbal.deployment.job import SAID
from fedbal.deployment.superlink import CONNECTION, Connection
from fedbal.errors import RunError
from fedbal.terminal import MISSING, number, say, table

LATEST = 5
"""Rounds that are shown."""


def read_status(server: str, authority: Path | None) -> dict[str, Any]:
    """Ask a coordinator what it is doing.

    Parameters
    ----------
    server : str
        ``HOST:PORT``.
    authority : Path, optional
        Certificate of the authority; None: no TLS.

    Returns
    -------
    dict
        ``nodes`` (id, status, seconds online), ``run`` (id, status; None before the first), ``rounds`` (the latest)
        and ``notes`` (what was last said of sites).

    Raises
    ------
    RunError
        It cannot be reached, or its certificate is not the authority's.
    """
    with tempfile.TemporaryDirectory(prefix="fedbal-status-") as folder:
        connection = Connection(server, Path(folder), authority)
        connection.write()
        if not connection.healthy():
            secure = "with this certificate of the authority" if authority else "without TLS"
            raise RunError(f"{server} does not answer {secure}; check address, port and --tls or --ca.")
        nodes = [_node(one) for one in connection.json("supernode", "ls", CONNECTION).get("nodes", ())]
        runs = connection.json("ls", CONNECTION).get("runs", ())
        if not runs:
            return {"nodes": nodes, "run": None, "rounds": [], "notes": []}
        newest = max(runs, key=lambda run: str(run.get("pending-at", "")))
        said = connection.flwr("log", str(newest["run-id"]), CONNECTION, "--show")
    rounds, notes = _said(said)
    return {
        "nodes": nodes,
        "run": {"id": str(newest["run-id"]), "status": str(newest["status"])},
        "rounds": rounds[-LATEST:],
        "notes": notes[-LATEST:],
    }


def print_status(found: Mapping[str, Any]) -> None:
    """Print what :func:`read_status` returned."""
    nodes = found["nodes"]
    online = [node for node in nodes if node["status"] == "online"]
    say(f"{len(online)} of {len(nodes)} known nodes are online")
    if nodes:
        table(
            ["node", "status", "since (s)"], [[n["id"], n["status"], number(n["seconds"], 0)] for n in nodes]
        )
    run = found["run"]
    if run is None:
        say("no run yet.")
        return
    say(f"run {run['id']}: {run['status']}")
    for note in found["notes"]:
        say(f"  {note}")
    if found["rounds"]:
        columns = columns_of(next((row["test"] for row in found["rounds"] if row.get("test")), None))
        rows = [
            [
                str(row["round"]),
                *(number((row.get("test") or {}).get(key)) for _, key in columns),
                _replied(row),
            ]
            for row in found["rounds"]
        ]
        table(["round", *(word for word, _ in columns), "replied"], rows, title="latest rounds")


def _node(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(one.get("node-id", MISSING)),
        "status": str(one.get("status", MISSING)),
        "seconds": float(one.get("online-elapsed", 0.0) or 0.0),
    }


def _replied(row: Mapping[str, Any]) -> str:
    missing = row.get("missing") or []
    without = f", without {', '.join(missing)}" if missing else ""
    return f"{number(row.get('replied'))} of {number(row.get('sampled'))}{without}"


def _said(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rounds and the notes that a run has printed."""
    rounds: list[dict[str, Any]] = []
    notes: list[str] = []
    for line in text.splitlines():
        if not line.startswith(SAID):
            continue
        event = json.loads(line.removeprefix(SAID))
        if event["event"] == "round":
            rounds.append(event["row"])
        elif event["event"] == "note":
            notes.append(str(event["text"]))
    return rounds, notes
