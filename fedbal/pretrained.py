"""Initial tensors from a local safetensors file, and the parts of a model that do not train."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from clients.groups import shared_names
from fedbal.errors import UsageError
from fedbal.registry import nearest

NONE, LOADED = "none", "loaded"
"""What ``freeze`` may say besides names of parts."""
SHOWN = 5
"""Names that a message shows before it counts the rest."""


@dataclass(frozen=True)
class Pretrained:
    """Tensors read from a file, and what becomes of them; travels to the processes that train.

    Attributes
    ----------
    path : str
        Where they come from, for messages.
    tensors : mapping of str to Tensor
        By name.
    freeze : str or sequence of str
        ``none``, ``loaded``, or names of parts.
    only : sequence of str
        The parts that were taken from the file; empty: all.
    strict : bool
        Whether names must fit exactly.
    """

    path: str
    tensors: Mapping[str, Tensor]
    freeze: str | Sequence[str] = NONE
    only: Sequence[str] = ()
    strict: bool = False

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Put the tensors of matching names into ``model`` and freeze what is to be frozen, in place.

        Raises
        ------
        UsageError
            No name matches, a shape or type differs, names do not fit exactly although ``strict``, a part to
            freeze does not exist, or nothing is left to train.
        """
        own = model.state_dict()
        matching = [name for name in own if name in self.tensors]
        if not matching:
            raise UsageError(self._no_match(list(own)))
        if self.strict:
            self._require_exact(own)
        for name in matching:
            given, target = self.tensors[name], own[name]
            if given.shape != target.shape:
                raise UsageError(
                    f"{self.path}: tensor {name!r} has shape {tuple(given.shape)}, the model's "
                    f"{tuple(target.shape)}; take only the parts that fit with pretrained.only, or choose the "
                    "model that the file was made for."
                )
            if given.is_floating_point() != target.is_floating_point():
                raise UsageError(
                    f"{self.path}: tensor {name!r} is {given.dtype}, the model's {target.dtype}."
                )
            # state_dict shares its memory with the model.
            target.copy_(given)
        self._freeze(model, matching)

    def _freeze(self, model: nn.Module, loaded: Sequence[str]) -> None:
        if self.freeze == NONE:
            return
        parameters = dict(model.named_parameters(remove_duplicate=False))
        if self.freeze == LOADED:
            chosen = [name for name in loaded if name in parameters]
        else:
            chosen = []
            for part in _list(self.freeze):
                inside = [name for name in parameters if _inside(name, part)]
                if not inside:
                    raise UsageError(_no_part("pretrained.freeze", part, parameters, (NONE, LOADED)))
                chosen += inside
        for name in chosen:
            parameters[name].requires_grad_(False)
        if not any(parameter.requires_grad for parameter in parameters.values()):
            raise UsageError(
                f"pretrained.freeze: got {self.freeze}; that freezes every parameter and leaves nothing to train; "
                f"name fewer parts: {', '.join(_parts(parameters))}."
            )

    def _no_match(self, names: Sequence[str]) -> str:
        close = [
            f"{name} (the model has {' or '.join(near)})"
            for name in self.tensors
            if (near := nearest(name, names)[:1])
        ]
        what = f"nearest: {_some(close)}" if close else f"the model has {_some(names)}"
        return f"{self.path}: none of its {len(self.tensors)} tensors has a name of the model; {what}."

    def _require_exact(self, own: Mapping[str, Tensor]) -> None:
        wanted = [name for name in own if not self.only or any(_inside(name, part) for part in self.only)]
        missing = [name for name in wanted if name not in self.tensors]
        surplus = [name for name in self.tensors if name not in own]
        if missing or surplus:
            raise UsageError(
                f"{self.path}: names do not fit exactly: missing {_some(missing) or 'none'}; unknown "
                f"{_some(surplus) or 'none'}; correct the file, or set pretrained.strict: false."
            )


def read_pretrained(
    path: str, *, only: str | Sequence[str] | None, freeze: str | Sequence[str], strict: bool
) -> Pretrained:
    """Read a local safetensors file.

    Parameters
    ----------
    path : str
        The file.
    only : str, sequence of str or None
        Names of parts to take: a tensor's name, or what it begins with up to a dot; None: everything.
    freeze : str or sequence of str
        ``none``, ``loaded``, or names of parts.
    strict : bool
        Whether names must fit the model exactly.

    Raises
    ------
    UsageError
        The file does not exist or is no safetensors file, has no such part, or holds values that are not finite.
    """
    if not Path(path).is_file():
        raise UsageError(f"pretrained.path: no file {path}; give a local safetensors file.")
    parts = _list(only or ())
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            for part in parts:
                if not any(_inside(name, part) for name in names):
                    raise UsageError(f"{path}: {_no_part('pretrained.only', part, names)}")
            taken = [name for name in names if not parts or any(_inside(name, part) for part in parts)]
            tensors = {name: file.get_tensor(name) for name in taken}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"pretrained.path: {path} is no readable safetensors file: {error}.") from error
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UsageError(f"{path}: tensor {name!r} holds values that are not finite.")
    return Pretrained(path, tensors, freeze, parts, strict)


def require_trainable(model: nn.Module, name: str) -> tuple[str, ...]:
    """Return the names of the tensors that travel; a model without any has nothing to learn."""
    shared = shared_names(model)
    if not shared:
        raise UsageError(f"model {name!r} has no tensor that is trained; every parameter of it is frozen.")
    return shared


def _list(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def _no_part(key: str, part: str, names: Iterable[str], also: Sequence[str] = ()) -> str:
    known = [*also, *_parts(names)]
    close = nearest(part, [*known, *names])
    guess = f" did you mean {' or '.join(close)}?" if close else ""
    return f"{key}: got {part}; no tensor is called that or begins so;{guess} parts: {', '.join(known)}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
