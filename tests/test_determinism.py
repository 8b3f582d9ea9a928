"""The switch for deterministic kernels, which must not import torch's compiler and must still reach it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fedbal.determinism import choose_kernels, pinned, prepare

SCRIPT = """
import sys, torch
from fedbal.determinism import COMPILER, choose_kernels, pinned, prepare

with pinned(1):
    prepare("cuda", "fp32")
    assert torch.get_deterministic_debug_mode() == 1
    assert COMPILER not in sys.modules, "the compiler was imported"
    {inside}
assert torch.get_deterministic_debug_mode() == 0
{after}
"""


def check(inside: str = "", after: str = "") -> None:
    script = SCRIPT.format(inside=inside or "pass", after=after)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_compiler_is_not_imported_and_knows_when_it_is():
    check(
        "import torch._inductor.config as compiler; assert compiler.deterministic",
        "assert not compiler.deterministic",
    )


def test_a_compiler_imported_afterwards_is_as_before():
    check("", "import torch._inductor.config as compiler; assert not compiler.deterministic")


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_what_the_caller_had_set_comes_back(mode):
    before = torch.get_deterministic_debug_mode()
    try:
        torch.set_deterministic_debug_mode(mode)
        with pinned(torch.get_num_threads()):
            prepare("cuda", "fp32")
            assert torch.get_deterministic_debug_mode() == 1
        assert torch.get_deterministic_debug_mode() == mode
    finally:
        torch.set_deterministic_debug_mode(before)


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
def test_it_is_the_switch_of_the_public_function(mode):
    try:
        torch.use_deterministic_algorithms(mode != "default", warn_only=mode == "warn")
        expected = torch.get_deterministic_debug_mode(), torch._inductor.config.deterministic
        choose_kernels("default" if mode == "error" else "error")
        choose_kernels(mode)
        assert (torch.get_deterministic_debug_mode(), torch._inductor.config.deterministic) == expected
    finally:
        torch.use_deterministic_algorithms(False)
