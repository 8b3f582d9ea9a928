"""The studies: every module of this folder that defines ``STUDY``."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks.reproduce.study import Study
from fedbal.errors import UsageError


def studies() -> dict[str, Study]:
    """Return all studies by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    found = [module.STUDY for module in modules if hasattr(module, "STUDY")]
    return {study.name: study for study in found}


def find_study(name: str) -> Study:
    """Return a study.

    Raises
    ------
    UsageError
        There is none of this name.
    """
    known = studies()
    if name not in known:
        raise UsageError(f"there is no study {name!r}; choose one of {', '.join(known)}.")
    return known[name]
