"""``sent.jsonl``: what left a site, when and how large, one line a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedbal import protocol
from fedbal.deployment.items import JOIN, MODEL, SCORES
from fedbal.deployment.order import EVALUATION, REPORT
from fedbal.results import disk_errors

SENT = "sent.jsonl"
_TRAIN = "train"


def items_of(kind: str, question: RecordDict, answer: RecordDict) -> dict[str, int]:
    """Return what an answer holds: the item of a manifest that each part belongs to, and its bytes.

    A part that belongs to none is named as it is in the message.

    Parameters
    ----------
    kind : str
        Type of the message that is answered.
    question, answer : RecordDict
        Its content and the answer's.
    """
    found: dict[str, int] = {}
    for name, record in answer.items():
        rides = name.startswith(EVALUATION)
        own = name.removeprefix(EVALUATION)
        trains = kind == _TRAIN and not rides
        for item, count in _parts(own, record, question, trains=trains).items():
            found[item] = found.get(item, 0) + count
    return found


def _parts(
    name: str, record: ArrayRecord | MetricRecord | ConfigRecord, question: RecordDict, *, trains: bool
) -> dict[str, int]:
    if name == REPORT:
        # The report is one text; what it says of classes is told apart by whoever made it.
        return {JOIN: record.count_bytes()}
    if name == protocol.REPLY:
        # Name, number of samples, round, codec.
        return {protocol.NUM_EXAMPLES: record.count_bytes()}
    if name == protocol.ARRAYS:
        return {MODEL: record.count_bytes()}
    if name == protocol.STATISTICS:
        return {str(protocol.config_of(question).get(protocol.STATISTICS)): record.count_bytes()}
    if name == protocol.METRICS and isinstance(record, MetricRecord):
        if not trains:
            return {SCORES: record.count_bytes()}
        return {key: MetricRecord({key: value}).count_bytes() for key, value in record.items()}
    if name == protocol.EXTRAS and isinstance(record, ConfigRecord):
        found: dict[str, int] = {}
        for key, value in record.items():
            item = _item(key, record)
            found[item] = found.get(item, 0) + ConfigRecord({key: value}).count_bytes()
        return found
    return {name: record.count_bytes()}


def _item(key: str, extras: ConfigRecord) -> str:
    """Return the item of an extra: losses and samples that come with a personal model's counts belong to them."""
    if key.startswith(protocol.PERSONAL):
        for main in (protocol.CONFUSION, protocol.OVERLAP):
            if protocol.PERSONAL + main in extras:
                return protocol.PERSONAL + main
    return key


class SentLog:
    """Writes what leaves a site.

    Parameters
    ----------
    folder : Path
        The site's state folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SENT

    def record(
        self, run: str, number: int, kind: str, items: Mapping[str, int], error: str | None = None
    ) -> None:
        """Write one line, before the answer leaves.

        Parameters
        ----------
        run : str
            Key of the run.
        number : int
            Round; 0: before the first.
        kind : str
            Message type.
        items : mapping
            Name of each item to its bytes.
        error : str, optional
            What was answered instead.

        Raises
        ------
        RunError
            It cannot be written: then nothing leaves either.
        """
        row = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": run,
            "round": number,
            "message": kind,
            "items": dict(items),
            "bytes": sum(items.values()),
        }
        if error is not None:
            row["error"] = error
        with disk_errors(self.path, "free some"), self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
