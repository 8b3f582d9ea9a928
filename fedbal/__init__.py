"""fedbal: federated learning on non-IID, class-imbalanced clients, on Flower.

>>> import fedbal
>>> fedbal.load("quickstart", ["strategy=fedavg"]).strategy.name
'fedavg'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbal.api import compare, load, open_run, replay, resume, run, run_many

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "load", "open_run", "replay", "resume", "run", "run_many"]

_LAZY = ("compare", "load", "open_run", "replay", "resume", "run", "run_many")


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used, so that ``import fedbal`` stays light."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fedbal' has no attribute {name!r}")
    from fedbal import api

    return getattr(api, name)
