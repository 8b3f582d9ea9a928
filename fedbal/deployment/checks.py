"""What a machine must have to be a site: each check looks at one thing and says how to mend it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata, util
from pathlib import Path
from typing import Any

GLIBC = (2, 28)
"""What torch's wheels need; numpy's need 2.27."""
MEMORY_MB, LEAST_MEMORY_MB = 1500, 700
"""Memory that should, and that must, be available; an idle site takes about 600 MB (docs/deploy/index.md)."""
DISK_MB, LEAST_DISK_MB = 2000, 300
"""Free disk that should, and that must, be there: the runs' bundles, client state, what a model needs beside it."""
MACHINES = ("x86_64", "aarch64", "arm64")
LAST_CPU_ON_ARM = "2.10.0"
"""The last torch whose wheels for Linux on arm64 are without CUDA on the public index."""
HELPERS = ("flower-supernode", "flower-superexec", "flwr-clientapp")
"""Flower looks them up on PATH."""
GPUS = ("nvidia0", "nvhost-gpu", "nvmap", "dxg")
"""Devices of GPUs: of a card, of a Jetson, of Windows' subsystem for Linux."""
MB = 1_000_000


class Status(StrEnum):
    """How a check went."""

    ok = "ok"
    warn = "warn"
    fail = "fail"
    skip = "skip"


@dataclass(frozen=True)
class Check:
    """One line of the device check.

    Attributes
    ----------
    name : str
        What was looked at.
    status : Status
        ``fail`` means that a site cannot work like this, ``skip`` that there was nothing to look at.
    found : str
        What is there.
    fix : str
        What to do; empty if nothing.
    """

    name: str
    status: Status
    found: str
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the check as plain values."""
        return asdict(self)


def python() -> Check:
    """Say which Python runs this; an older one than 3.11 does not come this far."""
    return Check("python", Status.ok, f"{platform.python_version()} ({sys.executable})")


def architecture(machine: str | None = None, pointer: int | None = None) -> Check:
    """Look for a 64-bit machine for which there are wheels.

    Parameters
    ----------
    machine : str, optional
        As ``platform.machine`` says; default this one's.
    pointer : int, optional
        Bits of an address in this Python; default this one's.
    """
    machine, pointer = machine or platform.machine(), pointer or 8 * struct.calcsize("P")
    found = f"{machine}, {pointer}-bit Python"
    if pointer != 64 or machine not in MACHINES:
        fix = (
            "install a 64-bit system (Raspberry Pi: Raspberry Pi OS 64-bit): torch has no wheels for this one"
        )
        return Check("architecture", Status.fail, found, fix)
    return Check("architecture", Status.ok, found)


def libc(version: tuple[str, str] | None = None) -> Check:
    """Look for a C library with which the wheels work.

    Parameters
    ----------
    version : tuple of (str, str), optional
        Name and version; default this system's.
    """
    if version is None and sys.platform != "linux":
        return Check("libc", Status.skip, f"not Linux but {sys.platform}")
    name, number = version or platform.libc_ver()
    needed = ".".join(map(str, GLIBC))
    if name != "glibc":
        fix = f"use a system with glibc {needed} or newer (Debian, Ubuntu); torch has no wheels for musl (Alpine)"
        return Check("libc", Status.fail, name or "not glibc", fix)
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if parts < GLIBC:
        fix = f"use a newer system: torch needs glibc {needed}, as Debian 10 and Ubuntu 18.10 have"
        return Check("libc", Status.fail, f"glibc {number}", fix)
    return Check("libc", Status.ok, f"glibc {number}")


def versions(wanted: str = ">=1.41,<1.43") -> Check:
    """Look for fedbal and Flower, and whether they go together."""
    from fedbal import __version__

    try:
        flower = metadata.version("flwr")
    except metadata.PackageNotFoundError:
        return Check("versions", Status.fail, f"fedbal {__version__}, no flwr", f"pip install 'flwr{wanted}'")
    found = f"fedbal {__version__}, flwr {flower}"
    release = tuple(int(part) for part in flower.split(".")[:2] if part.isdigit())
    if not (1, 41) <= release < (1, 43):
        return Check("versions", Status.fail, found, f"pip install 'flwr{wanted}'")
    return Check("versions", Status.ok, f"{found}; the coordinator must have the same")


def helpers(path: str | None = None) -> Check:
    """Look for Flower's commands, which start each other by name.

    Parameters
    ----------
    path : str, optional
        Folders to look in; default this Python's own and ``PATH``.
    """
    if path is None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    missing = [name for name in HELPERS if shutil.which(name, path=path) is None]
    if missing:
        fix = "install fedbal again into the environment of this Python: Flower's commands come with it"
        return Check("commands", Status.fail, f"not found: {', '.join(missing)}", fix)
    return Check("commands", Status.ok, ", ".join(HELPERS))


def torch_build(machine: str | None = None, version: str | None = None, *, cuda: bool | None = None) -> Check:
    """Look at which torch is installed, without importing it.

    Parameters
    ----------
    machine, version : str, optional
        Default: this machine and what is installed.
    cuda : bool, optional
        Whether it is a build with CUDA; default: what the installed one says of itself.
    """
    machine = machine or platform.machine()
    on_arm = machine in ("aarch64", "arm64")
    install = (
        f"pip install torch=={LAST_CPU_ON_ARM}"
        if on_arm
        else "pip install torch --index-url https://download.pytorch.org/whl/cpu"
    )
    if version is None:
        try:
            version = metadata.version("torch")
        except metadata.PackageNotFoundError:
            return Check("torch", Status.fail, "not installed", install)
    cuda = _built_with_cuda() if cuda is None else cuda
    found = f"{version}, {'CUDA' if cuda else 'CPU'} build for {machine}"
    if cuda and not any(Path("/dev", name).exists() for name in GPUS):
        why = (
            f"from 2.11 on the public index serves CUDA builds for arm64, {LAST_CPU_ON_ARM} is the last without"
            if on_arm
            else "this build brings several GB for a GPU that is not here"
        )
        return Check("torch", Status.warn, found, f"{why}: {install}")
    return Check("torch", Status.ok, found)


def _built_with_cuda() -> bool:
    """Read it off torch's version file: importing torch takes seconds and may end the process."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\b.*=\s*['\"]", text, flags=re.M) is not None


def memory(available: int | None = None) -> Check:
    """Look at how much memory is available, in the limits of a container too.

    Parameters
    ----------
    available : int, optional
        Bytes; default: what the system says.
    """
    available = _available_memory() if available is None else available
    if available is None:
        return Check("memory", Status.skip, "this system does not say")
    found = f"{available / MB:.0f} MB available"
    fix = f"end other programs, or train a smaller model with a smaller batch; {MEMORY_MB} MB are comfortable"
    return _enough("memory", available, found, fix, LEAST_MEMORY_MB, MEMORY_MB)


def disk(folder: Path, free: int | None = None) -> Check:
    """Look at how much disk is free for the state of a site.

    Parameters
    ----------
    folder : Path
        Where the state goes; need not exist yet.
    free : int, optional
        Bytes; default: what the file system of ``folder`` says.
    """
    there = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    if not os.access(there, os.W_OK):
        return Check("disk", Status.fail, f"{there} cannot be written", "name another folder with --state")
    free = shutil.disk_usage(there).free if free is None else free
    found = f"{free / MB:.0f} MB free in {there}"
    fix = f"free some, or name a folder elsewhere with --state; {DISK_MB} MB are comfortable"
    return _enough("disk", free, found, fix, LEAST_DISK_MB, DISK_MB)


def _enough(name: str, have: int, found: str, fix: str, least: int, good: int) -> Check:
    if have < least * MB:
        return Check(name, Status.fail, found, fix)
    return Check(name, Status.warn, found, fix) if have < good * MB else Check(name, Status.ok, found)


def _available_memory() -> int | None:
    limits = [_from_meminfo(), _left_in_group()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _from_meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what the control group of a container leaves, or None without a limit."""
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)


def names(checks: Sequence[Check], status: Status) -> list[str]:
    """Return the names of the checks that went so."""
    return [check.name for check in checks if check.status is status]
