"""CIFAR-10 and CIFAR-100 as published: addresses, checksums, class names, terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class CifarRelease:
    """One of the two data sets."""

    name: str
    archive: str
    md5: str
    """Of the archive."""
    folder: str
    """Folder inside the archive."""
    train: tuple[str, ...]
    test: tuple[str, ...]
    """Batch files."""
    labels: Mapping[str, tuple[str, tuple[str, ...]]]
    """Kind of label to its key in a batch and its class names."""
    mean: Triple
    std: Triple
    mirrors: tuple[str, ...] = ("https://www.cs.toronto.edu/~kriz/",)
    source: str = "https://www.cs.toronto.edu/~kriz/cifar.html"
    licence: str = (
        "research use; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    )

    @property
    def spellings(self) -> tuple[str, ...]:
        """Names under which a folder, an archive or an NPZ of it is looked for."""
        return (
            self.name,
            self.folder,
            self.name.replace("cifar", "cifar-"),
            self.name.replace("cifar", "CIFAR"),
        )


CIFAR10 = CifarRelease(
    name="cifar10",
    archive="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    labels={
        "fine": (
            "labels",
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        )
    },
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)

_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail
snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout
tulip turtle wardrobe whale willow_tree wolf woman worm
"""

_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
vehicles_1 vehicles_2
"""

CIFAR100 = CifarRelease(
    name="cifar100",
    archive="cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train=("train",),
    test=("test",),
    labels={
        "fine": ("fine_labels", tuple(_FINE.split())),
        "coarse": ("coarse_labels", tuple(_COARSE.split())),
    },
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
