"""Content addresses: two runs have the same one exactly when they would leave the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbal.scenario import Scenario

RUNTIME = ("threads", "vectorize", "chunk", "compile", "costs", "precision", "device", "num_gpus")
"""Keys of ``runtime`` that can change a byte; all others say where and how fast."""
NO_PART = ("name", "track", "compare", "runtime")
LENGTH = 16


def address(scenario: Scenario) -> str:
    """Return the content address of a run, 16 hexadecimal digits.

    A hash of the resolved scenario without its name, its trackers and what of ``runtime`` changes no byte. Files of
    a user's own components count by their content, not by their place; fedbal's own version does not count.
    """
    content = scenario.resolved()
    runtime = content["runtime"]
    kept = {key: value for key, value in content.items() if key not in NO_PART}
    kept["runtime"] = {key: runtime[key] for key in RUNTIME if key in runtime}
    text = json.dumps(by_content(kept), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def by_content(value: Any) -> Any:
    """Return plain values with hashes in the place of the paths of a user's own files."""
    if isinstance(value, Mapping):
        return {key: by_content(item) for key, item in value.items()}
    if isinstance(value, list):
        return [by_content(item) for item in value]
    if isinstance(value, str) and ".py:" in value:
        path, _, attribute = value.rpartition(":")
        return f"{_digest(path)}:{attribute}" if Path(path).is_file() else value
    return value


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
