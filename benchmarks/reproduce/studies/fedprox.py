"""FedProx on its synthetic data: the proximal term and keeping partial work, told apart."""

from __future__ import annotations

from benchmarks.reproduce.study import ACCURACY, Arm, Claim, Metric, Setting, Size, Study

SETS = {
    "iid": "Synthetic IID",
    "00": "Synthetic (0, 0)",
    "0505": "Synthetic (.5, .5)",
    "11": "Synthetic (1, 1)",
}
DATA = {
    "iid": ("data.iid=true",),
    "00": ("data.alpha=0", "data.beta=0"),
    "0505": ("data.alpha=0.5", "data.beta=0.5"),
    "11": ("data.alpha=1", "data.beta=1"),
}
NONE = tuple(f"{name}-0" for name in SETS)
SOME = tuple(f"{name}-{level}" for name in SETS for level in (50, 90))
PAPER = "Li et al., MLSys 2020"


def _settings() -> tuple[Setting, ...]:
    return tuple(
        Setting(
            f"{name}-{level}",
            f"{title}, {level} % stragglers",
            (*DATA[name], f"systems.stragglers.fraction={level / 100:g}"),
        )
        for name, title in SETS.items()
        for level in (0, 50, 90)
    )


def _arm(policy: str, mu: int, label: str) -> Arm:
    overrides = (f"strategy={{name: fedprox, mu: {mu}}}", f"systems.stragglers.policy={policy}")
    return Arm(f"{policy}-mu{mu}", label, overrides, None if policy == "partial" else SOME)


ARMS = (
    _arm("drop", 0, "dropped, mu 0 (FedAvg)"),
    _arm("drop", 1, "dropped, mu 1"),
    _arm("partial", 0, "kept, mu 0"),
    _arm("partial", 1, "kept, mu 1 (FedProx)"),
)

METRICS = (
    ACCURACY,
    Metric("train_loss", "dissimilarity.loss", "training loss", higher=False, log=True),
    Metric("variance", "dissimilarity.unweighted_variance", "gradient variance", higher=False, log=True),
    Metric("B", "dissimilarity.B", "B", higher=False),
)

STUDY = Study(
    name="fedprox",
    title="FedProx on Synthetic(alpha, beta)",
    paper=PAPER,
    base="fedprox-synthetic",
    settings=_settings(),
    arms=ARMS,
    sizes={
        "smoke": Size(
            "seconds",
            (0, 1),
            (
                "rounds=2",
                "data.clients=8",
                "cohort.size=4",
                "client.local_epochs=2",
                "evaluation.dissimilarity=true",
            ),
            settings=("11-0", "11-90"),
        ),
    },
    metrics=METRICS,
    windows=(10, 20),
    claims=(
        Claim(
            "partial-11-90",
            "With 90 % stragglers on (1, 1), keeping partial work beats dropping it, both without proximal term.",
            f"{PAPER}, figure 1, bottom row",
            "11-90",
            "partial-mu0",
            "drop-mu0",
            endpoint="accuracy.last20",
        ),
    ),
)
