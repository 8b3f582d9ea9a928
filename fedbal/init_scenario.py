"""``fedbal init``: a commented scenario for a user's own data."""

from __future__ import annotations

import json
import os
import re
import textwrap
from pathlib import Path

from fedbal.errors import RunError, UsageError
from fedbal.inspection import CLIENT_TEST, MIN_TEST, TEST, VALIDATION, Columns, Inspection
from fedbal.results import disk_errors, write_atomically
from fedbal.scenario import Scenario, load

SMALLEST_FOR_CNN = 16
"""Pixels a side from which on two 5x5 convolutions make sense."""
FEW_CLIENTS = 20
"""Up to so many clients all take part in every round."""
SIMULATED_CLIENTS = 10
MANY_FEATURES = 40
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*( [\w./-]+)*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan"}


def write_scenario(found: Inspection, out: Path) -> Scenario:
    """Write the scenario of an inspection and load it.

    Parameters
    ----------
    found : Inspection
        What is known of the data.
    out : Path
        YAML file to write.

    Raises
    ------
    UsageError
        ``out`` exists, or nothing is left to learn from.
    """
    refuse_existing(out)
    if found.source.images is None and not found.columns.features:
        raise UsageError(
            f"{found.source.path}: no column is left to learn from beside {found.label!r}; see above why, and "
            "write the scenario by hand if you know better."
        )
    text = scenario_text(found, out)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, text.encode())
    try:
        return load(out)
    except UsageError as error:
        out.unlink()
        raise RunError(f"the scenario for {found.source.path} does not load: {error}") from error


def refuse_existing(out: Path) -> None:
    """Raise ``UsageError`` if there is something at ``out``, or it is no YAML file."""
    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--out {out}: a scenario is a .yaml file.")
    if out.exists():
        raise UsageError(f"{out} exists; choose another --out, nothing is overwritten.")


def scenario_text(found: Inspection, out: Path) -> str:
    """Return the scenario as commented YAML, its paths relative to the folder of ``out``."""
    classes = ", ".join(f"{name} ({count})" for name, count in list(found.classes.items())[:10])
    more = ", ..." if len(found.classes) > 10 else ""
    lines = [
        f"# {found.source.path.name}: {found.rows} rows, {len(found.classes)} classes"
        + (f", {len(found.clients)} clients." if found.clients else "."),
        f"# Classes (rows): {_comment(classes)}{more}; imbalance factor {found.imbalance_factor:.1f}.",
        "#",
        f"#   fedbal validate {out.name}     check it after every change",
        f"#   fedbal partition {out.name}    what each client holds",
        f"#   fedbal run {out.name}          train",
        "",
        f"name: {_scalar(_name(out.stem))}",
        "seed: 0                       # one seed for data splits, initial model and training",
        "rounds: 30",
        "data:",
        *(f"  {line}" for line in _data(found, out)),
        *_model(found),
        "strategy: fedavg              # the reference; then try feddisco, fedprox: fedbal list strategies",
        "client:",
        "  local_epochs: 2             # passes over its rows that a client makes in a round",
        "  batch_size: 32",
        "  optimizer: {name: sgd, lr: 0.05}",
        *_cohort(found),
        f"evaluation: {{min_client_samples: {MIN_TEST}}}   # smaller clients are left out of the spread",
    ]
    return "\n".join(lines) + "\n"


def _data(found: Inspection, out: Path) -> list[str]:
    source = found.source
    path = os.path.relpath(source.path.resolve(), out.resolve().parent)
    lines = [
        f"dataset: {'folder' if source.folder else 'table'}",
        f"path: {_scalar(Path(path).as_posix())}    # relative to this file",
    ]
    if not source.folder:
        lines.append(f"label: {_scalar(found.label)}")
    lines += _features(found)
    lines += [
        f"# group: {_comment(_scalar(name))}    # rows of one {_comment(name)} stay on one side of every split"
        for name in found.columns.groups
    ]
    if not source.own_test:
        lines.append(f"test: {TEST}                   # share held out as global test set")
    lines += _preprocess(found)
    if found.client is not None:
        lines.append(f"partition: {{name: natural_id, partition_by: {_scalar(found.client)}}}")
    else:
        lines += [
            "# No column names the clients, so the rows are dealt to simulated ones with skewed labels. With real",
            "# clients: {name: natural_id, partition_by: COLUMN}",
            f"partition: {{name: dirichlet, clients: {SIMULATED_CLIENTS}, alpha: 0.5}}",
        ]
    lines += [
        f"validation: {VALIDATION}             # share of each client's rows that tuning may read",
        f"client_test: {CLIENT_TEST}            # share that the client is judged on; never trained on",
    ]
    if found.too_small:
        few, names = len(found.too_small), list(found.too_small.items())[:8]
        named = ", ".join(f"{_comment(name)} ({tests})" for name, tests in names)
        lines += [
            f"# {few} of {len(found.clients)} clients have fewer than {MIN_TEST} test samples, too few each:",
            f"# {named}{', ...' if few > len(names) else ''}",
        ]
    return lines


def _features(found: Inspection) -> list[str]:
    """List the columns to learn from where there is something to say about one, and why others are left out."""
    columns = found.columns
    left_out = {**columns.ids, **columns.groups, **columns.constant, **columns.texts, **columns.leaks}
    if not left_out and not columns.suspicious:
        return []
    lines = ["features:                     # columns to learn from"]
    if len(columns.features) <= MANY_FEATURES:
        lines += [f"  - {_scalar(name)}{_doubt(columns, name)}" for name in columns.features]
    else:
        listed = ", ".join(_scalar(name) for name in columns.features)
        lines[0] += f", {len(columns.features)} in all"
        lines += [f"  {line}" for line in textwrap.wrap(f"[{listed}]", 100, break_long_words=False)]
    for name, reason in list(left_out.items())[:MANY_FEATURES]:
        gives_away = " (it gives the label away)" if name in columns.leaks else ""
        lines.append(f"  # - {_comment(_scalar(name))}    # left out: {_comment(reason)}{gives_away}")
    return lines


def _doubt(columns: Columns, name: str) -> str:
    return f"    # {_comment(columns.suspicious[name])}?" if name in columns.suspicious else ""


def _preprocess(found: Inspection) -> list[str]:
    if found.source.images is not None:
        return []
    impute = "median" if any(name in found.missing for name in found.columns.features) else "none"
    return [
        "# Statistics from sums over the clients, never from pooled rows; `fit: client` takes each client's own.",
        f"preprocess: {{impute: {impute}, scale: standard, fit: federated}}",
    ]


def _model(found: Inspection) -> list[str]:
    source = found.source
    if source.images is None:
        return ["model: {name: mlp, hidden: [32]}"]
    if source.folder or min(source.image_shape[:2]) >= SMALLEST_FOR_CNN:
        return ["model: cnn"]
    return ["model: {name: mlp, hidden: [64]}   # the images are too small for a cnn"]


def _cohort(found: Inspection) -> list[str]:
    clients = len(found.clients) or SIMULATED_CLIENTS
    if clients <= FEW_CLIENTS:
        return ["cohort: {fraction: 1.0}       # every client takes part in every round"]
    return [f"cohort: {{size: {max(10, clients // 10)}}}            # clients a round"]


def _name(stem: str) -> str:
    """Return a name that run directories can have."""
    return re.sub(r"[^\w.-]+", "-", stem).lstrip(".-")[:100] or "mine"


def _scalar(text: str) -> str:
    """Write text so that YAML reads it as text."""
    if _PLAIN.fullmatch(text) and text.isascii() and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    """Keep a comment on its line."""
    return " ".join(text.split())
