"""fedbal: federated learning on non-IID, class-imbalanced clients, on Flower."""

from __future__ import annotations

__version__ = "0.1.0"
