"""Settings of torch that decide bytes: threads, TF32, and deterministic kernels where a device offers a choice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Without it cuBLAS may sum in another order from call to call."""
COMPILER = "torch._inductor.config"
COMPILER_VARIABLE = "TORCHINDUCTOR_DETERMINISTIC"
"""What torch's compiler reads when it is imported."""


def pin(threads: int) -> None:
    """Fix this process to ``threads`` torch threads and to deterministic kernels, TF32 off."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    allow_tf32(False)


def pin_thread(threads: int) -> None:
    """Let the calling thread, not the process, use ``threads`` torch threads: a new one would use all cores."""
    torch.set_num_threads(threads)


def allow_tf32(allowed: bool) -> None:
    """Say whether matrix products and convolutions may round their inputs to TF32."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def prepare(device: str, precision: str) -> None:
    """Make a process ready to train on a device; on the CPU nothing is changed but TF32, which it does not have.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    precision : {"fp32", "tf32", "bf16"}
        Arithmetic of local training.
    """
    allow_tf32(precision == "tf32")
    if device.startswith("cuda"):
        os.environ.setdefault(WORKSPACE, ":4096:8")
        # Where there is no deterministic kernel torch says so and goes on.
        choose_kernels("warn")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def choose_kernels(mode: int | str) -> None:
    """Ask for deterministic kernels, in the modes of ``torch.set_deterministic_debug_mode``.

    That is the switch of ``torch.use_deterministic_algorithms``, which also tells torch's compiler and imports it
    to that end, for about a second. Here the compiler learns of it when it is there, or once something imports it.
    """
    torch.set_deterministic_debug_mode(mode)
    deterministic = torch.are_deterministic_algorithms_enabled()
    compiler = sys.modules.get(COMPILER)
    if compiler is not None:
        compiler.deterministic = deterministic  # type: ignore[attr-defined]
    elif deterministic:
        os.environ[COMPILER_VARIABLE] = "1"
    else:
        os.environ.pop(COMPILER_VARIABLE, None)


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Pin for the time of a run; what the caller had set comes back afterwards."""
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    pin(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        if torch.get_deterministic_debug_mode() != before[1]:
            choose_kernels(before[1])
        allow_tf32(False)
