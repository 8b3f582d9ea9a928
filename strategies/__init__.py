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
        "uniform": Entry(
            "strategies.uniform:UniformMean",
            "strategies.params:UniformParams",
            "plain mean of the client models: the control for weights pulled towards uniform",
        ),
        "fedavgm": Entry(
            "strategies.fedavgm:FedAvgM",
            "strategies.params:FedAvgMParams",
            "FedAvg with momentum on the server, usual or damped",
            "Hsu et al., arXiv 2019",
        ),
        "fedadam": Entry(
            "strategies.fedopt:FedAdam",
            "strategies.params:FedAdamParams",
            "Adam on the server along the average update",
            "Reddi et al., ICLR 2021",
        ),
        "fedyogi": Entry(
            "strategies.fedopt:FedYogi",
            "strategies.params:FedYogiParams",
            "Yogi on the server along the average update",
            "Reddi et al., ICLR 2021",
        ),
        "fedadagrad": Entry(
            "strategies.fedopt:FedAdagrad",
            "strategies.params:FedAdagradParams",
            "Adagrad on the server along the average update",
            "Reddi et al., ICLR 2021",
        ),
        "fednova": Entry(
            "strategies.fednova:FedNova",
            "strategies.params:FedNovaParams",
            "updates normalised by how much local work made them",
            "Wang et al., NeurIPS 2020",
        ),
        "scaffold": Entry(
            "strategies.scaffold:Scaffold",
            "strategies.params:ScaffoldParams",
            "control variates that take client drift out of local steps",
            "Karimireddy et al., ICML 2020",
        ),
        "feddyn": Entry(
            "strategies.feddyn:FedDyn",
            "strategies.params:FedDynParams",
            "dynamic regularisation that aligns local with global stationary points",
            "Acar et al., ICLR 2021",
        ),
        "moon": Entry(
            "strategies.moon:Moon",
            "strategies.params:MoonParams",
            "FedAvg's average over clients that train with a contrastive term",
            "Li et al., CVPR 2021",
        ),
        "qfedavg": Entry(
            "strategies.qfedavg:QFedAvg",
            "strategies.params:QFedAvgParams",
            "clients with a larger loss count more, in damped steps",
            "Li et al., ICLR 2020",
        ),
        "local_only": Entry(
            "strategies.local_only:LocalOnly",
            "strategies.params:LocalOnlyParams",
            "reference: every client trains alone; read `personal`",
        ),
        "centralised": Entry(
            "strategies.centralised:Centralised",
            "strategies.params:CentralisedParams",
            "reference: training on the pooled data of all clients, in simulation only",
        ),
        "fedavg_finetuned": Entry(
            "strategies.fedavg_finetuned:FedAvgFineTuned",
            "strategies.params:FedAvgFineTunedParams",
            "reference: FedAvg whose clients fine-tune the model before they use it; read `personal`",
            "Wang et al., arXiv 2019; Yu et al., arXiv 2020",
        ),
        "fedbr": Entry(
            "strategies.fedbr:FedBR",
            "strategies.params:FedBRParams",
            "FedAvg's average over clients that train against shared pseudo-samples (means of raw images)",
            "Guo et al., ICML 2023",
        ),
        "fedce": Entry(
            "strategies.fedce:FedCE",
            "strategies.params:FedCEParams",
            "weights are estimated contributions of the clients",
            "Jiang et al., CVPR 2023",
        ),
    },
)

WEIGHTINGS = Table(
    "weighting",
    {
        "samples": Entry(
            "strategies.weighting:BySamples",
            "strategies.parts:SamplesParams",
            "by sample counts, as FedAvg",
            "McMahan et al., AISTATS 2017",
        ),
        "uniform": Entry(
            "strategies.weighting:Uniform",
            "strategies.parts:UniformWeightingParams",
            "every client the same",
        ),
        "feddisco": Entry(
            "strategies.feddisco:DiscrepancyAware",
            "strategies.parts:DiscoWeightingParams",
            "lowered by how far a client's label histogram is from a target",
            "Ye et al., ICML 2023",
        ),
    },
)

SERVER_OPTIMIZERS = Table(
    "server optimizer",
    {
        "momentum": Entry(
            "strategies.server_optimizers:Momentum",
            "strategies.parts:MomentumParams",
            "server momentum, usual or damped",
            "Hsu et al., arXiv 2019",
        ),
        "adaptive": Entry(
            "strategies.server_optimizers:Adaptive",
            "strategies.parts:AdaptiveParams",
            "Adam, Yogi or Adagrad",
            "Reddi et al., ICLR 2021",
        ),
    },
)

AVAILABILITIES = Table(
    "availability",
    {
        "uniform": Entry(
            "strategies.cohort:Uniform",
            "strategies.parts:UniformAvailabilityParams",
            "every client is asked with the same probability",
        ),
        "size_proportional": Entry(
            "strategies.cohort:SizeProportional",
            "strategies.parts:SizeProportionalParams",
            "clients are drawn one by one with probability proportional to their training samples",
        ),
        "label_correlated": Entry(
            "strategies.cohort:LabelCorrelated",
            "strategies.parts:LabelCorrelatedParams",
            "clients come and go over the rounds with the class that dominates their data",
            "Eichner et al., ICML 2019; Xiang et al., NeurIPS 2024",
        ),
    },
)

__all__ = ["AVAILABILITIES", "SERVER_OPTIMIZERS", "STRATEGIES", "WEIGHTINGS"]
