"""FedProx on its synthetic data: the proximal term and keeping partial work, told apart.

The paper compares FedAvg, which drops stragglers, with FedProx, which keeps what they got done and adds the
proximal term. Policy and mu are two axes here: ``drop-mu0`` is FedAvg, ``partial-mu1`` FedProx, and the two arms
between say which of the changes did it. Without stragglers drop and partial are the same run.
"""

from __future__ import annotations

from benchmarks.reproduce.fedprox_pages import REFERENCE, draw, render
from benchmarks.reproduce.study import ACCURACY, Arm, Claim, Direction, Metric, Setting, Size, Study

PAPER = "Li et al., MLSys 2020"
SETS = {
    "iid": ("Synthetic IID", ("data.iid=true",)),
    "00": ("Synthetic (0, 0)", ("data.alpha=0", "data.beta=0")),
    "0505": ("Synthetic (.5, .5)", ("data.alpha=0.5", "data.beta=0.5")),
    "11": ("Synthetic (1, 1)", ("data.alpha=1", "data.beta=1")),
}
LEVELS = (0, 50, 90)
STRAGGLING = tuple(f"{name}-{level}" for name in SETS for level in LEVELS if level)

SETTINGS = tuple(
    Setting(
        f"{name}-{level}",
        f"{title}, {level} % stragglers",
        (*overrides, f"systems.stragglers.fraction={level / 100:g}"),
    )
    for name, (title, overrides) in SETS.items()
    for level in LEVELS
)


def _arm(policy: str, mu: int, label: str) -> Arm:
    overrides = (f"strategy={{name: fedprox, mu: {mu}}}", f"systems.stragglers.policy={policy}")
    return Arm(f"{policy}-mu{mu}", label, overrides, None if policy == "partial" else STRAGGLING)


ARMS = (
    _arm("drop", 0, "dropped, mu 0 (FedAvg)"),
    _arm("drop", 1, "dropped, mu 1"),
    _arm("partial", 0, "kept, mu 0"),
    _arm("partial", 1, "kept, mu 1 (FedProx)"),
)

METRICS = (
    ACCURACY,
    Metric("balanced", "test.balanced_accuracy", "balanced accuracy, %", percent=True),
    Metric("train_loss", "dissimilarity.loss", "training loss", higher=False, log=True),
    Metric("variance", "dissimilarity.unweighted_variance", "gradient variance", higher=False, log=True),
    Metric("B", "dissimilarity.B", "dissimilarity B", higher=False),
)


def _claim(
    setting: str,
    a: str,
    b: str,
    text: str,
    figure: str,
    *,
    direction: Direction = "higher",
    endpoint: str = "accuracy.last20",
    margin: float = 0.0,
) -> Claim:
    name = f"{setting}-{a}-{b}-{endpoint.partition('.')[0]}"
    return Claim(name, text, f"{PAPER}, {figure}", setting, a, b, direction, endpoint, margin)


CLAIMS = (
    _claim(
        "11-90",
        "partial-mu1",
        "drop-mu0",
        "With 90 % stragglers on (1, 1), FedProx with mu 1 beats FedAvg, which drops them.",
        "figure 1, bottom row",
        margin=0.01,
    ),
    _claim(
        "11-90",
        "partial-mu0",
        "drop-mu0",
        "With 90 % stragglers on (1, 1), keeping partial work alone beats dropping it.",
        "figure 1, bottom row",
        margin=0.01,
    ),
    _claim(
        "11-90",
        "partial-mu1",
        "partial-mu0",
        "With 90 % stragglers on (1, 1), partial work kept, mu 1 beats mu 0.",
        "figure 1, bottom row",
        margin=0.01,
    ),
    _claim(
        "11-90",
        "drop-mu1",
        "drop-mu0",
        "With 90 % stragglers on (1, 1), stragglers dropped, mu 1 beats mu 0.",
        "control of this study",
        margin=0.01,
    ),
    _claim(
        "11-90",
        "partial-mu1",
        "drop-mu0",
        "With 90 % stragglers on (1, 1), FedProx with mu 1 reaches a lower training loss than FedAvg.",
        "figure 1, bottom row",
        direction="lower",
        endpoint="train_loss.last20",
    ),
    _claim(
        "11-0",
        "partial-mu1",
        "partial-mu0",
        "Without stragglers on (1, 1), mu 1 lowers the training loss.",
        "figure 2, top row",
        direction="lower",
        endpoint="train_loss.last10",
    ),
    _claim(
        "11-0",
        "partial-mu1",
        "partial-mu0",
        "Without stragglers on (1, 1), mu 1 lowers the variance of the gradients.",
        "figure 2, bottom row",
        direction="lower",
        endpoint="variance.last10",
    ),
    _claim(
        "11-0",
        "partial-mu1",
        "partial-mu0",
        "Without stragglers on (1, 1), mu 1 raises the test accuracy.",
        "figure 1, top row",
        endpoint="accuracy.last10",
        margin=0.01,
    ),
    _claim(
        "iid-0",
        "partial-mu1",
        "partial-mu0",
        "Without stragglers on IID data, mu 1 slows training: the training loss is higher.",
        "figure 2, leftmost",
        endpoint="train_loss.last10",
    ),
    _claim(
        "iid-90",
        "drop-mu0",
        "partial-mu0",
        "On IID data dropping 90 % stragglers is nearly harmless: within two points of accuracy.",
        "figure 5",
        direction="similar",
        endpoint="accuracy.last10",
        margin=0.02,
    ),
)

MEASURED = ("evaluation.dissimilarity=true",)
COMPILED = (*MEASURED, "runtime.compile=true")
SEEDS = tuple(range(7))
TWO_SETS = ("11-0", "11-90", "iid-0", "iid-90")
SHORTER = {"11-0": ("rounds=60",), "iid-0": ("rounds=30",), "iid-90": ("rounds=30",)}

STUDY = Study(
    name="fedprox",
    title="FedProx on Synthetic(alpha, beta)",
    paper=PAPER,
    base="fedprox-synthetic",
    settings=SETTINGS,
    arms=ARMS,
    sizes={
        "smoke": Size(
            "seconds",
            (0, 1),
            (*MEASURED, "rounds=2", "data.clients=8", "client.local_epochs=2"),
            settings=("11-0", "11-90"),
            by_setting={"11-90": ("cohort.size=8",), "11-0": ("cohort.size=4",)},
        ),
        "cpu": Size(
            "about 45 minutes on two cores; (1, 1) with 90 % stragglers is at full length, the others are shorter",
            SEEDS,
            COMPILED,
            settings=TWO_SETS,
            by_setting=SHORTER,
        ),
        "long": Size("about 2 hours on two cores; 200 rounds everywhere", SEEDS, COMPILED, settings=TWO_SETS),
        "full": Size("about 20 core-hours; all sets and levels", tuple(range(10)), COMPILED),
        **{
            f"full-lr{rate}": Size(
                "about 20 core-hours; full at another learning rate, the same for every arm",
                tuple(range(10)),
                (*COMPILED, f"client.optimizer.lr={rate}"),
            )
            for rate in ("0.003", "0.03")
        },
    },
    claims=CLAIMS,
    metrics=METRICS,
    windows=(10, 20),
    reference=REFERENCE,
    render=render,
    draw=draw,
)
