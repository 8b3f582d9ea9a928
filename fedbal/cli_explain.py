"""``fedbal explain``: one round, client by client, as a table or as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedbal.cli_columns import columns_of
from fedbal.explain import explain_round
from fedbal.results import RunReader, to_json
from fedbal.terminal import MISSING, number, say, table

LEVELS = "▁▂▃▄▅▆▇█"
NOTHING = "·"
WIDEST = 20
"""Characters of a class bar at most; more classes share a character with their neighbours."""


def print_explanation(directory: Path, server_round: int | None, *, as_json: bool = False) -> None:
    """Print what happened in a round of a run.

    Parameters
    ----------
    directory : Path
        Run directory, finished or still growing.
    server_round : int, optional
        Which round; None: the latest finished one.
    as_json : bool
        Print one JSON object instead.
    """
    found = explain_round(RunReader(directory), server_round)
    if as_json:
        say(json.dumps(json.loads(to_json(found)), indent=2))
        return
    test = found["test"] or {}
    word, key = columns_of(test)[0]
    score = f"; test {word} {number(test.get(key))} after it" if test else ""
    say(
        f"round {found['round']}: {found['strategy']}, {found['replied']} of {found['sampled']} replied{score}"
    )
    clients: Sequence[Mapping[str, Any]] = found["clients"]
    numbers = [
        ("discrepancy", "discrepancy"),
        ("weight", "weight"),
        ("FedAvg weight", "fedavg_weight"),
        ("cosine", "cosine"),
        ("update norm", "update_norm"),
    ]
    shown = [(title, key) for title, key in numbers if any(row[key] is not None for row in clients)]
    headers = ["client", "n", "classes", *(title for title, _ in shown), "status"]
    table(
        headers,
        [
            [
                str(row["client"]),
                number(row["num_examples"]),
                class_bar(list(row["classes"].values())),
                *(number(row[key]) for _, key in shown),
                row["status"],
            ]
            for row in clients
        ],
    )
    for row in clients:
        if row["reason"]:
            say(f"{row['client']}: {row['reason']}")
    say(_engine(found["engine"]))
    for note in found["notes"]:
        say(f"note: {note}")
    say(_legend(clients))


def class_bar(counts: Sequence[int], widest: int = WIDEST) -> str:
    """Draw a client's class mix, one character a class in label order: its height is the class's share.

    The commonest class of the client has a full block, a class that it lacks a dot. With more than ``widest``
    classes, neighbours in label order share a character.
    """
    width = min(len(counts), widest)
    if not width or not sum(counts):
        return MISSING
    edges = [len(counts) * step // width for step in range(width + 1)]
    masses = [sum(counts[low:high]) for low, high in itertools.pairwise(edges)]
    top = max(masses)
    return "".join(LEVELS[-(-mass * len(LEVELS) // top) - 1] if mass else NOTHING for mass in masses)


def _engine(engine: Mapping[str, Any]) -> str:
    """Return in words how the clients of the run were trained."""
    chunk, reduced = engine.get("chunk"), engine.get("reduced")
    at_once = f"at once, at most {chunk}" + (f" ({reduced} since a device was full)" if reduced else "")
    words = {
        "loop": "one by one",
        "vectorized": at_once,
        "compiled": f"{at_once}, through a compiled step",
    }
    return f"engine: clients are trained {words.get(str(engine.get('kind')), MISSING)}"


def _legend(clients: Sequence[Mapping[str, Any]]) -> str:
    names = next((list(row["classes"]) for row in clients if row["classes"]), [])
    parts = []
    if names:
        each = "a block a class" if len(names) <= WIDEST else f"{len(names)} classes in {WIDEST} blocks"
        parts.append(f"classes: {each}, {names[0]} to {names[-1]}")
    if any(row["cosine"] is not None for row in clients):
        parts.append("cosine: of the client's update to the weighted mean update")
    return "; ".join(parts)
