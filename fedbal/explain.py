"""What happened in one round: for each client of the cohort what it holds, what it was given, and why."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from fedbal.errors import RunError, UsageError
from fedbal.results import CLIENTS_TABLE, RunReader

CLASS = "class_"
"""Prefix of the columns of ``clients.csv`` that count a client's training samples of a class."""


def explain_round(reader: RunReader, server_round: int | None = None) -> dict[str, Any]:
    """Collect what a run directory says about a round.

    Parameters
    ----------
    reader : RunReader
        A run, finished or still running.
    server_round : int, optional
        Which round; None: the latest finished one.

    Returns
    -------
    dict
        ``round``, ``strategy``, ``status`` of the run, ``sampled``, ``replied``, ``dropped``, ``test`` (as in
        ``rounds.jsonl``), ``engine`` (how clients were trained, as in ``fingerprints.json``), ``notes`` of the
        run, once it has ended, and ``clients``, one mapping for each client of the cohort, in cohort order:
        ``client``, ``num_examples``, ``classes`` (class name to training samples), ``discrepancy``, ``weight``,
        ``fedavg_weight`` (its share of the samples of the clients that were averaged; None if it was not),
        ``cosine`` (of its update to the mean update), ``update_norm``, ``status``, ``reason``. What the rule did
        not record is None.

    Raises
    ------
    UsageError
        There is no such round (yet).
    RunError
        The run directory is damaged.
    """
    rounds = {int(row["round"]): row for row in reader.rounds()}
    chosen = _choose(reader, rounds, server_round)
    row = rounds[chosen]
    asked = [entry for entry in reader.clients() if entry["round"] == chosen]
    holdings = _holdings(reader)
    # A stock Flower strategy does not say what it weighs; every reply that is not dropped counts then.
    averaged = [entry for entry in asked if entry["status"] == "ok"]
    total = sum(entry["num_examples"] for entry in averaged)
    clients = []
    for entry in asked:
        counted = entry["status"] == "ok" and total > 0
        clients.append(
            {
                "client": entry["client"],
                "num_examples": entry["num_examples"],
                "classes": holdings.get(str(entry["client"]), {}),
                "discrepancy": entry.get("discrepancy"),
                "weight": entry["weight"],
                "fedavg_weight": entry["num_examples"] / total if counted else None,
                "cosine": entry.get("cosine"),
                "update_norm": entry.get("update_norm"),
                "status": entry["status"],
                "reason": entry["reason"],
            }
        )
    return {
        "round": chosen,
        "strategy": reader.scenario["strategy"]["name"],
        "status": reader.status,
        **{key: row[key] for key in ("sampled", "replied", "dropped", "test")},
        "engine": reader.fingerprints.get("engine", {}),
        "notes": (reader.summary() or {}).get("notes", []),
        "clients": clients,
    }


def _choose(reader: RunReader, rounds: Mapping[int, Any], wanted: int | None) -> int:
    if not rounds:
        raise UsageError(f"{reader.path}: no round is finished yet ({reader.status}); try again later.")
    first, last = min(rounds), max(rounds)
    if wanted is None:
        return last
    if wanted in rounds:
        return wanted
    planned = int(reader.scenario["rounds"])
    later = f"; the run is {reader.status} and plans {planned}" if last < wanted <= planned else ""
    raise UsageError(f"--round {wanted}: {reader.path} has rounds {first} to {last}{later}.")


def _holdings(reader: RunReader) -> dict[str, dict[str, int]]:
    """Return each client's training samples by class name."""
    path = reader.path / CLIENTS_TABLE
    try:
        with path.open(newline="") as handle:
            return {
                row["client"]: {
                    column.removeprefix(CLASS): int(value)
                    for column, value in row.items()
                    if column.startswith(CLASS)
                }
                for row in csv.DictReader(handle)
            }
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is missing or damaged ({error}).") from error
