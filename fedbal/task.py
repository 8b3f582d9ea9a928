"""What a model's inputs and outputs mean: classes, input shape, features, scaling.

It stands under the key ``task`` of a run's ``fingerprints.json``; with the resolved scenario and
``model.safetensors`` it is all that is needed to use a run's model elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fedbal.data.dataset import Dataset, Scaling
from fedbal.groups import ClassGroups
from fedbal.measures import measures_for
from fedbal.measures.base import Measures
from fedbal.measures.names import TaskName


@dataclass(frozen=True)
class Preparation:
    """Imputation and scaling after the stored values were scaled: ``(x - shift) / scale``, NaN becoming ``fill``.

    One entry a value of a vector, or a channel of an image; without ``fill`` NaN stays NaN.
    """

    fill: tuple[float, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Task:
    """The task that a model was trained for.

    Attributes
    ----------
    classes : tuple of str
        Class names in the order of the outputs.
    input_shape : tuple of int
        ``(channels, height, width)`` of an image, ``(d,)`` of a vector.
    dtype : str
        ``uint8`` or ``float32``, as the rows are stored before they are scaled.
    scaling : Scaling
        From stored values to model inputs.
    features : tuple of str
        Name of each value of a vector, in order; empty for images.
    groups : ClassGroups, optional
        Many, medium and few, with the training samples of each class; None for masks.
    preparation : Preparation, optional
        What ``data.preprocess`` came to over the federation.
    target_shape : tuple of int
        ``()`` for a class a row, ``(height, width)`` for a mask.
    """

    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    dtype: str
    scaling: Scaling
    features: tuple[str, ...]
    groups: ClassGroups | None
    preparation: Preparation | None = None
    target_shape: tuple[int, ...] = ()

    @property
    def kind(self) -> TaskName:
        """What the outputs are."""
        return "segmentation" if self.target_shape else "classification"

    @property
    def measures(self) -> Measures[Any]:
        """What is measured of the model."""
        return measures_for(self.kind, len(self.classes))

    @classmethod
    def of(cls, dataset: Dataset, groups: ClassGroups | None, preparation: Preparation | None = None) -> Self:
        """Return the task of a data set."""
        return cls(
            dataset.classes,
            dataset.input_shape,
            str(dataset.x.dtype),
            dataset.scaling,
            dataset.features,
            groups,
            preparation,
            dataset.target_shape,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` described."""
        scaling, groups, prepared = values["scaling"], values["groups"], values.get("preparation")
        return cls(
            tuple(values["classes"]),
            tuple(values["input_shape"]),
            str(values["dtype"]),
            Scaling(scaling["divide"], tuple(scaling["mean"]), tuple(scaling["std"])),
            tuple(values["features"]),
            None
            if groups is None
            else ClassGroups(
                groups["rule"],
                (groups["bounds"][0], groups["bounds"][1]),
                dict(groups["members"]),
                tuple(groups["counts"]),
            ),
            None if prepared is None else Preparation(**{key: tuple(part) for key, part in prepared.items()}),
            tuple(values.get("target_shape", ())),
        )
