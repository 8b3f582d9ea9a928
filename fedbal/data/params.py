"""Parameters of the ``data`` block: sources, long tail, partition, quantity, splits; needs pydantic only."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fedbal.data.blobs_params import BlobsKeys
from fedbal.data.row_params import LabelNoiseParams, PreprocessParams, ShiftParams
from fedbal.measures.names import CLASSIFICATION, SEGMENTATION, TaskName
from fedbal.params import Params

Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
ClientNames = Annotated[list[Annotated[str, Field(min_length=1)] | int], Field(min_length=1)]
ColumnNames = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
PictureSize = Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)]
TestShare = Annotated[float, Field(gt=0.0, lt=1.0)]

SIZED = ("iid", "dirichlet", "dirichlet_client", "pathological")
"""Partitions that leave the client sizes open, so that a quantity profile can set them."""


class LongTailParams(Params):
    """A long tail over the classes of the training data."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION

    profile: Literal["exponential", "step"] = Field(
        "exponential", description="Class sizes fall exponentially with rank, or in one step."
    )
    imbalance_factor: float = Field(
        description="n_max / n_min, >= 1; 1 leaves the data as it is.", json_schema_extra={"minimum": 1}
    )
    order: Literal["index", "random"] = Field(
        "index", description="Which class is rare: by class index, or drawn from the partition seed."
    )
    rare_share: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.5, description="Share of the classes that are rare, in (0, 1); the step profile only."
    )

    @field_validator("imbalance_factor")
    @classmethod
    def _at_least_one(cls, value: float) -> float:
        if 0.0 < value < 1.0:
            raise ValueError(f"is n_max / n_min and at least 1; did you mean {1.0 / value:g}?")
        if value < 1.0:
            raise ValueError("is n_max / n_min and must be at least 1")
        return value


class ClientsParams(Params):
    """What every partition into a chosen number of clients declares."""

    clients: Count = Field(default=10, description="Number of clients, >= 1.")


class IidParams(ClientsParams):
    """Every client a random sample of the pool."""

    name: Literal["iid"] = "iid"


class ByClassParams(ClientsParams):
    """A partition that looks at the class of a row."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION


class DirichletParams(ByClassParams):
    """Each class divided over the clients by Dirichlet shares."""

    name: Literal["dirichlet"] = "dirichlet"
    alpha: Positive = Field(0.5, description="Concentration, > 0; small is more skewed, large tends to IID.")
    min_size: Annotated[int, Field(ge=0)] = Field(
        0, description="Fewest rows a client may get, before its own splits; redrawn until met, 100 times."
    )
    size_guard: bool = Field(
        False,
        description="A client that already holds its share of all rows gets none of the following classes, "
        "as in NIID-Bench and FedDisco.",
    )


class DirichletClientParams(ByClassParams):
    """Each client draws its own label proportions."""

    name: Literal["dirichlet_client"] = "dirichlet_client"
    alpha: Positive = Field(0.5, description="Concentration per class, > 0; small is more skewed.")


class PathologicalParams(ByClassParams):
    """Each client holds exactly k classes."""

    name: Literal["pathological"] = "pathological"
    classes_per_client: Count = Field(2, description="Classes per client, 1 to the number of classes.")


class ShardsParams(ByClassParams):
    """Rows sorted by label, cut into shards."""

    name: Literal["shards"] = "shards"
    shards_per_client: Count = Field(2, description="Shards dealt to each client, >= 1.")


class Niid2Params(ByClassParams):
    """Biased clients beside full clients, all of equal size."""

    name: Literal["niid2"] = "niid2"
    clients: Count = Field(6, description="Number of clients, biased and full together.")
    n_niid: Count = Field(5, description="How many of them are biased; a multiple of groups.")
    groups: Count = Field(
        5, description="Disjoint class groups the biased clients take in turn; each has classes / groups."
    )

    @field_validator("n_niid")
    @classmethod
    def _not_more_than_all(cls, value: int, info: ValidationInfo) -> int:
        clients = info.data.get("clients")
        if clients is not None and value > clients:
            raise ValueError(f"must be at most clients ({clients})")
        return value

    @field_validator("groups")
    @classmethod
    def _divides(cls, value: int, info: ValidationInfo) -> int:
        biased = info.data.get("n_niid")
        if biased is not None and biased % value:
            raise ValueError(f"must divide n_niid ({biased}), so that every group has as many clients")
        return value


class NaturalIdParams(Params):
    """One client per distinct value of a column."""

    name: Literal["natural_id"] = "natural_id"
    partition_by: Annotated[str, Field(min_length=1)] = Field(
        "client", description="Column that names the client of each row."
    )


class LognormalParams(Params):
    """Log-normal client sizes."""

    name: Literal["lognormal"] = "lognormal"
    sigma: Annotated[float, Field(ge=0.0, le=20.0)] = Field(
        1.0, description="Standard deviation of log size, in [0, 20]; 0 is equal sizes."
    )


class PowerLawParams(Params):
    """Power-law client sizes."""

    name: Literal["power_law"] = "power_law"
    exponent: Annotated[float, Field(ge=0.0, le=20.0)] = Field(
        1.0, description="Sizes fall as rank ** -exponent, in [0, 20]; 0 is equal sizes."
    )


class DirichletSizesParams(Params):
    """Client sizes from one Dirichlet draw."""

    name: Literal["dirichlet_sizes"] = "dirichlet_sizes"
    alpha: Positive = Field(1.0, description="Concentration, > 0; small is more unequal.")


def _short(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


PartitionParams = Annotated[
    Annotated[
        IidParams
        | DirichletParams
        | DirichletClientParams
        | PathologicalParams
        | ShardsParams
        | Niid2Params
        | NaturalIdParams,
        Field(discriminator="name"),
    ],
    _short("name"),
]
QuantityParams = Annotated[
    Annotated[LognormalParams | PowerLawParams | DirichletSizesParams, Field(discriminator="name")],
    _short("name"),
]


class DataBlock(Params):
    """What every source's ``data`` block declares beside the source's own keys."""

    task: ClassVar[TaskName] = CLASSIFICATION[0]
    """What the source's labels are."""

    long_tail: LongTailParams | None = Field(None, description="Long tail over the training classes.")
    train_rows: Count | None = Field(
        None,
        description="Use only so many of the training rows that the long tail leaves, class shares as they are, "
        "drawn from the partition seed; left out: all.",
    )
    partition: PartitionParams = Field(IidParams(), description="How rows are divided over clients.")
    quantity: QuantityParams | None = Field(None, description="Profile of the client sizes.")
    validation: Share = Field(
        0.1, description="Share of each client's rows that tuning, selection and rules may read, in [0, 1)."
    )
    client_test: Share = Field(
        0.1, description="Share of each client's rows that is only ever reported on, in [0, 1)."
    )

    holdout_clients: Share | ClientNames = Field(
        0.0,
        description="Clients that never train and are reported on with all their data: a share in [0, 1) of "
        "those that have data, or their names.",
    )
    preprocess: PreprocessParams | None = Field(
        None, description="Imputation and scaling; left out: rows stay as they are."
    )
    feature_shift: ShiftParams | None = Field(
        None, description="What makes one client's inputs look different from another's; left out: nothing."
    )
    label_noise: LabelNoiseParams | None = Field(None, description="Wrong training labels; left out: none.")

    @field_validator("quantity")
    @classmethod
    def _composes(cls, value: Params | None, info: ValidationInfo) -> Params | None:
        partition = info.data.get("partition")
        if value is not None and partition is not None and partition.name not in SIZED:
            raise ValueError(
                f"cannot set client sizes for partition {partition.name}, which fixes them itself; "
                f"leave quantity out or choose one of {', '.join(SIZED)}"
            )
        return value

    @field_validator("client_test")
    @classmethod
    def _leaves_training_rows(cls, value: float, info: ValidationInfo) -> float:
        validation = info.data.get("validation")
        if validation is not None and validation + value >= 1.0:
            raise ValueError(
                f"plus validation ({validation:g}) must stay below 1, or nothing is left to train on"
            )
        return value

    def source_kwargs(self) -> dict[str, Any]:
        """Return the source's own parameters: what the loader takes."""
        return {key: value for key, value in self.kwargs().items() if key not in DataBlock.model_fields}


class DigitsData(DataBlock):
    """The shipped handwritten digits."""

    dataset: Literal["digits"] = "digits"
    test: TestShare = Field(0.2, description="Share held out as global test set, stratified, in (0, 1).")


class SyntheticData(DataBlock):
    """Synthetic(alpha, beta) of FedProx; comes divided into devices, column ``client``."""

    dataset: Literal["synthetic"] = "synthetic"
    alpha: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="Standard deviation of the model means over devices, >= 0."
    )
    beta: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="Standard deviation of the feature means over devices, >= 0."
    )
    iid: bool = Field(False, description="One model and one feature distribution for all devices.")
    clients: Count = Field(30, description="Number of devices to generate, >= 1.")
    partition: PartitionParams = Field(
        NaturalIdParams(partition_by="client"), description="How rows are divided over clients."
    )


class BlobsData(BlobsKeys, DataBlock):
    """Synthetic images of several sites with masks of blobs; comes divided into sites, column ``site``."""

    dataset: Literal["blobs"] = "blobs"
    task: ClassVar[TaskName] = SEGMENTATION[0]
    partition: PartitionParams = Field(
        NaturalIdParams(partition_by="site"), description="How rows are divided over clients."
    )


class FashionMnistData(DataBlock):
    """Fashion-MNIST, with its own test set."""

    dataset: Literal["fashion-mnist"] = "fashion-mnist"
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Folder with the four idx files, or an .npz; left out: FEDBAL_DATA, cache, download.",
    )


class MnistData(DataBlock):
    """MNIST, with its own test set."""

    dataset: Literal["mnist"] = "mnist"
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Folder with the four idx files, or an .npz; left out: FEDBAL_DATA, cache, download.",
    )


class Cifar10Data(DataBlock):
    """CIFAR-10, with its own test set."""

    dataset: Literal["cifar10"] = "cifar10"
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="The published archive, the folder in it, or an .npz; left out: FEDBAL_DATA, cache, download.",
    )


class Cifar100Data(DataBlock):
    """CIFAR-100, with its own test set."""

    dataset: Literal["cifar100"] = "cifar100"
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="The published archive, the folder in it, or an .npz; left out: FEDBAL_DATA, cache, download.",
    )
    labels: Literal["fine", "coarse"] = Field("fine", description="The 100 classes, or their 20 groups.")


class RowsData(DataBlock):
    """What sources of the user's own rows declare: columns can hold rows together."""

    group: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Column, such as a patient or a lesion: rows of one value stay on one side of every split, and "
        "with one client unless the clients are natural.",
    )

    def source_kwargs(self) -> dict[str, Any]:
        """Return the source's own parameters; the group goes into the request."""
        return {key: value for key, value in super().source_kwargs().items() if key != "group"}


class TableData(RowsData):
    """A table of the user's: NPZ, CSV or Parquet."""

    dataset: Literal["table"] = "table"
    path: Annotated[str, Field(min_length=1)] = Field(
        description="The file, relative to the scenario: .npz, .csv or .parquet."
    )
    label: Annotated[str, Field(min_length=1)] = Field("y", description="Array or column with the label.")
    features: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="Columns to learn from; left out: all but label and client column."
    )
    classes: Annotated[list[str], Field(min_length=2)] | None = Field(
        None, description="Class names in label order; left out: what the file names or holds."
    )
    categorical: ColumnNames | dict[str, list[Annotated[str, Field(min_length=1)]]] | None = Field(
        None,
        description="Columns that are categories whatever they hold, perhaps with all their levels; texts and "
        "booleans always are. One feature `column=level` a level.",
    )
    drop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="Columns to leave out of the features."
    )
    test: TestShare = Field(
        0.1, description="Share held out as global test set if the file brings none, stratified, in (0, 1)."
    )


class FolderData(RowsData):
    """Pictures in one folder for each class."""

    dataset: Literal["folder"] = "folder"
    path: Annotated[str, Field(min_length=1)] = Field(
        description="The folder, relative to the scenario: class/file, or train and test folders of that form."
    )
    size: PictureSize = Field(32, description="Side of the pictures, or [height, width], 1 to 4096 pixels.")
    mode: Literal["grey", "rgb"] = Field("rgb", description="One channel, or three.")
    test: TestShare = Field(
        0.1,
        description="Share held out as global test set if there is no test folder, stratified, in (0, 1).",
    )
    clients_first: bool = Field(
        False, description="Whether it is client/class/file; column `client` then names the client."
    )
    pattern: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Regular expression with named groups, found in every file name; each name is a column for "
        "group or natural clients, as in '(?P<patient>p[0-9]+)_'.",
    )

    @field_validator("pattern")
    @classmethod
    def _names_columns(cls, value: str | None) -> str | None:
        try:
            named = value is None or re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from error
        if not named:
            raise ValueError("names no group; write (?P<patient>...) around the part of the name to use")
        return value


class HuggingFaceData(RowsData):
    """A data set in Hugging Face's form, from the hub or a local folder."""

    dataset: Literal["huggingface"] = "huggingface"
    path: Annotated[str, Field(min_length=1)] = Field(
        description="Local folder (Parquet, pictures or saved with save_to_disk), or a name on the hub."
    )
    subset: Annotated[str, Field(min_length=1)] | None = Field(None, description="Configuration on the hub.")
    revision: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Version on the hub: tag, branch or commit."
    )
    label: Annotated[str, Field(min_length=1)] = Field("label", description="Column with the label.")
    image: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Column with the picture; left out: a table."
    )
    features: ColumnNames | None = Field(
        None, description="Columns to learn from; left out: all but label, client and group column."
    )
    categorical: ColumnNames | dict[str, list[Annotated[str, Field(min_length=1)]]] | None = Field(
        None, description="Columns that are categories whatever they hold, perhaps with all their levels."
    )
    drop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="Columns to leave out of the features."
    )
    size: PictureSize | None = Field(
        None, description="Side of the pictures, or [height, width]; left out: as they are, all of one size."
    )
    mode: Literal["grey", "rgb"] = Field("rgb", description="One channel, or three.")
    split: Annotated[str, Field(min_length=1)] = Field("train", description="Split to train on.")
    test_split: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Split that is the global test set; left out: a share of the other is held out."
    )
    test: TestShare = Field(
        0.1, description="Share held out as global test set without test_split, stratified, in (0, 1)."
    )

    @field_validator("features")
    @classmethod
    def _pictures_or_columns(cls, value: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if value is not None and info.data.get("image") is not None:
            raise ValueError("image is given too and only one of the two can hold; delete one of them")
        return value


def _source(value: Any) -> Any:
    """Read ``data: digits`` as its long form; a block that names no dataset means the digits."""
    if isinstance(value, str):
        return {"dataset": value}
    if isinstance(value, dict) and "dataset" not in value:
        return {"dataset": "digits", **value}
    return value


DataParams = Annotated[
    Annotated[
        DigitsData
        | SyntheticData
        | BlobsData
        | FashionMnistData
        | MnistData
        | Cifar10Data
        | Cifar100Data
        | TableData
        | FolderData
        | HuggingFaceData,
        Field(discriminator="dataset"),
    ],
    BeforeValidator(_source),
]
