"""Server side: aggregation rules as Flower strategies, one rule a file."""

from __future__ import annotations

from fedbal.registry import Entry, Table

STRATEGIES = Table(
    "strategy",
    {
        "fedavg": Entry(
            "strategies.fedavg:FedAvg",
            "strategies.params:FedAvgParams",
            "average of the client models, weighted by sample counts",
            "McMahan et al., AISTATS 2017",
        ),
        "fedprox": Entry(
            "strategies.fedprox:FedProx",
            "strategies.params:FedProxParams",
            "FedAvg's average over clients that train with a proximal term mu/2 ||w - w_global||^2",
            "Li et al., MLSys 2020",
        ),
        "feddisco": Entry(
            "strategies.feddisco:FedDisco",
            "strategies.params:FedDiscoParams",
            "weights lowered by how far a client's label histogram is from a target",
            "Ye et al., ICML 2023",
        ),
    },
)

AVAILABILITIES = Table(
    "availability",
    {
        "uniform": Entry(
            "strategies.cohort:Uniform",
            "strategies.params:UniformParams",
            "every client is asked with the same probability",
        ),
        "size_proportional": Entry(
            "strategies.cohort:SizeProportional",
            "strategies.params:SizeProportionalParams",
            "clients are drawn one by one with probability proportional to their training samples",
        ),
        "label_correlated": Entry(
            "strategies.cohort:LabelCorrelated",
            "strategies.params:LabelCorrelatedParams",
            "clients come and go over the rounds with the class that dominates their data",
            "Eichner et al., ICML 2019; Xiang et al., NeurIPS 2024",
        ),
    },
)

__all__ = ["AVAILABILITIES", "STRATEGIES"]
