"""Settings of torch that decide bytes: threads, and deterministic kernels where cuDNN offers a choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pin(threads: int) -> None:
    """Fix this process to ``threads`` torch threads and to deterministic kernels, TF32 off."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Pin for the time of a run; the caller's number of threads comes back afterwards."""
    before = torch.get_num_threads()
    pin(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
