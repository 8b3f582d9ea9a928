"""Flower's SuperNode, looking for messages often: ``python -m fedbal.deployment.supernode`` with its arguments."""

from __future__ import annotations

from flwr.supernode.cli import flower_supernode

from fedbal.grid.flower import look_often

SECONDS = 0.5
"""Pause between two looks; with Flower's three seconds a round waits longer for messages than for work."""


def main() -> None:
    """Run the SuperNode."""
    look_often(SECONDS)
    flower_supernode()


if __name__ == "__main__":
    main()
