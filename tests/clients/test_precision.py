"""Precision of local training: bfloat16 passes over float32 parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clients.cohort import train_alone
from clients.functional import ModelFunction
from clients.vectorized import train_together
from tests.clients.cohorts import answers, members, trainer


def with_precision(precision, **options):
    made = trainer(**options)
    return replace(made, options=replace(made.options, precision=precision))


def alone(made, jobs):
    return [train_alone(made, job) for job in jobs]


def test_fp32_and_tf32_are_one_on_a_cpu():
    data = members()
    plain, tf32 = (answers(with_precision(p), data, alone, rounds=1) for p in ("fp32", "tf32"))
    for first, second in zip(plain, tf32, strict=True):
        assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


@pytest.mark.parametrize("train", [alone, train_together])
@pytest.mark.parametrize("update", ["standard", "moon", "scaffold"])
def test_bf16_differs_from_fp32_and_answers_in_float32(update, train):
    data = members()
    exact = answers(with_precision("fp32", update=update), data, train, rounds=1)
    rough = answers(with_precision("bf16", update=update), data, train, rounds=1)
    for first, second in zip(exact, rough, strict=True):
        assert {value.dtype for value in second.tensors.values()} == {torch.float32}
        tensors = [torch.cat([value.flatten() for value in one.tensors.values()]) for one in (first, second)]
        assert not torch.equal(*tensors)
        torch.testing.assert_close(*tensors, rtol=0.05, atol=0.01)


def test_bf16_rounds_inside_the_model_only():
    made = with_precision("bf16")
    params = {name: value.requires_grad_() for name, value in made.model.state_dict().items()}
    x = torch.linspace(-1, 1, 12).reshape(2, 6)
    rough = made.forward(params, x)
    exact = ModelFunction(made.model)(params, x)
    assert rough.dtype == torch.float32
    assert torch.equal(rough, rough.to(torch.bfloat16).float())
    assert not torch.equal(rough, exact)
    gradients = torch.autograd.grad(rough.sum(), list(params.values()))
    assert {one.dtype for one in gradients} == {torch.float32}


def test_features_are_float32_too():
    made = with_precision("bf16")
    features, logits = made.forward.features(made.model.state_dict(), torch.ones(2, 6))
    assert features.dtype == logits.dtype == torch.float32
