"""What messages carry: names of records and keys, arrays in and out of records, the manifest.

A training message holds ``arrays`` (the global model) and ``config``; a reply holds ``arrays`` (the client's
model), ``metrics`` with ``num-examples``, a ``reply`` record that names the model it started from, and an
``extras`` record when the rule asked for more. These are Flower's default keys, so stock Flower
strategies read the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
"""A model as named arrays, in the order of its ``state_dict``."""

ARRAYS = "arrays"
CONFIG = "config"
METRICS = "metrics"
REPLY = "reply"
EXTRAS = "extras"
PREPROCESS = "preprocess"
"""Arrays beside the model: the federation's fill, shift, scale and count of each feature."""
STATISTICS = "statistics"
"""Query ``query.statistics``: arrays that it brings and that its reply holds; config: which statistics."""

SERVER_ROUND = "server-round"
LOCAL_WORK = "local-work"
"""Config: how many local epochs (or steps) to do this round; absent: as configured."""
REQUESTS = "requests"
"""Config: names of the extras that the rule asks for."""
PROXIMAL_MU = "proximal-mu"
"""Config: a proximal coefficient set by the server for this round."""

NUM_EXAMPLES = "num-examples"
TRAIN_LOSS = "train-loss"
BASE_VERSION = "base-version"
CODEC = "codec"
FP32, FP16, INT8 = "fp32", "fp16", "int8"
"""How a reply's model travels, see :mod:`fedbal.codec`."""
SCALES = "scales"
"""Reply: one number for each tensor that travels as whole numbers."""
LABEL_COUNTS = "label-counts"
NORMALISED_STEPS = "normalised-steps"
RECEIVED_LOSS = "received-loss"
"""Extra: mean loss of the received model over the client's training data."""
SCORE = "score"
INEXACTNESS = "inexactness"
"""Extra: FedProx's gamma of the round's local training."""
CLASS_COUNTS = "class-counts"
"""Config: training samples of each class over all clients, for losses that ask for them."""
CONTRIBUTION = "contribution"
CONTROL = "control"
CONTROL_DELTA = "control-delta"
PSEUDO = "pseudo"
"""Array record: pseudo-samples under ``x``, from clients in the query before round 1, then to clients."""
PSEUDO_SAMPLES = "pseudo-samples"
"""Config of a query: how many pseudo-samples the client is asked for."""
AUXILIARY = "auxiliary"
"""What the names of tensors begin with that only local objectives use: they travel, predictions ignore them."""

CORRECT = "correct"
LOSS = "loss"
CONFUSION = "confusion"
"""Extras of an evaluation: pairs (cell, count) of the non-zero cells, cell = true class * C + predicted class."""
OVERLAP = "overlap"
"""Extras of an evaluation of masks: sums over images of squared Dice, of Dice and of IoU by foreground class."""
DICE = "dice"
PERSONAL = "personal-"
"""Prefix of an evaluation's extras that concern the client's personal model."""

CLIENT_KEY = "client"
"""Node config: the client's stable key, its index in simulation and the site's name on a device."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One thing that leaves a site beyond model weights and its sample count.

    Attributes
    ----------
    name : str
        The extra's name in messages.
    size : str
        How large it is ("8 bytes a class").
    frequency : str
        When it is sent ("every round the client takes part in").
    privacy : str
        What a reader of it learns.
    """

    name: str
    size: str
    frequency: str
    privacy: str


def to_record(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Encode named arrays, each contiguous in memory, as a Flower record."""
    return ArrayRecord({name: Array(np.asarray(value, order="C")) for name, value in arrays.items()})


def to_arrays(record: ArrayRecord) -> Arrays:
    """Decode a Flower record; raises ``ValueError`` or ``TypeError`` for bytes that are no array."""
    return {name: array.numpy() for name, array in record.items()}


def num_bytes(content: RecordDict) -> int:
    """Return the bytes of everything in a message's content, as Flower counts them."""
    return sum(record.count_bytes() for record in content.values())


def copy_content(content: RecordDict) -> RecordDict:
    """Copy a content one level deep: records are new, the arrays in them are shared and never written to."""
    copied = RecordDict()
    for name, record in content.items():
        copied[name] = record.copy()
    return copied


def requesting(content: RecordDict, extras: Sequence[str]) -> RecordDict:
    """Return a content that asks for more extras; records other than its config are shared."""
    config = config_of(content).copy()
    asked = config.get(REQUESTS)
    config[REQUESTS] = list(dict.fromkeys([*(asked if isinstance(asked, list) else []), *extras]))
    name = CONFIG if CONFIG in content else next(iter(content.config_records), CONFIG)
    return RecordDict({**content, name: config})


def config_of(content: RecordDict) -> ConfigRecord:
    """Return the message's config record: ``config``, else the first one, else an empty one."""
    usual = content.get(CONFIG)
    if isinstance(usual, ConfigRecord):
        return usual
    return next(iter(content.config_records.values()), ConfigRecord())


def arrays_of(content: RecordDict) -> ArrayRecord:
    """Return the model of a message: ``arrays``, else the only array record; raises ``ValueError`` if none."""
    usual = content.get(ARRAYS)
    if isinstance(usual, ArrayRecord):
        return usual
    records = {name: record for name, record in content.array_records.items() if name != PREPROCESS}
    if len(records) == 1:
        return next(iter(records.values()))
    raise ValueError(f"expected an array record {ARRAYS!r}, found {sorted(records)}")


def metrics_of(content: RecordDict) -> MetricRecord:
    """Return the metrics of a reply: ``metrics``, else the first metric record, else an empty one."""
    usual = content.get(METRICS)
    if isinstance(usual, MetricRecord):
        return usual
    return next(iter(content.metric_records.values()), MetricRecord())
