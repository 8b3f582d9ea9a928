"""FedDisco on Fashion-MNIST: label skew of two kinds, a long tail, other methods with and without its weights.

Two things lie in the weights: the discrepancy, scaled by a, and the offset b, which pulls them towards equal
weights. The arms ``a = 0`` (the offset alone) and ``uniform`` tell them apart. Every arm has the same learning
rate, momentum, batches and budget.
"""

from __future__ import annotations

from benchmarks.reproduce.feddisco_pages import ANCHORS, draw, render
from benchmarks.reproduce.study import ACCURACY, BALANCED, Arm, Claim, Direction, Setting, Size, Study

PAPER = "Ye et al., ICML 2023"
GAIN = f"{PAPER}: gains on every base method"
CONTROL = "control of this study"
DISCO = "{name: feddisco, a: 0.5, b: 0.1, metric: kl}"
NIID2 = "data.partition={name: niid2, clients: 6, n_niid: 5, groups: 5}"
TAIL = "data.long_tail={profile: exponential, imbalance_factor: 10, order: index}"
TWO_LABELS = "data.partition={name: pathological, clients: 10, classes_per_client: 2}"
MAIN = ("niid1", "niid2", "tail")
ONLY = ("niid1",)


def _with_and_without(name: str, label: str, parameters: str) -> tuple[Arm, Arm]:
    """Return a method, and the same with FedDisco's weights."""
    return (
        Arm(name, label, (f"strategy={{{parameters}}}",), ONLY),
        Arm(f"{name}-disco", f"{label} + Disco", (f"strategy={{{parameters}, weighting: {DISCO}}}",), ONLY),
    )


ARMS = (
    Arm("fedavg", "FedAvg", ("strategy=fedavg",)),
    Arm("uniform", "uniform mean", ("strategy=uniform",), MAIN),
    Arm("disco", "FedDisco", (f"strategy={DISCO}",), MAIN),
    Arm("a0", "FedDisco, a = 0", ("strategy={name: feddisco, a: 0.0, b: 0.1, metric: kl}",), MAIN),
    Arm("l2", "FedDisco, l2, a = .1", ("strategy={name: feddisco, a: 0.1, b: 0.1, metric: l2}",), MAIN),
    Arm(
        "raw",
        "FedDisco, kl not normalised",
        ("strategy={name: feddisco, a: 0.5, b: 0.1, metric: kl, normalise: false}",),
        ONLY,
    ),
    *_with_and_without("prox", "FedProx", "name: fedprox, mu: 0.1"),
    *_with_and_without("moon", "MOON", "name: moon, mu: 0.1"),
    *_with_and_without("scaffold", "SCAFFOLD", "name: scaffold"),
)

TITLES = {
    "niid1": "NIID-1",
    "niid2": "NIID-2",
    "tail": "NIID-1 under a long tail",
}


def _claim(
    setting: str, a: str, b: str, text: str, source: str = GAIN, direction: Direction = "higher"
) -> Claim:
    text = f"{TITLES[setting]}: {text}"
    return Claim(f"{setting}-{a}-{b}", text, source, setting, a, b, direction, margin=0.002)


CLAIMS = (
    *(
        claim
        for setting in MAIN
        for claim in (
            _claim(setting, "disco", "fedavg", "FedDisco beats FedAvg."),
            _claim(setting, "disco", "a0", "the discrepancy adds to what the offset b does alone.", CONTROL),
            _claim(setting, "disco", "uniform", "FedDisco beats the uniform mean.", CONTROL),
        )
    ),
    _claim("niid1", "disco", "raw", "normalised kl beats kl as printed, both with a = .5.", CONTROL),
    *(
        _claim("niid1", f"{name}-disco", name, f"{label} gains from FedDisco's weights.")
        for name, label in (("prox", "FedProx"), ("moon", "MOON"), ("scaffold", "SCAFFOLD"))
    ),
)

SEEDS = tuple(range(7))
SMALL = ("rounds=20", "client.local_epochs=1", "data.train_rows=10000", "evaluation.every=2")
ANCHOR = ("rounds=50",)

STUDY = Study(
    name="feddisco",
    title="FedDisco on Fashion-MNIST",
    paper=PAPER,
    base="feddisco-niid1",
    settings=(
        Setting("niid1", "NIID-1: Dirichlet(.5) over 10 clients"),
        Setting("niid2", "NIID-2: five clients with two classes each, one with all", (NIID2,)),
        Setting("tail", "NIID-1 under a long tail of 10:1, test set balanced", (TAIL,)),
        Setting("dirichlet", "All images, Dirichlet(.5) over 10 clients, 50 rounds"),
        Setting("labels", "All images, two labels for each of 10 clients, 50 rounds", (TWO_LABELS,)),
    ),
    arms=ARMS,
    sizes={
        "smoke": Size(
            "seconds, on the shipped digits instead",
            (0, 1),
            (
                "data={dataset: digits, partition: {name: dirichlet, clients: 4}, validation: 0, client_test: 0}",
                "model={name: mlp, hidden: [8]}",
                "rounds=2",
                "client.local_epochs=1",
            ),
            settings=ONLY,
        ),
        "cpu": Size(
            "about 25 minutes on two cores; 10 000 training images, 20 rounds, 1 local epoch",
            SEEDS,
            SMALL,
            settings=MAIN,
        ),
        "full": Size(
            "60 000 images, 100 rounds, 10 local epochs; for a GPU", tuple(range(10)), settings=MAIN
        ),
        **{
            f"full-lr{rate}": Size(
                "full at another learning rate, the same for every arm; for a GPU",
                tuple(range(10)),
                (f"client.optimizer.lr={rate}",),
                settings=MAIN,
            )
            for rate in ("0.003", "0.03")
        },
        "anchor": Size(
            "one run of about 35 minutes; the published FedAvg figure", (0,), ANCHOR, settings=("dirichlet",)
        ),
        "anchors": Size(
            "both published FedAvg figures, 5 seeds; for a GPU",
            tuple(range(5)),
            ANCHOR,
            settings=("dirichlet", "labels"),
        ),
    },
    claims=CLAIMS,
    metrics=(ACCURACY, BALANCED),
    reference=ANCHORS,
    render=render,
    draw=draw,
)
