"""Every other rule and loss against FedAvg with cross-entropy, on handwritten digits that need no download.

Local rate, momentum, batches and budget are the same for all. What a method adds of its own (a server rate, a
coefficient) was chosen from the grid of ``--size tune`` on seeds 100 to 102, which no table shows: the value with
the highest mean of the last ten rounds over the settings (balanced accuracy under the long tail; for q-FedAvg the
lowest spread). Claims stand only for what a paper says of its own method; rows without one are controls and
references.
"""

from __future__ import annotations

from benchmarks.reproduce.baseline_pages import draw, render
from benchmarks.reproduce.study import ACCURACY, BALANCED, Arm, Claim, Metric, Setting, Size, Study

BASE = {
    "name": "baselines",
    "seed": 0,
    "rounds": 40,
    "data": {
        "dataset": "digits",
        "partition": {"name": "dirichlet", "clients": 10, "alpha": 0.1},
        "validation": 0.0,
        "client_test": 0.2,
    },
    "model": {"name": "mlp", "hidden": [64]},
    "strategy": "fedavg",
    "client": {
        "local_epochs": 1,
        "batch_size": 10,
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.0},
    },
    "cohort": {"fraction": 1.0},
    "evaluation": {"clients": 0},
}

SETTINGS = (
    Setting("skew", "Label skew: Dirichlet(.1), all of 10 clients, 1 epoch"),
    Setting(
        "partial",
        "Few at a time: Dirichlet(.1), 3 of 10 clients, 5 epochs",
        ("cohort.fraction=0.3", "client.local_epochs=5"),
    ),
    Setting(
        "tail",
        "Long tail 50:1, Dirichlet(.3), all of 10 clients, 5 epochs",
        (
            "data.long_tail={imbalance_factor: 50, order: random}",
            "data.partition.alpha=0.3",
            "client.local_epochs=5",
            "evaluation.posthoc={tau: 1.0}",
        ),
    ),
    Setting(
        "unequal",
        "Unequal work: half straggle, 1 to 10 epochs kept, 5 of 10 clients",
        (
            "client.local_epochs=10",
            "client.optimizer.lr=0.02",
            "cohort.fraction=0.5",
            "systems={stragglers: {fraction: 0.5, policy: partial}}",
        ),
    ),
    Setting(
        "uneven",
        "Uneven difficulty: Dirichlet(.1), each client rotated up to 45 degrees, 2 epochs",
        (
            "data.feature_shift={name: rotation, max_degrees: 45}",
            "data.client_test=0.3",
            "client.local_epochs=2",
            "evaluation={clients: all, min_client_samples: 10}",
        ),
    ),
    Setting(
        "sizes",
        "Unequal sizes: rank ** -1.5, Dirichlet(.3), all of 10 clients, 1 epoch",
        ("data.partition.alpha=0.3", "data.quantity={name: power_law, exponent: 1.5}"),
    ),
    Setting(
        "reference",
        "References: Dirichlet(.5), all of 10 clients, 2 epochs",
        (
            "data.partition.alpha=0.5",
            "data.client_test=0.3",
            "client.local_epochs=2",
            "evaluation={clients: all, min_client_samples: 10}",
        ),
    ),
)
SKEWED = ("skew", "partial", "tail")
EVERYWHERE = (*SKEWED, "unequal", "uneven", "sizes", "reference")


def _rule(text: str) -> str:
    return f"strategy={text}"


def _loss(text: str) -> str:
    return f"client.loss={text}"


ARMS = (
    Arm("fedavg", "FedAvg", (), EVERYWHERE),
    Arm("fedavg-5", "FedAvg, 5 epochs", ("client.local_epochs=5",), ("skew",)),
    Arm("centralised", "centralised", (_rule("centralised"),), ("reference",)),
    Arm("local_only", "local_only", (_rule("local_only"),), ("reference",)),
    Arm("uniform", "uniform", (_rule("uniform"),), ("skew", "partial", "sizes")),
    Arm("fedavgm", "FedAvgM", (_rule("{name: fedavgm, beta: 0.5}"),), SKEWED),
    Arm("fedadam", "FedAdam", (_rule("{name: fedadam, lr: 0.1}"),), SKEWED),
    Arm("fedyogi", "FedYogi", (_rule("{name: fedyogi, lr: 0.1}"),), SKEWED),
    Arm("fedadagrad", "FedAdagrad", (_rule("{name: fedadagrad, lr: 0.3}"),), SKEWED),
    Arm("fednova", "FedNova", (_rule("fednova"),), ("partial", "unequal")),
    Arm("scaffold", "SCAFFOLD", (_rule("scaffold"),), SKEWED),
    Arm("feddyn", "FedDyn", (_rule("{name: feddyn, alpha: 0.1}"),), SKEWED),
    Arm("moon", "MOON", (_rule("{name: moon, mu: 0.1}"),), SKEWED),
    Arm("qfedavg", "q-FedAvg", (_rule("{name: qfedavg, q: 1.0, lr: 5.0}"),), ("uneven",)),
    Arm("qfedavg-0", "q-FedAvg, q 0", (_rule("{name: qfedavg, q: 0, lr: 5.0}"),), ("uneven",)),
    Arm("focal", "focal", (_loss("focal"),), ("tail",)),
    Arm("class_balanced", "class-balanced", (_loss("{name: class_balanced, prior: global}"),), ("tail",)),
    Arm(
        "balanced_softmax",
        "balanced softmax",
        (_loss("{name: balanced_softmax, prior: global}"),),
        ("tail",),
    ),
    Arm(
        "balanced_softmax-local",
        "balanced softmax, own counts",
        (_loss("{name: balanced_softmax, prior: local}"),),
        ("partial", "tail"),
    ),
    Arm(
        "logit_adjustment",
        "logit adjustment, tau 1.5",
        (_loss("{name: logit_adjustment, tau: 1.5, prior: global}"),),
        ("tail",),
    ),
    Arm("fedlc", "FedLC", (_loss("{name: fedlc, tau: 2.0}"),), SKEWED),
    Arm("fedrs", "FedRS", (_loss("{name: fedrs, alpha: 0.9}"),), SKEWED),
)

GRID = {
    "fedavgm": [(f"{beta:g}", _rule(f"{{name: fedavgm, beta: {beta}}}")) for beta in (0.5, 0.9)],
    "fedadam": [(f"{lr:g}", _rule(f"{{name: fedadam, lr: {lr}}}")) for lr in (0.01, 0.03, 0.1)],
    "fedyogi": [(f"{lr:g}", _rule(f"{{name: fedyogi, lr: {lr}}}")) for lr in (0.01, 0.03, 0.1)],
    "fedadagrad": [(f"{lr:g}", _rule(f"{{name: fedadagrad, lr: {lr}}}")) for lr in (0.03, 0.1, 0.3)],
    "feddyn": [(f"{alpha:g}", _rule(f"{{name: feddyn, alpha: {alpha}}}")) for alpha in (0.01, 0.1)],
    "moon": [(f"{mu:g}", _rule(f"{{name: moon, mu: {mu}}}")) for mu in (0.1, 1.0, 5.0)],
    "fedlc": [(f"{tau:g}", _loss(f"{{name: fedlc, tau: {tau}}}")) for tau in (0.5, 1.0, 2.0)],
    "fedrs": [(f"{alpha:g}", _loss(f"{{name: fedrs, alpha: {alpha}}}")) for alpha in (0.5, 0.9)],
}
"""What ``--size tune`` compares; the values stand in ARMS."""
UNEVEN_GRID = [
    (f"{q:g}-{lr:g}", _rule(f"{{name: qfedavg, q: {q}, lr: {lr}}}")) for q in (0.1, 1.0) for lr in (1.0, 5.0)
]

TUNED = (
    *(
        Arm(f"{method}={value}", f"{method} {value}", (change,), SKEWED)
        for method, values in GRID.items()
        for value, change in values
    ),
    *(Arm(f"qfedavg={value}", f"qfedavg {value}", (change,), ("uneven",)) for value, change in UNEVEN_GRID),
)

HSU = "Hsu et al., arXiv 2019"
REDDI = "Reddi et al., ICLR 2021, table 1"

CLAIMS = (
    Claim(
        "local-work",
        "More local epochs reach a higher accuracy in the same number of rounds.",
        "McMahan et al., AISTATS 2017, table 2",
        "skew",
        "fedavg-5",
        "fedavg",
        margin=0.01,
    ),
    Claim(
        "fedavgm",
        "Server momentum beats FedAvg under label skew.",
        HSU,
        "skew",
        "fedavgm",
        "fedavg",
        margin=0.01,
    ),
    *(
        Claim(name, f"{label} beats FedAvg.", REDDI, "skew", name, "fedavg", margin=0.01)
        for name, label in (("fedadam", "FedAdam"), ("fedyogi", "FedYogi"), ("fedadagrad", "FedAdagrad"))
    ),
    Claim(
        "fednova",
        "Normalised averaging beats FedAvg where clients do unequal work.",
        "Wang et al., NeurIPS 2020",
        "unequal",
        "fednova",
        "fedavg",
        margin=0.01,
    ),
    Claim(
        "scaffold",
        "Controls beat FedAvg on skewed clients of which few take part.",
        "Karimireddy et al., ICML 2020",
        "partial",
        "scaffold",
        "fedavg",
        margin=0.01,
    ),
    Claim(
        "feddyn",
        "Dynamic regularisation beats FedAvg on skewed clients of which few take part.",
        "Acar et al., ICLR 2021",
        "partial",
        "feddyn",
        "fedavg",
        margin=0.01,
    ),
    Claim(
        "moon",
        "The contrastive term beats FedAvg under label skew.",
        "Li et al., CVPR 2021, table 1",
        "skew",
        "moon",
        "fedavg",
        margin=0.01,
    ),
    Claim(
        "qfedavg-spread",
        "The spread of accuracy over clients falls.",
        "Li et al., ICLR 2020",
        "uneven",
        "qfedavg",
        "qfedavg-0",
        "lower",
        "spread.last10",
        0.01,
    ),
    Claim(
        "qfedavg-mean",
        "The mean accuracy over clients stays as it is.",
        "Li et al., ICLR 2020",
        "uneven",
        "qfedavg",
        "qfedavg-0",
        "similar",
        "client_mean.last10",
        0.02,
    ),
    *(
        Claim(
            f"{name}-{setting}",
            f"{label} beats cross-entropy under label skew, {what}.",
            source,
            setting,
            name,
            "fedavg",
            margin=0.01,
        )
        for name, label, source in (
            ("fedlc", "FedLC", "Zhang et al., ICML 2022"),
            ("fedrs", "FedRS", "Li and Zhan, KDD 2021"),
        )
        for setting, what in (("skew", "with all clients"), ("partial", "with few clients a round"))
    ),
    Claim(
        "class_balanced",
        "Class-balanced weights beat cross-entropy on a long tail.",
        "Cui et al., CVPR 2019",
        "tail",
        "class_balanced",
        "fedavg",
        endpoint="balanced.last10",
        margin=0.01,
    ),
    Claim(
        "balanced_softmax",
        "Balanced softmax beats cross-entropy on a long tail.",
        "Ren et al., NeurIPS 2020",
        "tail",
        "balanced_softmax",
        "fedavg",
        endpoint="balanced.last10",
        margin=0.02,
    ),
    Claim(
        "logit_adjustment",
        "Logit adjustment beats cross-entropy on a long tail.",
        "Menon et al., ICLR 2021, table 3",
        "tail",
        "logit_adjustment",
        "fedavg",
        endpoint="balanced.last10",
        margin=0.02,
    ),
)

METRICS = (
    ACCURACY,
    BALANCED,
    Metric("posthoc", "test.posthoc.balanced_accuracy", "balanced accuracy, post-hoc, %", percent=True),
    Metric("client_mean", "fairness.mean", "mean over clients, %", percent=True),
    Metric("spread", "fairness.std", "spread over clients, %", higher=False, percent=True),
    Metric("personal", "personal.mean", "own models, mean over clients, %", percent=True),
)

SHORT = ("rounds=4", "data.partition.clients=4", "client.local_epochs=1")

STUDY = Study(
    name="baselines",
    title="Baselines on digits",
    paper="each rule's own, on its page",
    base=BASE,
    settings=SETTINGS,
    arms=(*ARMS, *TUNED),
    sizes={
        "smoke": Size("half a minute", (0, 1), SHORT, arms=tuple(arm.name for arm in ARMS)),
        "tune": Size(
            "the grid of server rates and coefficients, on seeds that are not reported; a quarter of an hour",
            (100, 101, 102),
            settings=("skew", "partial", "tail", "uneven"),
            arms=tuple(arm.name for arm in TUNED),
        ),
        "cpu": Size("two cores, about 15 minutes", tuple(range(7)), arms=tuple(arm.name for arm in ARMS)),
        "full": Size(
            "10 000 images of Fashion-MNIST and the small CNN, for a machine with many cores",
            tuple(range(7)),
            ("data.dataset=fashion-mnist", "data.train_rows=10000", "model=cnn", "client.batch_size=32"),
            arms=tuple(arm.name for arm in ARMS),
        ),
    },
    metrics=METRICS,
    claims=CLAIMS,
    render=render,
    draw=draw,
)
