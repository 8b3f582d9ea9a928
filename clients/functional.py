"""A model as a pure function of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

Precision = Literal["fp32", "tf32", "bf16"]
"""Arithmetic of local training; parameters, gradients and optimizer states are float32 with all of them."""


class ModelFunction:
    """``forward(params, x)`` with everything but the parameters held fixed.

    Parameters
    ----------
    model : nn.Module
        Structure, and the frozen tensors that no message brings.
    fixed : mapping
        Further tensors by name, buffers above all.
    precision : {"fp32", "tf32", "bf16"}
        With ``bf16`` matrix products and convolutions are done in bfloat16 (``torch.autocast``); what comes out
        is float32, so that losses are. ``tf32`` is a setting of the process, :func:`fedbal.determinism.pin`.
    """

    def __init__(
        self, model: nn.Module, fixed: Mapping[str, Tensor] | None = None, precision: Precision = "fp32"
    ) -> None:
        self._model = model
        self._both = _Both(model)
        self._fixed = dict(fixed or {})
        # Looking for tied tensors takes a fifth of a small model's step, and few models have any.
        self._tied = _has_tied_tensors(model)
        self._bf16 = precision == "bf16"

    def __call__(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return logits (b, C)."""
        logits: Tensor = self._call(self._model, {**params, **self._fixed}, x)
        return logits

    def features(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (b, d) and logits (b, C)."""
        tensors = {f"model.{name}": value for name, value in {**params, **self._fixed}.items()}
        features, logits = self._call(self._both, tensors, x)
        return features, logits

    def _call(self, module: nn.Module, tensors: dict[str, Tensor], x: Tensor) -> Any:
        if not self._bf16:
            return functional_call(module, tensors, (x,), tie_weights=self._tied)
        # Parameters move every step, and a cached copy of one does not survive a function transform.
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            found = functional_call(module, tensors, (x,), tie_weights=self._tied)
        return tuple(map(torch.Tensor.float, found)) if isinstance(found, tuple) else found.float()


def _has_tied_tensors(model: nn.Module) -> bool:
    """Say whether one tensor of the model has two names."""
    pairs = (model.named_parameters, model.named_buffers)
    return any(len([*named()]) < len([*named(remove_duplicate=False)]) for named in pairs)


class _Both(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(x)  # type: ignore[operator]
        return features, self.model.classifier(features)  # type: ignore[operator]
