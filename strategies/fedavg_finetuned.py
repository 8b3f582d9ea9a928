"""fedavg_finetuned: FedAvg whose clients fine-tune the model before they use it, a reference row.

Wang, Mathews, Kiddon, Eichner, Beaufays, Ramage, "Federated Evaluation of On-device Personalization", arXiv
1910.10252, 2019; Yu, Bagdasaryan, Shmatikov, "Salvaging Federated Learning by Local Adaptation", arXiv 2002.04758,
2020 (there FT). The server does what FedAvg does and the global model is FedAvg's, bit for bit. What is new stands
in ``personal``: how the clients' own copies do on their own test rows (``data.client_test``) after one round of
local training. A personalised rule that is not above this row has gained nothing by its personalisation.
"""

from __future__ import annotations

from strategies.fedavg import FedAvg


class FedAvgFineTuned(FedAvg):
    """FedAvg; the fine-tuning is the clients'.

    Parameters
    ----------
    weighting : Weighting, optional
        How much each client counts (default: by sample counts, which is FedAvg).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update (default: it becomes the average, which is FedAvg).
    """
