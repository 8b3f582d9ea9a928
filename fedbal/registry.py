"""Explicit lazy tables: a component's name, where its class lives, what it is, who published it."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbal.errors import UsageError
from fedbal.params import Params


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table."""

    target: str
    """Implementation as ``module:attribute``; imported only when it is used."""
    params: str
    """Parameter model as ``module:attribute``, in a module that imports neither torch nor flwr."""
    summary: str
    """One line for ``fedbal list``."""
    paper: str = ""
    """Authors, venue and year."""


class Table(Mapping[str, Entry]):
    """The named components of one kind.

    Parameters
    ----------
    kind : str
        What the entries are, in the singular, for messages ("strategy", "partition").
    entries : Mapping[str, Entry]
        Name to entry, in the order in which they are listed.
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise UsageError(unknown_name(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def params_model(self, name: str) -> type[Params]:
        """Return the parameter model of ``name``; imports no torch."""
        model: type[Params] = _attribute(self[name].params)
        return model

    def load(self, name: str) -> Any:
        """Return the implementation of ``name``, a table name or a user's reference."""
        return load_reference(name) if is_reference(name) else _attribute(self[name].target)


def is_reference(name: str) -> bool:
    """Tell whether ``name`` points at a user's own code (``./file.py:Class`` or a dotted path)."""
    return ":" in name or "." in name


def load_reference(reference: str, base: Path | None = None) -> Any:
    """Import ``./file.py:Attribute``, ``package.module:Attribute`` or ``package.module.Attribute``.

    Parameters
    ----------
    reference : str
        The reference; a file is looked up relative to ``base``, then to the current folder.
    base : Path, optional
        Folder of the scenario that names it.

    Raises
    ------
    UsageError
        The file, module or attribute does not exist, or importing it fails.
    """
    where, separator, attribute = reference.rpartition(":")
    if not separator:
        where, _, attribute = reference.rpartition(".")
    if not where or not attribute:
        raise UsageError(f"{reference!r} is not a reference; write ./file.py:Class or package.module:Class.")
    module = _module_from_file(where, base) if where.endswith(".py") else _module(where, reference)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UsageError(f"{where} has no {attribute!r}{_did_you_mean(attribute, public)}.")
    return getattr(module, attribute)


def resolve_reference(reference: str, base: Path | None) -> str:
    """Make the file of a reference absolute, so that it means the same from every folder."""
    where, separator, attribute = reference.rpartition(":")
    if not separator or not where.endswith(".py"):
        return reference
    return f"{_find_file(where, base)}:{attribute}"


def unknown_name(kind: str, name: str, options: Iterable[str]) -> str:
    """Word the message for an unknown name: what was given, what is meant perhaps, what is allowed."""
    known = list(options)
    return f"unknown {kind} {name!r}{_did_you_mean(name, known)}; available: {', '.join(known)}."


def nearest(name: str, options: Iterable[str]) -> list[str]:
    """Return up to three names close to ``name``, best first."""
    return difflib.get_close_matches(name, list(options), n=3, cutoff=0.5)


def _did_you_mean(name: str, options: Iterable[str]) -> str:
    close = nearest(name, options)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _attribute(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _module(name: str, reference: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"cannot import {name!r} for {reference!r}: {error}.") from error


def _find_file(where: str, base: Path | None) -> Path:
    places = [*([base] if base else []), Path.cwd()]
    for place in places:
        path = (place / Path(where).expanduser()).resolve()
        if path.is_file():
            return path
    raise UsageError(f"no file {where!r} in {' or '.join(str(place) for place in dict.fromkeys(places))}.")


def _module_from_file(where: str, base: Path | None) -> Any:
    path = _find_file(where, base)
    name = f"fedbal_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"importing {path} failed: {type(error).__name__}: {error}.") from error
    return module
