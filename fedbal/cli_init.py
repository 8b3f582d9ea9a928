"""``fedbal init``: what was found in a user's data, as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedbal.errors import UsageError
from fedbal.init_scenario import refuse_existing, write_scenario
from fedbal.inspection import MIN_TEST, Inspection, inspect, label_candidates
from fedbal.sources import CLASS, Source, read_source
from fedbal.terminal import say, table, warn

MOST_LINES = 20


def initialise(path: Path, label: str | None, client: str | None, out: Path | None) -> None:
    """Look at a table or image folder, print what was found, write a scenario.

    Parameters
    ----------
    path : Path
        CSV, Parquet or NPZ file, or a folder with one directory of images for each class.
    label, client : str, optional
        Label and client column.
    out : Path, optional
        Scenario to write; default: the data's name, in the current folder.

    Raises
    ------
    UsageError
        The data or the columns cannot be used, no label was given, or ``out`` exists.
    """
    target = out if out is not None else Path(f"{path.stem or 'mine'}.yaml")
    refuse_existing(target)
    source = read_source(path)
    if source.folder:
        if label is not None or client is not None:
            raise UsageError(
                "in an image folder the directories are the classes; leave --label and --client out."
            )
        label = CLASS
    if label is None:
        raise UsageError(_ask_for_label(source))
    found = inspect(source, label, client)
    _print_data(found)
    _print_clients(found)
    _print_columns(found)
    scenario = write_scenario(found, target)
    say()
    say(
        f"wrote {target}: {scenario.model.name} with {scenario.strategy.name}, {scenario.rounds} rounds. Next:"
    )
    say(f"  fedbal run {target}")


def _ask_for_label(source: Source) -> str:
    found = label_candidates(source)[:MOST_LINES]
    if not found:
        return f"{source.path}: say which column is the label with --label; none has few enough values to be sure."
    shown = ", ".join(f"{name} ({count} values)" for name, count in found)
    return f"{source.path}: say which column is the label, as in --label {found[0][0]!r}; it may be: {shown}."


def _print_data(found: Inspection) -> None:
    columns = "" if found.source.images is not None else f", {len(found.source.columns)} columns"
    say(f"{found.source.path}: {found.rows} rows{columns}")
    rows = [
        [name, str(count), f"{100.0 * count / found.rows:.1f} %"]
        for name, count in list(found.classes.items())[:MOST_LINES]
    ]
    say()
    table(["class", "rows", "share"], rows, title=f"classes of {found.label!r}")
    _and_more(len(found.classes))
    say(f"imbalance factor {found.imbalance_factor:.1f} (most common class over rarest)")


def _print_clients(found: Inspection) -> None:
    say()
    if not found.clients:
        guess = f"; perhaps --client {found.client_candidates[0]!r}?" if found.client_candidates else ""
        say(f"no client column: the rows are dealt to simulated clients{guess}")
    else:
        rows = [[name, str(count)] for name, count in list(found.clients.items())[:MOST_LINES]]
        table(["client", "rows"], rows, title=f"clients of {found.client!r}")
        _and_more(len(found.clients))
        if found.too_small:
            named = ", ".join(
                f"{name} ({tests})" for name, tests in list(found.too_small.items())[:MOST_LINES]
            )
            warn(
                f"clients too small to judge alone, with fewer than {MIN_TEST} test samples: {named}"
                f"{', ...' if len(found.too_small) > MOST_LINES else ''}."
            )
    repeated = found.duplicates
    where = (
        f"{repeated.within} within a client, {repeated.across} over clients"
        if found.clients
        else repeated.within
    )
    say(f"duplicate rows: {where}; {repeated.conflicting} of them under different labels")
    if repeated.across:
        warn("rows that several clients hold leak from training into test; drop them if they are copies.")


def _print_columns(found: Inspection) -> None:
    if found.source.images is not None:
        return
    columns = found.columns
    if found.missing:
        rows = [
            [name, str(gaps), f"{100.0 * gaps / found.rows:.1f} %"]
            for name, gaps in list(found.missing.items())[:MOST_LINES]
        ]
        say()
        table(["column", "missing", "share"], rows, title="missing values")
        _and_more(len(found.missing))
    else:
        say("no missing values")
    say()
    _print_reasons("left out, identifies rows", columns.ids)
    _print_reasons("left out, never changes", columns.constant)
    _print_reasons("left out, no category", columns.texts)
    _print_reasons("left out, see data.group", columns.groups)
    if columns.categories:
        named = ", ".join(f"{name} ({levels} levels)" for name, levels in columns.categories.items())
        say(f"categories: {named}")
    _print_reasons("LEFT OUT, GIVES THE LABEL AWAY", columns.leaks)
    for name, reason in list(columns.suspicious.items())[:MOST_LINES]:
        warn(f"{name!r} {reason}; leave it out if it was written down after the label was known.")
    say(f"{len(columns.features)} columns to learn from")


def _print_reasons(title: str, reasons: Mapping[str, str]) -> None:
    for name, reason in list(reasons.items())[:MOST_LINES]:
        say(f"{title}: {name!r} {reason}")
    _and_more(len(reasons))


def _and_more(count: int) -> None:
    if count > MOST_LINES:
        say(f"... and {count - MOST_LINES} more.")
