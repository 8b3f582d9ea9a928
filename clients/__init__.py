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
    },
)

__all__ = ["LOSSES", "OPTIMIZERS", "UPDATES"]
