"""Python's search for unreachable cycles, kept away from what was there before a run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def spared() -> Iterator[None]:
    """Let the collector look only at what is made from here on.

    Imported modules hold some hundred thousand objects, and looking at them again and again takes an eighth of the
    time of rounds of small clients. A caller who has frozen objects already is left alone.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
