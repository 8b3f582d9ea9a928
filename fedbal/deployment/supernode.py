"""Flower's SuperNode, looking for messages often: ``python -m fedbal.deployment.supernode`` with its arguments."""

from __future__ import annotations

import os
import sys
import traceback

from flwr.supernode.cli import flower_supernode

from fedbal.grid.flower import look_often

SECONDS = 0.5
"""Pause between two looks; with Flower's three seconds a round waits longer for messages than for work."""


def main() -> None:
    """Run the SuperNode, and end with it.

    Where connections are accepted and closed at once (a proxy or router whose coordinator is away), Flower's
    SuperNode gives up, but a thread of it goes on trying: the process would stay, and serve nobody. It ends here
    without waiting for threads, and its supervisor starts it again.
    """
    look_often(SECONDS)
    code = 1
    try:
        flower_supernode()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
