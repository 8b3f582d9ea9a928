"""The published data sets in MNIST's format: names, addresses, checksums, terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Release:
    """A published data set of this format."""

    name: str
    classes: tuple[str, ...]
    mean: float
    std: float
    mirrors: tuple[str, ...]
    checksums: Mapping[str, str]
    """MD5 of each gzipped idx file."""
    source: str
    licence: str

    @property
    def spellings(self) -> tuple[str, ...]:
        """Names under which a folder or an NPZ of it is looked for, other libraries' spelling included."""
        joined = self.name.replace("fashion-", "Fashion").replace("mnist", "MNIST")
        return (self.name, self.name.replace("-", "_"), joined)


FASHION_MNIST = Release(
    name="fashion-mnist",
    classes=(
        "t-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    mean=0.2860,
    std=0.3530,
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    checksums={
        FILES[0]: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        FILES[1]: "25c81989df183df01b3e8a0aad5dffbe",
        FILES[2]: "bef4ecab320f06d8554ea6380940ec79",
        FILES[3]: "bb300cfdad3c16e7a12a480ee83cd310",
    },
    source="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
)

MNIST = Release(
    name="mnist",
    classes=tuple(str(digit) for digit in range(10)),
    mean=0.1307,
    std=0.3081,
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    checksums={
        FILES[0]: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        FILES[1]: "d53e105ee54ea40749a09fcbcd1e9432",
        FILES[2]: "9fb629c4189551a2d022fa330f9573f3",
        FILES[3]: "ec29112dd5afa0611ce80d1b7f02629c",
    },
    source="http://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0",
)
