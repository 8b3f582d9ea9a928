"""``fedbal replay``: what other rules would have made of recorded updates."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbal.cli_columns import columns_of
from fedbal.errors import UsageError
from fedbal.terminal import MISSING, number, say, table

MANY_CLIENTS = 30
"""Weights of more clients are written, not printed."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("replay")(replay)


def replay(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    strategies: Annotated[
        str,
        typer.Option(
            "--strategies",
            metavar="RULES",
            help="Rules with commas between them: names, {name: feddisco, a: 0.3}, ./file.py:Class. The run's own "
            "rule is always there.",
        ),
    ] = "fedavg,uniform,feddisco",
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds", metavar="ROUNDS", help="Recorded rounds such as 1,5 or 10-20; all if left out."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write replay.json and models.csv, weights.csv, pairs.csv there."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Feed the updates that a run recorded to other aggregation rules, round by round.

    DIR is a run directory of a run with runtime.record_updates. These are one-round counterfactuals: each rule
    starts from the model that the run had in that round.

    Examples
    --------
        fedbal run quickstart --set runtime.record_updates=true --out runs/recorded
        fedbal replay runs/recorded
        fedbal replay runs/recorded --strategies 'fedavg,{name: feddisco, a: 0.3}' --rounds 1-5
    """
    from fedbal.comparison.replay import replay as compute
    from fedbal.results import to_json

    wanted = None if rounds is None else _numbers(rounds)
    content = compute(directory, strategies, wanted).content
    text = json.dumps(json.loads(to_json(content)), indent=2)
    if out is not None:
        _write(content, text, out)
    if as_json:
        say(text)
        return
    _print(content)
    if out is not None:
        say(f"written to {out}")


def _numbers(text: str) -> list[int]:
    """Read ``1,5,10-20``."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise UsageError(f"--rounds is {text!r}; give rounds such as 1,5 or 10-20.")
        found += range(int(low), int(high if dash else low) + 1)
    return found


def _print(content: Mapping[str, Any]) -> None:
    rounds = content["rounds"]
    shown = f"round {rounds[0]}" if len(rounds) == 1 else f"{len(rounds)} rounds, {rounds[0]} to {rounds[-1]}"
    say(f"{content['scenario']}: run with {content['rule']}; {shown}")
    say(content["what"])
    say()
    _print_models(content)
    if len(rounds) == 1:
        _print_weights(content)
    for label, reason in content["refused"].items():
        say(f"not replayed: {label}: {reason}")
    for note in content["notes"]:
        say(f"note: {note}")


def _print_models(content: Mapping[str, Any]) -> None:
    """Print, for each rule, means over the rounds."""
    models, own = content["models"], content["rule"]
    columns = columns_of(next((row["test"] for row in models if row["test"]), None))
    headers = ["rule", "rounds", *(word for word, _ in columns), f"cosine to {own}", f"distance to {own}"]
    rows = []
    for label in dict.fromkeys(row["rule"] for row in models):
        done = [row["test"] for row in models if row["rule"] == label and row["test"]]
        pairs = [pair for pair in content["pairs"] if pair["rule"] == own and pair["other"] == label]
        means = [_mean([test.get(key) for test in done]) for _, key in columns]
        lies = [_mean([pair[key] for pair in pairs]) for key in ("cosine", "distance")]
        rows.append([label, str(len(done)), *means, *lies])
    table(headers, rows, title="next model on the test set (mean of the rounds)")
    for row in models:
        if row["reason"]:
            say(f"round {row['round']}: {row['rule']} failed: {row['reason']}")
    checked = [row for row in models if row["as_run"] is not None]
    same = sum(row["as_run"] for row in checked)
    say(f"{own} makes the run's own next model in {same} of {len(checked)} rounds")


def _print_weights(content: Mapping[str, Any]) -> None:
    rows = content["weights"]
    labels = list(dict.fromkeys(row["rule"] for row in rows))
    clients = list(dict.fromkeys(row["client"] for row in rows))
    if len(clients) > MANY_CLIENTS:
        say(f"weights of {len(clients)} clients: --json or --out")
        return
    cells = {(row["client"], row["rule"]): row for row in rows}
    say()
    table(
        ["client", "n", *labels],
        [
            [
                client,
                f"{cells[client, labels[0]]['num_examples']:g}",
                *(number(cells[client, label]["weight"]) for label in labels),
            ]
            for client in clients
        ],
        title="weight that each rule gives",
    )


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(sum(known) / len(known)) if known else MISSING


def _write(content: Mapping[str, Any], text: str, out: Path) -> None:
    from fedbal.comparison.replay import tables
    from fedbal.results import disk_errors, write_atomically

    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "replay.json", f"{text}\n".encode())
        for name, rows in tables(content).items():
            lines = io.StringIO()
            columns = list(dict.fromkeys(key for row in rows for key in row))
            writer = csv.DictWriter(lines, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_atomically(out / f"{name}.csv", lines.getvalue().encode())
