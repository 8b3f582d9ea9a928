"""What ``fedbal run`` and ``fedbal show`` print about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedbal.cli_columns import Columns, columns_of
from fedbal.cli_measures import print_measures
from fedbal.terminal import MISSING, duration, megabytes, number, say, table, warn

LAST_ROUNDS = 5


def print_result(summary: Mapping[str, Any], directory: Path, *, quiet: bool = False) -> None:
    """Print the final table and the run directory; quiet: one line."""
    final = summary.get("final") or {}
    columns = columns_of(final)
    shown = [number(final.get(key)) for _, key in columns]
    if quiet:
        measured = ", ".join(f"{word} {value}" for (word, _), value in zip(columns, shown, strict=True))
        say(f"{summary['strategy']}: {summary['rounds']} rounds, {measured}; {directory}")
    else:
        headers = ["strategy", "rounds", *(word for word, _ in columns), "time", "traffic"]
        rows = [[str(summary["strategy"]), str(summary["rounds"]), *shown, *_costs(summary)]]
        table(headers, rows + _late_means(summary, columns))
        say(f"run directory: {directory}")
    _warn_if_diverged(summary)


def show_run(directory: Path) -> None:
    """Print where a run stands: status, last rounds, recall of each class."""
    from fedbal.results import RunReader

    reader = RunReader(directory)
    scenario, rounds, summary = reader.scenario, reader.rounds(), reader.summary()
    say(f"{scenario['name']}: {scenario['strategy']['name']} on {scenario['data']['dataset']}")
    say(f"{reader.status}, {len(rounds)} of {scenario['rounds']} rounds")
    if not rounds:
        say("no round is finished yet.")
    else:
        _print_rounds(rounds)
        _print_recalls(rounds, reader.fingerprints.get("task", {}).get("classes", []))
        if evaluated := [row for row in rounds if row.get("test")]:
            print_measures(evaluated[-1])
    if summary is not None:
        _print_totals(summary)
    elif reader.status == "interrupted":
        say(_how_to_go_on(directory))


def _how_to_go_on(directory: Path) -> str:
    from fedbal.results import SITES

    if (directory / SITES).exists():
        return "go on with the `fedbal server` command that began it, with the same --state"
    return f"go on with: fedbal run --resume {directory}"


def _late_means(summary: Mapping[str, Any], columns: Columns) -> list[list[str]]:
    """Return the row with the means over the last 10 % of the rounds, if these are more than the last one."""
    late = summary.get("last_10_percent")
    if not late or late["evaluated"] < 2:
        return []
    name = f"mean of rounds {late['from_round']} to {late['to_round']}"
    return [[name, str(late["evaluated"]), *(number(late.get(key)) for _, key in columns), MISSING, MISSING]]


def _costs(summary: Mapping[str, Any]) -> list[str]:
    spent, sent = summary.get("seconds") or {}, summary.get("bytes") or {}
    total = None if not sent else (sent.get("up") or 0) + (sent.get("down") or 0)
    return [duration(spent.get("total")), megabytes(total)]


def _print_totals(summary: Mapping[str, Any]) -> None:
    time, traffic = _costs(summary)
    say()
    columns = columns_of(summary.get("final"))
    for name, _, *means, _, _ in _late_means(summary, columns):
        measured = ", ".join(f"{word} {value}" for (word, _), value in zip(columns, means, strict=True))
        say(f"{name}: {measured}")
    say(f"in all: {time}, {traffic}")
    _warn_if_diverged(summary)


def _warn_if_diverged(summary: Mapping[str, Any]) -> None:
    if summary.get("status") == "diverged":
        warn(
            "the run diverged: its model or most replies became non-finite, so its scores mean little; "
            "lower client.optimizer.lr."
        )


def _print_rounds(rounds: Sequence[Mapping[str, Any]]) -> None:
    say()
    columns = columns_of(next((row["test"] for row in rounds if row.get("test")), None))
    headers = ["round", *(word for word, _ in columns), "loss", "replied", "time", "traffic"]
    rows = []
    for row in rounds[-LAST_ROUNDS:]:
        test = row.get("test") or {}
        sent = [row.get("bytes_up"), row.get("bytes_down")]
        total = None if None in sent else sum(value or 0 for value in sent)
        replied = f"{number(row.get('replied'))} of {number(row.get('sampled'))}"
        scores = [number(test.get(key)) for _, key in columns]
        rest = [number(test.get("loss")), replied, duration(row.get("seconds")), megabytes(total)]
        rows.append([str(row["round"]), *scores, *rest])
    table(headers, rows, title=f"last {len(rows)} rounds" if len(rows) > 1 else "last round")


def _print_recalls(rounds: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    evaluated = [row for row in rounds if row.get("test")]
    recalls = evaluated[-1]["test"].get("per_class_recall") if evaluated else None
    if not recalls:
        return
    names = classes if len(classes) == len(recalls) else [str(label) for label in range(len(recalls))]
    rows = [[name, number(value)] for name, value in zip(names, recalls, strict=True)]
    say()
    table(["class", "recall"], rows, title=f"recall of each class after round {evaluated[-1]['round']}")
