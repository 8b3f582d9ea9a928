"""FedCE on sites of different quality: whether its weights know who contributes, and its model is fairer.

``sites``: a seed is a draw of six sites, with sizes by a power law dealt out at random, a third of the sites with
wrong labels, about a quarter with rotated images; the global test set is a mixture of the sites, rotated like them.
``blobs``: a seed draws five sites that differ in look; two have wrong masks, one has few. Contributions are exact,
over all coalitions, see :mod:`benchmarks.reproduce.contributions`.
"""

from __future__ import annotations

from benchmarks.reproduce.contributions import agreement
from benchmarks.reproduce.fedce_pages import render
from benchmarks.reproduce.study import ACCURACY, Arm, Claim, Direction, Metric, Setting, Size, Study

PAPER = "Jiang et al., CVPR 2023"
CORRELATION = f"{PAPER}, correlation of weights with leave-one-out contribution"
FAIRNESS = f"{PAPER}, spread of scores over clients"

BASE = {
    "name": "fedce-sites",
    "rounds": 50,
    "data": {
        "dataset": "fashion-mnist",
        "partition": {"name": "iid", "clients": 6},
        "quantity": {"name": "power_law", "exponent": 1.0},
        "label_noise": {"kind": "symmetric", "rate": 0.6, "clients": 0.34},
        "feature_shift": {"name": "rotation", "angles": [0, 0, 0, 90], "global_test": "clients"},
        "validation": 0.15,
        "client_test": 0.3,
    },
    "model": {"name": "mlp", "hidden": [64]},
    "strategy": "fedavg",
    "client": {"local_epochs": 1, "batch_size": 20, "optimizer": {"name": "sgd", "lr": 0.05}},
    "cohort": {"fraction": 1.0},
    "evaluation": {"min_client_samples": 5},
}
BLOBS = (
    "data={dataset: blobs, sites: 5, images: 60, noisy_sites: [3, 4], mask_noise: mixed, mask_noise_rate: 0.8, "
    "small_sites: [2], small_share: 0.3, validation: 0.15, client_test: 0.2}",
    "model={name: unet, width: 8}",
    "client.loss={name: dice, ce_weight: 1.0}",
    "client.batch_size=8",
    "client.optimizer={name: adam, lr: 0.003}",
)

ARMS = (
    Arm("fedavg", "FedAvg (weights by samples)", ("strategy=fedavg",)),
    Arm("fedce", "FedCE", ("strategy=fedce",)),
    Arm("uniform", "uniform mean", ("strategy=uniform",)),
    Arm("times", "FedCE, times", ("strategy={name: fedce, mode: times}",)),
    Arm("v1", "FedCE, first release's prior", ("strategy={name: fedce, prior: uniform}",)),
    Arm("qfedavg01", "q-FedAvg, q = 0.1", ("strategy={name: qfedavg, q: 0.1, lr: 0.05}",)),
    Arm("qfedavg", "q-FedAvg, q = 1", ("strategy={name: qfedavg, q: 1.0, lr: 0.05}",)),
)
TITLES = {"sites": "images", "blobs": "masks"}


def _claims(setting: str) -> tuple[Claim, ...]:
    title, score = TITLES[setting], {"sites": "accuracy", "blobs": "dice"}[setting]

    def claim(a: str, b: str, endpoint: str, text: str, source: str, lower: bool = False) -> Claim:
        name = f"{setting}-{a}-{b}-{endpoint.replace('.', '-')}"
        margin = 0.1 if endpoint.split(".")[0] in ("leave-one-out", "shapley") else 0.005
        direction: Direction = "lower" if lower else "higher"
        return Claim(name, f"{title}: {text}", source, setting, a, b, direction, endpoint, margin)

    return (
        claim(
            "fedce",
            "uniform",
            "leave-one-out.spearman",
            "FedCE's weights rank sites as leave-one-out does.",
            CORRELATION,
        ),
        claim(
            "fedce", "uniform", "shapley.spearman", "FedCE's weights rank sites as Shapley does.", CORRELATION
        ),
        claim(
            "fedce", "fedavg", "leave-one-out.spearman", "they do so better than sample counts.", CORRELATION
        ),
        claim("fedce", "fedavg", "shapley.spearman", "and for Shapley values too.", CORRELATION),
        claim("fedce", "fedavg", "std.last10", "FedCE's model differs less between sites.", FAIRNESS, True),
        claim("fedce", "fedavg", "worst.last10", "FedCE serves the worst site better.", FAIRNESS),
        claim("fedce", "fedavg", f"{score}.last10", "FedCE's model is better.", FAIRNESS),
        claim(
            "fedce", "qfedavg", "std.last10", "it differs less between sites than q-FedAvg's.", FAIRNESS, True
        ),
    )


STUDY = Study(
    name="fedce",
    title="FedCE on sites of different quality",
    paper=PAPER,
    base=BASE,
    settings=(
        Setting("sites", "Six sites with wrong labels, few images or rotated ones"),
        Setting("blobs", "Five sites with masks: two draw them wrong, one has few", BLOBS),
    ),
    arms=ARMS,
    sizes={
        "smoke": Size(
            "seconds, on the shipped digits instead",
            (0, 1),
            (
                "data={dataset: digits, partition: {name: iid, clients: 3}, quantity: power_law, validation: 0.2, "
                "client_test: 0.3, label_noise: {rate: 0.6, clients: 0.34}}",
                "model={name: mlp, hidden: [8]}",
                "rounds=2",
            ),
            settings=("sites",),
            arms=("fedavg", "fedce", "uniform"),
        ),
        "cpu": Size(
            "about 10 minutes on two cores; sites alone, 4 000 images, 15 rounds",
            tuple(range(7)),
            ("rounds=15", "data.train_rows=4000"),
            settings=("sites",),
        ),
        "blobs": Size(
            "about 15 minutes on two cores; masks alone, 300 images, 8 rounds",
            tuple(range(7)),
            ("rounds=8",),
            settings=("blobs",),
        ),
        "full": Size(
            "60 000 images, 50 rounds; 1 500 masks, 30 rounds; hours, or a GPU",
            tuple(range(10)),
            by_setting={"blobs": ("rounds=30", "data.images=300", "model.width=16")},
        ),
    },
    claims=(*_claims("sites"), *_claims("blobs")),
    metrics=(
        ACCURACY,
        Metric("dice", "test.dice", "test Dice, %", percent=True),
        Metric("std", "fairness.std", "standard deviation over sites, points", higher=False, percent=True),
        Metric("worst", "fairness.worst_10_percent", "worst site, %", percent=True),
    ),
    measure=agreement,
    render=render,
)
