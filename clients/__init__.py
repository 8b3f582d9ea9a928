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
