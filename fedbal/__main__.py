"""``python -m fedbal`` is ``fedbal``."""

from __future__ import annotations

from fedbal.cli import main

if __name__ == "__main__":
    main()
