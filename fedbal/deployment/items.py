"""One thing that leaves a site, and the names of those that every run has; imports neither torch nor flwr."""

from __future__ import annotations

from dataclasses import dataclass

MODEL = "model"
SAMPLES = "num-examples"
TRAIN_LOSS = "train-loss"
SCORES = "scores"
JOIN = "join"
CLASS_COUNTS = "join-class-counts"
LABEL_COUNTS = "label-counts"
CONFUSION = "confusion"
PSEUDO = "pseudo"

TRAINING, EVALUATION, JOINING = "training", "evaluation", "joining"


@dataclass(frozen=True)
class Item:
    """One thing that leaves a site.

    Attributes
    ----------
    name : str
        What it is called in messages and in ``sent.jsonl``.
    size, frequency : str
        How large it is, and when it is sent.
    privacy : str
        What a reader of it learns.
    summed : bool
        Whether secure aggregation could carry it: the server needs no more than the sum over its clients.
    why : {"training", "evaluation", "joining"}
        What goes on without it: training does not, an evaluation is left out, so is a part of the report.
    """

    name: str
    size: str
    frequency: str
    privacy: str
    summed: bool
    why: str
