"""The results file of a study: endpoints of every seed, mean curves, verdicts, where it ran; small."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.study import Study
from benchmarks.reproduce.verdicts import judge
from fedbal import fingerprints
from fedbal.errors import UsageError
from fedbal.results import to_json, write_atomically

FOLDER = Path(__file__).parent / "results"
POINTS = 41
"""Most points a committed curve has."""


def collect(
    study: Study, size: str, records: Sequence[Mapping[str, Any]], workers: int, device: str = "cpu"
) -> dict[str, Any]:
    """Put the records of a study together.

    Parameters
    ----------
    study : Study
        What was run.
    size : str
        At which size.
    records : sequence of mapping
        One a run.
    workers : int
        Processes that ran side by side, which the seconds depend on.
    device : str
        Where models were trained.
    """
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        cells[record["setting"], record["arm"]].append(record)
    settings: dict[str, Any] = {}
    for setting, arm in study.pairs(size):
        entry = settings.setdefault(setting.name, {"title": setting.title, "arms": {}})
        entry["rounds"] = study.scenario(size, setting, arm, 0).rounds
        found = cells[setting.name, arm.name]
        entry["arms"][arm.name] = {
            "label": arm.label,
            "overrides": list(arm.overrides),
            "seeds": {str(record["seed"]): _seed(record) for record in found},
            "curve": _mean_curve([record["curve"] for record in found if record["status"] == "finished"]),
        }
        entry["overrides"] = [
            *setting.overrides,
            *study.sizes[size].overrides,
            *study.sizes[size].by_setting.get(setting.name, ()),
        ]
    claims = [judge(claim, settings) for claim in study.claims if claim.setting in settings]
    content = {
        "study": study.name,
        "title": study.title,
        "paper": study.paper,
        "size": size,
        "base": study.base,
        "metrics": [vars(metric) for metric in study.metrics],
        "windows": list(study.windows),
        "claims": claims,
        "settings": settings,
        "reference": study.reference,
        "environment": environment(records, workers, device),
    }
    return {key: _rounded(value) for key, value in content.items()}


def environment(records: Sequence[Mapping[str, Any]], workers: int, device: str) -> dict[str, Any]:
    """Describe what the runs ran on and how long they took; nothing that names the machine."""
    hardware = fingerprints.of_hardware(device)
    return {
        "packages": fingerprints.of_packages(),
        "machine": f"{hardware['cpus']} cores, {hardware['system']} {hardware['machine']}, "
        + str(hardware.get("gpu", "CPU")),
        "workers": workers,
        "runs": len(records),
        "run_seconds": math.fsum(record["seconds"] for record in records),
        "codes": sorted({str(record["code"])[:12] for record in records}),
    }


def results_path(study: Study, size: str, folder: Path = FOLDER) -> Path:
    """Return where results are kept: ``<study>.json`` for size cpu, else ``<study>-<size>.json``."""
    return folder / (f"{study.name}.json" if size == "cpu" else f"{study.name}-{size}.json")


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a results file, one line for each arm, so that changes can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _lines(content).encode())


def read(path: Path) -> dict[str, Any]:
    """Read a results file.

    Raises
    ------
    UsageError
        It is not there.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is not there: run the study first, python -m benchmarks.reproduce {path.stem.split('-')[0]}."
        )
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _seed(record: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("status", "reason", "seconds", "endpoints")
    return {"endpoints": {}, **{key: record[key] for key in keys if key in record}}


def _mean_curve(curves: Sequence[Mapping[str, Sequence[float | None]]]) -> dict[str, Any]:
    """Return mean and sd over seeds at up to `POINTS` rounds, the first and the last among them."""
    if not curves:
        return {}
    length = min(len(curve["round"]) for curve in curves)
    if not length:
        return {}
    count = min(POINTS, length)
    picked = sorted({round(step * (length - 1) / max(count - 1, 1)) for step in range(count)})
    found: dict[str, Any] = {"round": [curves[0]["round"][at] for at in picked]}
    for name in curves[0]:
        if name != "round":
            values = [[curve[name][at] for curve in curves] for at in picked]
            found[name] = {
                "mean": [_moment(row)[0] for row in values],
                "sd": [_moment(row)[1] for row in values],
            }
    return found


def _moment(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    mean = math.fsum(known) / len(known)
    spread = math.fsum((value - mean) ** 2 for value in known)
    return mean, math.sqrt(spread / (len(known) - 1)) if len(known) > 1 else None


def _rounded(value: Any) -> Any:
    """Keep six digits of every number."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _lines(value: Any, depth: int = 0, indent: str = "") -> str:
    if isinstance(value, Mapping) and value and depth < 5:
        inner = indent + " "
        items = [f"{inner}{json.dumps(key)}: {_lines(item, depth + 1, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}" + ("\n" if depth == 0 else "")
    if isinstance(value, list) and depth < 3 and any(isinstance(item, Mapping) for item in value):
        items = [f"{indent} {to_json(item)}" for item in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return to_json(value)
