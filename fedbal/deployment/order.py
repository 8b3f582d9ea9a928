"""What a coordinator tells a site beside the message itself: whose run, which state, whether to evaluate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from flwr.app import ConfigRecord, RecordDict

ORDER = "fedbal.order"
"""Config record of a message to a site; taken off before the message reaches a client."""
JOIN = "query.join"
"""Message type: a site says who it is and what it has."""
REPORT = "fedbal.report"
"""Config record of the answer to a join."""
EVALUATION = "fedbal.evaluation/"
"""Prefix of the records of an evaluation that rides in the answer to a training message."""
_WHAT = "json"


@dataclass(frozen=True)
class Seat:
    """The place of a site in a run.

    Attributes
    ----------
    partition : int
        Which client of the scenario's own partition it plays; -1: it has data of its own.
    classes : tuple of str
        Class names in label order, of sites with data of their own.
    features : tuple of str
        Columns of a row, of sites with tables of their own.
    shape : tuple of int
        Shape of one input, of sites with data of their own.
    """

    partition: int = -1
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Order:
    """What a coordinator tells a site beside the message itself.

    Attributes
    ----------
    run : str
        Key of the run, the same after a restart of the coordinator.
    seat : Seat
        The site's place in it.
    version : int
        Round of the last training whose answer counted: the state after it is the site's state now; 0: none.
    saved : int
        Round of the coordinator's newest checkpoint: no earlier state is asked for again.
    evaluate : bool
        Whether to evaluate the model of a training message on the test rows first.
    """

    run: str
    seat: Seat
    version: int = 0
    saved: int = 0
    evaluate: bool = False

    def record(self) -> ConfigRecord:
        """Return the record that travels."""
        return ConfigRecord({_WHAT: json.dumps(asdict(self))})

    @classmethod
    def of(cls, content: RecordDict) -> Self | None:
        """Return the order in a message, None if it has none."""
        record = content.config_records.get(ORDER)
        if record is None:
            return None
        values = json.loads(str(record[_WHAT]))
        return cls(**{**values, "seat": _seat(values["seat"])})


@dataclass(frozen=True)
class Report:
    """What a site answers when it is asked to join.

    Attributes
    ----------
    name : str
        The site's name.
    problem : str
        Why it cannot take part; empty: it can.
    partition : int
        Which client of the scenario's partition it wants to play; -1: any, or it has data of its own.
    own : bool
        Whether it has data of its own.
    classes, features, shape : tuple
        Of its own data: class names, columns and shape of one input.
    dtype : str
        Of its own data: ``uint8`` or ``float32``, as rows are stored.
    samples, validation, test : int
        Its rows to train, validate and be reported on.
    counts : tuple of int, optional
        Training rows of each class, if the site allows that they be told; None for one too small to be.
    versions : dict
        Of Python and the packages that matter.
    """

    name: str
    problem: str = ""
    partition: int = -1
    own: bool = False
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = ""
    samples: int = 0
    validation: int = 0
    test: int = 0
    counts: tuple[int | None, ...] | None = None
    versions: Mapping[str, str] | None = None

    def record(self) -> ConfigRecord:
        """Return the record that travels."""
        return ConfigRecord({_WHAT: json.dumps(asdict(self))})

    @classmethod
    def of(cls, content: RecordDict) -> Self:
        """Return the report in an answer; raises ``KeyError``, ``TypeError`` or ``ValueError`` if there is none."""
        return cls.from_plain(json.loads(str(content.config_records[REPORT][_WHAT])))

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` and JSON made."""
        counts = values.get("counts")
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        report = cls(
            **{
                **known,
                "classes": tuple(str(name) for name in values.get("classes", ())),
                "features": tuple(str(name) for name in values.get("features", ())),
                "shape": tuple(int(size) for size in values.get("shape", ())),
                "counts": None
                if counts is None
                else tuple(None if one is None else int(one) for one in counts),
            }
        )
        told = [one for one in report.counts or () if one is not None]
        numbers = (report.samples, report.validation, report.test, *told)
        if not report.name or any(not isinstance(one, int) or one < 0 for one in numbers):
            raise ValueError("a name and whole numbers >= 0 are needed")
        return report


def _seat(values: Mapping[str, Any]) -> Seat:
    tuples = {key: tuple(values[key]) for key in ("classes", "features", "shape")}
    return Seat(int(values["partition"]), **tuples)
