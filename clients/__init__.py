"""Client side: what a client does between receiving the model and replying, one update a file.

Everything here runs on an edge device: it needs torch, flwr and numpy and never imports ray, pandas,
scikit-learn or plotting.
"""

from __future__ import annotations

from fedbal.registry import Entry, Table

UPDATES = Table(
    "client update",
    {
        "standard": Entry(
            "clients.standard:Standard",
            "clients.params:StandardParams",
            "local SGD on the client's own loss",
            "McMahan et al., AISTATS 2017",
        ),
        "proximal": Entry(
            "clients.proximal:Proximal",
            "clients.params:ProximalParams",
            "local SGD with a proximal pull mu/2 ||w - w_global||^2 towards the received model",
            "Li et al., MLSys 2020",
        ),
        "scaffold": Entry(
            "clients.scaffold:Scaffold",
            "clients.params:ScaffoldParams",
            "local SGD along gradients corrected by control variates",
            "Karimireddy et al., ICML 2020",
        ),
        "feddyn": Entry(
            "clients.feddyn:FedDyn",
            "clients.params:FedDynParams",
            "local SGD on a dynamically regularised loss",
            "Acar et al., ICLR 2021",
        ),
        "local_only": Entry(
            "clients.local_only:LocalOnly",
            "clients.params:LocalOnlyParams",
            "local SGD from the client's own model, of which nothing is sent",
        ),
        "finetuned": Entry(
            "clients.finetuned:FineTuned",
            "clients.params:FineTunedParams",
            "local SGD, and a fine-tuned copy of the received model that is evaluated beside it",
            "Wang et al., arXiv 2019",
        ),
        "moon": Entry(
            "clients.moon:Moon",
            "clients.params:MoonParams",
            "local SGD with a contrastive term between current, received and previous features",
            "Li et al., CVPR 2021",
        ),
        "fedbr": Entry(
            "clients.fedbr:FedBR",
            "clients.params:FedBRParams",
            "a max step on a projection head, then a min step with two terms on shared pseudo-samples",
            "Guo et al., ICML 2023",
        ),
        "contribution": Entry(
            "clients.contribution:Contribution",
            "clients.params:ContributionParams",
            "local SGD, and a score of the global model without the client's own part",
            "Jiang et al., CVPR 2023",
        ),
    },
)

LOSSES = Table(
    "loss",
    {
        "cross_entropy": Entry(
            "clients.losses:CrossEntropy",
            "clients.params:CrossEntropyParams",
            "softmax cross-entropy, mean over the batch",
        ),
        "focal": Entry(
            "clients.losses:Focal",
            "clients.params:FocalParams",
            "cross-entropy that looks away from easy samples",
            "Lin et al., ICCV 2017",
        ),
        "dice": Entry(
            "clients.dice:Dice",
            "clients.params:DiceParams",
            "soft Dice of masks, perhaps with cross-entropy beside it",
            "Milletari et al., 3DV 2016",
        ),
        "class_balanced": Entry(
            "clients.losses:ClassBalanced",
            "clients.params:ClassBalancedParams",
            "cross-entropy weighted by the inverse effective number of samples of a class",
            "Cui et al., CVPR 2019",
        ),
        "balanced_softmax": Entry(
            "clients.calibrated:BalancedSoftmax",
            "clients.params:BalancedSoftmaxParams",
            "cross-entropy of logits shifted by log class counts",
            "Ren et al., NeurIPS 2020",
        ),
        "logit_adjustment": Entry(
            "clients.calibrated:LogitAdjustment",
            "clients.params:LogitAdjustmentParams",
            "cross-entropy of logits shifted by tau log class frequencies",
            "Menon et al., ICLR 2021",
        ),
        "fedlc": Entry(
            "clients.calibrated:FedLC",
            "clients.params:FedLCParams",
            "logits calibrated by class counts: larger margins for a client's rare classes",
            "Zhang et al., ICML 2022",
        ),
        "fedrs": Entry(
            "clients.calibrated:FedRS",
            "clients.params:FedRSParams",
            "restricted softmax: logits of classes that a client lacks are scaled down",
            "Li and Zhan, KDD 2021",
        ),
    },
)

OPTIMIZERS = Table(
    "optimizer",
    {
        "sgd": Entry(
            "clients.optimizers:SGD",
            "clients.params:SGDParams",
            "stochastic gradient descent with optional momentum and weight decay, as in torch.optim.SGD",
        ),
        "adam": Entry(
            "clients.optimizers:Adam",
            "clients.params:AdamParams",
            "adaptive moments, fresh in every round, as in torch.optim.Adam",
            "Kingma and Ba, ICLR 2015",
        ),
        "adamw": Entry(
            "clients.optimizers:AdamW",
            "clients.params:AdamWParams",
            "Adam with decoupled weight decay, as in torch.optim.AdamW",
            "Loshchilov and Hutter, ICLR 2019",
        ),
    },
)

SCHEDULES = Table(
    "learning-rate schedule",
    {
        "constant": Entry(
            "clients.schedules:Constant", "clients.params:ConstantParams", "the same rate in every round"
        ),
        "cosine": Entry(
            "clients.schedules:Cosine",
            "clients.params:CosineParams",
            "half a cosine from the full rate to a final share of it",
            "Loshchilov and Hutter, ICLR 2017",
        ),
        "step": Entry(
            "clients.schedules:Step", "clients.params:StepParams", "a drop by a factor every so many rounds"
        ),
        "exponential": Entry(
            "clients.schedules:Exponential",
            "clients.params:ExponentialParams",
            "the same factor from each round to the next",
        ),
        "warmup_cosine": Entry(
            "clients.schedules:WarmupCosine",
            "clients.params:WarmupCosineParams",
            "a linear rise, then half a cosine",
            "Goyal et al., arXiv 1706.02677; Loshchilov and Hutter, ICLR 2017",
        ),
    },
)

__all__ = ["LOSSES", "OPTIMIZERS", "SCHEDULES", "UPDATES"]
