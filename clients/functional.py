"""A model as a pure function of its parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call


class ModelFunction:
    """``forward(params, x)`` with everything but the parameters held fixed.

    Parameters
    ----------
    model : nn.Module
        Structure, and the frozen tensors that no message brings.
    fixed : mapping
        Further tensors by name, buffers above all.
    """

    def __init__(self, model: nn.Module, fixed: Mapping[str, Tensor] | None = None) -> None:
        self._model = model
        self._both = _Both(model)
        self._fixed = dict(fixed or {})
        # Looking for tied tensors takes a fifth of a small model's step, and few models have any.
        self._tied = _has_tied_tensors(model)

    def __call__(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return logits (b, C)."""
        logits: Tensor = functional_call(self._model, {**params, **self._fixed}, (x,), tie_weights=self._tied)
        return logits

    def features(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (b, d) and logits (b, C)."""
        tensors = {f"model.{name}": value for name, value in {**params, **self._fixed}.items()}
        features, logits = functional_call(self._both, tensors, (x,))
        return features, logits


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
